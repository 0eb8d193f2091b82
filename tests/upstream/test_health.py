"""Active health checks on real sockets, with sleep and clock in the test's hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pydantic import ValidationError
from support.backend import RecordingBackend, dead_port
from support.dns import ScriptedResolver
from support.upstreams import LOOPS, Run
from support.waiting import until
from test_registry import HELLO, Scene, dns, name_of, scene, service
from test_rules import rule
from test_services import settings

from gateway.config.health_checks import HealthCheck
from gateway.upstream.health import FIRST_WITHIN, Probe

UNAVAILABLE = b"HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\n\r\n"


def checks(
    spec: str = "path: /healthz, unhealthyThreshold: 1, healthyThreshold: 1", host: str = "reviews"
) -> str:
    return settings(f"healthChecks: {{{host}: {{{spec}}}}}")


async def round_(it: Scene, count: int = 1) -> None:
    """Lets every probe check once and go back to sleep."""
    await it.sleep.asleep(count)
    it.sleep.wake()
    await it.sleep.asleep(count)


def well(it: Scene, host: str = "reviews") -> list[bool]:
    return [endpoint.healthy for endpoint in it.cluster(host).endpoints]


@asynccontextmanager
async def backends(*answers: bytes | None) -> AsyncIterator[list[RecordingBackend]]:
    """One backend for each answer."""
    made = [RecordingBackend(answer) for answer in answers]
    try:
        for backend in made:
            await backend.__aenter__()
        yield made
    finally:
        for backend in made:
            await backend.__aexit__()


@LOOPS
def test_an_endpoint_that_fails_its_check_leaves_until_it_passes(run: Run) -> None:
    async def main() -> None:
        async with backends(HELLO, UNAVAILABLE) as (good, bad), scene() as it:
            it.load(service(good.port, bad.port) + checks())
            assert well(it) == [True, True], "nobody is taken out before it was asked"
            await round_(it, 2)
            first, second = it.cluster().endpoints
            assert well(it) == [True, False]
            assert {it.cluster().pick() for _ in range(50)} == {first}
            probe = it.registry.checks.probe(it.cluster().config, second)
            assert probe is not None
            assert (probe.last, probe.failures) == ("status 503", 1)
            bad.answer = good.answer
            it.clock.advance(60.0)
            await round_(it, 2)
            assert {it.cluster().pick() for _ in range(50)} == {first, second}
            assert second.since == it.clock()
            assert (first.requests, first.active, first.connections) == (0, 0, 0), "checks are not counted"

    run(main())


def test_the_request_says_who_asks() -> None:
    async def main() -> None:
        async with RecordingBackend(HELLO) as backend, scene() as it:
            it.load(service(backend.port) + checks("path: '/ready?deep=1'"))
            await round_(it)
            assert (await backend.link()).received == (
                b"GET /ready?deep=1 HTTP/1.1\r\nhost: reviews.default.svc.cluster.local\r\n"
                b"user-agent: asgi-gateway/healthcheck\r\nconnection: close\r\n\r\n"
            )
            await backend.none_open()

    asyncio.run(main())


def test_a_check_may_go_to_another_port() -> None:
    async def main() -> None:
        async with backends(HELLO, UNAVAILABLE) as (data, health), scene() as it:
            it.load(service(data.port) + checks(f"port: {health.port}, unhealthyThreshold: 1"))
            await round_(it)
            assert well(it) == [False]
            assert data.links == []

    asyncio.run(main())


def test_statuses_that_are_expected_are_well() -> None:
    async def main() -> None:
        async with RecordingBackend(UNAVAILABLE) as backend, scene() as it:
            it.load(service(backend.port) + checks("expectedStatuses: [200, 503], unhealthyThreshold: 1"))
            await round_(it)
            assert well(it) == [True]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (None, "no answer within 0.05 s"),
        (b"HTTP/1.1 oops\r\n\r\n", "protocol error"),
        (b"", "connection termination"),
    ],
)
def test_silence_and_nonsense_are_failures(answer: bytes | None, problem: str) -> None:
    async def main() -> None:
        async with RecordingBackend(answer or None) as backend, scene() as it:
            it.load(service(backend.port) + checks("timeout: 50ms, unhealthyThreshold: 1"))
            await it.sleep.asleep()
            it.sleep.wake()
            if answer == b"":
                (await backend.link()).close()
            await it.sleep.asleep()
            (probe,) = it.registry.checks.probes.values()
            assert (probe.last, probe.healthy) == (problem, False)

    asyncio.run(main())


def test_a_port_where_nobody_listens_is_a_failure() -> None:
    async def main() -> None:
        async with scene() as it:
            it.load(service(dead_port()) + checks())
            await round_(it)
            (probe,) = it.registry.checks.probes.values()
            assert probe.last == "delayed_connect_error:_Connection_refused"
            assert repr(probe).endswith("failing, last 'delayed_connect_error:_Connection_refused'>")

    asyncio.run(main())


def test_thresholds_count_in_a_row() -> None:
    """Three failures take it out, two successes bring it back; anything else starts the count again."""
    probe = Probe("10.0.0.1", 80)
    probe.config = CheckOnly(HealthCheck())
    seen = []
    for result in ("x", "x", "", "x", "x", "x", "", "x", "", ""):
        probe.note(result)
        seen.append(probe.healthy)
    assert seen == [True] * 5 + [False] * 4 + [True]


class CheckOnly:
    """As much of a cluster's configuration as a probe reads."""

    def __init__(self, check: HealthCheck) -> None:
        self.health_check = check


