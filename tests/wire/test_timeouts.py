"""Timeouts through a whole gateway: of a route, of a try, of a connection, of silence."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from support.backend import SilentPort
from support.scripted import (
    SILENCE,
    cluster,
    forwards,
    lines,
    reply,
    rule,
    scripted,
    status,
    told,
)
from support.stage import Backend, Call, route, service, stage
from support.waiting import until

SEED = Path(__file__).parent.parent / "config" / "seed"
LATE = b"\r\n\r\nupstream request timeout"


LONG = b"HTTP/1.1 200 OK\r\ncontent-length: 16385\r\n\r\nhalf"
"""Too long to be held until it is whole."""


async def stopping(call: Call) -> None:
    """A body that is short enough to be held until it is whole, and never is."""
    await call.head()
    await call.send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")
    await call.reader.readexactly(1)


def test_a_route_whose_backend_is_silent_is_504(tmp_path: Path) -> None:
    """It covers all tries: nothing is repeated after it."""

    async def main() -> None:
        backend = scripted(SILENCE)
        async with backend.running():
            config = service("reviews", backend.port) + route(
                "reviews", forwards(', timeout: 100ms, retries: {attempts: 3, retryOn: "5xx,reset"}')
            )
            async with stage(tmp_path, config) as gateway:
                answer = await gateway.get()
                assert answer.startswith(b"HTTP/1.1 504 ")
                assert answer.endswith(LATE)
                assert told(gateway) == (504, "UT", "response_timeout")
                assert [asked.number for asked in backend.asked] == ["1"]
                assert backend.asked[0].header("x-envoy-expected-rq-timeout-ms") == "100"
                await asyncio.wait_for(until(lambda: backend.under_way == 0), 5)

    asyncio.run(main())


def test_a_timeout_inside_a_response_cuts_it_off(tmp_path: Path) -> None:
    async def play(call: Call) -> None:
        await call.head()
        await call.send(LONG)
        await call.reader.read()

    async def main() -> None:
        async with Backend(play).running() as backend:
            config = service("reviews", backend.port) + route("reviews", forwards(", timeout: 100ms"))
            async with stage(tmp_path, config) as gateway:
                answer = await gateway.get()
                assert answer.endswith(b"\r\n\r\nhalf")
                assert told(gateway)[:2] == (200, "UT")

    asyncio.run(main())


def test_a_timeout_inside_a_response_that_is_held_is_504(tmp_path: Path) -> None:
    """Nothing of it went downstream."""

    async def main() -> None:
        async with Backend(stopping).running() as backend:
            config = service("reviews", backend.port) + route("reviews", forwards(", timeout: 100ms"))
            async with stage(tmp_path, config) as gateway:
                assert (await gateway.get()).endswith(LATE)
                assert told(gateway) == (504, "UT", "response_timeout")
                await asyncio.wait_for(backend.closed.wait(), 5)

    asyncio.run(main())


def test_an_upload_is_not_counted(tmp_path: Path) -> None:
    """The route's timeout starts when the request is complete (Envoy)."""

    async def main() -> None:
        backend = scripted(reply(200))
        async with backend.running():
            config = service("reviews", backend.port) + route("reviews", forwards(", timeout: 100ms"))
            async with stage(tmp_path, config) as gateway:
                reader, writer = await gateway.connect()
                writer.write(b"POST / HTTP/1.1\r\nHost: reviews\r\nContent-Length: 2\r\n\r\nh")
                await asyncio.sleep(0.3)  # three times the timeout: what is tested is that it does not run
                writer.write(b"i")
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
                writer.close()

    asyncio.run(main())


def per_try(retry_on: str, attempts: int = 1) -> str:
    return route(
        "reviews",
        forwards(
            f', retries: {{attempts: {attempts}, perTryTimeout: 100ms, retryOn: "{retry_on}", backoff: 1ms}}'
        ),
    )


def test_a_slow_try_is_repeated_when_5xx_or_reset_is_named(tmp_path: Path) -> None:
    async def main() -> None:
        backend = scripted(SILENCE, reply(200))
        async with backend.running():
            config = service("reviews", backend.port) + per_try("gateway-error")
            async with stage(tmp_path, config) as gateway:
                assert status(await gateway.get()) == 200
                assert [asked.number for asked in backend.asked] == ["1", "2"]
                assert backend.asked[0].header("x-envoy-expected-rq-timeout-ms") == "100"

    asyncio.run(main())


