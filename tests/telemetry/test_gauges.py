"""What is true right now, and how the process is."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from types import SimpleNamespace

from prometheus_client.parser import text_string_to_metric_families as parse
from support.finished import REVIEWS, finished, snapshot_of

from gateway.admin.metrics import control_families
from gateway.control import Control
from gateway.security.counts import PolicyCounts
from gateway.security.state import SecurityState
from gateway.server.refusal import BAD_HOST, Refusals
from gateway.telemetry import catalog
from gateway.telemetry.families import Family
from gateway.telemetry.gauges import cluster_families, edge_families
from gateway.telemetry.record import Telemetry
from gateway.telemetry.runtime import Lag
from gateway.tls.expiry import Held
from gateway.tls.handshakes import Handshakes
from gateway.upstream.errors import terminated

CLUSTER = (("cluster", "outbound|9080||reviews.default.svc.cluster.local"),)


def by_metric(families) -> dict[object, dict]:
    return {family.metric: family.samples for family in families}


def test_a_clusters_pool_is_told() -> None:
    """Connections, waiting and busy requests, and how near the limit is."""
    snapshot = snapshot_of()
    (cluster,) = snapshot.clusters.values()
    cluster.pool.set_limit(5)
    cluster.pool.connections, cluster.pool.pending = 5, 2
    cluster.endpoints[0].active = 3
    found = by_metric(cluster_families(snapshot.clusters))

    assert found[catalog.ENDPOINTS] == {CLUSTER: 2}
    assert found[catalog.POOL_CONNECTIONS] == {CLUSTER: 5}
    assert found[catalog.POOL_PENDING] == {CLUSTER: 2}
    assert found[catalog.POOL_ACTIVE] == {CLUSTER: 3}
    assert found[catalog.BREAKER_OPEN][*CLUSTER, ("limit", "max_connections")] == 1
    assert found[catalog.BREAKER_REMAINING][*CLUSTER, ("limit", "max_connections")] == 0


def test_a_limit_nobody_set_is_not_told() -> None:
    """Four thousand millions left says nothing."""
    found = by_metric(cluster_families(snapshot_of().clusters))

    assert (*CLUSTER, ("limit", "max_connections")) not in found[catalog.BREAKER_REMAINING]
    assert [dict(labels)["limit"] for labels in found[catalog.BREAKER_REMAINING]] == [
        "max_retries",
        "retries_over_time",
    ]
    assert found[catalog.BREAKER_OPEN][*CLUSTER, ("limit", "max_connections")] == 0


def test_limits_are_told_as_the_pool_itself_tells_them() -> None:
    """The copy that a thread may read says what the loop's own says."""
    snapshot = snapshot_of(EJECTING)
    (cluster,) = snapshot.clusters.values()
    cluster.pool.follow(cluster.config)
    cluster.pool.connections, cluster.pool.pending, cluster.endpoints[1].active = 4, 1, 3
    found = by_metric(cluster_families(snapshot.clusters))

    for item in cluster.pool.breakers():
        at = (*CLUSTER, ("limit", item.limit))
        assert found[catalog.BREAKER_OPEN][at] == int(item.open)
        assert found[catalog.BREAKER_REMAINING][at] == item.remaining


EJECTING = (
    REVIEWS
    + """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews.default.svc.cluster.local
  trafficPolicy:
    outlierDetection: {consecutive5xxErrors: 1, baseEjectionTime: 30s}
    connectionPool:
      tcp: {maxConnections: 9}
      http: {http1MaxPendingRequests: 8, http2MaxRequests: 7, maxRetries: 2}
"""
)


