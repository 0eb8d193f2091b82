"""A cluster: picks an endpoint that was not tried, keeps to its own config."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random

from support.backend import RecordingBackend
from support.upstreams import ask, cluster_of, only

from gateway.upstream import Policy
from gateway.upstream.balancer import balance


def test_hosts_that_were_tried_are_avoided() -> None:
    """Five more draws make a repetition rare, not impossible (Istio: host_selection_retry_max_attempts)."""
    cluster = cluster_of(1, 2, 3)
    tried = cluster.endpoints[:2]
    found = Counter(cluster.pick(tried=tried) for _ in range(1000))
    assert found[cluster.endpoints[2]] > 850


def test_when_every_host_was_tried_one_is_tried_again() -> None:
    cluster = cluster_of(1)
    assert cluster.pick(tried=cluster.endpoints) is only(cluster)


def test_a_hash_key_goes_to_its_host_although_it_was_tried() -> None:
    """Istio turns the previous-hosts predicate off there: the key's state is nowhere else."""
    cluster = cluster_of(1, 2, 3, policy=Policy.RING_HASH)
    home = cluster.pick(b"alice")
    assert home is not None
    assert {cluster.pick(b"alice", [home]) for _ in range(20)} == {home}
    elsewhere = Counter(cluster.pick(None, [home]) for _ in range(200))
    assert elsewhere[home] < 20


def test_a_key_means_nothing_to_other_policies() -> None:
    cluster = cluster_of(1, 2, 3)
    home = cluster.pick(b"alice")
    assert home is not None
    assert Counter(cluster.pick(b"alice", [home]) for _ in range(200))[home] < 20


def test_no_endpoints_is_no_healthy_upstream() -> None:
    cluster = cluster_of()
    assert cluster.pick() is None
    assert cluster.pick(b"key", ()) is None


def test_acquire_leases_before_it_connects() -> None:
    async def main() -> None:
        async with RecordingBackend(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as backend:
            cluster = cluster_of(backend.port)
            for reused in (False, True):
                connection = await cluster.acquire(only(cluster))
                await ask(connection)
                assert connection.reused == reused
                connection.release()
            connection.close()

    asyncio.run(main())


def test_new_endpoints_are_picked_from_now_on() -> None:
    cluster = cluster_of(1, 2)
    kept = cluster.endpoints[0]
    cluster.adopt(balance(Policy.LEAST_REQUEST, 0, [(kept, 7)], Random(1), None))
    assert {cluster.pick() for _ in range(20)} == {kept}
    assert (tuple(cluster.endpoints), tuple(cluster.weights)) == ((kept,), (7,))
    assert repr(cluster) == "<Cluster outbound|80||test endpoints 1, connections 0>"
