"""Which requests hygiene takes for WebSocket handshakes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.exchanges import exchange
from support.tunnels import KEY

from gateway.config.settings import GatewaySettingsSpec
from gateway.exchange import handshake
from gateway.exchange.downstream import AsgiDownstream
from gateway.exchange.hygiene import CHUNKED, NO_BODY, TUNNEL, Hygiene
from gateway.http.host import Authority
from gateway.http.reply import Reply
from gateway.http.request import Request
from gateway.http.section import Section

OFFER = ((b"connection", b"Upgrade"), (b"upgrade", b"websocket"))
FIELDS = ((b"sec-websocket-key", KEY), (b"sec-websocket-version", b"13"))


async def unused(*_: object) -> Any:
    raise AssertionError


def client(*headers: tuple[bytes, bytes], method: str = "GET", switches: bool = True) -> AsgiDownstream:
    scope = {
        "method": method,
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "headers": [(b"host", b"reviews"), *headers],
        "scheme": "http",
        "http_version": "1.1",
        "client": ("192.0.2.7", 1),
        "server": ("127.0.0.1", 80),
    }
    made = AsgiDownstream(scope, unused, unused)
    made.switches = switches
    return made


def admitted(side: AsgiDownstream) -> tuple[Reply | None, int, list[tuple[bytes, bytes]]]:
    """The refusal, the body, and the headers that make an upgrade, if they are passed on."""
    made = exchange(Request("", "", b"", "", b"", b"", []))
    reply = Hygiene(GatewaySettingsSpec()).admit(made, side)
    shown = [] if reply is not None else made.request.headers
    return reply, made.body, [pair for pair in shown if pair[0] in {b"connection", b"upgrade"}]


def test_a_handshake_keeps_the_headers_that_make_it_one() -> None:
    assert admitted(client(*OFFER, *FIELDS)) == (None, TUNNEL, list(handshake.HEADERS))


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT"])
def test_only_get_is_one(method: str) -> None:
    assert admitted(client(*OFFER, *FIELDS, method=method)) == (None, NO_BODY, [])


def test_behind_a_server_that_keeps_its_connection_there_is_none() -> None:
    assert admitted(client(*OFFER, *FIELDS, switches=False)) == (None, NO_BODY, [])


@pytest.mark.parametrize(
    ("framing", "body"), [((b"content-length", b"2"), 2), ((b"transfer-encoding", b"chunked"), CHUNKED)]
)
def test_with_a_body_it_is_none(framing: tuple[bytes, bytes], body: int) -> None:
    assert admitted(client(*OFFER, *FIELDS, framing)) == (None, body, [])


def test_the_empty_body_of_some_clients_is_no_body() -> None:
    assert admitted(client(*OFFER, *FIELDS, (b"content-length", b"0")))[1] == TUNNEL


def test_a_nominated_key_is_no_key() -> None:
    """Connection may name it; then it is hop-by-hop, and gone."""
    side = client((b"connection", b"upgrade, sec-websocket-key"), OFFER[1], *FIELDS)

    assert admitted(side)[0] is handshake.BAD_KEY


def test_the_same_headers_with_another_method_are_judged_anew() -> None:
    """Requests of one connection share what follows from equal headers; this does not follow from them alone."""
    rules = Hygiene(GatewaySettingsSpec())
    section = Section(b"", client(*OFFER, *FIELDS).headers, Authority("reviews", None))
    bodies = []
    for method in ("GET", "POST", "GET"):
        side = client(method=method)
        side.section, side.headers, side.authority = section, section.headers, section.authority
        made = exchange(Request("", "", b"", "", b"", b"", []))
        assert rules.admit(made, side) is None
        bodies.append(made.body)

    assert bodies == [TUNNEL, NO_BODY, TUNNEL]


WORDS = st.sampled_from(
    [b"upgrade", b"Upgrade", b"close", b"keep-alive", b"", b"x", b"websocket", b"h2c", b"foo"]
)
VALUES = st.lists(WORDS, min_size=1, max_size=3).map(b", ".join)
PAIRS = st.tuples(st.sampled_from([b"connection", b"upgrade"]), VALUES)


@given(st.lists(PAIRS, max_size=4))
@example([(b"connection", b"upgrade"), (b"upgrade", b""), (b"upgrade", b"websocket")])
def test_never_without_both_words_and_never_with_another(pairs: list[tuple[bytes, bytes]]) -> None:
    """Every Connection line counts, and so does every Upgrade line."""
    named = [
        word.strip().lower() for name, value in pairs if name == b"connection" for word in value.split(b",")
    ]
    asked = [value.lower() for name, value in pairs if name == b"upgrade"]

    reply, body, _ = admitted(client(*pairs, *FIELDS))

    assert reply is None
    assert (body == TUNNEL) == (b"upgrade" in named and asked == [b"websocket"])
