"""TLS listeners of Gateway documents in the test's own loop, with a protocol that says who called."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from support.waiting import until

from gateway.config import load
from gateway.http.peer import Peer
from gateway.server.acceptor import SecureListener
from gateway.tls import Store

PORT = 8443
"""In documents; where it really listens is the kernel's choice."""
PATIENCE = 10.0
SIMPLE = "hosts: ['*'], tls: {mode: SIMPLE, credentialName: shop}"
MUTUAL = "hosts: ['*'], tls: {mode: MUTUAL, credentialName: shop%s}"
OPTIONAL = "hosts: ['*'], tls: {mode: OPTIONAL_MUTUAL, credentialName: shop}"


def gateway_document(*servers: str) -> str:
    """A Gateway whose servers are `hosts` and `tls`, as flow YAML: `hosts: [a], tls: {...}`."""
    items = [
        f"  - {{port: {{number: {PORT}, name: p{index}, protocol: HTTPS}}, {server}}}\n"
        for index, server in enumerate(servers)
    ]
    return (
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: edge}\nspec:\n  servers:\n"
        + "".join(items)
    )


def secure(store: Store, routes: Path) -> None:
    """Loads the configuration and puts its credentials to use; fails on what `gateway run` would refuse."""
    loaded = load([routes])
    assert loaded.config is not None, loaded.findings
    secured = store.prepare(loaded.config, {})
    assert not secured.fatal, secured.findings
    store.commit(secured)


class Caller(asyncio.Protocol):
    """Answers each piece with it, and remembers who sent it."""

    def __init__(self, listener: TlsListener, peer: Peer) -> None:
        self.listener = listener
        self.listener.peers.append(peer)
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.listener.connections.append(transport.get_extra_info("ssl_object"))
        self.listener.callers.add(self)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.listener.callers.discard(self)


class TlsListener:
    """An open TLS port."""

    def __init__(self, store: Store, routes: Path) -> None:
        self.store = store
        self.routes = routes
        self.port = 0
        self.peers: list[Peer] = []
        self.connections: list[ssl.SSLObject] = []
        self.callers: set[Caller] = set()
        self.listener: SecureListener
        self.patience = PATIENCE

    @property
    def failures(self) -> dict[str, int]:
        """Handshakes that came to nothing, by reason."""
        return {key: count for key, count in self.store.handshakes.counts.items() if key != "complete"}

    async def settled(self, count: int = 1) -> None:
        """Waits until so many handshakes have ended, well or not."""
        await until(lambda: sum(self.store.handshakes.counts.values()) >= count)

    async def call(self, context: ssl.SSLContext, name: str | None = "shop.test") -> bytes:
        """Connects, sends `ping`, and gives the answer: b"" when there is no connection for us."""
        try:
            async with asyncio.timeout(PATIENCE):
                reader, writer = await self.open(context, name)
                try:
                    writer.write(b"ping")
                    return await reader.read(4)
                finally:
                    writer.transport.abort()
        except (ssl.SSLError, ConnectionError):
            return b""

    async def open(
        self, context: ssl.SSLContext, name: str | None = "shop.test"
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection that stays; `name` None: without SNI."""
        if name is None:
            context.check_hostname = False
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=context, server_hostname=name or "")


@asynccontextmanager
async def tls_listener(folder: Path, *servers: str, quiet: bool = False) -> AsyncIterator[TlsListener]:
    """Serves a Gateway with these servers; credentials are in `folder/certs`."""
    routes = folder / "routes.yaml"
    routes.write_text(gateway_document(*servers))
    store = Store([routes])
    secure(store, routes)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        made = TlsListener(store, routes)
        made.listener = SecureListener(
            listening,
            lambda peer: Caller(made, peer),
            table=lambda: store.table(PORT),
            patience=lambda: made.patience,
            handshakes=store.handshakes,
        )
        made.port = listening.getsockname()[1]
        try:
            yield made
        finally:
            made.listener.close()
            await made.listener.wait_closed()
            for caller in tuple(made.callers):
                caller.transport.abort()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
