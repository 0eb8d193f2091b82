"""A whole gateway for a test: its own thread, real sockets on loopback, backends that are played.

Lifetime: process; one test.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import uvicorn
from uvicorn.server import ServerState

from gateway.asgi import SETTINGS, Gateway
from gateway.config.hosts import fqdn
from gateway.control.build import Built, Refused, View, build
from gateway.control.control import Control
from gateway.http.peer import Peer
from gateway.http.place import Place
from gateway.server.protocol import EdgeProtocol
from gateway.telemetry.access_log import Silent
from gateway.testing.backend import Backend, Recorded
from gateway.tls import Secured, Store
from gateway.upstream import Resolution

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence
    from pathlib import Path

    from gateway.config import Config
    from gateway.exchange.downstream import Downstream
    from gateway.tls import Destination
    from gateway.upstream import ClusterConfig, EndpointConfig, Plan

PRINCIPAL = b"x-gateway-test-principal"
"""Header by which a test's request says whose certificate it would have shown. It goes no further."""
PATIENCE = 30.0
"""Seconds to start, to stop and to answer."""


class RunningGateway:
    """A gateway that serves, and everything behind it. `close` ends it."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """ConfigError when the files cannot serve."""
        self._stage = _Stage()
        self._gateway = _PlayedGateway(_PlayedControl(paths, self._stage))
        self._gateway.control.load_first()
        snapshot = self._gateway.control.snapshot
        self.ports: dict[int, int] = {}
        """Port of a Gateway document -> where it is served on 127.0.0.1; 0 is the listener without one."""
        self._sockets = []
        for port in snapshot.listeners or (0,):
            listening = socket.create_server(("127.0.0.1", 0), backlog=100)
            listening.setblocking(False)
            self._sockets.append(listening)
            self.ports[port] = listening.getsockname()[1]
        self._gateway.places = {real: port for port, real in self.ports.items()}
        self._gateway.secure = frozenset(
            server.port.number
            for document in snapshot.config.gateways
            for server in document.spec.servers
            if server.tls is not None and not server.tls.https_redirect
        )
        self.client = httpx.Client(base_url=self.url, trust_env=False, timeout=PATIENCE)
        """Speaks to the first listener; follows no redirects."""
        self._loop = asyncio.new_event_loop()
        self._started: threading.Event = threading.Event()
        self._failure: BaseException | None = None
        self._end: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="gateway-test", daemon=True)
        self._thread.start()
        if not self._started.wait(PATIENCE) or self._failure is not None:
            self.close()
            raise RuntimeError("the gateway did not start") from self._failure

    def __repr__(self) -> str:
        return f"<RunningGateway {self.url} backends {len(self.backends)}>"

    @property
    def url(self) -> str:
        """Where the first listener is."""
        return f"http://127.0.0.1:{next(iter(self.ports.values()))}"

    # -- asking --------------------------------------------------------------------------------

    def request(  # noqa: PLR0913 - the parts of a request
        self,
        method: str,
        path: str = "/",
        *,
        host: str = "",
        port: int | None = None,
        headers: Mapping[str, str] | None = None,
        principal: str = "",
        content: bytes | None = None,
    ) -> httpx.Response:
        """Sends a request. `host`: its Host header; `port`: that of a Gateway document; `principal`: SPIFFE
        identity that the client's certificate would have.
        """
        fields = dict(headers or {})
        if host:
            fields["host"] = host
        if principal:
            fields[PRINCIPAL.decode()] = principal.removeprefix("spiffe://")
        url = path if port is None else f"http://127.0.0.1:{self.ports[port]}{path}"
        return self.client.request(method, url, headers=fields, content=content)

    def get(self, path: str = "/", **asked: Any) -> httpx.Response:
        """`request("GET", ...)`."""
        return self.request("GET", path, **asked)

    def post(self, path: str = "/", **asked: Any) -> httpx.Response:
        """`request("POST", ...)`."""
        return self.request("POST", path, **asked)

    # -- backends ------------------------------------------------------------------------------

    @property
    def backends(self) -> list[Backend]:
        """Every endpoint of every service."""
        return list(self._stage.backends.values())

    def backend(self, host: str, subset: str = "") -> Backend:
        """The endpoint of a service, or of a subset of it; LookupError when there is not exactly one."""
        settings = self._gateway.control.snapshot.config.settings.spec
        full = fqdn(host, settings.namespace, settings.cluster_domain)
        found = [
            item for item in self.backends if item.host == full and (not subset or subset in item.subsets)
        ]
        if len(found) != 1:
            raise LookupError(f"{len(found)} endpoints of {host}/{subset}; there are {self.backends}")
        return found[0]

    @property
    def calls(self) -> list[Recorded]:
        """Every request that came to a backend, backend by backend."""
        return [call for backend in self.backends for call in backend.calls]

    # -- the thread ----------------------------------------------------------------------------

    def close(self) -> None:
        """Ends the gateway and its backends. Any number of times."""
        self.client.close()
        if self._thread.is_alive() and self._end is not None:
            self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(PATIENCE)
        for listening in self._sockets:
            listening.close()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - raised in the test's thread
            self._failure = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._end = asyncio.Event()
        gateway, state = self._gateway, ServerState()
        config = uvicorn.Config(
            gateway,
            http=EdgeProtocol,
            ws="none",
            interface="asgi3",
            lifespan="off",
            log_config=None,
            proxy_headers=False,
            server_header=False,
        )
        config.load()
        app_state: dict[str, Any] = {SETTINGS: lambda: gateway.control.snapshot.config.settings}

        def protocol() -> EdgeProtocol:
            return EdgeProtocol(config=config, server_state=state, app_state=app_state)

        servers = []
        try:
            for backend in self.backends:
                await backend.start()
            await gateway.start()
            servers = [await self._loop.create_server(protocol, sock=item) for item in self._sockets]
            self._started.set()
            await self._end.wait()
        finally:
            for server in servers:
                server.close()
            for connection in tuple(state.connections):
                connection.transport.abort()
            await asyncio.gather(*state.tasks, return_exceptions=True)
            await gateway.stop()
            for backend in self.backends:
                await backend.stop()


class _Stage:
    """The backends, made as the plan names them."""

    def __init__(self) -> None:
        self.backends: dict[tuple[str, str, int], Backend] = {}

    def plan(self, planned: Plan) -> Plan:
        """The same clusters, with endpoints of ours in plain text; a wrapped application stays."""
        return replace(
            planned,
            clusters={
                name: config if config.resolution is Resolution.APP else self._played(config)
                for name, config in planned.clusters.items()
            },
        )

    def _played(self, config: ClusterConfig) -> ClusterConfig:
        endpoints = tuple(self._endpoint(config, item) for item in config.endpoints)
        return replace(config, endpoints=endpoints, resolution=Resolution.STATIC, tls=None, health_check=None)

    def _endpoint(self, config: ClusterConfig, item: EndpointConfig) -> EndpointConfig:
        key = config.host, item.address, item.port
        backend = self.backends.get(key)
        if backend is None:
            address = item.address if item.is_unix else f"{item.address}:{item.port}"
            backend = self.backends[key] = Backend(config.host, address, item.labels)
        if config.subset:
            backend.subsets.add(config.subset)
        return replace(item, address="127.0.0.1", port=backend.port)


class _PlainStore(Store):
    """No credentials: listeners and backends speak plain text."""

    def prepare(self, config: Config, destinations: Mapping[str, Destination]) -> Secured:
        return Secured(config, destinations, {}, {}, {}, {}, (), frozenset())


class _PlayedControl(Control):
    """Reads the files once, and sends everything to the stage."""

    def __init__(self, paths: Sequence[Path], stage: _Stage) -> None:
        super().__init__(paths, watch=False)
        self.tls = _PlainStore(self.paths)
        self._stage = stage

    def _build(self, generation: int) -> Built | Refused:
        return build(
            self.paths, self.registry, self.tls, self.security, generation, view=View(plan=self._stage.plan)
        )

    def _follow_hangup(self) -> None:
        pass


class _PlayedGateway(Gateway):
    """Takes a request for one that came in on the port of its Gateway document."""

    def __init__(self, control: Control) -> None:
        super().__init__(control=control)
        self.telemetry.log = Silent()
        self.places: Mapping[int, int] = {}
        self.secure: frozenset[int] = frozenset()

    def _direct(self, downstream: Downstream) -> Coroutine[Any, Any, None]:
        place = downstream.place
        port = self.places.get(place.port, place.port)
        principal = b""
        for name, value in downstream.headers:
            if name == PRINCIPAL:
                principal = value
        if principal:
            downstream.headers = [pair for pair in downstream.headers if pair[0] != PRINCIPAL]
        identity = principal.decode("latin-1")
        peer = None
        if identity or port in self.secure:
            uris = (f"spiffe://{identity}",) if identity else ()
            peer = Peer(verified=bool(identity), principal=identity, uris=uris, version="TLSv1.3")
        downstream.place = Place(
            place.client,
            (place.local_ip, port),
            scheme="https" if peer is not None else "http",
            peer=peer,
            protocol=place.protocol,
        )
        return super()._direct(downstream)

    async def _start_admin(self) -> None:
        pass
