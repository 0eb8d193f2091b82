"""When a connection is given up: too old, too much used, silent."""

from __future__ import annotations

import asyncio

import pytest
import uvloop
from support.backend import RecordingBackend
from support.clock import FakeClock
from support.upstreams import GET, HELLO, LOOPS, Run, ask, cluster_of, connect, failure, only, rest
from support.waiting import until

from gateway.http.flags import Flag
from gateway.upstream import CHUNKED, NO_BODY, Connection


@pytest.mark.parametrize(("limit", "links"), [(1, 4), (2, 2), (0, 1)])
def test_a_connection_serves_its_number_of_requests(limit: int, links: int) -> None:
    """`maxRequestsPerConnection`; 0 is no limit."""

    async def main() -> None:
        async with RecordingBackend(HELLO) as backend:
            cluster = cluster_of(backend.port, max_requests_per_connection=limit)
            for _ in range(4):
                connection = await cluster.acquire(only(cluster))
                await ask(connection)
                connection.release()
            assert len(backend.links) == links

    asyncio.run(main())


def test_a_connection_that_is_too_old_is_not_kept() -> None:
    """`maxConnectionDuration`."""

    async def main() -> None:
        clock = FakeClock()
        async with RecordingBackend(HELLO) as backend:
            cluster = cluster_of(backend.port, clock=clock, max_connection_duration=30.0)
            for seconds, idle in ((29.0, 1), (1.0, 0)):
                connection = await cluster.acquire(only(cluster))
                await ask(connection)
                clock.advance(seconds)
                connection.release()
                assert len(only(cluster).idle) == idle

    asyncio.run(main())


def test_an_unused_connection_goes_back_to_its_pool() -> None:
    """A client may leave while its connection is opened: the connection is good."""

    async def main() -> None:
        async with RecordingBackend(HELLO) as backend:
            connection = await connect(backend.port)
            connection.release()
            assert list(connection.endpoint.idle) == [connection]
            assert connection.endpoint.active == 0

    asyncio.run(main())


def test_uvloop_is_the_loop_that_is_tested_too() -> None:
    """The parametrisation above means two different loops."""

    async def kind() -> str:
        return type(asyncio.get_running_loop()).__module__

    assert asyncio.run(kind()).startswith("asyncio")
    assert uvloop.run(kind()).startswith("uvloop")


HELD = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc"


@LOOPS
def test_a_short_body_can_be_held_until_it_is_whole(run: Run) -> None:
    """Its head is told with its last byte; a longer body is passed on as it comes."""

    async def main() -> None:
        for limit, early in ((6, False), (5, True)):
            async with RecordingBackend() as backend:
                connection = await connect(backend.port, response_hold_bytes=limit)
                connection.start(GET, method="GET", body=NO_BODY)
                link = await backend.link()
                await link.receive(b"\r\n\r\n")
                await link.send(HELD)
                await until(lambda: connection.response_started)  # noqa: B023 - called in this turn
                assert (connection.arrived() is not None) == early
                await link.send(b"def")
                assert (await connection.response()).status == 200
                assert await rest(connection) == b"abcdef"
                connection.release()
                connection.close()

    run(main())


def test_a_body_is_not_held_while_the_request_is_still_sent() -> None:
    """Its sender may wait for the head before it goes on."""

    async def main() -> None:
        async with RecordingBackend() as backend:
            connection = await connect(backend.port, response_hold_bytes=100)
            connection.start(b"POST / HTTP/1.1\r\n\r\n", method="POST", body=CHUNKED)
            link = await backend.link()
            await link.receive(b"\r\n\r\n")
            await link.send(HELD)
            assert (await connection.response()).status == 200
            connection.release()

    asyncio.run(main())


@LOOPS
def test_a_held_body_that_breaks_off_is_no_response(run: Run) -> None:
    async def main() -> None:
        async with RecordingBackend() as backend:
            connection = await connect(backend.port, response_hold_bytes=100)
            connection.start(GET, method="GET", body=NO_BODY)
            link = await backend.link()
            await link.receive(b"\r\n\r\n")
            await link.send(HELD)
            link.reset()
            error = await failure(connection.response())
            assert (error.flag, error.status, error.sent) == (Flag.UPSTREAM_PROTOCOL_ERROR, 502, True)
            connection.release()

    run(main())


def silence(connection: Connection, at: float) -> bool:
    """Whether the look at this time finds that nothing has moved for too long."""
    connection.look(at)
    return connection.closed


def test_silence_is_counted_from_the_first_look_after_the_last_byte() -> None:
    """A request, a part of a head, an interim response, a part of a body: each is a sign of life."""
    pieces = (b"HTTP/1.1 103 X\r\n\r\n", b"HTTP/1.1 200 OK\r\n", b"Content-Length: 99\r\n\r\n", b"a", b"b")

    async def main() -> None:
        async with RecordingBackend() as backend:
            connection = await connect(backend.port, stream_idle=10.0, response_hold_bytes=99)
            connection.look(0.0)
            connection.start(GET, method="GET", body=NO_BODY)
            link = await backend.link()
            answer = asyncio.ensure_future(failure(connection.response()))
            await link.receive(b"\r\n\r\n")
            now = 100.0
            for piece in pieces:
                assert not silence(connection, now)
                assert not silence(connection, now + 9.9)
                before = connection._seen
                await link.send(piece)
                await until(
                    lambda: (connection._requests, connection._state, connection._passed) != before  # noqa: B023
                )
                now += 20.0
            assert not silence(connection, now)
            assert not silence(connection, now + 9.9)
            assert silence(connection, now + 10.0)
            error = await answer
            assert (error.flag, error.details()) == (Flag.STREAM_IDLE_TIMEOUT, "stream_idle_timeout")
            connection.release()
            assert connection.endpoint.active == 0

    asyncio.run(main())


def test_a_request_body_on_its_way_is_no_silence() -> None:
    async def main() -> None:
        async with RecordingBackend() as backend:
            connection = await connect(backend.port, stream_idle=10.0)
            connection.start(b"POST / HTTP/1.1\r\n\r\n", method="POST", body=CHUNKED)
            answer = asyncio.ensure_future(failure(connection.response()))
            await asyncio.sleep(0)
            for now in range(0, 100, 9):
                await connection.write(b"piece")
                assert not silence(connection, now)
            assert silence(connection, now + 10)
            assert (await answer).flag == Flag.STREAM_IDLE_TIMEOUT
            connection.release()

    asyncio.run(main())


def test_what_nobody_waits_for_is_not_silent() -> None:
    """An idle connection, and a body that the client is slow to take."""

    async def main() -> None:
        async with RecordingBackend() as backend:
            connection = await connect(backend.port, stream_idle=10.0)
            for now in range(0, 100, 20):
                assert not silence(connection, now)
            connection.start(GET, method="GET", body=NO_BODY)
            link = await backend.link()
            await link.receive(GET)
            await link.send(HELD)
            await connection.response()
            for now in range(100, 200, 20):
                assert not silence(connection, now)
            connection.close()
            connection.release()

    asyncio.run(main())