def test_a_try_that_stops_inside_a_held_body_is_repeated(tmp_path: Path) -> None:
    """Its time goes on while its answer is held."""

    async def play(call: Call) -> None:
        head = await call.head()
        if b"x-envoy-attempt-count: 1\r\n" in head:
            await call.send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")
            await call.reader.read()
        else:
            await call.send(reply(200, b"the whole"))

    async def main() -> None:
        async with Backend(play).running() as backend:
            config = service("reviews", backend.port) + per_try("reset")
            async with stage(tmp_path, config) as gateway:
                assert (await gateway.get()).endswith(b"\r\n\r\nthe whole")
                assert len(backend.calls) == 2

    asyncio.run(main())


def test_a_slow_try_is_final_when_only_connecting_is_named(tmp_path: Path) -> None:
    async def main() -> None:
        backend = scripted(SILENCE, reply(200))
        async with backend.running():
            config = service("reviews", backend.port) + per_try("connect-failure,refused-stream")
            async with stage(tmp_path, config) as gateway:
                assert (await gateway.get()).endswith(LATE)
                assert told(gateway) == (504, "UT", "upstream_per_try_timeout")
                assert len(backend.asked) == 1

    asyncio.run(main())


def test_slow_tries_use_the_retries_up(tmp_path: Path) -> None:
    async def main() -> None:
        backend = scripted(SILENCE)
        async with backend.running():
            config = service("reviews", backend.port) + per_try("reset", 2)
            async with stage(tmp_path, config) as gateway:
                assert (await gateway.get()).endswith(LATE)
                code, flags, details = told(gateway)
                assert (code, set(flags.split(",")), details) == (
                    504,
                    {"UT", "URX"},
                    "upstream_per_try_timeout",
                )
                assert len(backend.asked) == 3

    asyncio.run(main())


def test_the_timeout_of_a_route_covers_connecting_that_of_a_try_does_not(tmp_path: Path) -> None:
    async def main() -> None:
        with SilentPort() as port:
            config = (
                service("reviews", port)
                + route(
                    "reviews",
                    forwards(
                        ', timeout: 300ms, retries: {attempts: 3, perTryTimeout: 50ms, retryOn: "5xx,reset"}'
                    ),
                )
                + rule("reviews", "{connectionPool: {tcp: {connectTimeout: 10s}}}")
            )
            async with stage(tmp_path, config) as gateway:
                assert (await gateway.get()).endswith(LATE)
                assert told(gateway) == (504, "UT", "response_timeout")
                assert cluster(gateway).endpoints[0].requests == 1
                assert cluster(gateway).pool.active() == 0

    asyncio.run(main())


def test_a_connection_that_does_not_come_about_is_503_uf(tmp_path: Path) -> None:
    async def main() -> None:
        with SilentPort() as port:
            config = (
                service("reviews", port)
                + route("reviews", forwards(", retries: {attempts: 0}"))
                + rule("reviews", "{connectionPool: {tcp: {connectTimeout: 50ms}}}")
            )
            async with stage(tmp_path, config) as gateway:
                answer = await gateway.get()
                assert answer.endswith(b"disconnect/reset before headers. reset reason: connection timeout")
                assert told(gateway) == (
                    503, "UF", "upstream_reset_before_response_started{connection_timeout}",
                )  # fmt: skip

    asyncio.run(main())


IDLE = "  timeouts: {streamIdle: 200ms}"


def test_a_response_that_falls_silent_is_cut_off(tmp_path: Path) -> None:
    """No route's timeout is needed for that; the backend's connection is closed, and it is not to blame."""

    async def play(call: Call) -> None:
        await call.head()
        await call.send(LONG)
        await call.reader.read()
        raise ConnectionError

    async def main() -> None:
        async with Backend(play).running() as backend:
            config = (
                service("reviews", backend.port)
                + route("reviews", forwards())
                + rule("reviews", "{outlierDetection: {consecutiveGatewayErrors: 1}}")
            )
            async with stage(tmp_path, config, settings=IDLE) as gateway:
                answer = await gateway.get()
                assert answer.endswith(b"\r\n\r\nhalf")
                assert told(gateway) == (200, "SI", "stream_idle_timeout")
                await asyncio.wait_for(backend.closed.wait(), 5)
                assert cluster(gateway).outlier.active == 0

    asyncio.run(main())


async def mute(call: Call) -> None:
    await call.head()
    await call.reader.readexactly(1)


@pytest.mark.parametrize("play", [mute, stopping])
def test_a_backend_that_falls_silent_before_anything_was_passed_on_is_504(tmp_path: Path, play: Any) -> None:
    """No route's timeout is needed; like the route's it is final, and the backend is not to blame (Envoy)."""

    async def main() -> None:
        async with Backend(play).running() as backend:
            config = (
                service("reviews", backend.port)
                + route("reviews", forwards(', retries: {attempts: 2, retryOn: "5xx,reset"}'))
                + rule("reviews", "{outlierDetection: {consecutiveGatewayErrors: 1}}")
            )
            async with stage(tmp_path, config, settings=IDLE) as gateway:
                answer = await gateway.get()
                assert answer.startswith(b"HTTP/1.1 504 ")
                assert answer.endswith(b"\r\n\r\nstream timeout")
                assert told(gateway) == (504, "SI", "stream_idle_timeout")
                await asyncio.wait_for(backend.closed.wait(), 5)
                assert len(backend.calls) == 1
                assert cluster(gateway).outlier.active == 0
                assert cluster(gateway).pool.active() == 0

    asyncio.run(main())


