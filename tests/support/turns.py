"""A whole data path without sockets: clients, gateway and backends in one loop whose turns a test composes.

async def main(loop):
    world = World(loop)
    client = world.client()
    client.ask("GET", "/", 0)
    client.deliver()                 # the gateway reads it
    await world.turn(6)              # a new connection takes a few
    world.links[0].answer(0, 0)
    world.links[0].deliver()

run(main)
"""

from __future__ import annotations

import asyncio
import os
import random
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import uvicorn
from support.parties import Client, Link
from uvicorn.server import ServerState

from gateway.config import load
from gateway.exchange.spine import Spine
from gateway.http.turn import Turn
from gateway.routing import compile_snapshot
from gateway.server.edge import EDGE, Edge
from gateway.server.protocol import EdgeProtocol
from gateway.telemetry.counters import Counters
from gateway.telemetry.recorder import Recorder
from gateway.upstream.plan import plan
from gateway.upstream.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from support.parties import Wanted

    from gateway.config import Config
    from gateway.exchange.exchange import Exchange

DOCUMENTS = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: reviews}
spec:
  hosts: [reviews]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  location: MESH_INTERNAL
  endpoints:
  - {address: 10.0.0.1}
  - {address: 10.0.0.2}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  trafficPolicy: {connectionPool: {tcp: {maxConnections: %d}, http: {maxRequestsPerConnection: %d}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - match: [{uri: {prefix: /direct}}]
    directResponse: {status: 200, body: {string: direct}}
  - match: [{uri: {prefix: /operated}}]
    route: [{destination: {host: reviews}, headers: {response: {add: {x-generation: "%d"}}}}]
    timeout: 5s
  - match: [{uri: {prefix: /once}}]
    route: [{destination: {host: reviews}}]
    retries: {attempts: 0}
    timeout: 7s
  - match: [{uri: {prefix: /eager}}]
    route: [{destination: {host: reviews}}]
    retries: {attempts: 2, retryOn: "5xx,reset", perTryTimeout: 2s}
  - match: [{uri: {prefix: /delayed}}]
    fault: {delay: {percentage: {value: 100}, fixedDelay: 1s}}
    route: [{destination: {host: reviews}}]
  - route: [{destination: {host: reviews}}]
---
apiVersion: gateway.asgi/v1
kind: GatewaySettings
metadata: {name: test}
spec: {admin: "off", accessLog: {encoding: "OFF"}, pathNormalization: %s}
"""
PATHS = ("/", "/direct", "/operated", "/once", "/eager", "/delayed", "/nowhere/%zz")


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its time passes only while nothing is ready, and then at once; connections go to the world."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.world: World
        selector: Any = self._selector  # type: ignore[attr-defined]
        select = selector.select

        def at_once(timeout: float | None) -> Any:
            self.now += timeout or 0.0
            return select(0)

        selector.select = at_once

    def time(self) -> float:
        """Seconds."""
        return self.now

    async def create_connection(self, factory: Any, host: Any = None, port: Any = None, **_: Any) -> Any:  # type: ignore[override]
        """To a backend of the world."""
        await asyncio.sleep(0)
        world = self.world
        if world.refusing:
            world.refusing -= 1
            raise ConnectionRefusedError(111, "refused")
        link = Link(world, factory(), host)
        await asyncio.sleep(0)
        return link, link.protocol


def run(main: Callable[[VirtualLoop], Coroutine[Any, Any, None]]) -> None:
    """Runs `main` in a loop of its own; nothing may be told to the loop's exception handler."""
    loop = VirtualLoop()
    asyncio.set_event_loop(None)
    told: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: told.append(context))
    try:
        loop.run_until_complete(main(loop))
    finally:
        loop.close()
    assert told == [], told


@lru_cache
def _config(text: str) -> Config:
    loaded = load([], texts={"routes.yaml": text})
    assert loaded.config is not None, [finding.message for finding in loaded.findings]
    return loaded.config


class World:
    """Everything."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop
        loop.world = self
        self.devnull = os.open(os.devnull, os.O_RDONLY)
        self.devnull = _File(self.devnull)  # type: ignore[assignment]
        self.refusing = 0
        self.wanted: list[Wanted] = []
        self.clients: list[Client] = []
        self.links: list[Link] = []
        self.begun = 0
        self.recorded: list[Exchange] = []
        self.counters = Counters(wall=loop.time)
        self.recorder = Recorder(clock=loop.time, wall=loop.time)
        self.registry = Registry(clock=loop.time, rng=random.Random(1))
        self.generation = 0
        self.reload()
        self.spine = Spine(lambda: self.snapshot, self.record, clock=loop.time, rng=random.Random(2))
        self.uvicorn = uvicorn.Config(
            self, http=EdgeProtocol, log_config=None, lifespan="off", ws="none", proxy_headers=False
        )
        self.uvicorn.load()
        self.app_state: dict[str, Any] = {}
        self.edge = self.app_state[EDGE] = Edge(
            self.uvicorn, self.app_state, loop, clock=loop.time, wall_clock=loop.time
        )
        self.server_state = ServerState()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("called the ASGI way")

    async def direct(self, stream: Any) -> None:
        """What the server calls."""
        self.begun += 1
        await self.spine.serve(stream)

    def record(self, exchange: Exchange) -> None:
        """Step 11."""
        assert not any(exchange is other for other in self.recorded), "recorded twice"
        assert exchange.ended_at
        self.recorded.append(exchange)
        self.counters.record(exchange, exchange.ended_at)
        self.recorder.record(exchange, exchange.ended_at)

    def reload(self) -> None:
        """The next generation."""
        number = self.generation = self.generation + 1
        text = DOCUMENTS % (2 + number % 2, number % 3 * 2, number % 6, ("BASE", "MERGE_SLASHES")[number % 2])
        config = _config(text)
        planned = plan(config)
        prepared = self.registry.prepare(planned)
        snapshot = compile_snapshot(config, planned, prepared.clusters, generation=number)
        self.registry.commit(prepared)
        self.snapshot = snapshot
        self.counters.follow(config.settings.spec)

    def client(self) -> Client:
        """One more."""
        client = Client(self)
        self.clients.append(client)
        return client

    async def turn(self, turns: int = 1) -> None:
        """Lets the loop turn."""
        for _ in range(turns):
            await asyncio.sleep(0)

    async def quiet(self) -> None:
        """Everybody answers and takes what there is, until there is nothing more."""
        calm = 0
        for _ in range(400):
            for client in self.clients:
                if client.stuck:
                    client.flow()
                client.deliver()
            for link in self.links:
                if link.stuck:
                    link.flow()
                while link.inbox and link.reading and not link.closing:
                    link.deliver()
                if link.requests:
                    link.answer(0, 0)
                    link.deliver()
            await self.turn(3)
            busy = self.edge.active or any(client.outbox and not client.closing for client in self.clients)
            calm = 0 if busy else calm + 1
            if calm == 3:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"no end: {self.edge}, {self.clients[0].protocol}")

    async def over(self) -> None:
        """Everybody leaves; nothing of it is left behind."""
        for client in self.clients:
            client.check(finished=True)
        for client in self.clients:
            client.reset()
        await self.turn(4)
        for link in self.links:
            link.reset()
        await self.turn(4)
        for link in self.links:
            # A cycle that a reload freezes would never be freed.
            error = getattr(link.protocol, "_error", None)
            assert error is None or (error.__traceback__, error.__context__) == (None, None)
        assert self.edge.active == 0
        assert self.edge.connections == 0
        assert not self.server_state.tasks
        assert len(self.recorded) == self.begun
        for cluster in self.registry.clusters.values():
            pool = cluster.pool
            assert [endpoint.active for endpoint in pool.endpoints.values()] == [0, 0]
            assert (pool.connections, pool.pending, len(pool.open), pool.active()) == (0, 0, 0, 0)
            assert pool.retries.in_flight == 0
        assert all(not queue._ends for queue in self.spine._deadlines._queues.values())
        assert repr(Turn.of(self.loop)) == "<Turn of 0 records, 0 writes>"
        for wanted in self.wanted:
            most = 5 if wanted.method != "POST" or wanted.path == "/eager" else 1 if wanted.size else 2
            assert wanted.departures <= most, (
                f"{wanted.method} {wanted.path} departed {wanted.departures} times"
            )
        families = {family.metric.name: family for family in self.counters.read()}
        counted = sum(families["istio_requests_total"].samples.values())
        assert counted == self.begun
        await self.registry.close()
        self.edge.sweeper.stop()
        await self.spine.close()


class _File:
    """A descriptor as sockets have it."""

    def __init__(self, number: int) -> None:
        self._number = number

    def fileno(self) -> int:
        return self._number

    def __del__(self) -> None:
        os.close(self._number)
