"""Backends for `stage` that answer request after request as a test tells them, and remember what they were asked.

backend = scripted(reply(503), reply(200, b"hello"))     # then 200 for ever: the last one is repeated
async with backend.running(), stage(folder, service("reviews", backend.port) + ...) as gateway:
    ...
assert [asked.number for asked in backend.asked] == ["1", "2"]
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from support.stage import Backend, Call, Stage, route

if TYPE_CHECKING:
    from gateway.upstream import Cluster


@dataclass(frozen=True)
class Asked:
    """One request as it came."""

    head: bytes
    body: bytes

    def header(self, name: str) -> str | None:
        """The value of a header, None without it."""
        found = re.search(rb"\r\n%b: ([^\r]*)\r\n" % name.encode(), self.head)
        return None if found is None else found[1].decode()

    @property
    def target(self) -> str:
        """The request target."""
        return self.head.split(b" ", 2)[1].decode()

    @property
    def number(self) -> str | None:
        """Which attempt it said to be."""
        return self.header("x-envoy-attempt-count")


@dataclass(frozen=True)
class Cut:
    """These bytes, then the end of the connection."""

    sent: bytes = b""
    reset: bool = False
    """By RST instead of FIN."""


class Silence:
    """Nothing, until the other side closes."""


Play = bytes | Cut | Silence
SILENCE = Silence()
RESET = Cut(reset=True)


def reply(status: int, body: bytes = b"", headers: str = "") -> bytes:
    """A response with a length."""
    head = f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n{headers}\r\n"
    return head.encode("latin-1") + body


class Scripted(Backend):
    """A backend with a script; `asked` is what came to it."""

    def __init__(self, plays: Sequence[Play] | Callable[[Asked], Play]) -> None:
        super().__init__(self._serve)
        self.asked: list[Asked] = []
        self.under_way = 0
        """Requests that are being answered."""
        self.gate = asyncio.Event()
        """Answers wait for it."""
        self.gate.set()
        self._plays = plays

    async def _serve(self, call: Call) -> None:
        while await self._answer(call):
            pass

    async def _answer(self, call: Call) -> bool:
        head = await call.head()
        asked = Asked(head, await body_of(call, head))
        number = len(self.asked)
        self.asked.append(asked)
        self.under_way += 1
        try:
            await self.gate.wait()
            plays = self._plays
            play = plays(asked) if callable(plays) else plays[min(number, len(plays) - 1)]
            return await _perform(call, play)
        finally:
            self.under_way -= 1


async def _perform(call: Call, play: Play) -> bool:
    """Whether the connection goes on."""
    match play:
        case bytes():
            await call.send(play)
            return True
        case Silence():
            await call.reader.read()
            return False
        case Cut():
            if play.sent:
                await call.send(play.sent)
            if play.reset:
                sock = call.writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                call.writer.transport.abort()
            return False


async def body_of(call: Call, head: bytes) -> bytes:
    """The request body, without its framing."""
    if b"\r\ntransfer-encoding: chunked\r\n" in head:
        body = b""
        while size := int(await call.reader.readline(), 16):
            body += (await call.reader.readexactly(size + 2))[:-2]
        await call.reader.readline()
        return body
    length = re.search(rb"\r\ncontent-length: ([0-9]+)\r\n", head)
    return await call.reader.readexactly(int(length[1])) if length else b""


def scripted(*plays: Play) -> Scripted:
    """Answers in this order; the last one again and again."""
    return Scripted(plays)


def rule(host: str, policy: str, extra: str = "") -> str:
    """A DestinationRule with this trafficPolicy (flow YAML)."""
    return f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {host.split(".", maxsplit=1)[0]}}}
spec:
  host: {host}
  trafficPolicy: {policy}
{extra}
---"""


def forwards(fields: str = "", host: str = "reviews") -> str:
    """A rule of a VirtualService that forwards to `host`; `fields` is further YAML, comma first."""
    return f"\n  - {{route: [{{destination: {{host: {host}}}}}]{fields}}}"


def lines(gateway: Stage) -> list[dict[str, Any]]:
    """The access log so far."""
    return [json.loads(line) for line in gateway.logged().splitlines()]


def line(gateway: Stage) -> dict[str, Any]:
    """The only line of the access log."""
    (only,) = lines(gateway)
    return only


def told(gateway: Stage) -> tuple[int, str, str]:
    """Status, flags and details of the only request."""
    only = line(gateway)
    return only["response_code"], only["response_flags"], only["response_code_details"]


def cluster(gateway: Stage, host: str = "reviews", subset: str = "") -> Cluster:
    """A cluster of the running gateway."""
    return gateway.gateway.control.registry.clusters[f"outbound|80|{subset}|{host}.default.svc.cluster.local"]


def status(answer: bytes) -> int:
    """Of a raw response."""
    return int(answer.split(b" ", 2)[1]) if answer else 0


async def many(gateway: Stage, count: int, connections: int = 8, **how: Any) -> list[int]:
    """Statuses of `count` requests, `connections` at a time; 0 for one that was cut off."""
    found: list[int] = []
    left = [count]

    async def client() -> None:
        while left[0] > 0:
            left[0] -= 1
            try:
                found.append(status(await gateway.get(**how)))
            except ConnectionError:
                found.append(0)

    await asyncio.gather(*(client() for _ in range(connections)))
    return found


def retrying(fields: str, more: str = "") -> str:
    """The route of `reviews` with these retries."""
    return route("reviews", forwards(f", retries: {{{fields}}}{more}"))


HALF = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"
"""Short enough to be held until it is whole."""
