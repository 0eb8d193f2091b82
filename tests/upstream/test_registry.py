"""Reloads: what stays the same object, what is replaced, what closes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import pytest
from support.backend import RecordingBackend
from support.clock import FakeClock, FakeSleep
from support.dns import ScriptedResolver
from support.documents import config_of
from support.upstreams import GET, HELLO, ask, failure
from support.waiting import until
from test_rules import rule
from test_services import entry, settings

from gateway.http.flags import Flag
from gateway.upstream import NO_BODY, Cluster, Endpoint, Registry, plan
from gateway.upstream.balancer import HashBalancer
from gateway.upstream.registry import SHORTEST_SWEEP, SWEEP


def service(*ports: int, host: str = "reviews") -> str:
    endpoints = ", ".join(f"{{address: 127.0.0.1, ports: {{http: {port}}}}}" for port in ports)
    return entry(
        host,
        f"hosts: [{host}], ports: [{{number: 80, name: http}}], resolution: STATIC, endpoints: [{endpoints}]",
    )


def dns(*names: str, host: str = "reviews", resolution: str = "DNS") -> str:
    endpoints = ", ".join(f"{{address: {name}}}" for name in names)
    spec = f"hosts: [{host}], ports: [{{number: 80, name: http}}], resolution: {resolution}, endpoints: [{endpoints}]"
    return entry(host, spec)


def name_of(host: str) -> str:
    return f"outbound|80||{host}.default.svc.cluster.local"


class Scene:
    """A registry with time and names under the test's control."""

    def __init__(self, resolver: ScriptedResolver | None = None) -> None:
        self.clock, self.sleep = FakeClock(), FakeSleep()
        self.resolver = resolver or ScriptedResolver()
        self.registry = Registry(clock=self.clock, rng=Random(1), resolver=self.resolver, sleep=self.sleep)

    def load(self, text: str) -> None:
        self.registry.commit(self.registry.prepare(plan(config_of(text))))

    def cluster(self, host: str = "reviews") -> Cluster:
        return self.registry.clusters[name_of(host)]

    def addresses(self, host: str = "reviews") -> list[str]:
        return [endpoint.address for endpoint in self.cluster(host).endpoints]


@asynccontextmanager
async def scene(resolver: ScriptedResolver | None = None) -> AsyncIterator[Scene]:
    made = Scene(resolver)
    try:
        yield made
    finally:
        await made.registry.close()


async def idle(cluster: Cluster, endpoint: Endpoint) -> None:
    """One request there, so that a connection lies idle."""
    connection = await cluster.acquire(endpoint)
    assert await ask(connection) == (200, b"hello")
    connection.release()


def test_an_unchanged_cluster_is_the_same_object() -> None:
    async def main() -> None:
        async with scene() as it:
            it.load(service(1) + service(2, host="ratings"))
            reviews, ratings = it.cluster(), it.cluster("ratings")
            it.load(service(1) + service(2, 3, host="ratings"))
            assert it.cluster() is reviews
            assert it.cluster("ratings") is not ratings

    asyncio.run(main())


def test_a_changed_cluster_shares_endpoints_counters_and_connections() -> None:
    """And requests of the generation before keep their rules."""

    async def main() -> None:
        async with RecordingBackend(HELLO) as backend, scene() as it:
            it.load(service(backend.port))
            old = it.cluster()
            endpoint = old.endpoints[0]
            await idle(old, endpoint)
            it.load(service(backend.port) + rule("a", "reviews", "RANDOM"))
            new = it.cluster()
            assert new is not old
            assert new.endpoints[0] is endpoint
            assert (new.config.policy, old.config.policy) == ("RANDOM", "LEAST_REQUEST")
            connection = new.lease(endpoint)
            assert connection is not None
            assert endpoint.requests == 2
            connection.release()

    asyncio.run(main())