def test_an_ejected_endpoint_is_told_with_its_reason() -> None:
    """The guilty endpoint, in one look."""
    snapshot = snapshot_of(EJECTING)
    (cluster,) = snapshot.clusters.values()
    bad = (*CLUSTER, ("endpoint", "10.0.0.17:9080"))
    cluster.outlier.record(cluster.endpoints[0], 0, terminated(sent=True), 0.0)
    cluster.endpoints[1].failed_check = True
    found = by_metric(cluster_families(snapshot.clusters))

    assert (found[catalog.EJECTED], found[catalog.AVAILABLE]) == ({CLUSTER: 1}, {CLUSTER: 0})
    assert found[catalog.EJECTIONS][*CLUSTER, ("reason", "consecutive_5xx")] == 1
    assert found[catalog.ENDPOINT_EJECTED][bad] == 1
    assert sorted(found[catalog.ENDPOINT_HEALTHY].values()) == [0, 1]


def test_refused_requests_are_counted_by_reason() -> None:
    """Those that never became an exchange."""
    refusals = Refusals()
    refusals.record(BAD_HOST, b"GET / HTTP/1.1\r\n", None, 0.0)
    edge = SimpleNamespace(connections=4, active=1, refusals=refusals)
    found = by_metric(edge_families(edge))

    assert found[catalog.REJECTED] == {(("reason", "bad_host"),): 1}
    assert (found[catalog.CONNECTIONS], found[catalog.ACTIVE]) == ({(): 4}, {(): 1})
    assert list(edge_families(None)) == []


def test_a_loop_that_was_held_up_shows() -> None:
    """A timer that runs late is measured as late as it was."""

    async def main() -> Lag:
        lag, loop = Lag(), asyncio.get_running_loop()
        began = loop.time()
        clock = loop.time
        late = 0.0
        loop.time = lambda: clock() + late  # type: ignore[method-assign]
        lag.start(loop)
        late = 0.75  # the loop was away for so long
        while not sum(lag.histogram.counts):
            await asyncio.sleep(0)
        lag.stop()
        assert loop.time() >= began
        return lag

    lag = asyncio.run(main())
    assert lag.worst >= 0.5
    assert sum(lag.histogram.counts[:8]) == 0


def test_an_exposition_has_every_family_and_is_valid(tmp_path: Path) -> None:
    """What a scrape reads: standard metrics, events, pools, configuration, runtime, process."""
    routes = tmp_path / "routes.yaml"
    routes.write_text(REVIEWS)
    control = Control(routes, watch=False)
    control.load_first()

    async def main() -> bytes:
        snapshot = await asyncio.to_thread(snapshot_of)
        telemetry = Telemetry()
        telemetry.certificates = lambda: [Held("edge", "certificate", "CN=edge", "1", "", 0.0, 1e9)]
        telemetry.handshakes = Handshakes()
        telemetry.handshakes.completed()
        telemetry.policies = PolicyCounts
        telemetry.security = SecurityState()
        telemetry.control = partial(control_families, control)
        telemetry.start(snapshot, asyncio.get_running_loop())
        exchange, _ = finished(snapshot)
        telemetry._logs = False
        telemetry.record(exchange)
        text = await asyncio.to_thread(telemetry.exposition)
        telemetry.close()
        return text

    text = asyncio.run(main()).decode()
    families = {family.name for family in parse(text)}
    ours = {metric.name.removesuffix("_total") for metric in catalog.CATALOG}
    absent = {catalog.CONNECTIONS, catalog.ACTIVE, catalog.REJECTED, catalog.SPANS}

    assert ours - families == {metric.name.removesuffix("_total") for metric in absent}
    assert {"process_resident_memory_bytes", "python_gc_collections", "process_cpu_seconds"} <= families


def test_observers_learn_of_every_exchange() -> None:
    """The recorder of recent requests is one."""
    snapshot = snapshot_of()
    telemetry, seen = Telemetry(), []
    telemetry.observe(lambda exchange, ended_at: seen.append((exchange, ended_at)))
    exchange, end = finished(snapshot)
    telemetry.record(exchange)

    assert seen == [(exchange, end)]


def test_families_are_named_tuples_of_metric_and_samples() -> None:
    """What the console reads without parsing text."""
    telemetry = Telemetry()

    assert all(isinstance(family, Family) for family in telemetry.families())
