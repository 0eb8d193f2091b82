"""Handshakes that stop, trickle, come in pieces or in crowds."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import socket
import ssl
from pathlib import Path

import pytest
from support.certificates import SLEEP, Certs, leaf
from support.tls import MUTUAL, SIMPLE, tls_listener
from support.upstreams import LOOPS, Run
from support.waiting import until


@LOOPS
@pytest.mark.parametrize("sent", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01"])
def test_half_a_handshake_has_its_time(run: Run, tmp_path: Path, certs: Certs, sent: bytes) -> None:
    """Whether nothing comes, or a part of the hello."""

    async def main() -> None:
        async with tls_listener(tmp_path, SIMPLE) as it:
            it.patience = 0.05
            reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
            writer.write(sent)
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()
            assert it.failures == {"timeout": 1}
            assert not it.listener.pending

    run(main())


@LOOPS
def test_a_handshake_that_stops_after_the_hello_has_its_time(run: Run, tmp_path: Path, certs: Certs) -> None:
    """The same deadline goes on in OpenSSL's hands."""

    async def main() -> None:
        async with tls_listener(tmp_path, SIMPLE) as it:
            it.patience = 0.1
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            client = certs.client().wrap_bio(incoming, outgoing, server_hostname="shop.test")
            with contextlib.suppress(ssl.SSLWantReadError):
                client.do_handshake()
            reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
            writer.write(outgoing.read())
            with contextlib.suppress(ConnectionError):
                while await reader.read(4096):
                    pass
            writer.close()
            await it.settled()
            assert it.failures == {"timeout": 1}

    run(main())


@LOOPS
def test_a_hello_may_come_in_pieces(run: Run, tmp_path: Path, certs: Certs) -> None:
    """However many: each is waited for."""

    async def main() -> None:
        async with tls_listener(tmp_path, SIMPLE) as it:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            client = certs.client().wrap_bio(incoming, outgoing, server_hostname="shop.test")
            with contextlib.suppress(ssl.SSLWantReadError):
                client.do_handshake()
            hello = outgoing.read()
            loop = asyncio.get_running_loop()
            with socket.create_connection(("127.0.0.1", it.port)) as sock:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.setblocking(False)
                for at in range(0, len(hello), 40):
                    await loop.sock_sendall(sock, hello[at : at + 40])
                    await asyncio.sleep(0)
                async with asyncio.timeout(10):
                    while True:
                        try:
                            client.do_handshake()
                            break
                        except ssl.SSLWantReadError:
                            incoming.write(await loop.sock_recv(sock, 4096))
                await loop.sock_sendall(sock, outgoing.read())
                await it.settled()
            assert it.store.handshakes.counts == {"complete": 1}

    run(main())


@LOOPS
def test_a_client_that_leaves_in_its_hello_is_let_go(run: Run, tmp_path: Path, certs: Certs) -> None:
    """At once, not at the deadline."""

    async def main() -> None:
        async with tls_listener(tmp_path, SIMPLE) as it:
            for sent in (b"", b"\x16\x03\x01\x02\x00\x01"):
                reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
                writer.write(sent)
                writer.write_eof()
                with contextlib.suppress(ConnectionError):
                    assert await reader.read() == b""
                writer.close()
            assert it.failures == {"closed_by_client": 2}

    run(main())


@LOOPS
def test_closing_ends_handshakes_and_keeps_connections(run: Run, tmp_path: Path, certs: Certs) -> None:
    """A drain finishes what is under way; half a handshake is not."""

    async def main() -> None:
        async with tls_listener(tmp_path, SIMPLE) as it:
            reader, writer = await it.open(certs.client())
            half, dangling = await asyncio.open_connection("127.0.0.1", it.port)
            await until(lambda: it.listener.pending)
            it.listener.close()
            await it.listener.wait_closed()
            with contextlib.suppress(ConnectionError):
                assert await half.read() == b""
            dangling.close()
            writer.write(b"ping")
            assert await reader.readexactly(4) == b"ping"
            writer.transport.abort()

    run(main())


def test_a_resumed_session_past_its_certificate_s_end_is_refused(tmp_path: Path, certs: Certs) -> None:
    """TLS 1.2 keeps sessions in memory, and resumes them without looking at the certificate again."""
    from gateway.tls.identity import breach

    async def main() -> None:
        async with tls_listener(tmp_path, MUTUAL % ", maxProtocolVersion: TLSV1_2") as it:
            assert await it.call(certs.client(leaf(principal=SLEEP))) == b"ping"
            (connection,) = it.connections
            end = dt.datetime.now(dt.UTC) + dt.timedelta(hours=25)
            assert breach(connection) == ""
            assert breach(connection, wall=end.timestamp) == "certificate_expired"

    asyncio.run(main())


@LOOPS
def test_handshakes_at_a_time_are_limited(
    run: Run, tmp_path: Path, certs: Certs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the limit a connection is closed at once; it is served again when others are through (T17)."""
    monkeypatch.setattr("gateway.server.acceptor.MOST", 1)

    async def main() -> None:
        async with tls_listener(tmp_path, SIMPLE) as it:
            half, dangling = await asyncio.open_connection("127.0.0.1", it.port)
            await until(lambda: it.listener.pending)
            assert await it.call(certs.client()) == b""
            assert it.failures == {"too_many_handshakes": 1}
            dangling.close()
            with contextlib.suppress(ConnectionError):
                await half.read()
            await until(lambda: not it.listener.pending)
            assert await it.call(certs.client()) == b"ping"

    run(main())
