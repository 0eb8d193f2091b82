"""Accepts connections on a TLS port: server name first, then the handshake of the right server.

Lifetime: process (one listening socket).

A connection has until the handshake timeout to become one, whatever it spends the time on. Its ClientHello
is only looked at (MSG_PEEK), so the handshake that follows reads it again from its first byte.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import select
import socket
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from gateway.tls.handshakes import CLOSED, TIMEOUT, TOO_MANY, UNKNOWN_NAME, reason_of
from gateway.tls.hello import MAX_BYTES, NOT_TLS, read_hello
from gateway.tls.identity import breach, identify

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.http.peer import Peer
    from gateway.tls.handshakes import Handshakes
    from gateway.tls.servers import ServerTable, TlsServer

logger = logging.getLogger(__name__)

MOST: Final = 1024
"""Connections at a time that have not completed their handshake; beyond it new ones are closed (T17)."""
_AT_ONCE: Final = 64
"""Connections accepted before others get their turn of the loop."""
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_PAUSE: Final = 1.0
"""Seconds without accepting when there are no descriptors left."""
_GLANCE: Final = 0.05
"""Seconds until the next look at a hello that does not get on."""
_PLAIN: Final = b"This port speaks TLS. Use https://\n"


class SecureListener:
    """Accepts on one socket. Like asyncio's server object to uvicorn: `close` and `wait_closed`."""

    def __init__(
        self,
        listening: socket.socket,
        protocol: Callable[[Peer], asyncio.Protocol],
        *,
        table: Callable[[], ServerTable | None],
        patience: Callable[[], float],
        handshakes: Handshakes,
    ) -> None:
        """`protocol` makes the protocol of a connection, for the peer it came from; `table` and `patience`
        (seconds of a handshake) are asked for each.
        """
        self.protocol = protocol
        self.table = table
        self.patience = patience
        self.handshakes = handshakes
        self.loop = asyncio.get_running_loop()
        self.pending: set[_Arrival] = set()
        self.sockets = (listening,)
        self._pause: asyncio.TimerHandle | None = None
        self._closed = False
        listening.setblocking(False)
        self._listen()

    def __repr__(self) -> str:
        return f"<SecureListener {self.sockets[0].getsockname()} handshakes {len(self.pending)}>"

    def close(self) -> None:
        """Accepts no more, and gives up the handshakes under way; the socket is its owner's to close."""
        if self._closed:
            return
        self._closed = True
        if self._pause is not None:
            self._pause.cancel()
        self.loop.remove_reader(self.sockets[0].fileno())
        for arrival in tuple(self.pending):
            arrival.give_up()

    async def wait_closed(self) -> None:
        """Returns when no handshake is under way."""
        while tasks := [arrival.task for arrival in self.pending if arrival.task is not None]:
            await asyncio.wait(tasks)

    def _listen(self) -> None:
        self._pause = None
        self.loop.add_reader(self.sockets[0].fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                accepted, name = self.sockets[0].accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                logger.error("cannot accept: %s; trying again in %g s", error.strerror, _PAUSE)  # noqa: TRY400
                self.loop.remove_reader(self.sockets[0].fileno())
                self._pause = self.loop.call_later(_PAUSE, self._listen)
                return
            client = f"{name[0]}:{name[1]}" if isinstance(name, tuple) else ""
            if len(self.pending) >= MOST:
                self.handshakes.failed(TOO_MANY, client, "")
                accepted.close()
                continue
            accepted.setblocking(False)
            with contextlib.suppress(OSError):
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _Arrival(self, accepted, client)


class _Arrival:
    """A connection that is not one yet."""

    __slots__ = ("_listener", "_low_water", "_sock", "_timer", "client", "deadline", "name", "task")

    def __init__(self, listener: SecureListener, sock: socket.socket, client: str) -> None:
        self._listener = listener
        self._sock = sock
        self._low_water = 1
        self.client = client
        self.name = ""
        self.task: asyncio.Task[None] | None = None
        loop = listener.loop
        self.deadline = loop.time() + listener.patience()
        self._timer = loop.call_at(self.deadline, self._refuse, TIMEOUT)
        listener.pending.add(self)
        loop.add_reader(sock.fileno(), self._look)

    def give_up(self) -> None:
        """The listener closes."""
        if self.task is not None:
            self.task.cancel()
        else:
            self._drop()

    def _look(self) -> None:
        """Reads as much of the hello as there is, without taking it."""
        try:
            seen = self._sock.recv(MAX_BYTES, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            seen = b""
        if not seen:
            self._refuse(CLOSED)
            return
        hello = read_hello(seen)
        if hello is NOT_TLS:
            self._say_plainly(seen)
        elif hello.error:
            self._refuse(hello.error)
        elif hello.wanted:
            self._await(hello.wanted, len(seen))
        else:
            self.name = hello.name
            self._shake()

    def _await(self, wanted: int, seen: int) -> None:
        """Sleeps until `wanted` bytes are there: the socket itself tells (SO_RCVLOWAT), so that a client that
        sends byte by byte costs no more than one that does not.
        """
        if wanted > self._low_water:
            self._low_water = wanted
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, wanted)
            return
        poll = select.poll()  # Woken with less: the client is gone, or the kernel is short of memory.
        poll.register(self._sock.fileno(), select.POLLRDHUP)
        if poll.poll(0):
            self._refuse(CLOSED, f"after {seen} bytes")
            return
        self._listener.loop.remove_reader(self._sock.fileno())
        again = min(self._listener.loop.time() + _GLANCE, self.deadline)
        self._timer.cancel()
        self._timer = self._listener.loop.call_at(again, self._resume)

    def _resume(self) -> None:
        loop = self._listener.loop
        self._timer = loop.call_at(self.deadline, self._refuse, TIMEOUT)
        loop.add_reader(self._sock.fileno(), self._look)

    def _shake(self) -> None:
        table = self._listener.table()
        server = table.find(self.name) if table is not None else None
        if server is None:
            self._refuse(UNKNOWN_NAME)
            return
        loop = self._listener.loop
        self._timer.cancel()
        loop.remove_reader(self._sock.fileno())
        if self._low_water > 1:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        self.task = loop.create_task(self._handshake(server), name="gateway-handshake")

    async def _handshake(self, server: TlsServer) -> None:
        listener = self._listener
        left = max(self.deadline - listener.loop.time(), 0.001)
        try:
            await listener.loop.connect_accepted_socket(
                lambda: _Threshold(listener, self), self._sock, ssl=server.context, ssl_handshake_timeout=left
            )
        except OSError as error:  # ssl.SSLError is one
            reason, detail = reason_of(error)
            listener.handshakes.failed(reason, self.client, self.name, detail)
        finally:
            listener.pending.discard(self)

    def _say_plainly(self, seen: bytes) -> None:
        """Tells a client that speaks plain HTTP why it is not answered."""
        if seen[:1].isupper():
            head = (
                b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n"
                b"content-length: %d\r\nconnection: close\r\nx-request-id: %b\r\n\r\n"
            )
            with contextlib.suppress(OSError):
                self._sock.send(head % (len(_PLAIN), str(uuid4()).encode()) + _PLAIN)
                self._sock.shutdown(socket.SHUT_WR)
                self._sock.recv(
                    MAX_BYTES
                )  # A close with bytes unread is a reset, and takes the answer along.
        self._refuse(NOT_TLS.error)

    def _refuse(self, reason: str, detail: str = "") -> None:
        self._listener.handshakes.failed(reason, self.client, self.name, detail)
        self._drop()

    def _drop(self) -> None:
        self._timer.cancel()
        self._listener.loop.remove_reader(self._sock.fileno())
        self._sock.close()
        self._listener.pending.discard(self)


class _Threshold(asyncio.Protocol):
    """Sees the connection first: what OpenSSL knows no rule for is checked before a byte is read."""

    __slots__ = ("_arrival", "_listener")

    def __init__(self, listener: SecureListener, arrival: _Arrival) -> None:
        self._listener = listener
        self._arrival = arrival

    def connection_made(self, transport: Any) -> None:
        """The handshake is complete."""
        connection = transport.get_extra_info("ssl_object")
        reason = breach(connection)
        if reason:
            self._listener.handshakes.failed(reason, self._arrival.client, self._arrival.name)
            transport.abort()
            return
        self._listener.handshakes.completed()
        protocol = self._listener.protocol(identify(connection))
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
