"""Idle clients: 2 000 keep-alive connections are held, and every one of them is still served."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from bench import configs
from bench.backends import backends
from bench.processes import LOOPBACK
from bench.report import Result, number

if TYPE_CHECKING:
    from bench.lab import Lab
    from bench.subjects import Running

REQUEST = b"GET /reviews/7 HTTP/1.1\r\nhost: reviews\r\n\r\n"
AT_ONCE = 64
"""Requests in flight while all connections are used once."""
PATIENCE = 15.0


def run(lab: Lab) -> Result:
    """All subjects."""
    count = 500 if lab.quick else 2000
    result = Result(
        "idle",
        f"{count:,} keep-alive connections: each served once, idle for a while, served once more",
        ("subject", "opened", "served", "served again", "KiB a connection", "CPU ms/s while idle", "RSS MiB"),
    )
    with backends(lab.directory) as services:
        log = lab.directory / "idle.log"
        with lab.running(lambda _: lambda port: configs.canary(port, services, log)) as running:
            for name, subject in running.items():
                result.rows.append((name, *asyncio.run(_measure(subject, count, 3.0 if lab.quick else 10.0))))
                lab.say(f"{name}: {result.rows[-1]}")
    return result


async def _measure(subject: Running, count: int, idle: float) -> tuple[str, ...]:
    child = subject.child
    clients = await _open(subject.port, 1)
    await _serve(clients)
    before = child.rss()
    clients += await _open(subject.port, count - 1)
    first = await _serve(clients)
    grown = (child.rss() - before) * 1024 / max(1, len(clients))
    usage, began = child.usage(), time.perf_counter()
    await asyncio.sleep(idle)
    cost = (child.usage().cpu - usage.cpu) / (time.perf_counter() - began) * 1e3
    again = await _serve(clients)
    for _, writer in clients:
        writer.close()
    return (
        number(len(clients), 0), number(first, 0), number(again, 0), number(grown), number(cost),
        number(child.rss()),
    )  # fmt: skip


Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _open(port: int, count: int) -> list[Client]:
    clients: list[Client] = []
    for start in range(0, count, AT_ONCE):
        batch = range(min(AT_ONCE, count - start))
        found = await asyncio.gather(
            *(asyncio.open_connection(LOOPBACK, port) for _ in batch), return_exceptions=True
        )
        clients += [item for item in found if not isinstance(item, BaseException)]
    return clients


async def _serve(clients: list[Client]) -> int:
    """How many of the connections answered 200."""
    served = 0
    for start in range(0, len(clients), AT_ONCE):
        answers = await asyncio.gather(
            *(_ask(client) for client in clients[start : start + AT_ONCE]), return_exceptions=True
        )
        served += sum(answer is True for answer in answers)
    return served


async def _ask(client: Client) -> bool:
    reader, writer = client
    writer.write(REQUEST)
    async with asyncio.timeout(PATIENCE):
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.partition(b":")[2])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        )
        await reader.readexactly(length)
    return head.startswith(b"HTTP/1.1 200")
