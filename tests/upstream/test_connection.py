"""One connection against a backend that follows a script, on real sockets."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.backend import RecordingBackend
from support.upstreams import GET, HELLO, LOOPS, Run, ask, cluster_of, connect, failure, only, rest
from support.waiting import until

from gateway.http.flags import Flag
from gateway.upstream import NO_BODY, Framing
from gateway.upstream.receiving import ENOUGH, MAX_INTERIM


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
            await until(lambda: connection._paused)
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
            await until(lambda: not endpoint.idle)
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
            await until(lambda: not endpoint.idle)
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