def test_the_first_check_comes_soon_and_then_once_an_interval() -> None:
    """Not all at once: the first after a random part of a second."""

    async def main() -> None:
        async with RecordingBackend(HELLO) as backend, scene() as it:
            it.load(service(backend.port) + checks("interval: 30s"))
            await round_(it)
            first, *later = it.sleep.asked
            assert 0.0 <= first < FIRST_WITHIN
            assert later == [30.0]

    asyncio.run(main())


def test_one_address_is_asked_once_for_all_who_have_it() -> None:
    """Two subsets and the whole service: one check, three endpoints that follow it."""

    async def main() -> None:
        async with RecordingBackend(UNAVAILABLE) as backend, scene() as it:
            subsets = rule("a", "reviews", spec="subsets: [{name: v1}, {name: v2}]")
            it.load(service(backend.port) + subsets + checks())
            await round_(it)
            clusters = it.registry.clusters.values()
            assert [item.endpoints[0].healthy for item in clusters] == [False] * 3
            assert len(backend.links) == 1
            # Half of the endpoints is the least without outlierDetection: then all are used.
            assert [item.pick() is None for item in clusters] == [False] * 3

    asyncio.run(main())


def test_results_outlive_a_reload() -> None:
    """Also of clusters that are made anew; and the newest check is the one that is done."""

    async def main() -> None:
        async with backends(HELLO, UNAVAILABLE) as (good, bad), scene() as it:
            it.load(service(good.port, bad.port) + checks())
            await round_(it, 2)
            probes = dict(it.registry.checks.probes)
            old = it.cluster()
            it.load(service(good.port, bad.port) + checks("path: /new") + rule("a", "reviews", "RANDOM"))
            assert it.cluster() is not old
            assert it.registry.checks.probes == probes
            assert well(it) == [True, False]
            assert {it.cluster().pick() for _ in range(50)} == {it.cluster().endpoints[0]}
            await round_(it, 2)
            assert (await good.link(1)).received.startswith(b"GET /new ")

    asyncio.run(main())


def test_a_subset_that_is_new_knows_what_was_found_before() -> None:
    """Its endpoints are objects of their own, at an address that was asked already."""

    async def main() -> None:
        async with RecordingBackend(UNAVAILABLE) as backend, scene() as it:
            it.load(service(backend.port) + checks())
            await round_(it)
            it.load(service(backend.port) + checks() + rule("a", "reviews", spec="subsets: [{name: v1}]"))
            assert [item.endpoints[0].healthy for item in it.registry.clusters.values()] == [False, False]
            assert len(backend.links) == 1

    asyncio.run(main())


def test_without_a_check_everybody_is_well_again() -> None:
    async def main() -> None:
        async with RecordingBackend(UNAVAILABLE) as backend, scene() as it:
            outlier = rule("a", "reviews", spec="trafficPolicy: {outlierDetection: {}}")
            it.load(service(backend.port) + outlier + checks())
            await round_(it)
            assert it.cluster().pick() is None
            it.load(service(backend.port) + outlier)
            assert it.cluster().pick() is it.cluster().endpoints[0]
            assert it.registry.checks.probes == {}

    asyncio.run(main())


def test_new_addresses_are_asked_and_old_ones_no_more() -> None:
    """Names that change their answer."""

    async def main() -> None:
        resolver = ScriptedResolver(a_test=["127.0.0.1", "127.0.0.2"])
        async with scene(resolver) as it:
            check = checks("timeout: 1s", host="reviews")
            it.load(dns("a.test") + check)
            await it.registry.ready()
            asked = it.registry.checks.probes
            assert {host for _, host, _, _ in asked} == {"127.0.0.1", "127.0.0.2"}
            kept = next(probe for probe in asked.values() if probe.host == "127.0.0.2")
            resolver.table["a_test"] = ["127.0.0.2", "127.0.0.3"]
            await it.sleep.asleep(3)
            it.sleep.wake()
            await until(lambda: {host for _, host, _, _ in asked} == {"127.0.0.2", "127.0.0.3"})
            assert kept in asked.values()

    asyncio.run(main())


def test_closing_ends_checks_under_way() -> None:
    """With a connection open and no answer."""

    async def main() -> None:
        async with RecordingBackend() as backend:
            async with scene() as it:
                it.load(service(backend.port) + checks())
                await it.sleep.asleep()
                it.sleep.wake()
                link = await backend.link()
                await link.receive(b"\r\n\r\n")
            await link.closed()
            assert it.registry.checks.probes == {}
            assert repr(it.registry.checks) == "<Checks 0 addresses>"

    asyncio.run(main())


def test_a_check_belongs_to_its_host() -> None:
    async def main() -> None:
        async with RecordingBackend(UNAVAILABLE) as backend, scene() as it:
            it.load(service(backend.port) + service(backend.port, host="ratings") + checks())
            await round_(it)
            assert (well(it), well(it, "ratings")) == ([False], [True])
            assert it.registry.clusters[name_of("ratings")].config.health_check is None

    asyncio.run(main())


@pytest.mark.parametrize(
    "fields",
    [
        {"path": "healthz"},
        {"path": "/a b"},
        {"path": "/\r\nx: y"},
        {"path": "/a#b"},
        {"expectedStatuses": []},
        {"expectedStatuses": [99]},
        {"interval": "0s"},
        {"unhealthyThreshold": 0},
        {"port": 70000},
        {"method": "HEAD"},
    ],
)
def test_what_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        HealthCheck.model_validate(fields)