def test_preparing_without_commit_changes_nothing() -> None:
    async def main() -> None:
        async with RecordingBackend(HELLO) as backend, scene() as it:
            it.load(service(backend.port))
            cluster = it.cluster()
            await idle(cluster, cluster.endpoints[0])
            prepared = await asyncio.to_thread(
                it.registry.prepare, plan(config_of(service(1) + service(2, host="b")))
            )
            assert [item.address for item in prepared.clusters[name_of("reviews")].endpoints] == [
                "127.0.0.1:1"
            ]
            assert it.cluster() is cluster
            assert list(cluster.pool.endpoints) == [("127.0.0.1", backend.port)]
            assert len(cluster.endpoints[0].idle) == 1

    asyncio.run(main())


def test_endpoints_that_are_gone_close_idle_connections_and_finish_busy_ones() -> None:
    async def main() -> None:
        async with RecordingBackend(HELLO) as kept, RecordingBackend(HELLO) as gone, scene() as it:
            it.load(service(kept.port, gone.port))
            cluster = it.cluster()
            staying, leaving = cluster.endpoints
            for endpoint in (staying, leaving):
                await idle(cluster, endpoint)
            busy = await cluster.connect(leaving)
            it.load(service(kept.port))
            assert (len(staying.idle), len(leaving.idle)) == (1, 0)
            assert it.cluster().endpoints == (staying,)
            assert leaving.retired
            assert await ask(busy) == (200, b"hello")
            busy.release()
            await gone.none_open()
            assert (kept.open, leaving.connections, cluster.pool.connections) == (1, 0, 1)

    asyncio.run(main())


def test_a_cluster_that_is_gone_closes_its_connections() -> None:
    async def main() -> None:
        async with RecordingBackend(HELLO) as backend, scene() as it:
            it.load(service(backend.port))
            cluster = it.cluster()
            await idle(cluster, cluster.endpoints[0])
            it.load(service(1, host="ratings"))
            await backend.none_open()
            assert cluster.pool.connections == 0
            assert list(it.registry.clusters) == [name_of("ratings")]

    asyncio.run(main())


def test_an_endpoint_that_comes_back_is_a_new_one() -> None:
    async def main() -> None:
        async with scene() as it:
            it.load(service(1, 2))
            first = it.cluster().endpoints[1]
            it.load(service(1))
            it.load(service(1, 2))
            assert it.cluster().endpoints[1] is not first
            assert not it.cluster().endpoints[1].retired

    asyncio.run(main())


def test_a_reload_moves_the_connection_limit() -> None:
    async def main() -> None:
        async with RecordingBackend(HELLO) as backend, scene() as it:
            limit = "trafficPolicy: {connectionPool: {tcp: {maxConnections: %d}}}"
            it.load(service(backend.port) + rule("a", "reviews", spec=limit % 1))
            cluster = it.cluster()
            tasks = [asyncio.ensure_future(cluster.acquire(cluster.endpoints[0])) for _ in range(2)]
            await until(lambda: cluster.pool.pending == 1)
            it.load(service(backend.port) + rule("a", "reviews", spec=limit % 2))
            for connection in await asyncio.gather(*tasks):
                connection.release()
            assert cluster.pool.connections == 2

    asyncio.run(main())


def test_idle_connections_are_swept() -> None:
    async def main() -> None:
        async with RecordingBackend(HELLO) as backend, scene() as it:
            policy = "trafficPolicy: {connectionPool: {tcp: {idleTimeout: 5s}}}"
            it.load(service(backend.port) + rule("a", "reviews", spec=policy))
            cluster = it.cluster()
            await idle(cluster, cluster.endpoints[0])
            it.clock.advance(6.0)
            assert it.registry._sweeper is not None
            assert 0.0 < it.registry._sweeper.when() - asyncio.get_running_loop().time() <= SWEEP
            it.registry._sweeper.cancel()
            it.registry._sweep()
            await backend.none_open()

    asyncio.run(main())


