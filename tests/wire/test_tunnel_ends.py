"""How long a tunnel lives, what ends it, and what it holds meanwhile."""

from __future__ import annotations

import asyncio
import socket
import struct
from pathlib import Path

import pytest
from support.raw import Raw
from support.scripted import RESET, SILENCE, cluster, scripted
from support.stage import Backend, Call, stage
from support.tunnels import (
    agreeing,
    agreeing_then,
    ends,
    handshake,
    idle,
    lines,
    to,
    tunnel,
)
from support.upstreams import LOOPS, Run
from support.waiting import until


def test_the_timeout_of_a_route_is_the_handshakes(tmp_path: Path) -> None:
    async def main() -> None:
        backend = scripted(SILENCE)
        async with backend.running(), stage(tmp_path, to(backend.port, ", timeout: 100ms")) as gateway:
            async with Raw(gateway.port) as raw:
                await raw.send(handshake())
                assert (await raw.response()).status == 504
            await idle(gateway)

    asyncio.run(main())


def test_an_open_tunnel_outlives_the_timeouts_of_its_route(tmp_path: Path) -> None:
    """Envoy as well, since 1.36: the route's timeout and that of a try are over with the 101; so is streamIdle."""
    more = ", timeout: 100ms, retries: {attempts: 1, perTryTimeout: 80ms}"
    settings = "  timeouts: {streamIdle: 100ms, requestBodyIdle: 100ms, downstreamIdle: 100ms}"

    async def main() -> None:
        async with (
            Backend(agreeing).running() as backend,
            stage(tmp_path, to(backend.port, more), settings=settings) as gateway,
            tunnel(gateway) as raw,
        ):
            await asyncio.sleep(0.4)  # four times each of them: what is tested is that none runs
            await raw.send(b"hi")
            assert await raw.read(2) == b"hi"

    asyncio.run(main())


@LOOPS
def test_a_silent_tunnel_ends_after_tunnel_idle(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            Backend(agreeing).running() as backend,
            stage(tmp_path, to(backend.port), settings="  timeouts: {tunnelIdle: 100ms}") as gateway,
        ):
            async with tunnel(gateway) as raw:
                assert await raw.closed() == b""
            await idle(gateway)
            (line,) = lines(gateway)
            assert (line["response_flags"], line["response_code_details"]) == ("SI", "tunnel_idle_timeout")

    run(main())


def test_a_limit_on_tunnels_is_503(tmp_path: Path) -> None:
    """And only for them; one that ends makes room."""

    async def main() -> None:
        async with (
            Backend(agreeing).running() as backend,
            stage(tmp_path, to(backend.port), settings="  limits: {tunnels: 1}") as gateway,
        ):
            async with tunnel(gateway):
                async with Raw(gateway.port) as raw:
                    await raw.send(handshake())
                    assert (await raw.response()).status == 503
                assert b"gateway_tunnels_open 1.0\n" in gateway.gateway.telemetry.exposition()
            await idle(gateway)
            async with tunnel(gateway):
                pass
            await idle(gateway)
            assert b"gateway_tunnels_open 0.0\n" in gateway.gateway.telemetry.exposition()
            assert lines(gateway)[0]["response_code_details"] == "tunnel_limit_reached"

    asyncio.run(main())


def test_a_tunnel_is_a_request_of_its_cluster(tmp_path: Path) -> None:
    """It counts for `http2MaxRequests` while it is open, and its connection is nobody else's ever after."""
    limited = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec: {host: reviews, trafficPolicy: {connectionPool: {http: {http2MaxRequests: 1}}}}
