"""How a connection fails, and what the request is told."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.backend import RecordingBackend
from support.upstreams import GET, HELLO, LOOPS, Run, ask, connect, failure, rest
from support.waiting import until

from gateway.http.flags import Flag
from gateway.upstream import NO_BODY, UpstreamError

STARTED = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"


@LOOPS
@pytest.mark.parametrize("how", ["finish", "reset"])
@pytest.mark.parametrize(
    ("sent", "flag", "reason"),
    [
        (b"", Flag.UPSTREAM_TERMINATION, "connection termination"),
        (b"HTTP/1.1 2", Flag.UPSTREAM_PROTOCOL_ERROR, "protocol error"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", Flag.UPSTREAM_PROTOCOL_ERROR, "protocol error"),
    ],
)
def test_a_connection_that_ends_before_the_response_head(
    run: Run, how: str, sent: bytes, flag: Flag, reason: str
) -> None:
    """As Envoy: before the first byte it is a termination (503 UC), later a protocol error (502 UPE)."""

    async def main() -> None:
        async with RecordingBackend() as backend:
            connection = await connect(backend.port)
            link = await backend.link()
            connection.start(GET, method="GET", body=NO_BODY)
            await link.receive(GET)
            await link.send(sent)
            if sent:
                await until(lambda: connection.response_started)
            link.finish() if how == "finish" else link.reset()
            error = await failure(connection.response())
            assert (error.flag, error.reason, error.sent) == (flag, reason, True)
            assert connection.response_started == bool(sent)
            assert (await failure(connection.read())).flag == flag
            connection.release()
            assert (connection.endpoint.active, connection.endpoint.connections) == (0, 0)

    run(main())


@LOOPS
@pytest.mark.parametrize("how", ["finish", "reset"])
@pytest.mark.parametrize(
    "sent",
    [
        STARTED,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nabc",
        b"HTTP/1.1 200 OK\r\n\r\nabc",
    ],
)
def test_a_body_that_is_cut_off_is_an_error_after_its_beginning(run: Run, how: str, sent: bytes) -> None:
    """Never a clean end (security.md R15), except where the end of the connection is the end of the body."""

    async def main() -> None:
        async with RecordingBackend() as backend:
            connection = await connect(backend.port)
            link = await backend.link()
            connection.start(GET, method="GET", body=NO_BODY)
            await link.receive(GET)
            await link.send(sent)
            assert (await connection.response()).status == 200
            assert await connection.read() == b"abc"
            link.finish() if how == "finish" else link.reset()
            if how == "finish" and b"-" not in sent:
                assert await connection.read() == b""
                assert connection.complete
            else:
                error = await failure(connection.read())
                assert error.flag == Flag.UPSTREAM_PROTOCOL_ERROR
                assert error.details(started=True) == "upstream_reset_after_response_started{protocol_error}"
                assert not connection.complete
            connection.release()
            assert connection.endpoint.connections == 0

    run(main())


def test_what_came_before_the_cut_is_read_first() -> None:
    async def main() -> None:
        async with RecordingBackend() as backend:
            connection = await connect(backend.port)
            connection.start(GET, method="GET", body=NO_BODY)
            await asyncio.sleep(0)
            connection.data_received(STARTED)
            connection.eof_received()
            assert (await connection.response()).status == 200
            assert await connection.read() == b"abc"
            assert (await failure(connection.read())).reason == "protocol error"
            connection.release()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("response", "cause"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not HTTP"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "not HTTP"),
        (b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", "without CR"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000, "larger than 61440"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", "larger than 61440"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 300 + b"\r\n", "more than 200 headers"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "Content-Length",
        ),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "101"),
        (b"HTTP/1.1 999 What\r\nContent-Length: 0\r\n\r\n", "999"),
    ],
)
def test_garbage_is_a_protocol_error_at_once(response: bytes, cause: str) -> None:
    """502 UPE without waiting for more, and the connection is closed (security.md R01-R19)."""

    async def main() -> None:
        async with RecordingBackend(response) as backend:
            connection = await connect(backend.port)
            error = await failure(ask(connection))
            assert (error.flag, error.reason) == (Flag.UPSTREAM_PROTOCOL_ERROR, "protocol error")
            assert cause in error.cause
            connection.release()
            await (await backend.link()).closed()
            assert connection.endpoint.connections == 0

    asyncio.run(main())


@given(st.binary(min_size=1, max_size=60), st.sampled_from([b"", HELLO[:-2], b"HTTP/1.1 200 OK\r\n"]))
@settings(max_examples=150)
def test_any_bytes_give_a_response_or_an_upstream_error(junk: bytes, before: bytes) -> None:
    """No other exception leaves the parser, and the slot comes back."""

    async def main() -> None:
        async with RecordingBackend() as backend:
            connection = await connect(backend.port)
            connection.start(GET, method="GET", body=NO_BODY)
            for piece in (before, junk):
                if piece:
                    connection.data_received(piece)
            connection.eof_received()
            try:
                await connection.response()
                await rest(connection)
            except UpstreamError:
                pass
            connection.release()
            assert (connection.endpoint.active, connection.endpoint.connections) == (0, 0)

    asyncio.run(main())


def test_a_request_on_a_connection_that_died_is_refused_unsent() -> None:
    """Then even a POST may be tried elsewhere: no byte of it left."""

    async def main() -> None:
        async with RecordingBackend() as backend:
            connection = await connect(backend.port)
            (await backend.link()).finish()
            await until(lambda: connection.closed)
            with pytest.raises(UpstreamError) as caught:
                connection.start(GET, method="GET", body=NO_BODY)
            assert (caught.value.flag, caught.value.sent) == (Flag.UPSTREAM_TERMINATION, False)
            connection.release()
            assert (connection.endpoint.active, connection.endpoint.connections) == (0, 0)

    asyncio.run(main())


def test_abort_wakes_the_reader_with_its_error() -> None:
    async def main() -> None:
        async with RecordingBackend() as backend:
            connection = await connect(backend.port)
            connection.start(GET, method="GET", body=NO_BODY)
            reading = asyncio.ensure_future(failure(connection.response()))
            await (await backend.link()).receive(GET)
            reason = UpstreamError(Flag.UPSTREAM_TIMEOUT, "response timeout", sent=True)
            connection.abort(reason)
            assert await reading is reason
            await (await backend.link()).closed()
            assert (connection.endpoint.active, connection.endpoint.connections) == (0, 0)

    asyncio.run(main())


def test_abort_without_a_reason_is_a_local_reset() -> None:
    async def main() -> None:
        async with RecordingBackend() as backend:
            connection = await connect(backend.port)
            connection.start(GET, method="GET", body=NO_BODY)
            await asyncio.sleep(0)
            connection.abort()
            error = await failure(connection.response())
            assert (error.flag, error.reason, error.sent) == (Flag.LOCAL_RESET, "local reset", True)

    asyncio.run(main())


def test_a_request_that_was_given_up_in_its_own_turn_is_never_sent() -> None:
    """It waits for the end of the turn of the loop; the backend hears nothing of it."""

    async def main() -> None:
        async with RecordingBackend() as backend:
            connection = await connect(backend.port)
            link = await backend.link()
            connection.start(GET, method="GET", body=NO_BODY)
            connection.abort()
            error = await failure(connection.response())
            assert (error.flag, error.sent) == (Flag.LOCAL_RESET, False)
            assert await link.closed() == b""

    asyncio.run(main())


def test_an_answer_that_comes_before_the_request_leaves_is_not_its_answer() -> None:
    """What a backend sends unasked must not reach the next user (response poisoning)."""

    async def main() -> None:
        async with RecordingBackend() as backend:
            connection = await connect(backend.port)
            connection.start(GET, method="GET", body=NO_BODY)
            connection.data_received(HELLO)
            error = await failure(connection.response())
            assert (error.flag, error.sent) == (Flag.UPSTREAM_TERMINATION, False)
            assert connection.closed

    asyncio.run(main())


@pytest.mark.parametrize("unasked", [HELLO, b""], ids=["an answer", "the end"])
def test_what_came_before_the_request_leaves_is_seen_when_it_leaves(unasked: bytes) -> None:
    """Also when the loop has not read it yet: the request is not sent."""

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            connecting = asyncio.create_task(connect(listener.getsockname()[1]))
            await asyncio.sleep(0)
            peer, _ = await asyncio.to_thread(listener.accept)
            with peer:
                connection = await connecting
                connection.reused = True
                connection.start(GET, method="GET", body=NO_BODY)
                if unasked:
                    peer.sendall(unasked)
                else:
                    peer.shutdown(socket.SHUT_WR)
                error = await failure(connection.response())
                assert (error.flag, error.sent) == (Flag.UPSTREAM_TERMINATION, False)
                peer.settimeout(10)
                with contextlib.suppress(ConnectionResetError):  # with bytes unread a close is a reset
                    assert await asyncio.to_thread(peer.recv, 100) == b""

    asyncio.run(main())


def test_a_cancelled_reader_leaves_a_connection_that_can_still_be_read() -> None:
    async def main() -> None:
        async with RecordingBackend() as backend:
            connection = await connect(backend.port)
            connection.start(GET, method="GET", body=NO_BODY)
            reading = asyncio.ensure_future(connection.response())
            await (await backend.link()).receive(GET)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            await (await backend.link()).send(HELLO)
            assert (await connection.response()).status == 200
            connection.release()
            assert len(connection.endpoint.idle) == 1

    asyncio.run(main())
