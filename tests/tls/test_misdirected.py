"""A request belongs to the connection that its host's server would have made."""

from __future__ import annotations

from random import Random

import pytest
from support.tls import PORT, gateway_document

from gateway.config import load
from gateway.http.peer import Peer
from gateway.http.request import Request
from gateway.tls import compile_misdirected

OPEN = "hosts: [open.test, '*.open.test'], tls: {mode: SIMPLE, credentialName: a}"
ALIKE = "hosts: [alike.test], tls: {mode: SIMPLE, credentialName: a}"
CLOSED = "hosts: [closed.test], tls: {mode: MUTUAL, credentialName: a}"
ASKING = "hosts: [asking.test], tls: {mode: OPTIONAL_MUTUAL, credentialName: a}"

STRANGER, SLEEP = Peer(server="default/edge/p0"), Peer(server="default/edge/p2", verified=True)
STOCK, STOCK_SLEEP = Peer(), Peer(verified=True)
GONE = Peer(server="default/edge/renamed", verified=True)


@pytest.mark.parametrize(
    ("peer", "scheme", "host", "fine"),
    [
        (STRANGER, "https", "open.test", True),
        (STRANGER, "https", "a.open.test", True),
        (STRANGER, "https", "alike.test", True),
        (STRANGER, "https", "closed.test", False),
        (STRANGER, "https", "asking.test", False),
        (STRANGER, "https", "nobody.test", True),
        (SLEEP, "https", "closed.test", True),
        (SLEEP, "https", "open.test", False),
        (GONE, "https", "open.test", False),
        (Peer(server="default/edge/p2"), "https", "closed.test", False),
        (STOCK, "https", "open.test", True),
        (STOCK, "https", "closed.test", False),
        (STOCK, "https", "asking.test", True),
        (STOCK_SLEEP, "https", "closed.test", True),
        (None, "https", "open.test", True),
        (None, "http", "open.test", False),
        (None, "https", "closed.test", False),
        (None, "https", "asking.test", False),
        (None, "http", "nobody.test", True),
    ],
)
def test_misdirected_requests_are_told_so(peer: Peer | None, scheme: str, host: str, fine: bool) -> None:
    """421 where another server's TLS would have asked for more, or for something else (T13)."""
    loaded = load([], texts={"x": gateway_document(OPEN, ALIKE, CLOSED, ASKING)})
    assert loaded.config is not None, loaded.findings
    check = compile_misdirected(loaded.config, PORT)
    assert check is not None
    request = Request("GET", scheme, host.encode(), host, b"/", b"", [], PORT)
    request.peer = peer
    reply = check(request, Random(1))
    assert (reply is None) is fine
    assert reply is None or (reply.status, reply.close) == (421, True)


def test_ports_without_tls_have_no_check() -> None:
    """What is absent costs nothing."""
    loaded = load([], texts={"x": gateway_document(OPEN)})
    assert loaded.config is not None
    assert compile_misdirected(loaded.config, 80) is None
