"""Ejections, warm-ups and priorities through reloads, new answers of names, and the registry's timer."""

from __future__ import annotations

import asyncio
from collections import Counter

from support.backend import RecordingBackend, dead_port
from support.dns import ScriptedResolver
from support.documents import config_of
from support.upstreams import LOOPS, Run, ask
from test_registry import HELLO, Scene, dns, scene, service
from test_rules import rule
from test_services import STATIC, entry, settings

from gateway.upstream import Endpoint, UpstreamError, plan
from gateway.upstream.balancer import Split
from gateway.upstream.registry import SHORTEST_SWEEP, SWEEP


def outlier(spec: str = "consecutive5xxErrors: 1", balancer: str = "") -> str:
    extra = f"loadBalancer: {{{balancer}}}, " if balancer else ""
    return rule("a", "reviews", spec=f"trafficPolicy: {{{extra}outlierDetection: {{{spec}}}}}")


def fail(it: Scene, number: int = 0, times: int = 1) -> Endpoint:
    """Failed responses of one endpoint."""
    cluster = it.cluster()
    assert cluster.outlier is not None
    endpoint = cluster.endpoints[number]
    for _ in range(times):
        cluster.outlier.record(endpoint, 500, None, it.clock())
    return endpoint


def picked(it: Scene) -> set[str]:
    found = {it.cluster().pick() for _ in range(100)}
    return {endpoint.address for endpoint in found if endpoint is not None}


def sweep(it: Scene, after: float) -> None:
    it.clock.advance(after)
    assert it.registry._sweeper is not None
    it.registry._sweeper.cancel()
    it.registry._sweep()


@LOOPS
def test_a_dead_endpoint_is_out_after_its_fifth_failure(run: Run) -> None:
    """Real sockets: one of two refuses; five attempts fail, and from then on none."""

    async def main() -> None:
        async with RecordingBackend(HELLO) as backend, scene() as it:
            it.load(service(backend.port, dead_port()) + outlier("interval: 10s"))
            cluster, failures = it.cluster(), 0
            assert cluster.outlier is not None
            for _ in range(100):
                endpoint = cluster.pick()
                assert endpoint is not None
                status, error = 0, None
                try:
                    connection = await cluster.acquire(endpoint)
                    status, _ = await ask(connection)
                    connection.release()
                except UpstreamError as raised:
                    error, failures = raised, failures + 1
                cluster.outlier.record(endpoint, status, error, it.clock())
            assert failures == 5
            assert [item.healthy for item in cluster.endpoints] == [True, False]

    run(main())


def test_the_timer_brings_endpoints_back() -> None:
    async def main() -> None:
        async with scene() as it:
            it.load(service(1, 2) + outlier())
            assert fail(it).ejected_until == it.clock() + 30.0
            assert picked(it) == {"127.0.0.1:2"}
            sweep(it, 30.0)
            assert picked(it) == {"127.0.0.1:1", "127.0.0.1:2"}

    asyncio.run(main())


def test_the_timer_is_as_quick_as_the_shortest_interval() -> None:
    """Down to a tenth of a second."""

    async def main() -> None:
        async with scene() as it:
            paces = []
            for text in (outlier(), outlier("interval: 500ms"), outlier("interval: 1ms"), ""):
                it.load(service(1) + text)
                paces.append(it.registry._pace)
            assert paces == [SWEEP, 0.5, SHORTEST_SWEEP, SWEEP]

    asyncio.run(main())


def test_a_reload_keeps_who_is_ejected() -> None:
    """Whether the cluster stays the same object or is made anew; and the row of failures goes on."""

    async def main() -> None:
        async with scene() as it:
            it.load(service(1, 2) + outlier("consecutive5xxErrors: 2, maxEjectionPercent: 100"))
            cluster, out = it.cluster(), fail(it, 0, times=2)
            fail(it, 1)
            it.load(
                service(1, 2)
                + outlier("consecutive5xxErrors: 2, maxEjectionPercent: 100")
                + service(3, host="b")
            )
            assert it.cluster() is cluster
            it.load(
                service(1, 2) + outlier("consecutive5xxErrors: 2, maxEjectionPercent: 100", "simple: RANDOM")
            )
            assert it.cluster() is not cluster
            assert it.cluster().outlier is cluster.outlier
            assert out is it.cluster().endpoints[0]
            assert picked(it) == {"127.0.0.1:2"}
            fail(it, 1)
            assert picked(it) == set()
            sweep(it, 30.0)
            assert picked(it) == {"127.0.0.1:1", "127.0.0.1:2"}

    asyncio.run(main())


def test_attempts_of_the_generation_before_still_count() -> None:
    async def main() -> None:
        async with scene() as it:
            it.load(service(1, 2) + outlier())
            old = it.cluster()
            it.load(service(1, 2) + outlier(balancer="simple: RANDOM"))
            assert old.outlier is not None
            old.outlier.record(old.endpoints[0], 503, None, it.clock())
            assert picked(it) == {"127.0.0.1:2"}

    asyncio.run(main())