def test_a_request_that_gets_no_connection_is_504(tmp_path: Path) -> None:
    """The only one there may be streams for ever; whose body is waiting is not to blame."""

    async def play(call: Call) -> None:
        await call.head()
        await call.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await call.send(b"more")
            await asyncio.sleep(0.02)

    async def main() -> None:
        async with Backend(play).running() as backend:
            config = (
                service("reviews", backend.port)
                + route("reviews", forwards())
                + rule("reviews", "{connectionPool: {tcp: {maxConnections: 1}}}")
            )
            async with stage(tmp_path, config, settings=IDLE) as gateway:
                reader, writer = await gateway.connect()
                writer.write(b"GET / HTTP/1.1\r\nHost: reviews\r\n\r\n")
                await reader.readuntil(b"more")
                answer = await gateway.get(method="POST", headers="Content-Length: 2\r\n\r\nhi")
                assert answer.startswith(b"HTTP/1.1 504 ")
                assert told(gateway) == (504, "SI", "stream_idle_timeout")
                await reader.readuntil(b"more")
                writer.close()

    asyncio.run(main())


def test_an_upload_that_stops_is_408(tmp_path: Path) -> None:
    """It is not the backend that was silent."""

    async def main() -> None:
        backend = scripted(reply(200))
        async with backend.running():
            config = service("reviews", backend.port) + route("reviews", forwards())
            async with stage(tmp_path, config, settings=IDLE) as gateway:
                reader, writer = await gateway.connect()
                writer.write(b"POST / HTTP/1.1\r\nHost: reviews\r\nContent-Length: 2\r\n\r\nh")
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 408 ")
                writer.close()
                await until(lambda: bool(gateway.logged()))
                assert told(gateway) == (408, "SI", "stream_idle_timeout")

    asyncio.run(main())


def test_a_response_that_drips_is_not_silent(tmp_path: Path) -> None:
    """Each piece comes within the limit, all of them take several times as long."""

    async def play(call: Call) -> None:
        await call.head()
        await call.send(b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n")
        for _ in range(12):
            await asyncio.sleep(0.07)
            await call.send(b"x")

    async def main() -> None:
        async with Backend(play).running() as backend:
            config = service("reviews", backend.port) + route("reviews", forwards())
            async with stage(tmp_path, config, settings=IDLE) as gateway:
                assert (await gateway.get()).endswith(b"x" * 12)

    asyncio.run(main())


def test_a_client_that_is_slow_to_read_is_not_a_silent_backend(tmp_path: Path) -> None:
    """The backend has sent all there is long ago; that nobody takes it is not its silence."""
    size = 32 * 1024 * 1024

    async def main() -> None:
        backend = scripted(reply(200, bytes(size)))
        async with backend.running():
            config = service("reviews", backend.port) + route("reviews", forwards())
            async with stage(tmp_path, config, settings="  timeouts: {streamIdle: 1h}") as gateway:
                pool = cluster(gateway).pool
                reader, writer = await gateway.connect()
                writer.write(b"GET / HTTP/1.1\r\nHost: reviews\r\nConnection: close\r\n\r\n")
                await reader.readuntil(b"\r\n\r\n")
                (connection,) = pool.open
                await until(lambda: connection._paused)
                for hours in range(10):
                    pool.look(pool.clock() + 3600.0 * hours)
                assert len(await reader.read()) == size
                writer.close()
                assert lines(gateway)[0]["response_flags"] == "-"

    asyncio.run(main())


def test_the_timeout_block_of_the_founding_document(tmp_path: Path) -> None:
    """Ten seconds, told to the backend; an answer in time is passed on."""
    seed = (SEED / "timeout.yaml").read_text() + "\n---"

    async def main() -> None:
        backend = scripted(reply(200, b"stars"))
        async with backend.running(), stage(tmp_path, seed + service("reviews", backend.port)) as gateway:
            assert (await gateway.get()).endswith(b"stars")
            assert backend.asked[0].header("x-envoy-expected-rq-timeout-ms") == "10000"
            assert repr(gateway.gateway._spine._deadlines.queue(10.0)) == "<Queue of 0 for 10.0 s>"

    asyncio.run(main())
