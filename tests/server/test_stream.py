"""Applications of our own kind: coroutines over a stream, stepped by hand."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from memory import Connection
from serving import at_rest
from support.raw import Raw
from support.waiting import until

from gateway.http.parking import parked
from gateway.http.reply import ClientLeft
from gateway.server.protocol import EdgeProtocol
from gateway.server.stream import Stream

Direct = Callable[[Stream], Awaitable[None]]
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class Application:
    """What uvicorn loads; its `direct` is the coroutine of the test."""

    def __init__(self, direct: Direct) -> None:
        self.direct = direct

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("called the ASGI way")


class State:
    def __init__(self) -> None:
        self.connections: set[Any] = set()
        self.tasks: set[Any] = set()
        self.total_requests = 0


@asynccontextmanager
async def serving(direct: Direct) -> Any:
    loop = asyncio.get_running_loop()
    config = uvicorn.Config(Application(direct), lifespan="off", log_config=None, proxy_headers=False)
    state, app_state = State(), dict[str, Any]()
    server = await loop.create_server(
        lambda: EdgeProtocol(config, state, app_state, loop),  # type: ignore[arg-type]
        "127.0.0.1",
        0,
    )
    try:
        yield server.sockets[0].getsockname()[1], state
    finally:
        server.close()
        for connection in tuple(state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)
        app_state["gateway.edge"].sweeper.stop()


def test_an_answer_at_once_needs_no_task() -> None:
    async def main() -> None:
        tasks: list[object] = []

        async def direct(stream: Stream) -> None:
            tasks.append(stream.task)
            stream.respond(200, [(b"x", b"1")], b"hello", last=True)

        async with serving(direct) as (port, state), Raw(port) as raw:
            await raw.send(GET)
            assert (await raw.response()).body == b"hello"
            assert tasks == [None]
            assert not state.tasks

    asyncio.run(main())


def test_many_pipelined_requests_are_answered_in_order() -> None:
    async def main() -> None:
        async def direct(stream: Stream) -> None:
            stream.respond(200, [], stream.raw_path, last=True)

        async with serving(direct) as (port, _), Raw(port) as raw:
            await raw.send(
                b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(2000))
            )
            for number in range(2000):
                assert (await raw.response()).body == b"/%d" % number

    asyncio.run(main())


def test_a_parked_request_goes_on_when_it_is_resumed() -> None:
    async def main() -> None:
        waiting: asyncio.Future[Stream] = asyncio.get_running_loop().create_future()

        async def direct(stream: Stream) -> None:
            waiting.set_result(stream)
            await parked()
            stream.respond(204, [], b"", last=True)

        async with serving(direct) as (port, state), Raw(port) as raw:
            await raw.send(GET)
            stream = await waiting
            assert stream.task is None
            assert stream in state.tasks
            assert stream.resume is not None
            stream.resume()
            assert (await raw.response()).status == 204

    asyncio.run(main())


def test_a_task_takes_over_at_the_first_future() -> None:
    async def main() -> None:
        gate = asyncio.Event()
        seen: list[object] = []

        async def direct(stream: Stream) -> None:
            await gate.wait()
            seen.append(stream.resume)
            async with asyncio.timeout(5):
                await asyncio.sleep(0)
            stream.respond(200, [], b"late", last=True)

        async with serving(direct) as (port, _), Raw(port) as raw:
            await raw.send(GET)
            asyncio.get_running_loop().call_later(0.01, gate.set)
            assert (await raw.response()).body == b"late"
            assert seen == [None]

    asyncio.run(main())


@pytest.mark.parametrize("late", [False, True])
def test_an_exception_is_answered_with_500(late: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async def direct(_: Stream) -> None:
            if late:
                await asyncio.sleep(0)
            raise ValueError("broken")

        async with serving(direct) as (port, state), Raw(port) as raw:
            await raw.send(GET)
            assert (await raw.response()).status == 500
            assert not state.tasks

    with caplog.at_level(logging.ERROR, "gateway.server"):
        asyncio.run(main())
    assert "broken" in caplog.text


def test_an_application_that_does_not_answer_is_answered_for(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async def direct(_: Stream) -> None:
            return

        async with serving(direct) as (port, _), Raw(port) as raw:
            await raw.send(GET)
            assert (await raw.response()).status == 500

    asyncio.run(main())
    assert "without completing" in caplog.text


@pytest.mark.parametrize("in_task", [False, True])
def test_shutdown_cancels_what_is_parked_and_what_runs_in_a_task(in_task: bool) -> None:
    async def main() -> None:
        begun = asyncio.Event()
        ends: list[str] = []

        async def direct(_: Stream) -> None:
            try:
                begun.set()
                await (asyncio.get_running_loop().create_future() if in_task else parked())
            except asyncio.CancelledError:
                ends.append("cancelled")
                raise

        async with serving(direct) as (port, state), Raw(port) as raw:
            await raw.send(GET)
            await begun.wait()
            await asyncio.sleep(0)
            for task in tuple(state.tasks):
                task.cancel(msg="the server stops")
            assert (await raw.response()).status == 503
            assert ends == ["cancelled"]
            assert not state.tasks

    asyncio.run(main())


def test_a_body_is_received_and_a_client_that_leaves_ends_it() -> None:
    async def main() -> None:
        bodies: list[object] = []
        over = asyncio.Event()

        async def direct(stream: Stream) -> None:
            try:
                while True:
                    piece, more = await stream.receive()
                    bodies.append(piece)
                    if not more:
                        break
            except ClientLeft:
                bodies.append("left")
            over.set()
            stream.respond(200, [], b"", last=True)

        async with serving(direct) as (port, _):
            async with Raw(port) as raw:
                await raw.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
                assert (await raw.response()).status == 200
                assert b"".join(bodies) == b"abc"  # type: ignore[arg-type]
            bodies.clear()
            over.clear()
            async with Raw(port) as raw:
                await raw.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na")
            await over.wait()
            assert bodies == [b"a", "left"]

    asyncio.run(main())


def test_a_contradicting_length_is_an_error_of_the_application(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async def direct(stream: Stream) -> None:
            stream.relay(200, [(b"content-length", b"9")], 9, dated=False, body=b"short", last=True)

        async with serving(direct) as (port, _), Raw(port) as raw:
            await raw.send(GET)
            assert (await raw.response()).status == 500

    asyncio.run(main())
    assert "shorter than Content-Length" in caplog.text


# --- whole responses, which leave at the end of the turn of the loop


def whole(body: bytes = b"hello") -> Direct:
    """Relays a response that has arrived whole."""

    async def direct(stream: Stream) -> None:
        headers = [(b"content-length", b"%d" % len(body)), (b"date", b"today")]
        stream.relay(200, headers, len(body), True, body, last=True)

    return direct


def test_what_is_refused_does_not_overtake_the_answer_before() -> None:
    """A good and a bad request in one turn: 200, then 400, then the end."""

    async def main() -> None:
        connection = Connection(Application(whole()))
        connection.protocol.data_received(GET)
        assert connection.sent == b""
        connection.protocol.data_received(b"BAD\r\n\r\n")
        await connection.settle()
        assert [part[:12] for part in connection.sent.split(b"HTTP/1.1 ")[1:]] == [
            b"200 OK\r\ncont",
            b"400 Bad Requ",
        ]
        await connection.close()

    asyncio.run(main())


@pytest.mark.parametrize("end", ["eof", "shutdown", "expire"])
def test_no_end_cuts_the_answer_off(end: str) -> None:
    """A client that sends no more, a server that stops, a deadline: all behind what was to be sent."""

    async def main() -> None:
        connection = Connection(Application(whole()))
        connection.protocol.data_received(GET)
        if end == "eof":
            connection.protocol.eof_received()
        elif end == "shutdown":
            connection.protocol.shutdown()
        else:
            connection.protocol.expire()
        assert connection.sent.endswith(b"hello")
        assert connection.transport.ended == ("" if end == "eof" else "close")
        await connection.close()

    asyncio.run(main())


def test_a_client_that_is_gone_is_not_written_to() -> None:
    async def main() -> None:
        connection = Connection(Application(whole()))
        connection.protocol.data_received(GET)
        connection.transport.abort()
        await connection.settle()
        assert connection.sent == b""
        await connection.close()

    asyncio.run(main())


def test_whole_answers_that_nobody_reads_stop_the_next_request() -> None:
    """A client that asks and asks, and never reads, fills its buffers once, not ours for ever."""

    async def main() -> None:
        served = 0
        relay = whole(b"x" * 60_000)

        async def direct(stream: Stream) -> None:
            nonlocal served
            served += 1
            await relay(stream)

        async with serving(direct) as (port, state), Raw(port) as raw:
            for _ in range(1000):
                raw.writer.write(GET)
            assert await at_rest(lambda: served) < 200
            (connection,) = state.connections
            assert connection.write_paused
            assert connection.transport.get_write_buffer_size() < 400_000
            before = served
            for _ in range(before + 1):
                assert len((await raw.response()).body) == 60_000
            await until(lambda: served > before)

    asyncio.run(main())


# --- request bodies that came with their heads


@pytest.mark.parametrize(
    ("sent", "whole"),
    [
        (b"Content-Length: 5\r\n\r\nhello", b"hello"),
        (b"Content-Length: 5\r\n\r\nhell", b""),
        (b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\nhello", b""),
        (b"\r\n", b""),
    ],
)
def test_a_body_is_whole_when_its_last_byte_has_come(sent: bytes, whole: bytes) -> None:
    """And nobody waits for 100 Continue; what is given away is not given again."""

    async def main() -> None:
        given: list[bytes] = []

        async def direct(stream: Stream) -> None:
            given.extend((stream.whole_body(), stream.whole_body()))
            stream.respond(200, [], b"", last=True)

        async with serving(direct) as (port, _), Raw(port) as raw:
            await raw.send(b"POST / HTTP/1.1\r\nHost: a\r\n" + sent)
            await raw.response()
            assert given == [whole, b""]

    asyncio.run(main())
