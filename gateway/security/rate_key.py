"""What requests are told apart by when they are counted.

Lifetime: config.

What a request does not have is replaced by its client's address: to leave a header out evades nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import sha256
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

from gateway.config.rate_limit import CLAIM, CLIENT_ADDRESS, HEADER, PATH, PRINCIPAL
from gateway.security.claims import header_value, named, texts

if TYPE_CHECKING:
    from gateway.http.request import Request

LONGEST = 64
"""Bytes of a key; longer ones are kept as a digest, so that clients cannot fill the memory."""

ReadKey = Callable[["Request"], bytes]
_Part = Callable[["Request"], "bytes | None"]


def compile_key(parts: Sequence[str]) -> ReadKey:
    """The key of a request, from `GatewaySettings.rateLimits[].key`; nothing: all requests are one."""
    if not parts:
        return lambda request: b""  # noqa: ARG005 - the same for all
    if list(parts) == [CLIENT_ADDRESS]:
        return lambda request: address_key(request.client_ip)
    readers = tuple(_part(text) for text in parts)

    def key(request: Request) -> bytes:
        found = []
        for read in readers:
            value = read(request)
            # Lengths keep parts apart; the first byte keeps a value apart from a replaced one.
            told = b"@" + address_key(request.client_ip) if value is None else b"=" + value
            found.append(b"%d:%b" % (len(told), told))
        return _short(b"".join(found))

    return key


@lru_cache(maxsize=8192)
def address_key(address: str) -> bytes:
    """A client's address: IPv4, also when it is written as IPv6; of IPv6 the /64, which is one customer's."""
    try:
        found = ip_address(address)
    except ValueError:
        return _short(address.encode(errors="replace"))
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is None:
            return found.packed[:8]
        found = found.ipv4_mapped
    return found.packed


def _short(key: bytes) -> bytes:
    return key if len(key) <= LONGEST else sha256(key).digest()


def _part(text: str) -> _Part:
    if text == CLIENT_ADDRESS:
        return lambda request: address_key(request.client_ip)
    if text == PATH:
        return lambda request: request.path
    if text == PRINCIPAL:
        return _principal
    if text.startswith(HEADER):
        return _header(text.removeprefix(HEADER).lower().encode())
    return _claim(text.removeprefix(CLAIM))


def _principal(request: Request) -> bytes | None:
    """Who is calling: by token, else by certificate."""
    if request.request_principal:
        return b"jwt:" + request.request_principal.encode()
    peer = request.peer
    return (
        b"tls:" + peer.principal.encode() if peer is not None and peer.verified and peer.principal else None
    )


def _header(name: bytes) -> _Part:
    return lambda request: b",".join(values) if (values := request.header_values(name)) else None


def _claim(name: str) -> _Part:
    def read(request: Request) -> bytes | None:
        claims = request.claims
        value = None if claims is None else named(claims, name)
        return b",".join(texts(value)) if isinstance(value, list) else header_value(value)

    return read
