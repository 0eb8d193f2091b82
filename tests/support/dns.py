"""DNS without the network: a real UDP server, and a resolver that says what the test says."""

from __future__ import annotations

import asyncio
import ipaddress
import struct
from typing import Any, Self

from gateway.upstream.dns import Answer

Records = dict[str, tuple[int, list[str]]]
"""Name -> TTL and addresses, IPv4 and IPv6 mixed."""

_TYPES = {1: 4, 28: 6}
"""Query type -> IP version: A, AAAA."""


class DnsServer(asyncio.DatagramProtocol):
    """Answers A and AAAA queries from a table; unknown names are NXDOMAIN. An async context manager."""

    def __init__(self, records: Records, host: str = "127.0.0.1") -> None:
        self.records = records
        self._host = host
        self.asked: list[str] = []
        """Names, one for each query."""
        self.held: list[tuple[bytes, Any]] | None = None
        """When set to a list, questions wait in it for `release`."""
        self._transport: Any = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, (self._host, 0))
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._transport.close()
        await asyncio.sleep(0)

    @property
    def address(self) -> str:
        """`127.0.0.1:PORT`, `[::1]:PORT`."""
        host, port = self._transport.get_extra_info("sockname")[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def release(self) -> None:
        """Answers what was held."""
        held, self.held = self.held or [], None
        for question in held:
            self.datagram_received(*question)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self.held is not None:
            self.held.append((data, addr))
            return
        (identity,) = struct.unpack_from("!H", data)
        name, end = _name(data, 12)
        (kind,) = struct.unpack_from("!H", data, end)
        self.asked.append(name)
        known = self.records.get(name)
        ttl, addresses = known or (0, [])
        found = [ipaddress.ip_address(text).packed for text in addresses]
        wanted = [packed for packed in found if len(packed) == (4 if _TYPES.get(kind) == 4 else 16)]
        flags = 0x8580 if known else 0x8583  # authoritative answer, or NXDOMAIN
        header = struct.pack("!HHHHHH", identity, flags, 1, len(wanted), 0, 0)
        answers = b"".join(
            b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, ttl, len(packed)) + packed for packed in wanted
        )
        self._transport.sendto(header + data[12 : end + 4] + answers, addr)


def _name(data: bytes, at: int) -> tuple[str, int]:
    labels = []
    while size := data[at]:
        labels.append(data[at + 1 : at + 1 + size].decode())
        at += size + 1
    return ".".join(labels), at + 1


class ScriptedResolver:
    """Answers from a table the test changes; a missing name is a failure."""

    def __init__(self, **addresses: list[str]) -> None:
        self.table: dict[str, list[str]] = dict(addresses)
        """Name (with `_` for `.`) -> addresses."""
        self.ttl = 30.0
        self.asked: list[str] = []
        self.held: asyncio.Event | None = None
        """When set to an event, answers wait for it."""
        self.closed = False

    async def resolve(self, name: str) -> Answer:
        self.asked.append(name)
        if self.held is not None:
            await self.held.wait()
        found = self.table.get(name.replace(".", "_"))
        if found is None:
            raise OSError("scripted failure")
        return Answer(tuple(found), self.ttl)

    async def close(self) -> None:
        self.closed = True
