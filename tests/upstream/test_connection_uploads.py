"""Request bodies on their way to a backend."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

import pytest
from support.backend import RecordingBackend
from support.upstreams import HELLO, LOOPS, Run, connect, failure, rest
from support.waiting import until

from gateway.http.flags import Flag
from gateway.upstream import CHUNKED, UpstreamError, sized


@pytest.mark.parametrize(
    ("body", "wire"),
    [
        (CHUNKED, b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"),
        (sized(11), b"hello world"),
    ],
)
def test_a_request_body_is_framed_as_announced(body: int, wire: bytes) -> None:
    """An empty piece is no end: as a chunk of its own it would end the body early."""

    async def main() -> None:
        async with RecordingBackend() as backend:
            connection = await connect(backend.port)
            link = await backend.link()
            connection.start(b"POST / HTTP/1.1\r\n\r\n", method="POST", body=body)
            for piece in (b"hello", b"", b" world"):
                await connection.write(piece)
            connection.finish()
            await link.receive(wire)
            await link.send(HELLO)
            assert (await connection.response()).status == 200
            connection.release()
            assert len(connection.endpoint.idle) == 1
            assert link.received == b"POST / HTTP/1.1\r\n\r\n" + wire

    asyncio.run(main())


@pytest.mark.parametrize("body", [CHUNKED, sized(11)])
def test_a_connection_with_an_unfinished_request_is_not_used_again(body: int) -> None:
    """The upstream would take the next request for the rest of this body."""

    async def main() -> None:
        async with RecordingBackend(HELLO) as backend:
            connection = await connect(backend.port)
            connection.start(b"POST / HTTP/1.1\r\n\r\n", method="POST", body=body)
            await connection.write(b"hello")
            if body != CHUNKED:
                connection.finish()
            assert (await connection.response()).status == 200
            connection.release()
            await (await backend.link()).closed()
            assert connection.endpoint.connections == 0

    asyncio.run(main())


@LOOPS
def test_a_connection_whose_request_is_still_in_our_buffer_is_not_used_again(run: Run) -> None:
    """An upstream that answers without reading may never read: the next request would wait behind this one."""

    async def main() -> None:
        async with RecordingBackend(deaf=True) as backend:
            connection = await connect(backend.port)
            connection.start(b"POST / HTTP/1.1\r\n\r\n", method="POST", body=sized(64_000_000))
            writing = asyncio.ensure_future(connection.write(b"x" * 64_000_000))
            await until(lambda: connection._writer is not None)
            await (await backend.link()).send(HELLO)
            assert (await connection.response()).status == 200
            writing.cancel()
            connection.release()
            assert (connection.closed, connection.endpoint.connections) == (True, 0)

    run(main())


def test_more_body_than_announced_is_refused() -> None:
    """It would be read as the next request (smuggling)."""

    async def main() -> None:
        async with RecordingBackend() as backend:
            connection = await connect(backend.port)
            connection.start(b"POST / HTTP/1.1\r\n\r\n", method="POST", body=sized(5))
            await connection.write(b"hello")
            assert (await failure(connection.write(b"!"))).flag == Flag.LOCAL_RESET
            connection.release()
            assert (await (await backend.link()).closed()).endswith(b"\r\n\r\nhello")

    asyncio.run(main())


@LOOPS
@pytest.mark.parametrize("body", [CHUNKED, sized(1 << 30)])
def test_writing_waits_for_a_slow_upstream(run: Run, body: int) -> None:
    """Backpressure is await: an upstream that does not read holds the upload, and then gets all of it."""
    piece = b"x" * (256 * 1024)

    async def main() -> None:
        async with RecordingBackend(deaf=True) as backend:
            connection = await connect(backend.port)
            connection.start(b"POST / HTTP/1.1\r\n\r\n", method="POST", body=body)
            link = await backend.link()
            written = 0

            async def upload() -> None:
                nonlocal written
                while written < 64:
                    await connection.write(piece)
                    written += 1

            uploading = asyncio.ensure_future(upload())
            await until(lambda: connection._writer is not None)
            stuck = written
            assert stuck < 64
            link.listen()
            await uploading
            assert connection._transport.get_write_buffer_size() < 2 * len(piece)
            connection.abort()

    run(main())


@LOOPS
@pytest.mark.parametrize("how", ["reset", "abort"])
def test_a_waiting_writer_learns_that_the_connection_died(run: Run, how: str) -> None:
    async def main() -> None:
        async with RecordingBackend(deaf=True) as backend:
            connection = await connect(backend.port)
            connection.start(b"POST / HTTP/1.1\r\n\r\n", method="POST", body=CHUNKED)
            writing = asyncio.ensure_future(failure(connection.write(b"x" * 64_000_000)))
            await until(lambda: connection._writer is not None)
            if how == "reset":
                (await backend.link()).reset()
            else:
                connection.abort()
            error = await writing
            assert error.flag == (Flag.UPSTREAM_TERMINATION if how == "reset" else Flag.LOCAL_RESET)
            if how == "reset":
                connection.release()
            assert (connection.endpoint.active, connection.endpoint.connections) == (0, 0)

    run(main())


@LOOPS
def test_both_directions_flow_at_once(run: Run) -> None:
    """The response streams back while the request still streams up, piece by piece."""

    async def main() -> None:
        async with RecordingBackend() as backend:
            connection = await connect(backend.port)
            link = await backend.link()
            connection.start(b"POST / HTTP/1.1\r\n\r\n", method="POST", body=CHUNKED)
            await link.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            assert (await connection.response()).status == 200
            for number in range(5):
                word = b"word%d" % number
                await connection.write(word)
                await link.receive(word)
                await link.send(b"5\r\n" + word + b"\r\n")
                assert await connection.read() == word
            connection.finish()
            await link.receive(b"0\r\n\r\n")
            await link.send(b"0\r\n\r\n")
            assert await connection.read() == b""
            connection.release()
            assert len(connection.endpoint.idle) == 1

    run(main())


def test_an_answer_during_the_upload_is_delivered_and_ends_the_connection() -> None:
    """An early 413 (security.md R25), even when the upstream closes right behind it."""

    async def main() -> None:
        async with RecordingBackend() as backend:
            connection = await connect(backend.port)
            link = await backend.link()
            connection.start(b"POST / HTTP/1.1\r\n\r\n", method="POST", body=sized(1 << 30))
            await connection.write(b"x" * 1000)
            await link.receive(1000)
            await link.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nno!")
            link.close()
            assert (await connection.response()).status == 413
            await until(lambda: connection.closed)
            assert connection.complete
            assert await rest(connection) == b"no!"
            assert (await failure(connection.write(b"x"))).flag == Flag.UPSTREAM_TERMINATION
            connection.release()
            assert (connection.endpoint.active, connection.endpoint.connections) == (0, 0)

    asyncio.run(main())


@LOOPS
def test_an_answer_that_waits_in_the_socket_is_read_before_a_write_can_fail(run: Run) -> None:
    """The upstream answered 413 and reset the connection while we were busy: the client still gets the 413."""

    async def main() -> None:
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen(1)
            connection = await connect(listening.getsockname()[1])
            connection.start(b"POST / HTTP/1.1\r\n\r\n", method="POST", body=CHUNKED)
            await connection.write(b"x" * 1000)
            peer, _ = listening.accept()
            with peer:
                while b"\r\nxxx" not in peer.recv(65536):
                    await asyncio.sleep(0)
                peer.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nno!")
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            for _ in range(3):
                with contextlib.suppress(UpstreamError):
                    await connection.write(b"x" * 1000)
            assert (await connection.response()).status == 413
            assert await rest(connection) == b"no!"
            connection.release()

    run(main())
