"""Keeps strangers from the admin listener: other sites' pages, rebound names, plain forms.

Lifetime: process.

A browser on this machine reaches loopback for any page it shows. Three rules close that (security.md D27):
the Host header must name us, so a rebound DNS name is refused; whatever is not a read needs the header
`x-gateway-admin: 1`, which another origin cannot send without a permission nobody gives (no CORS here); and
answers say that they are no scripts, no frames and not for other origins.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse

from gateway.config.names import is_ip

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECURITY_HEADERS = (
    (
        b"content-security-policy",
        (
            b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
            b" base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ),
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


class HostRule:
    """Which Host headers name this listener: loopback, where it is bound, and what is configured.

    Bound to loopback, only loopback names count. Bound elsewhere on purpose, any IP address counts too
    (probes and scrapers use it): a rebound name is always a name.
    """

    def __init__(self, bound: str, names: Iterable[str] = ()) -> None:
        self._names = frozenset(name.lower() for name in ("localhost", bound, *names))
        self.local = bound == "localhost" or _is_loopback(bound)
        """Bound to loopback: nothing outside this machine can connect."""

    def allows(self, host: str) -> bool:
        """Whether `host`, with or without a port, is us."""
        name = _without_port(host.lower())
        if name in self._names or _is_loopback(name):
            return True
        return not self.local and is_ip(name)


def _without_port(host: str) -> str:
    if host.startswith("["):
        name, closed, port = host[1:].partition("]")
        return name if closed and (not port or port[0] == ":") else ""
    return host.partition(":")[0]


def _is_loopback(name: str) -> bool:
    return is_ip(name) and ip_address(name).is_loopback


class Guard:
    """ASGI middleware with the three rules."""

    def __init__(self, app: ASGIApp, hosts: HostRule, *, several: bool = False) -> None:
        """`several`: other processes accept at this address as well. Then a connection is for one question:
        the next one is taken by who is free, not by who may have come to a halt.
        """
        self._app, self._hosts = app, hosts
        self._headers = (*SECURITY_HEADERS, *([(b"connection", b"close")] if several else ()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI interface."""
        assert scope["type"] == "http", "the listener speaks nothing else"

        async def protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *self._headers]
            await send(message)

        answer = self._refusal(scope) or self._app
        await answer(scope, receive, protected)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1:
            return PlainTextResponse("exactly one Host header is needed\n", 400)
        if not self._hosts.allows(hosts[0].decode("latin-1")):
            return PlainTextResponse("this Host is not the admin listener's\n", 421)
        if scope["method"] not in {"GET", "HEAD"} and (b"x-gateway-admin", b"1") not in scope["headers"]:
            return PlainTextResponse("this needs the header x-gateway-admin: 1\n", 403)
        return None
