"""One connection against a backend that follows a script, on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st
from support.backend import RecordingBackend
from support.clock import FakeClock
from support.upstreams import GET, LOOPS, Run, ask, cluster_of, connect, failure, only, rest, settled

from gateway.http.flags import Flag
from gateway.upstream import CHUNKED, NO_BODY, Connection, Framing, UpstreamError, sized
from gateway.upstream.receiving import ENOUGH, MAX_INTERIM

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"


@LOOPS
def test_a_small_response_is_complete_at_once_and_the_connection_serves_again(run: Run) -> None:
    async def main() -> None:
        async with RecordingBackend(HELLO) as backend:
            cluster = cluster_of(backend.port)
            endpoint = only(cluster)
            for reused in (False, True, True):
                connection = await cluster.acquire(endpoint)
                assert (connection.reused, connection.request_sent) == (reused, False)
                connection.start(GET, method="GET", body=NO_BODY)
                head = await connection.response()
                assert (head.status, head.framing, connection.complete) == (200, Framing.SIZED, True)
                assert (await connection.read(), await connection.read()) == (b"hello", b"")
                assert (connection.request_sent, connection.response_started) == (True, True)
                connection.release()
            assert [link.received for link in backend.links] == [GET * 3]
            assert (endpoint.active, endpoint.requests, endpoint.connections) == (0, 3, 1)

    run(main())


def test_addresses_and_state_can_be_read_off_a_connection() -> None:
    async def main() -> None:
        async with RecordingBackend(HELLO) as backend:
            connection = await connect(backend.port)
            peer = (await backend.link()).transport.get_extra_info("peername")
            assert connection.local_address == f"127.0.0.1:{peer[1]}"
            assert repr(connection) == (
                f"<Connection {connection.local_address} -> 127.0.0.1:{backend.port} idle, requests 0>"
            )
            await ask(connection)
            assert repr(connection).endswith("complete, requests 1>")
            connection.abort()
            assert repr(connection).endswith("closed, requests 1>")

    asyncio.run(main())


# -- bodies ------------------------------------------------------------------------------------

BODIES = {
    "sized": (b"Content-Length: 11\r\n\r\n", b"hello world"),
    "chunked": (
        b"Transfer-Encoding: chunked\r\n\r\n",
        b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nx-user: admin\r\n\r\n",
    ),
    "close": (b"\r\n", b"hello world"),
}


@pytest.mark.parametrize("kind", BODIES)
def test_a_body_arrives_whole_however_it_is_framed(kind: str) -> None:
    """Trailers do not become headers, and only a close-delimited body costs the connection."""

    async def main() -> None:
        async with RecordingBackend() as backend:
            connection = await connect(backend.port)
            link = await backend.link()
            connection.start(GET, method="GET", body=NO_BODY)
            framing, body = BODIES[kind]
            await link.receive(GET)
            await link.send(b"HTTP/1.1 200 OK\r\n", framing, body)
            if kind == "close":
                link.finish()
            head = await connection.response()
            assert await rest(connection) == b"hello world"
            assert connection.complete
            assert not [name for name, _ in head.headers if name == b"x-user"]
            connection.release()
            assert len(connection.endpoint.idle) == (kind != "close")

    asyncio.run(main())


@given(st.sampled_from(sorted(BODIES)), st.data())
@settings(max_examples=60)
def test_any_cutting_of_a_response_reads_the_same(kind: str, data: st.DataObject) -> None:
    """Where the network cuts a response changes neither its head nor its body nor what follows from it."""
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * data.draw(st.integers(0, 2))
    raw = interim + b"HTTP/1.1 200 OK\r\nX-Version: v1\r\n" + b"".join(BODIES[kind])
    cuts = sorted(data.draw(st.sets(st.integers(1, len(raw) - 1), max_size=6)))

    async def main() -> None:
        async with RecordingBackend() as backend:
            connection = await connect(backend.port)
            connection.start(GET, method="GET", body=NO_BODY)
            await asyncio.sleep(0)
            for begin, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
                connection.data_received(raw[begin:end])
            if kind == "close":
                connection.eof_received()
            head = await connection.response()
            assert head.headers[0] == (b"x-version", b"v1")
            assert await rest(connection) == b"hello world"
            # The very last bytes of a chunked body alone cannot prove a clean end.
            sure = kind == "sized" or (kind == "chunked" and (not cuts or cuts[-1] <= len(raw) - 5))
            connection.release()
            assert len(connection.endpoint.idle) == sure

    asyncio.run(main())


@LOOPS
def test_a_large_download_is_held_back_while_nobody_reads(run: Run) -> None:
    """
    The upstream can send only what sockets and one chunk hold; when reading goes on, every byte comes.
    """
    size = 48 * 1024 * 1024

    async def main() -> None:
        async with RecordingBackend() as backend:
            connection = await connect(backend.port)
            link = await backend.link()
            connection.start(GET, method="GET", body=NO_BODY)
            await link.receive(GET)
            await link.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            await connection.response()
            sending = asyncio.ensure_future(link.send(b"x" * size))
            await settled(lambda: connection._paused)
            assert connection._buffered <= ENOUGH + 512 * 1024
            assert not sending.done()
            received = largest = 0
            while piece := await connection.read():
                received += len(piece)
                largest = max(largest, len(piece))
            await sending
            assert received == size
            assert largest <= 1024 * 1024
            connection.release()
            assert len(connection.endpoint.idle) == 1

    run(main())


def test_a_head_in_pieces_leaves_nothing_for_the_next_response() -> None:
    async def main() -> None:
        async with RecordingBackend() as backend:
            connection = await connect(backend.port)
            for _ in range(2):
                connection.start(GET, method="GET", body=NO_BODY)
                await asyncio.sleep(0)
                for piece in (HELLO[:9], HELLO[9:30], HELLO[30:]):
                    connection.data_received(piece)
                assert (await connection.response()).status == 200
                assert await rest(connection) == b"hello"
                connection.release()
                assert connection.endpoint.pool.lease(connection.endpoint, connection._config) is connection
            connection.abort()

    asyncio.run(main())


# -- what must never reach the next request ------------------------------------------------------

POISON = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL"


@pytest.mark.parametrize(
    ("method", "response", "body"),
    [
        ("GET", HELLO + POISON, b"hello"),
        ("GET", HELLO + b"\r\n", b"hello"),
        ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nEVIL", b""),
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL", b""),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nEVIL\r\n0\r\n\r\n", b""),
        ("GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", b""),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nEVIL", b""),
        ("GET", b"HTTP/1.1 304 Not Modified\r\n\r\n" + POISON, b""),
        ("GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n" + POISON, b"hi"),
        ("GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n\r\n", b"hi"),
    ],
)
def test_bytes_beyond_a_response_end_its_connection(method: str, response: bytes, body: bytes) -> None:
    """Response queue poisoning (security.md F2, R04-R06): the answer is delivered, the rest is never read."""

    async def main() -> None:
        async with RecordingBackend() as backend:
            cluster = cluster_of(backend.port)
            endpoint = only(cluster)
            connection = await cluster.acquire(endpoint)
            link = await backend.link()
            connection.start(GET, method=method, body=NO_BODY)
            await link.receive(GET)
            await link.send(response)
            await connection.response()
            assert await rest(connection) == body
            connection.release()
            assert cluster.lease(endpoint) is None
            await link.closed()
            assert (endpoint.connections, cluster.pool.connections) == (0, 0)

    asyncio.run(main())


@pytest.mark.parametrize("late", [POISON, b"\r\n", b"x"])
def test_bytes_that_come_while_idle_end_the_connection(late: bytes) -> None:
    async def main() -> None:
        async with RecordingBackend(HELLO) as backend:
            cluster = cluster_of(backend.port)
            endpoint = only(cluster)
            connection = await cluster.acquire(endpoint)
            await ask(connection)
            connection.release()
            assert list(endpoint.idle) == [connection]
            await (await backend.link()).send(late)
            await settled(lambda: not endpoint.idle)
            assert (connection.closed, endpoint.connections) == (True, 0)

    asyncio.run(main())


@pytest.mark.parametrize("how", ["poison", "finish", "reset"])
def test_lease_looks_at_the_socket_itself(how: str) -> None:
    """What arrived since the loop last turned is seen too: the connection is not lent, even within one turn."""

    async def main() -> None:
        async with RecordingBackend(HELLO) as backend:
            cluster = cluster_of(backend.port)
            endpoint = only(cluster)
            connection = await cluster.acquire(endpoint)
            await ask(connection)
            connection.release()
            link = await backend.link()
            if how == "poison":
                link.transport.write(POISON)
            elif how == "finish":
                link.finish()
            else:
                link.reset()
                await asyncio.sleep(0)  # abort() closes the socket in the next turn
            assert cluster.lease(endpoint) is None
            assert list(endpoint.idle) == []

    asyncio.run(main())


def test_the_end_of_an_idle_connection_takes_it_out_of_the_pool() -> None:
    async def main() -> None:
        async with RecordingBackend(HELLO) as backend:
            cluster = cluster_of(backend.port)
            endpoint = only(cluster)
            connection = await cluster.acquire(endpoint)
            await ask(connection)
            connection.release()
            (await backend.link()).finish()
            await settled(lambda: not endpoint.idle)
            assert (endpoint.connections, cluster.pool.connections) == (0, 0)

    asyncio.run(main())


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ],
)
def test_an_upstream_that_says_close_is_not_asked_again(response: bytes) -> None:
    async def main() -> None:
        async with RecordingBackend(response) as backend:
            cluster = cluster_of(backend.port)
            connection = await cluster.acquire(only(cluster))
            assert await ask(connection) == (200, b"hello")
            connection.release()
            await (await backend.link()).closed()
            assert cluster.pool.connections == 0

    asyncio.run(main())


def test_a_response_that_was_not_read_to_the_end_costs_the_connection() -> None:
    async def main() -> None:
        async with RecordingBackend(HELLO[:-1]) as backend:
            cluster = cluster_of(backend.port)
            connection = await cluster.acquire(only(cluster))
            connection.start(GET, method="GET", body=NO_BODY)
            await connection.response()
            assert await connection.read() == b"hell"
            connection.release()
            await (await backend.link()).closed()
            assert cluster.pool.connections == 0

    asyncio.run(main())


# -- interim responses ---------------------------------------------------------------------------


def test_interim_responses_are_swallowed() -> None:
    async def main() -> None:
        interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        async with RecordingBackend(interim * (MAX_INTERIM // 2) + HELLO) as backend:
            connection = await connect(backend.port)
            connection.start(GET, method="GET", body=NO_BODY)
            head = await connection.response()
            assert (head.status, head.headers) == (200, [(b"content-length", b"5")])
            connection.release()
            assert len(connection.endpoint.idle) == 1

    asyncio.run(main())


def test_too_many_interim_responses_are_a_protocol_error() -> None:
    async def main() -> None:
        async with RecordingBackend(b"HTTP/1.1 100 Continue\r\n\r\n" * (MAX_INTERIM + 1) + HELLO) as backend:
            connection = await connect(backend.port)
            error = await failure(ask(connection))
            assert (error.flag, error.status) == (Flag.UPSTREAM_PROTOCOL_ERROR, 502)
            assert "16 interim" in error.cause
            connection.release()
            assert connection.endpoint.connections == 0

    asyncio.run(main())


# -- failures ------------------------------------------------------------------------------------

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
                await settled(lambda: connection.response_started)
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
            await settled(lambda: connection.closed)
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


# -- request bodies ------------------------------------------------------------------------------


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
            await settled(lambda: connection._writer is not None)
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
            await settled(lambda: connection._writer is not None)
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
            await settled(lambda: connection._writer is not None)
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
            await settled(lambda: connection.closed)
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


# -- wear ----------------------------------------------------------------------------------------


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
                await settled(lambda: connection.response_started)  # noqa: B023 - called in this turn
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
                await settled(
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
            await link.send(HELD)
            await connection.response()
            for now in range(100, 200, 20):
                assert not silence(connection, now)
            connection.close()
            connection.release()

    asyncio.run(main())
