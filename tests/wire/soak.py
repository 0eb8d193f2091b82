"""A process under load from clients and backends that misbehave, while its configuration changes every second.

cd tests; python -m wire.soak [--seconds N] [--seed N]
Says what is wrong and exits with 1, or says what was played. `scripts/fuzz soak` runs it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import re
import struct
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET
from urllib.request import urlopen

sys.path.insert(0, str(Path(__file__).parents[1]))

from prometheus_client.parser import text_string_to_metric_families
from support.process import gateway

CONFIG = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: reviews}
spec:
  hosts: [reviews]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  location: MESH_INTERNAL
  endpoints:
  - {address: 127.0.0.1, ports: {http: %(port)d}}
  - {address: 127.0.0.1, ports: {http: %(other)d}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  trafficPolicy: {connectionPool: {tcp: {maxConnections: %(connections)d}, http: {maxRequestsPerConnection: %(worn)d}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - name: direct
    match: [{uri: {prefix: /direct}}]
    directResponse: {status: 200, body: {string: direct}}
  - name: calm
    match: [{uri: {prefix: /calm}}]
    route: [{destination: {host: reviews}, headers: {response: {add: {x-generation: "%(number)d"}}}}]
    retries: {attempts: 3, retryOn: "5xx,reset,connect-failure", perTryTimeout: 0.5s}
    timeout: 4s
  - name: rest
    route: [{destination: {host: reviews}}]
    timeout: 2s
---
apiVersion: gateway.asgi/v1
kind: GatewaySettings
metadata: {name: soak}
spec:
  accessLog: {path: %(log)s}
  serverName: soak-%(number)d
  timeouts: {downstreamIdle: 5s, requestHead: 3s, requestBodyIdle: 3s}
"""
EVIL = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nx-id: evil\r\n\r\nEVIL"