def test_silent_requests_are_ended_also_when_their_cluster_is_gone() -> None:
    """The sweep is the only timer they have."""

    async def main() -> None:
        async with RecordingBackend() as backend, scene() as it:
            it.load(service(backend.port) + service(backend.port, host="ratings"))
            waiting = []
            for host in ("reviews", "ratings"):
                cluster = it.cluster(host)
                connection = await cluster.acquire(cluster.endpoints[0])
                connection.start(GET, method="GET", body=NO_BODY)
                waiting.append(asyncio.ensure_future(failure(connection.response())))
            it.load(service(backend.port))
            assert it.registry._sweeper is not None
            it.registry._sweeper.cancel()
            await asyncio.sleep(0)
            it.registry._sweep()
            it.clock.advance(300.0)
            it.registry._sweep()
            errors = await asyncio.wait_for(asyncio.gather(*waiting), 5)
            assert [error.flag for error in errors] == [Flag.STREAM_IDLE_TIMEOUT] * 2
            it.registry._sweep()
            assert it.registry._left == []

    asyncio.run(main())


@pytest.mark.parametrize(
    ("limit", "pace"), [("300s", SWEEP), ("20s", SWEEP), ("5s", 0.25), ("100ms", SHORTEST_SWEEP)]
)
def test_the_sweep_is_quick_enough_for_the_limit_of_silence(limit: str, pace: float) -> None:
    """Two of them are a tenth of it."""

    async def main() -> None:
        async with scene() as it:
            it.load(service(1) + settings(f"timeouts: {{streamIdle: {limit}}}"))
            assert it.registry._pace == pace

    asyncio.run(main())


# -- names ---------------------------------------------------------------------------------------


def test_every_address_of_every_name_is_an_endpoint() -> None:
    async def main() -> None:
        resolver = ScriptedResolver(a_test=["10.0.0.2", "10.0.0.1"], b_test=["10.0.0.3", "10.0.0.1"])
        async with scene(resolver) as it:
            it.load(dns("a.test", "b.test"))
            assert it.addresses() == []
            assert await it.registry.ready()
            assert sorted(it.addresses()) == ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]

    asyncio.run(main())


def test_round_robin_dns_uses_one_address_at_a_time() -> None:
    async def main() -> None:
        resolver = ScriptedResolver(a_test=["10.0.0.2", "10.0.0.1"])
        async with scene(resolver) as it:
            it.load(dns("a.test", resolution="DNS_ROUND_ROBIN"))
            await it.registry.ready()
            assert it.addresses() == ["10.0.0.2:80"]
            resolver.table["a_test"].reverse()
            await it.sleep.asleep()
            it.sleep.wake()
            await it.sleep.asleep()
            assert it.addresses() == ["10.0.0.1:80"]

    asyncio.run(main())


def test_a_new_answer_keeps_the_endpoints_that_stay_and_retires_the_others() -> None:
    async def main() -> None:
        resolver = ScriptedResolver(a_test=["10.0.0.1", "10.0.0.2"])
        async with scene(resolver) as it:
            it.load(dns("a.test"))
            await it.registry.ready()
            cluster = it.cluster()
            first, second = cluster.endpoints
            resolver.table["a_test"] = ["10.0.0.3", "10.0.0.2"]
            await it.sleep.asleep()
            it.sleep.wake()
            await it.sleep.asleep()
            assert it.cluster() is cluster
            assert it.addresses() == ["10.0.0.2:80", "10.0.0.3:80"]
            assert cluster.endpoints[0] is second
            assert (first.retired, second.retired) == (True, False)

    asyncio.run(main())


def test_an_answer_in_another_order_changes_nothing() -> None:
    async def main() -> None:
        resolver = ScriptedResolver(a_test=["10.0.0.1", "10.0.0.2"])
        async with scene(resolver) as it:
            it.load(dns("a.test"))
            await it.registry.ready()
            before = it.cluster().endpoints
            resolver.table["a_test"].reverse()
            await it.sleep.asleep()
            it.sleep.wake()
            await it.sleep.asleep()
            assert it.cluster().endpoints == before

    asyncio.run(main())


def test_known_addresses_serve_a_reload_at_once() -> None:
    async def main() -> None:
        resolver = ScriptedResolver(a_test=["10.0.0.1"])
        async with scene(resolver) as it:
            it.load(dns("a.test"))
            await it.registry.ready()
            (endpoint,) = it.cluster().endpoints
            it.load(dns("a.test") + rule("a", "reviews", "RANDOM") + dns("a.test", host="ratings"))
            assert it.cluster().endpoints == (endpoint,)
            assert it.addresses("ratings") == ["10.0.0.1:80"]
            assert it.cluster("ratings").endpoints != (endpoint,)
            assert resolver.asked == ["a.test"]

    asyncio.run(main())


