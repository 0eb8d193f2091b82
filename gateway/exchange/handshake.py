"""A request to leave HTTP for WebSocket: whether it is one, and whether it is well-formed.

Lifetime: request (plain functions) and config (constants).

Other offers are ignored here; those that nobody may ignore were refused by our own server before
(`gateway.server.head`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gateway.http.reply import bad_request

if TYPE_CHECKING:
    from gateway.exchange.downstream import Downstream
    from gateway.http.headers import Headers
    from gateway.http.reply import Reply

HEADERS = ((b"connection", b"Upgrade"), (b"upgrade", b"websocket"))
"""What the backend is asked with. Policies and matches see it too, as in Envoy."""

BAD_KEY = bad_request("websocket_key")
BAD_VERSION = bad_request("websocket_version", headers=((b"sec-websocket-version", b"13"),))

_is_key = re.compile(rb"[A-Za-z0-9+/]{22}==").fullmatch


def offered(downstream: Downstream, upgrade: bytes) -> bool:
    """Whether the request asks for WebSocket and for nothing else; `upgrade`: all its Upgrade values."""
    return (
        upgrade.lower() == b"websocket"
        and downstream.switches
        and downstream.method == "GET"
        and b"upgrade" in _words(downstream.headers)
    )


def refusal(headers: Headers) -> Reply | None:
    """What RFC 6455 4.2.1 demands of a handshake, where readers could disagree on it; None: all is there."""
    if [value for name, value in headers if name == b"sec-websocket-version"] != [b"13"]:
        return BAD_VERSION
    keys = [value for name, value in headers if name == b"sec-websocket-key"]
    return None if len(keys) == 1 and _is_key(keys[0]) else BAD_KEY


def _words(headers: Headers) -> set[bytes]:
    """All words of all Connection headers: one line may hide what another says (security.md U10)."""
    values = b",".join([value for name, value in headers if name == b"connection"])
    return {word.strip(b" \t") for word in values.lower().split(b",")}
