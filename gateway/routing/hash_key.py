"""The key that consistent hashing hashes: a header, a cookie, the client's address or a query parameter.

Lifetime: config.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

    from gateway.config.load_balancer import ConsistentHashLB, HTTPCookie
    from gateway.http.request import Request

HashKey = Callable[["Request"], bytes | None]
"""The key of a request; None: no key, so any endpoint will do."""


class HashCookie:
    """Makes the cookie that is missing, when the policy has a `ttl`."""

    __slots__ = ("_tail", "name")

    def __init__(self, cookie: HTTPCookie) -> None:
        self.name = cookie.name.encode()
        parts = [f"Max-Age={int(cookie.ttl)}"] if cookie.ttl else []
        parts += [f"Path={cookie.path}"] if cookie.path else []
        parts += [
            item.name if item.value is None else f"{item.name}={item.value}" for item in cookie.attributes
        ]
        self._tail = "".join(f"; {part}" for part in (*parts, "HttpOnly")).encode()

    def make(self, rng: Random) -> tuple[bytes, bytes]:
        """A new key, and the value of the `set-cookie` header that makes the client repeat it."""
        key = b"%016x" % rng.getrandbits(64)
        return key, b'%s="%s"%s' % (self.name, key, self._tail)


def compile_hash_key(policy: ConsistentHashLB) -> HashKey | None:
    """How a request's key is found; None when the policy names nothing."""
    if policy.http_header_name:
        return _header(policy.http_header_name.lower().encode())
    if policy.http_cookie is not None:
        return _cookie(policy.http_cookie.name.encode())
    if policy.use_source_ip:
        return lambda request: request.client_ip.encode() or None
    if policy.http_query_parameter_name:
        name = policy.http_query_parameter_name.encode()
        return lambda request: request.query_value(name) if request.query else None
    return None


def compile_hash_cookie(policy: ConsistentHashLB) -> HashCookie | None:
    """The maker of missing cookies; None when none is to be made."""
    cookie = policy.http_cookie
    return HashCookie(cookie) if cookie is not None and cookie.ttl is not None else None


def _header(name: bytes) -> HashKey:
    if name in {b":authority", b"host"}:
        return lambda request: request.authority
    if name == b":path":
        return lambda request: request.path + b"?" + request.query if request.query else request.path
    if name == b":method":
        return lambda request: request.method.encode()

    def key(request: Request) -> bytes | None:
        if not request.repeated:
            return request.header_map.get(name)
        # In whatever order the lines come, the key is the same.
        return b",".join(sorted(request.header_values(name))) or None

    return key


def _cookie(name: bytes) -> HashKey:
    def key(request: Request) -> bytes | None:
        for line in request.header_values(b"cookie"):
            for pair in line.split(b";"):
                key, equals, value = pair.partition(b"=")
                if equals and key.strip() == name:
                    return value.strip().strip(b'"') or None
        return None

    return key
