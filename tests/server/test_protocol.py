"""What the protocol class does for applications: ASGI, framing, flow control, disconnects, shutdown."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from memory import Connection
from messages import CLOSE, GET, answering, body, request, start
from serving import Echo, reply, run, serving
from support.raw import CutOff, Raw, talk

DATE = b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"


# --- scope


def test_the_scope_is_complete() -> None:
    """Everything ASGI promises for http, and nothing decoded twice."""

    async def main() -> None:
        app = Echo()
        async with serving(app, root_path="/root") as server, Raw(server.port) as raw:
            server.server.lifespan.state["pool"] = "p"
            await raw.send(request(target=b"/a%20b/%C3%A9?x=%20", headers=b"X-A: 1\r\nx-a: 2\r\n"))
            await raw.response()
            scope = app.log.requests[0].scope
            assert scope["extensions"] == {}, "the connection's handle is for the time of the request"
            assert scope["state"].pop("pool") == "p"
            wanted = {
                "type": "http",
                "asgi": {"version": "3.0", "spec_version": "2.3"},
                "http_version": "1.1",
                "method": "GET",
                "scheme": "http",
                "root_path": "/root",
                "path": "/root/a b/é",
                "raw_path": b"/root/a%20b/%C3%A9",
                "query_string": b"x=%20",
                "headers": [(b"host", b"gw.test"), (b"x-a", b"1"), (b"x-a", b"2")],
                "server": ("127.0.0.1", server.port),
                "client": ("127.0.0.1", raw.port),
            }
            assert wanted == {key: scope[key] for key in wanted}
            scope["state"]["own"] = 1
            assert "own" not in server.server.lifespan.state

    run(main())


def test_a_tls_connection_has_scheme_https_and_shows_its_ssl_object(certificate: Any) -> None:
    """For client certificates."""
    seen: list[Any] = []

    async def app(scope, receive, send) -> None:
        transport = scope["extensions"]["gateway"].transport
        seen.append((scope["scheme"], transport.get_extra_info("ssl_object").version()))
        await reply(send, 200, b"x" * 100_000)

    async def main() -> None:
        async with serving(app, context=certificate.server) as server:
            async with Raw(server.port, tls=certificate.client) as raw:
                await raw.send(GET)
                assert len((await raw.response()).body) == 100_000
                await raw.send(b"GET https://gw.test/ HTTP/1.1\r\nHost: gw.test\r\nConnection: close\r\n\r\n")
                await raw.response()
                assert await raw.closed() == b""
            async with Raw(server.port, tls=certificate.client) as raw:
                await raw.send(b"nonsense\r\n\r\n")
                assert (await raw.response()).status == 400
                assert await raw.closed() == b""
        assert seen == [("https", "TLSv1.3")] * 2

    run(main())


# --- responses


def test_head_and_first_body_piece_leave_in_one_write() -> None:
    """One system call, one TLS record."""

    async def main() -> None:
        connection = Connection(answering(start(), body(b"hello", more=True), body(b"!")))
        await connection.feed([GET])
        head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n" + DATE + b"server: uvicorn\r\n\r\n"
        assert connection.transport.writes == [head + b"5\r\nhello\r\n", b"1\r\n!\r\n0\r\n\r\n"]
        await connection.close()

    run(main())


def test_a_head_without_body_message_leaves_at_the_end_of_the_turn() -> None:
    """Server-sent events: the client sees the head before the first event exists."""
    event = asyncio.Event()

    async def app(scope, receive, send) -> None:
        await send(start(200, (b"content-type", b"text/event-stream")))
        await event.wait()
        await send(body(b"data: 1\n\n", more=True))
        await send(body())

    async def main() -> None:
        async with serving(app) as server, Raw(server.port) as raw:
            await raw.send(GET)
            head = await raw.until(b"\r\n\r\n")
            assert b"transfer-encoding: chunked\r\n" in head
            event.set()
            assert await raw.until(b"0\r\n\r\n") == b"9\r\ndata: 1\n\n\r\n0\r\n\r\n"

    run(main())


FRAMED = [
    ("length of the application", b"GET", [start(200, (b"content-length", b"2")), body(b"hi")], "length", b"hi"),
    ("length found", b"GET", [start(), body(b"hi")], "length", b"hi"),
    ("empty", b"GET", [start(), body()], "length", b""),
    ("in pieces", b"GET", [start(), body(b"h", more=True), body(b"", more=True), body(b"i")], "chunked", b"hi"),
    ("last piece empty", b"GET", [start(), body(b"hi", more=True), body()], "chunked", b"hi"),
    ("length and pieces", b"GET", [start(200, (b"content-length", b"2")), body(b"h", more=True), body(b"i")], "length", b"hi"),
    ("chunked of the application", b"GET", [start(200, (b"transfer-encoding", b"chunked")), body(b"hi", more=True), body()], "chunked", b"hi"),
    ("both framings", b"GET", [start(200, (b"transfer-encoding", b"chunked"), (b"content-length", b"2")), body(b"hi")], "length", b"hi"),
    ("large", b"GET", [start(), body(b"x" * 300_000)], "length", b"x" * 300_000),
    ("large in pieces", b"GET", [start(), body(b"x" * 300_000, more=True), body(b"y" * 70_000)], "chunked", b"x" * 300_000 + b"y" * 70_000),
    ("HEAD with length", b"HEAD", [start(200, (b"content-length", b"5")), body()], "none", b""),
    ("HEAD with a body", b"HEAD", [start(200, (b"content-length", b"5")), body(b"hello")], "none", b""),
    ("HEAD without length", b"HEAD", [start(), body(b"hello")], "none", b""),
    ("204 with length", b"GET", [start(204, (b"content-length", b"5")), body(b"hello")], "none", b""),
    ("304 with length", b"GET", [start(304, (b"content-length", b"5")), body()], "none", b""),
    ("status without phrase", b"GET", [start(299), body(b"x")], "length", b"x"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "messages", "framing", "expected"), [row[1:] for row in FRAMED], ids=[row[0] for row in FRAMED])  # fmt: skip
def test_every_response_is_framed_and_the_connection_lives_on(
    method: bytes, messages: list[Any], framing: str, expected: bytes
) -> None:
    """A second request on the same connection gets its answer."""

    async def main() -> None:
        async with serving(answering(*messages)) as server, Raw(server.port) as raw:
            for _ in range(2):
                await raw.send(request(method))
                response = await raw.response(head=method == b"HEAD")
                assert (messages[0]["status"], framing, expected) == (
                    response.status,
                    response.framing,
                    response.body,
                )
                assert response.header("date") == "Sun, 06 Nov 1994 08:49:37 GMT"
                length = dict(messages[0]["headers"]).get(b"content-length")
                if framing == "none":
                    kept = None if response.status == 204 or length is None else length.decode()
                    assert kept == response.header("content-length")

    run(main())


def test_date_and_server_are_added_only_when_missing() -> None:
    """uvicorn sends two of each for a proxied response."""

    async def main() -> None:
        messages = start(200, (b"date", b"then"), (b"server", b"theirs")), body(b"x")
        options = {"server_header": True, "headers": [("X-Extra", "e")]}
        async with serving(answering(*messages), **options) as server:
            (response,) = await talk(server.port, CLOSE)
            assert response.header("date") == "then"
            assert response.header("server") == "theirs"
            assert response.header("x-extra") == "e"
        async with serving(answering(start(), body(b"x")), **options) as server:
            (response,) = await talk(server.port, CLOSE)
            assert response.header("server") == "uvicorn"
        async with serving(answering(start(), body(b"x")), date_header=False) as server:
            (response,) = await talk(server.port, CLOSE)
            assert response.headers == [("content-length", "1"), ("connection", "close")]

    run(main())


def test_the_date_is_renewed_by_the_sweeper() -> None:
    """Once a second, not once a response."""

    async def main() -> None:
        async with serving(Echo()) as server, Raw(server.port) as raw:
            await raw.send(GET)
            assert (await raw.response()).header("date") == "Sun, 06 Nov 1994 08:49:37 GMT"
            server.wall.now += 1
            server.pass_time(1.0)
            await raw.send(GET)
            assert (await raw.response()).header("date") == "Sun, 06 Nov 1994 08:49:38 GMT"

    run(main())


FAILURES = [
    ("an exception", []),
    ("no response", [None]),
    ("a status that is none", [start(999), body(b"x")]),
    ("an interim status", [start(103), body(b"x")]),
    ("a header that splits the response", [start(200, (b"x", b"a\r\nset-cookie: b")), body(b"x")]),
    ("too long in one piece", [start(200, (b"content-length", b"1")), body(b"xy")]),
    ("too short in one piece", [start(200, (b"content-length", b"3")), body(b"xy")]),
    ("an exception behind an unsent head", [start(204), ZeroDivisionError()]),
    ("the wrong message first", [body(b"x")]),
]


@pytest.mark.parametrize("messages", [row[1] for row in FAILURES], ids=[row[0] for row in FAILURES])
def test_an_application_that_fails_before_a_byte_was_sent_is_answered_500(
    messages: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """And the connection closed; the log has one entry."""

    async def app(scope, receive, send) -> None:
        if not messages:
            raise ZeroDivisionError
        for message in messages:
            if isinstance(message, Exception):
                raise message
            if message is not None:
                await send(message)

    async def main() -> None:
        async with serving(app) as server:
            (response,) = await talk(server.port, GET)
            assert (response.status, response.body, response.header("connection")) == (
                500,
                b"Internal Server Error",
                "close",
            )

    run(main())
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_a_failed_head_request_is_answered_without_a_body() -> None:
    """Or the 500's body would be the head of the next response."""

    async def main() -> None:
        async with serving(answering(start(204), body(b"x" * 3), start())) as server:
            (response,) = await talk(
                server.port, request(b"HEAD", headers=b"Connection: close\r\n"), head=True
            )
            assert response.status == 204
        async with serving(answering()) as server:
            (response,) = await talk(server.port, request(b"HEAD"), head=True)
            assert (response.status, response.body) == (500, b"")

    run(main())


BROKEN = [
    ("an exception", [body(b"part", more=True), ZeroDivisionError()]),
    ("no end", [body(b"part", more=True)]),
    ("too short", [body(b"part", more=True), body(b"")], b"10"),
    ("too long", [body(b"part", more=True), body(b"part2")], b"6"),
]


@pytest.mark.parametrize("row", BROKEN, ids=[row[0] for row in BROKEN])
def test_an_application_that_fails_in_the_middle_never_ends_its_response_cleanly(row: Any) -> None:
    """The client must not take what it has for everything (R15)."""
    headers = [(b"content-length", row[2])] if len(row) > 2 else []

    async def app(scope, receive, send) -> None:
        await send(start(200, *headers))
        for message in row[1]:
            if isinstance(message, Exception):
                raise message
            await send(message)
            await asyncio.sleep(0)

    async def main() -> None:
        async with serving(app) as server:
            with pytest.raises(CutOff):
                await talk(server.port, GET, count=1)

    run(main())