---"""

    async def main() -> None:
        async with (
            Backend(agreeing).running() as backend,
            stage(tmp_path, to(backend.port) + limited) as gateway,
        ):
            pool = cluster(gateway, "reviews").pool
            async with tunnel(gateway):
                assert (pool.active(), pool.connections) == (1, 1)
                async with Raw(gateway.port) as raw:
                    await raw.send(handshake())
                    assert (await raw.response()).status == 503
            await idle(gateway)
            assert (pool.active(), pool.connections) == (0, 1)  # that of the refused one lies idle

    asyncio.run(main())


def _reset(raw: Raw) -> None:
    sock = raw.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw.writer.transport.abort()


@LOOPS
@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_w06_a_client_that_vanishes_ends_its_upstream(run: Run, tmp_path: Path, reset: bool) -> None:
    async def main() -> None:
        async with Backend(agreeing).running() as backend, stage(tmp_path, to(backend.port)) as gateway:
            async with tunnel(gateway) as raw:
                if reset:
                    _reset(raw)
                else:
                    raw.writer.close()
                await asyncio.wait_for(until(backend.calls[0].writer.is_closing), 1)
            await idle(gateway)
            assert lines(gateway)[0]["response_flags"] == "DC"

    run(main())


@LOOPS
def test_w06_a_backend_that_vanishes_ends_its_client(run: Run, tmp_path: Path) -> None:
    """Reset: the client is cut off as well."""

    async def main() -> None:
        backend = scripted(lambda _: RESET)

        async def vanish(call: Call) -> None:
            await call.reader.readexactly(1)
            sock = call.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            call.writer.transport.abort()

        backend = Backend(agreeing_then(vanish))
        async with backend.running(), stage(tmp_path, to(backend.port)) as gateway:
            async with tunnel(gateway) as raw:
                await raw.send(b"!")
                assert await asyncio.wait_for(raw.closed(), 1) == b""
            await idle(gateway)
            (line,) = lines(gateway)
            assert line["response_flags"] == "UC"
            details = "upstream_reset_after_response_started{connection_termination}"
            assert line["response_code_details"] == details

    run(main())


@LOOPS
def test_a_direction_that_ends_leaves_the_other_open(run: Run, tmp_path: Path) -> None:
    """A half close is passed on behind the last byte."""

    async def late(call: Call) -> None:
        everything = await call.reader.read()
        await call.send(b"got %d" % len(everything))
        await call.send(b", bye")

    async def main() -> None:
        backend = Backend(agreeing_then(late))
        async with backend.running(), stage(tmp_path, to(backend.port)) as gateway:
            async with tunnel(gateway) as raw:
                await raw.send(b"x" * 1_000_000)
                raw.half_close()
                assert await raw.closed() == b"got 1000000, bye"
            await idle(gateway)
            (line,) = lines(gateway)
            assert (line["bytes_received"], line["bytes_sent"]) == (1_000_000, 16)

    run(main())


MUCH = 64 * 1024 * 1024
"""More than the kernel keeps for three sockets."""
MOST_HELD = 512 * 1024
"""Bytes in hand each way: the transport's mark, and what one read brings."""


@LOOPS
@pytest.mark.parametrize("upwards", [True, False], ids=["up", "down"])
def test_a_side_that_does_not_read_holds_the_other_back(run: Run, tmp_path: Path, upwards: bool) -> None:
    """Backpressure, bounded memory; and nothing is lost when it reads again."""

    async def main() -> None:
        read = asyncio.Event()
        taken: list[int] = []

        async def reading(call: Call) -> None:
            await read.wait()
            taken.append(len(await call.reader.readexactly(MUCH)))
            await call.send(b"all")

        async def sending(call: Call) -> None:
            await _send(call.writer, MUCH)

        backend = Backend(agreeing_then(reading if upwards else sending))
        async with backend.running(), stage(tmp_path, to(backend.port)) as gateway:
            async with tunnel(gateway) as raw:
                writer = raw.writer if upwards else backend.calls[0].writer
                sender = asyncio.create_task(_send(raw.writer, MUCH)) if upwards else None
                await _stuck(writer)
                assert SENT[writer] < MUCH
                held = [end.transport.get_write_buffer_size() for end in ends() if not end.lost]
                assert len(held) == 2
                assert sum(held) < MOST_HELD
                read.set()
                if sender is not None:
                    await sender
                    assert await raw.read(3) == b"all"
                    assert taken == [MUCH]
                else:
                    assert len(await raw.read(MUCH)) == MUCH
            await idle(gateway)

    run(main())


SENT: dict[asyncio.StreamWriter, int] = {}
PIECE = bytes(64 * 1024)


async def _send(writer: asyncio.StreamWriter, size: int) -> None:
    SENT[writer] = 0
    while SENT[writer] < size:
        writer.write(PIECE)
        await writer.drain()
        SENT[writer] += len(PIECE)


async def _stuck(writer: asyncio.StreamWriter) -> None:
    """Returns when the sender has sent nothing more for a while."""
    before = -1
    while before != SENT.get(writer, 0) or not before:
        before = SENT.get(writer, 0)
        await asyncio.sleep(0.15)
