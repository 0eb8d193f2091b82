"""A gateway's configuration and a backend for floods and slow clients: it answers without end, early, or not at all.

Lifetime: config. `%(keys)s` verifies tokens that are signed with `SECRET`.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from support.stage import Backend, Call
from support.tokens import jwk, jwks
from support.whole import entry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.whole import House

SECRET = b"k" * 40
CONFIG = (
    entry("backend")
    + entry("odd")
    + """\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: odd}
spec: {host: odd.test, trafficPolicy: {connectionPool: {tcp: {maxConnections: 4}}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: gw}
spec:
  hosts: [gw.test]
  http:
  - {match: [{uri: {prefix: /odd/}}], route: [{destination: {host: odd.test}}], retries: {attempts: 0}}
  - {route: [{destination: {host: backend.test}}]}
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: tokens}
spec: {jwtRules: [{issuer: https://a, jwks: '%(keys)s'}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: denied}
spec: {action: DENY, rules: [{to: [{operation: {paths: [/denied]}}]}]}
"""
)
ODD: list[Backend] = []
"""The backend that runs."""


async def odd(call: Call) -> None:
    """Does what the path says."""
    while True:
        head = await call.head()
        path = head.split(b" ")[1]
        if path == b"/odd/endless":
            await call.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                await call.send(b"10000\r\n" + bytes(65536) + b"\r\n")
        elif path == b"/odd/early":
            await call.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nlarge")
            await call.reader.read()
            return
        elif path == b"/odd/mute":
            await call.reader.read()
            return
        else:
            await call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


@asynccontextmanager
async def helper(house: House) -> AsyncIterator[dict[str, Any]]:
    """For `houses`."""
    del house
    async with Backend(odd).running() as backend:
        ODD[:] = [backend]
        yield {"odd": backend.port, "keys": jwks(jwk(SECRET))}
