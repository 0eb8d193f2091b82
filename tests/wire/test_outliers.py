"""Endpoints that fail, through a whole gateway: out at the threshold, back after their time, missed by nobody."""

from __future__ import annotations

import asyncio
from pathlib import Path

from support.scripted import (
    RESET,
    Asked,
    Play,
    Scripted,
    cluster,
    forwards,
    many,
    reply,
    rule,
    scripted,
    status,
)
from support.stage import Stage, route, service, stage
from support.waiting import until

SEED_RETRIES = (
    ', retries: {attempts: 3, perTryTimeout: 2s, retryOn: "5xx,reset,connect-failure,refused-stream"}'
)


def ejecting(fields: str) -> str:
    return rule("reviews", f"{{outlierDetection: {{{fields}, maxEjectionPercent: 100}}}}")


async def until_out(gateway: Stage, ejected: int) -> None:
    """Waits until so many endpoints are ejected."""
    detector = cluster(gateway).outlier
    assert detector is not None
    await until(lambda: detector.active == ejected)


def test_the_fifth_failure_ejects_and_time_brings_back(tmp_path: Path) -> None:
    async def main() -> None:
        mood = [reply(503)]
        moody = Scripted(lambda _: mood[0])
        good = scripted(reply(200))
        async with moody.running(), good.running():
            config = (
                service("reviews", moody.port, good.port)
                + route("reviews", forwards())
                + ejecting("consecutiveErrors: 5, interval: 100ms, baseEjectionTime: 300ms")
            )
            async with stage(tmp_path, config) as gateway:
                while len(moody.asked) < 5:
                    await gateway.get()
                detector = cluster(gateway).outlier
                assert detector is not None
                assert detector.active == 1
                assert await many(gateway, 20) == [200] * 20
                assert len(moody.asked) == 5
                mood[0] = reply(200)
                await until_out(gateway, 0)
                while len(moody.asked) < 8:
                    assert status(await gateway.get()) == 200

    asyncio.run(main())


def test_when_all_are_ejected_there_is_no_healthy_upstream(tmp_path: Path) -> None:
    async def main() -> None:
        backend = scripted(RESET)
        async with backend.running():
            config = (
                service("reviews", backend.port)
                + route("reviews", forwards(", retries: {attempts: 0}"))
                + ejecting("consecutiveGatewayErrors: 2")
            )
            async with stage(tmp_path, config) as gateway:
                answers = [
                    await gateway.get(method="POST", headers="Content-Length: 0\r\n") for _ in range(3)
                ]
                assert answers[2].endswith(b"\r\n\r\nno healthy upstream")
                assert len(backend.asked) == 2

    asyncio.run(main())


def test_a_killed_endpoint_of_four_costs_no_client_an_error_and_serves_again(tmp_path: Path) -> None:
    """It dies under load with connections open and requests under way; the seed's retries hide it."""

    async def main() -> None:
        backends = [scripted(reply(200)) for _ in range(4)]
        first, *others = backends
        async with others[0].running(), others[1].running(), others[2].running():
            life = first.running()
            await life.__aenter__()
            config = (
                service("reviews", *(backend.port for backend in backends))
                + route("reviews", forwards(SEED_RETRIES))
                + ejecting("consecutiveErrors: 5, interval: 100ms, baseEjectionTime: 500ms")
            )
            async with stage(tmp_path, config) as gateway:
                stop = asyncio.Event()
                found: list[int] = []

                async def client() -> None:
                    reader, writer = await gateway.connect()
                    while not stop.is_set():
                        writer.write(b"GET / HTTP/1.1\r\nHost: reviews\r\n\r\n")
                        head = await reader.readuntil(b"\r\n\r\n")
                        found.append(int(head[9:12]))
                        if found[-1] != 200:
                            break
                    writer.close()

                clients = [asyncio.create_task(client()) for _ in range(16)]
                await until(lambda: len(first.asked) > 100)
                await life.__aexit__(None, None, None)
                await until_out(gateway, 1)
                served = len(first.asked)
                async with first.running():
                    await until(lambda: len(first.asked) > served + 100)
                    stop.set()
                    await asyncio.gather(*clients)
                assert set(found) == {200}

    asyncio.run(main())


def test_faults_and_limits_of_our_own_are_not_the_endpoints(tmp_path: Path) -> None:
    """An injected abort and an overflow eject nobody, however low the threshold."""

    async def main() -> None:
        def play(asked: Asked) -> Play:
            assert asked.target == "/"
            return reply(200)

        backend = Scripted(play)
        async with backend.running():
            config = (
                service("reviews", backend.port)
                + route(
                    "reviews",
                    "\n  - match: [{uri: {exact: /fault}}]"
                    "\n    fault: {abort: {httpStatus: 503, percentage: {value: 100}}}"
                    "\n    route: [{destination: {host: reviews}}]" + forwards(),
                )
                + rule(
                    "reviews",
                    "{outlierDetection: {consecutiveGatewayErrors: 1, maxEjectionPercent: 100},"
                    " connectionPool: {http: {http2MaxRequests: 1}}}",
                )
            )
            async with stage(tmp_path, config) as gateway:
                assert status(await gateway.get("/fault")) == 503
                backend.gate.clear()
                first = asyncio.create_task(gateway.get())
                await until(lambda: backend.under_way == 1)
                assert status(await gateway.get()) == 503
                backend.gate.set()
                assert status(await first) == 200
                detector = cluster(gateway).outlier
                assert detector is not None
                assert detector.active == 0

    asyncio.run(main())
