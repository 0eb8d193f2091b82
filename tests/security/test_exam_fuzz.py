"""Any bytes through a whole gateway: a valid request is forwarded, or there is a 4xx and the connection ends.

Two judges that share no code with the gateway: the backend reads what is forwarded strictly, and the same
reader, a little more lenient, reads what the client sent. `scripts/fuzz attacks 100000` plays more of it.
"""

from __future__ import annotations

import asyncio
import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from support.attacks import CASES
from support.exam import CONFIG
from support.field import END, fields
from support.hostile import MARK, streams
from support.raw import PATIENCE, CutOff, Raw, Response
from support.strict import Received, StrictReader, Violation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.field import Field

EXAMPLES = int(os.environ.get("GATEWAY_FUZZ", "400"))
LIMITS = (
    "  limits: {requestBodyBytes: 200, requestHeadBytes: 2000, requestHeaders: 20, requestTargetBytes: 200}"
)
FILLER = END * 8
"""Whatever the bytes before left open, this ends: a body of at most 200 bytes, a chunk, a head, a line."""
HEAD = re.compile(rb"HEAD ")


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    yield from fields(tmp_path_factory.mktemp("fuzz"), CONFIG, settings=LIMITS)


def understood(sent: bytes) -> list[Received]:
    """The requests of `sent` that are unambiguous, up to the first that is not."""
    reader, found = StrictReader(lenient=True), []
    with suppress(Violation):
        for index in range(len(sent)):
            found += reader.feed(sent[index : index + 1])
    return found


def bodiless(sent: bytes, head: bytes) -> Response:
    """A response that is its head alone: a refused HEAD, of which nobody but the gateway knows that it is one."""
    assert HEAD.search(sent)
    assert head.endswith(b"\r\n\r\n")
    line, *lines = head[:-4].decode("latin-1").split("\r\n")
    headers = [(name.lower(), value.strip()) for name, _, value in (item.partition(":") for item in lines)]
    return Response(int(line.split(" ")[1]), "", headers, b"", head, "none")


async def converse(field: Field, sent: bytes) -> tuple[list[Response], list[Received]]:
    """Sends it, and gives the final responses until the gateway closes."""
    heads = [request.method == "HEAD" for request in understood(sent + FILLER)]
    async with Raw(field.gateway.port) as raw:
        with suppress(ConnectionError):
            await raw.send(sent + FILLER)
        responses: list[Response] = []
        async with asyncio.timeout(PATIENCE):
            while not await raw.at_end():
                number = len(responses)
                try:
                    responses.append(await raw.response(head=number < len(heads) and heads[number]))
                except CutOff as cut:
                    responses.append(bodiless(sent, cut.received))
    return responses, list(field.backend.requests)


@settings(
    max_examples=EXAMPLES,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(sent=streams())
@example(sent=MARK + b"X")
@example(sent=b"POST / HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 200\r\n\r\n")
@example(
    sent=b"POST / HTTP/1.1\r\nHost: gw.test\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nx: y\r\n\r\n"
)
def test_a_valid_request_is_forwarded_or_the_connection_ends(sent: bytes, field: Field) -> None:
    """Every answer belongs to its request, nothing follows a refusal, and no backend sees a request that a
    strict reader of the client's bytes does not.
    """
    judge(field, sent)


@pytest.mark.parametrize("sent", [case.sent for case in CASES if len(case.sent) < 1500])
def test_the_corpus_keeps_the_same_promise(sent: bytes, field: Field) -> None:
    """The fuzzer's own rule, on bytes that are known to be trouble."""
    judge(field, sent)


def judge(field: Field, sent: bytes) -> None:
    field.backend.forget()
    responses, seen = field.run(converse(field, sent))
    assert field.backend.violations == []
    *before, last = responses
    refusing = [response for response in responses if response.header("connection")]
    assert refusing == [last], "the last answer closes, and only that"
    assert all(response.status < 500 or response.status in {501, 505} for response in responses)
    digests = [response.header("x-digest") for response in responses if response.header("x-digest")]
    assert digests == [request.digest.decode() for request in seen if request.digest.decode() in digests]
    assert all(response.status == 200 or response.status >= 400 for response in before)
    meant = [(request.method, request.body) for request in understood(sent + FILLER)]
    position = 0
    for request in seen:
        wanted = (request.method, request.body)
        assert wanted in meant[position:], f"{wanted} was never asked for"
        position = meant.index(wanted, position) + 1
        assert not request.target.lower().startswith(b"/admin") or request.target.startswith(b"/ADMIN")
        for name in (b"x-user", b"x-forwarded-client-cert"):
            smuggled = any(b"root" in value or b"By=x" in value for value in request.values(name))
            assert not (smuggled and name == b"x-forwarded-client-cert")