def test_a_reload_that_was_not_committed_ejects_nobody_and_forgives_nobody() -> None:
    async def main() -> None:
        async with scene() as it:
            it.load(service(1, 2) + outlier())
            out = fail(it)
            it.registry.prepare(plan(config_of(service(1, 2))))
            it.registry.prepare(plan(config_of(service(1, 2) + outlier("baseEjectionTime: 1ms"))))
            assert out.ejected_until == it.clock() + 30.0
            assert picked(it) == {"127.0.0.1:2"}

    asyncio.run(main())


def test_without_outlier_detection_everybody_is_back() -> None:
    """And when it is turned on again nobody remembers."""

    async def main() -> None:
        async with scene() as it:
            it.load(service(1, 2) + outlier())
            fail(it)
            it.load(service(1, 2))
            assert it.cluster().outlier is None
            assert picked(it) == {"127.0.0.1:1", "127.0.0.1:2"}
            it.load(service(1, 2) + outlier())
            assert [endpoint.track for endpoint in it.cluster().endpoints] == [None, None]

    asyncio.run(main())


def test_an_ejection_between_prepare_and_commit_is_not_lost() -> None:
    """`prepare` runs in a thread, beside requests."""

    async def main() -> None:
        async with scene() as it:
            it.load(service(1, 2) + outlier())
            prepared = it.registry.prepare(
                plan(config_of(service(1, 2) + outlier(balancer="simple: RANDOM")))
            )
            fail(it)
            it.registry.commit(prepared)
            assert picked(it) == {"127.0.0.1:2"}

    asyncio.run(main())


def test_new_addresses_leave_the_others_as_they_are() -> None:
    """One is ejected, one is new, one is gone; the ejected one stays ejected, and returns."""

    async def main() -> None:
        resolver = ScriptedResolver(a_test=["10.0.0.1", "10.0.0.2"])
        async with scene(resolver) as it:
            it.load(dns("a.test") + outlier())
            await it.registry.ready()
            out = fail(it, 1)
            resolver.table["a_test"] = ["10.0.0.2", "10.0.0.3"]
            await it.sleep.asleep()
            it.sleep.wake()
            await it.sleep.asleep()
            assert it.addresses() == ["10.0.0.2:80", "10.0.0.3:80"]
            assert it.cluster().endpoints[0] is out
            assert picked(it) == {"10.0.0.3:80"}
            sweep(it, 30.0)
            assert picked(it) == {"10.0.0.2:80", "10.0.0.3:80"}

    asyncio.run(main())


def test_a_hash_table_is_kept_while_endpoints_come_and_go() -> None:
    async def main() -> None:
        async with scene() as it:
            hashing = "consistentHash: {useSourceIp: true, maglev: {tableSize: 251}}"
            it.load(service(1, 2, 3) + outlier(balancer=hashing))
            tables = it.cluster().balancer.tables
            fail(it)
            it.load(service(1, 2, 3) + outlier("consecutive5xxErrors: 2", hashing))
            assert it.cluster().balancer.tables == tables
            found = {it.cluster().pick(b"%d" % n) for n in range(100)}
            assert found == set(it.cluster().endpoints[1:])

    asyncio.run(main())


def test_a_new_address_warms_up() -> None:
    async def main() -> None:
        resolver = ScriptedResolver(a_test=["10.0.0.1"])
        async with scene(resolver) as it:
            policy = "trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN, warmup: {duration: 100s}}}"
            it.load(dns("a.test") + rule("a", "reviews", spec=policy))
            await it.registry.ready()
            it.clock.advance(1000.0)
            resolver.table["a_test"] = ["10.0.0.1", "10.0.0.2"]
            await it.sleep.asleep()
            it.sleep.wake()
            await it.sleep.asleep()
            shares = []
            for _ in range(3):
                found = Counter(it.cluster().pick() for _ in range(3000))
                shares.append(found[it.cluster().endpoints[1]] / 3000)
                sweep(it, 50.0)
            assert [round(share, 2) for share in shares] == [0.09, 0.33, 0.5]

    asyncio.run(main())


def test_ejecting_the_near_ones_sends_requests_far_away() -> None:
    async def main() -> None:
        async with scene() as it:
            places = (
                "{address: 127.0.0.1, ports: {http: 1}, locality: eu/a},"
                " {address: 127.0.0.1, ports: {http: 2}, locality: us/a}"
            )
            text = entry("reviews", f"hosts: [reviews], {STATIC}, endpoints: [{places}]")
            policy = outlier("consecutive5xxErrors: 1, maxEjectionPercent: 100")
            it.load(text + policy + settings("locality: eu/a"))
            assert picked(it) == {"127.0.0.1:1"}
            fail(it)
            assert picked(it) == {"127.0.0.1:2"}
            assert not isinstance(it.cluster().balancer, Split)
            sweep(it, 30.0)
            assert picked(it) == {"127.0.0.1:1"}

    asyncio.run(main())