class Faulty:
    """A backend that answers as it likes."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.departures: Counter[int] = Counter()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ValueError):
            while await self._answer(reader, writer):
                pass
        writer.close()

    async def _answer(  # noqa: PLR0912 - a list of faults
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.split(b" ", 2)
        number = int(target.partition(b"id=")[2])
        self.departures[number] += 1
        calm, dice = target.startswith(b"/calm"), self.dice
        # Where clients count, nothing happens that must cut them off.
        how = dice.choice((0, 0, 0, 0, 0, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12)) if calm else dice.randrange(14)
        if how != 1:
            await _skip_body(reader, head)
        unit = b"[%d]" % number
        size = dice.choice((5, 300, 9000) if how == 6 else (5, 300, 9000, 20000, 300000))
        body = (unit * (size // len(unit) + 1))[:size]
        start = b"HTTP/1.1 200 OK\r\nx-id: %d\r\n" % number
        sized = start + b"content-length: %d\r\n\r\n" % size
        if method == b"HEAD":
            writer.write(sized)
            return True
        match how:
            case 1:  # early, with the body unread
                writer.write(sized + body)
                return False
            case 2:
                return False
            case 3:
                sock = writer.get_extra_info("socket")
                sock.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
                return False
            case 4:
                writer.write(sized + body[: dice.randrange(size)])
                return False
            case 5:
                writer.write(b"NONSENSE\r\n\r\n")
                return False
            case 6:
                writer.write(sized + body + EVIL)
            case 7:
                writer.write(
                    start + b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (size, body)
                )
            case 8:
                writer.write(start + b"\r\n" + body)
                return False
            case 9:
                for piece in (sized[:20], sized[20:], body[: size // 2], body[size // 2 :]):
                    writer.write(piece)
                    await asyncio.sleep(0.002)
            case 10:
                writer.write(b"HTTP/1.1 204 No Content\r\nx-id: %d\r\n\r\n" % number)
            case 11:
                await asyncio.sleep(dice.choice((0.05, 0.6)))
                writer.write(sized + body)
            case 12:
                writer.write(b"HTTP/1.1 503 Not Now\r\nx-id: %d\r\ncontent-length: 0\r\n\r\n" % number)
            case _:
                writer.write(sized + body)
        await writer.drain()
        return True


async def _skip_body(reader: asyncio.StreamReader, head: bytes) -> None:
    if b"\r\ntransfer-encoding: chunked\r\n" in head:
        while size := int(await reader.readline(), 16):
            await reader.readexactly(size + 2)
        await reader.readline()
    elif found := re.search(rb"\r\ncontent-length: (\d+)\r\n", head):
        await reader.readexactly(int(found[1]))


class Soak:
    """The clients, and what they saw."""

    def __init__(self, port: int, dice: random.Random) -> None:
        self.port = port
        self.dice = dice
        self.number = 0
        self.once: set[int] = set()
        """Requests that no backend may get twice."""
        self.calm = self.answered = 0
        """Answers on the route where all clients behave, and altogether."""
        self.wrong: list[str] = []

    def ask(self, path: str) -> tuple[int, bytes, bytes]:
        """A request: number, method, bytes."""
        self.number = number = self.number + 1
        dice = self.dice
        method = dice.choice(("GET", "GET", "GET", "HEAD", "POST", "PUT"))
        head = f"{method} {path}?id={number} HTTP/1.1\r\nhost: reviews\r\nuser-agent: soak\r\n"
        body = b""
        if method in {"POST", "PUT"}:
            calm = path == "/calm"
            body = b"b" * dice.choice((0, 10, 10, 1000, 1000 if calm else 100000))
            if method == "POST" and body and not calm:
                self.once.add(number)
            if body and not calm and dice.random() < 0.2:
                head += "transfer-encoding: chunked\r\n"
                body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
            else:
                head += f"content-length: {len(body)}\r\n"
        return number, method.encode(), head.encode() + b"\r\n" + body

    async def behaving(self, until: float) -> None:
        """Asks and reads, several at a time, and counts."""
        while time.monotonic() < until:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)
            try:
                for _ in range(self.dice.randrange(1, 30)):
                    batch = [self.ask("/calm") for _ in range(self.dice.choice((1, 1, 1, 4)))]
                    writer.write(b"".join(data for *_, data in batch))
                    for number, method, _ in batch:
                        async with asyncio.timeout(30):
                            closes = await self.answer(reader, number, method)
                        self.calm += 1
                        if closes and number != batch[-1][0]:
                            self.wrong.append(f"request {number}: closed before its batch was answered")
            except (ConnectionError, asyncio.IncompleteReadError) as error:
                self.wrong.append(f"a client that behaves was cut off: {error!r}")
            except TimeoutError:
                self.wrong.append("a client that behaves had no answer for 30 s")
            finally:
                writer.close()

    async def rude(self, until: float) -> None:
        """Pipelines, stops reading, leaves in the middle, or sends nonsense."""
        dice = self.dice
        while time.monotonic() < until:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)
            batch = [
                self.ask(dice.choice(("/rest", "/rest", "/direct", "/none%zz")))
                for _ in range(dice.randrange(1, 9))
            ]
            data = b"".join(data for *_, data in batch)
            how = dice.randrange(6)
            if how == 0:
                data = data[: dice.randrange(1, len(data))]
            elif how == 1:
                data += b"\x00nonsense\r\n\r\n"
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, TimeoutError):
                at = 0
                while at < len(data):
                    step = dice.choice((1 << 20, 1 << 20, 1000, 50)) if len(data) < 5000 else 1 << 20
                    writer.write(data[at : at + step])
                    at += step
                    await asyncio.sleep(0)
                if how == 2:
                    writer.write_eof()
                if how == 3:
                    await asyncio.sleep(dice.random() * 0.02)
                    writer.transport.abort()
                elif how == 4:
                    writer.transport.pause_reading()  # type: ignore[attr-defined]
                    await asyncio.sleep(dice.random() * 0.5)
                    writer.transport.resume_reading()  # type: ignore[attr-defined]
                async with asyncio.timeout(5):
                    for number, method, _ in batch:
                        if await self.answer(reader, number, method):
                            break
            writer.close()
            await asyncio.sleep(0)

    async def answer(self, reader: asyncio.StreamReader, number: int, method: bytes) -> bool:
        """Reads the answer to request `number`; whether it says that the connection closes."""
        head = await reader.readuntil(b"\r\n\r\n")
        own = re.search(rb"\r\nx-id: (\w+)\r\n", head)
        if own is not None and own[1] != b"%d" % number:
            self.wrong.append(f"request {number} got {own[1]!r}")
        status = int(head[9:12])
        length = re.search(rb"\r\ncontent-length: (\d+)\r\n", head)
        body = b""
        if method == b"HEAD" or status in {204, 304}:
            pass
        elif length:
            body = await reader.readexactly(int(length[1]))
        else:
            while size := int(await reader.readline(), 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readline()
        unit = b"[%d]" % number
        if own is not None and body != (unit * (len(body) // len(unit) + 1))[: len(body)]:
            self.wrong.append(f"request {number} got another body: {body[:60]!r}")
        self.answered += status not in {400, 408}  # those may be answers to no request
        return b"\r\nconnection: close\r\n" in head


async def play(seconds: float, seed: int) -> int:
    """Plays; the exit code."""
    dice = random.Random(seed)
    faulty = Faulty(dice)
    servers = [await asyncio.start_server(faulty.serve, "127.0.0.1", 0, limit=1 << 20) for _ in range(2)]
    port, other = (server.sockets[0].getsockname()[1] for server in servers)
    with tempfile.TemporaryDirectory() as folder:
        log, path = Path(folder, "log"), Path(folder, "routes.yaml")

        def configure(number: int) -> None:
            new = path.with_suffix(".new")
            new.write_text(
                CONFIG
                % {
                    "port": port,
                    "other": other,
                    "log": log,
                    "number": number,
                    "connections": dice.choice((4, 30, 1024)),
                    "worn": dice.choice((0, 0, 3)),
                }
            )
            new.replace(path)

        configure(0)
        with await asyncio.to_thread(gateway, path, admin="127.0.0.1:0") as process:
            soak = Soak(process.port, dice)

            async def reload(until: float) -> None:
                number = 0
                while time.monotonic() < until:
                    await asyncio.sleep(1)
                    configure(number := number + 1)

            async def round_of(length: float) -> int:
                until = time.monotonic() + length
                await asyncio.gather(
                    *(soak.behaving(until) for _ in range(8)),
                    *(soak.rude(until) for _ in range(8)),
                    reload(until),
                )
                return _resident(process.pid)

            sizes = [await round_of(seconds / 4) for _ in range(4)]
            metrics = await _at_rest(process.admin_port or 0)
            wrong = soak.wrong + _books(soak, faulty, metrics, sizes)
        entries = _entries(log)
        counted = int(value_of(metrics, "istio_requests_total"))
        if len(entries) != counted:
            wrong.append(f"{len(entries)} lines of {counted} requests")
        if len({entry["request_id"] for entry in entries}) != len(entries):
            wrong.append("a request was logged twice")
        noise = [
            line for line in process.output.splitlines() if re.search(r"Traceback|ERROR|exception", line)
        ]
        wrong += noise[:5]
    for server in servers:
        server.close()
    print(f"{soak.number} requests, {soak.answered} answers, {counted} counted; RSS {sizes} KiB")  # noqa: T201
    for line, times in Counter(wrong).most_common(20):
        print(f"{times}x {line}")  # noqa: T201
    return 1 if wrong else 0


def _books(soak: Soak, faulty: Faulty, metrics: str, sizes: list[int]) -> list[str]:
    """What does not add up when all is over."""
    wrong = []
    calm = value_of(metrics, "gateway_route_requests_total", route="calm")
    if calm != soak.calm:
        wrong.append(f"{soak.calm} answers on a quiet route, {calm} counted")
    counted = value_of(metrics, "istio_requests_total")
    if not soak.answered <= counted <= soak.number:
        wrong.append(f"{soak.answered} answers, {soak.number} requests, {counted} counted")
    wrong += [
        f"{name} is {value}"
        for name in (
            "gateway_downstream_requests_active",
            "gateway_pool_active_requests",
            "gateway_pool_pending_requests",
        )
        if (value := value_of(metrics, name))
    ]
    wrong += [
        f"request {number} was sent {times} times"
        for number, times in faulty.departures.items()
        if times > (1 if number in soak.once else 5)
    ]
    if sizes[-1] > sizes[1] * 1.15 + 4096:
        wrong.append(f"memory grows: {sizes} KiB")
    return wrong


def _entries(log: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


async def _at_rest(admin: int) -> str:
    """The metrics, when no request is under way any more."""
    deadline = time.monotonic() + 20
    while True:
        text = await asyncio.to_thread(_scrape, admin)
        if not value_of(text, "gateway_downstream_requests_active") or time.monotonic() > deadline:
            return text
        await asyncio.sleep(0.2)


def value_of(text: str, name: str, **labels: str) -> float:
    """The sum of a metric's samples that have these labels."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def _scrape(admin: int) -> str:
    with urlopen(f"http://127.0.0.1:{admin}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def _resident(pid: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) if found else 0


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    given = parser.parse_args()
    print(f"seed {given.seed}")  # noqa: T201
    return asyncio.run(play(given.seconds, given.seed))


if __name__ == "__main__":
    sys.exit(main())
