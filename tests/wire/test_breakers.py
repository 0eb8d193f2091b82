"""Limits of clusters through a whole gateway: what waits, what is refused, and how that looks."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from support.scripted import (
    SILENCE,
    cluster,
    forwards,
    lines,
    many,
    reply,
    rule,
    scripted,
    status,
)
from support.stage import Stage, route, service, stage
from support.waiting import until

SEED = Path(__file__).parent.parent / "config" / "seed"
OVERFLOW = b"\r\n\r\nupstream connect error or disconnect/reset before headers. reset reason: overflow"


def limited(port: int, pool: str) -> str:
    return (
        service("reviews", port)
        + route("reviews", forwards(', retries: {attempts: 3, retryOn: "5xx,reset,connect-failure"}'))
        + rule("reviews", f"{{connectionPool: {pool}}}")
    )


def is_overflow(answer: bytes) -> bool:
    """503 with Envoy's words and header."""
    headers = answer.partition(b"\r\n\r\n")[0]
    return (
        status(answer) == 503
        and answer.endswith(OVERFLOW)
        and re.search(rb"\r\nx-envoy-overloaded: true\b", headers) is not None
    )


def open_breakers(gateway: Stage, host: str = "reviews") -> set[str]:
    return {item.limit for item in cluster(gateway, host).pool.breakers() if item.open}


def test_more_requests_than_allowed_are_refused_and_not_repeated(tmp_path: Path) -> None:
    async def main() -> None:
        backend = scripted(reply(200))
        async with (
            backend.running(),
            stage(tmp_path, limited(backend.port, "{http: {http2MaxRequests: 2}}")) as gateway,
        ):
            backend.gate.clear()
            both = asyncio.gather(gateway.get(), gateway.get())
            await until(lambda: backend.under_way == 2)
            assert open_breakers(gateway) == {"max_requests"}
            assert is_overflow(await gateway.get())
            backend.gate.set()
            assert [status(answer) for answer in await both] == [200, 200]
            assert status(await gateway.get()) == 200
            assert len(backend.asked) == 3
            assert open_breakers(gateway) == set()
            refused = next(item for item in lines(gateway) if item["response_code"] == 503)
            assert refused["response_flags"] == "UO"
            assert refused["response_code_details"] == "upstream_reset_before_response_started{overflow}"

    asyncio.run(main())


def test_at_the_limit_of_connections_requests_wait_and_too_many_waiting_are_refused(tmp_path: Path) -> None:
    async def main() -> None:
        backend = scripted(reply(200))
        limits = "{tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 2}}"
        async with backend.running(), stage(tmp_path, limited(backend.port, limits)) as gateway:
            backend.gate.clear()
            first = asyncio.create_task(gateway.get())
            await until(lambda: backend.under_way == 1)
            waiting = [asyncio.create_task(gateway.get()) for _ in range(2)]
            pool = cluster(gateway).pool
            await until(lambda: pool.pending == 2)
            assert open_breakers(gateway) == {"max_connections", "max_pending_requests"}
            assert is_overflow(await gateway.get())
            backend.gate.set()
            assert [status(await item) for item in (first, *waiting)] == [200, 200, 200]
            assert len(backend.calls) == 1

    asyncio.run(main())


def test_a_client_that_leaves_gives_its_place_back(tmp_path: Path) -> None:
    async def main() -> None:
        backend = scripted(SILENCE, reply(200))
        async with (
            backend.running(),
            stage(tmp_path, limited(backend.port, "{http: {http2MaxRequests: 1}}")) as gateway,
        ):
            _, writer = await gateway.connect()
            writer.write(b"GET / HTTP/1.1\r\nHost: reviews\r\n\r\n")
            await until(lambda: backend.under_way == 1)
            assert is_overflow(await gateway.get())
            writer.close()
            await until(lambda: cluster(gateway).pool.active() == 0)
            assert status(await gateway.get()) == 200

    asyncio.run(main())


def test_the_circuit_breaker_block_of_the_founding_document(tmp_path: Path) -> None:
    """100 connections and 10 waiting requests at most, two requests a connection; five gateway errors in a row
    eject, half of the endpoints at most.
    """
    seed = (SEED / "circuit-breaker.yaml").read_text() + "\n---"

    async def main() -> None:
        good, bad = scripted(reply(200)), scripted(reply(503))
        async with good.running(), bad.running():
            config = (
                seed + service("httpbin", good.port, bad.port) + route("httpbin", forwards(host="httpbin"))
            )
            async with stage(tmp_path, config) as gateway:
                statuses = await many(gateway, 100, connections=5, host="httpbin")
                assert len(bad.asked) == statuses.count(503) < 5 + 5
                assert statuses.count(503) >= 5
                assert cluster(gateway, "httpbin").outlier.active == 1
                assert len(good.calls) >= len(good.asked) // 2
                backlog = [asyncio.create_task(gateway.get(host="httpbin")) for _ in range(150)]
                good.gate.clear()
                await until(lambda: good.under_way + sum(task.done() for task in backlog) >= 100)
                good.gate.set()
                answers = await asyncio.gather(*backlog)
                assert all(status(answer) == 200 or is_overflow(answer) for answer in answers)
                assert any(is_overflow(answer) for answer in answers)

    asyncio.run(main())