def test_an_answer_between_prepare_and_commit_is_not_lost() -> None:
    async def main() -> None:
        resolver = ScriptedResolver(a_test=["10.0.0.1"])
        async with scene(resolver) as it:
            it.load(dns("a.test"))
            await it.registry.ready()
            prepared = it.registry.prepare(plan(config_of(dns("a.test") + rule("a", "reviews", "RANDOM"))))
            resolver.table["a_test"] = ["10.0.0.2"]
            await it.sleep.asleep()
            it.sleep.wake()
            await it.sleep.asleep()
            (current,) = it.cluster().endpoints
            it.registry.commit(prepared)
            assert it.cluster().endpoints == (current,)
            assert current.address == "10.0.0.2:80"
            assert not current.retired

    asyncio.run(main())


@pytest.mark.parametrize("table", ["ringHash: {}", "maglev: {tableSize: 211}"])
def test_hash_tables_follow_the_names(table: str) -> None:
    async def main() -> None:
        resolver = ScriptedResolver(a_test=["10.0.0.1"])
        async with scene(resolver) as it:
            policy = f"trafficPolicy: {{loadBalancer: {{consistentHash: {{useSourceIp: true, {table}}}}}}}"
            it.load(dns("a.test") + rule("a", "reviews", spec=policy))
            await it.registry.ready()
            resolver.table["a_test"] = ["10.0.0.1", "10.0.0.2"]
            await it.sleep.asleep()
            it.sleep.wake()
            await it.sleep.asleep()
            cluster = it.cluster()
            picked = {
                endpoint.address for n in range(50) if (endpoint := cluster.pick(b"%d" % n)) is not None
            }
            assert picked == {"10.0.0.1:80", "10.0.0.2:80"}
            balancer = cluster.balancer
            assert isinstance(balancer, HashBalancer)
            it.load(
                dns("a.test") + rule("a", "reviews", spec=policy + ", exportTo: ['*']") + service(1, host="b")
            )
            assert it.cluster().balancer is balancer

    asyncio.run(main())


def test_ready_does_not_wait_for_ever() -> None:
    async def main() -> None:
        resolver = ScriptedResolver(a_test=["10.0.0.1"])
        resolver.held = asyncio.Event()
        async with scene(resolver) as it:
            it.load(dns("a.test"))
            assert not await it.registry.ready(timeout=0.01)
            resolver.held.set()
            assert await it.registry.ready()
            assert repr(it.registry) == "<Registry clusters 1, <Names a.test=1>>"

    asyncio.run(main())


def test_closing_ends_everything() -> None:
    async def main() -> None:
        resolver = ScriptedResolver(a_test=["10.0.0.1"])
        async with RecordingBackend(HELLO) as backend:
            async with scene(resolver) as it:
                it.load(service(backend.port) + dns("a.test", host="ratings"))
                await it.registry.ready()
                await idle(it.cluster(), it.cluster().endpoints[0])
            await backend.none_open()
            assert resolver.closed

    asyncio.run(main())


def test_a_registry_of_its_own_uses_the_systems_resolver() -> None:
    """`localhost` is found without any DNS server."""

    async def main() -> None:
        registry = Registry()
        try:
            registry.commit(registry.prepare(plan(config_of(dns("localhost")))))
            assert await registry.ready()
            (endpoint,) = registry.clusters[name_of("reviews")].endpoints
            assert endpoint.address == "127.0.0.1:80"
            settings = "apiVersion: gateway.asgi/v1\nkind: GatewaySettings\nmetadata: {name: g}\n"
            text = dns("localhost") + settings + "spec: {dns: {nameservers: [127.0.0.1]}}\n"
            registry.commit(registry.prepare(plan(config_of(text))))
            assert await registry.ready()
        finally:
            await registry.close()

    asyncio.run(main())
