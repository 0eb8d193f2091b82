"""Copies: who gets one, what is in it, and that nobody ever waits or pays for it without bound."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.backend import RecordingBackend, SilentPort, dead_port
from support.upstreams import cluster_of, only
from support.waiting import until

from gateway.exchange.mirror import DRAINED_BYTES, Shadows, shadow_authority, shadow_head, wanted
from gateway.routing.policies import MILLION, Mirror
from gateway.upstream import Cluster

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HEAD = b"GET /a?b=c HTTP/1.1\r\nhost: svc:8080\r\nx-request-id: 1\r\n\r\n"


def mirror(cluster: Cluster | None, share: int = MILLION) -> Mirror:
    return Mirror(cluster, "" if cluster is None else cluster.name, share)


def close(*clusters: Cluster) -> None:
    """Closes what lies idle."""
    for cluster in clusters:
        for endpoint in cluster.endpoints:
            for connection in tuple(endpoint.idle):
                connection.close()


def counts(shadows: Shadows) -> tuple[int, int, int, int]:
    return shadows.offered, shadows.sent, shadows.declined, shadows.failed


class Recorded:
    """A detector that remembers."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, str]] = []

    def record(self, _: Any, status: int, error: Any, now: float) -> None:
        self.seen.append((status, "" if error is None else str(error.flag)))
        assert now == 7.0


# -- what a copy looks like ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("authority", "shadow"),
    [
        (b"svc", b"svc-shadow"),
        (b"svc:8080", b"svc-shadow:8080"),
        (b"10.0.0.1:80", b"10.0.0.1-shadow:80"),
        (b"[::1]", b"[::1]-shadow"),
        (b"[::1]:80", b"[::1]-shadow:80"),
        (b"::1", b"::1-shadow"),
        (b"", b"-shadow"),
    ],
)
def test_the_host_gets_its_suffix_before_the_port(authority: bytes, shadow: bytes) -> None:
    assert shadow_authority(authority) == shadow


def test_a_copy_has_the_head_the_upstream_gets() -> None:
    assert shadow_head(HEAD, None) == HEAD.replace(b"svc:8080", b"svc-shadow:8080")


@pytest.mark.parametrize(
    ("target", "copied"),
    [
        (b"/a?x=1&access_token=s3cret&y=2", b"/a?x=1&y=2"),
        (b"/a?token=s3cret", b"/a"),
        (b"/a?Access%5FToken=s3cret&password=", b"/a"),
        (b"/a?country_code=de&key=7&nonce=1&tokens=3", b"/a?country_code=de&key=7&nonce=1&tokens=3"),
        (b"/token=1", b"/token=1"),
    ],
)
def test_credentials_in_targets_stay_here_too(target: bytes, copied: bytes) -> None:
    """Of the query, of the address before a rewrite, of the page that linked here."""
    more = b"\r\nreferer: http://%ba%b\r\nx-envoy-original-path: %b\r\n\r\n"
    head = b"GET %b HTTP/1.1\r\nhost: svc" % target + more % (b"u:p@", target, target)
    copy = b"GET %b HTTP/1.1\r\nhost: svc-shadow" % copied + more % (b"", copied, copied)
    assert shadow_head(head, None) == copy
    assert shadow_head(head, None, credentials=True) == head.replace(b"svc", b"svc-shadow")


SECRETS = (b"authorization", b"cookie", b"proxy-authorization", b"x-forwarded-client-cert", b"x-api-key")


@pytest.mark.parametrize("name", SECRETS)
def test_credentials_stay_here_unless_they_are_wanted(name: bytes) -> None:
    head = HEAD[:-2] + name + b": s3cret\r\nidempotency-key: 7\r\n\r\n"
    assert shadow_head(head, None) == shadow_head(HEAD, None)[:-2] + b"idempotency-key: 7\r\n\r\n"
    assert name + b": s3cret\r\n" in shadow_head(head, None, credentials=True)


@pytest.mark.parametrize("framing", [b"transfer-encoding: chunked", b"content-length: 5"])
def test_a_body_is_framed_by_the_length_it_has(framing: bytes) -> None:
    head = HEAD[:-2] + framing + b"\r\n\r\n"
    assert shadow_head(head, 5) == shadow_head(HEAD, None)[:-2] + b"content-length: 5\r\n\r\n"


def test_an_empty_body_stays_empty() -> None:
    assert b"chunked" not in shadow_head(HEAD[:-2] + b"transfer-encoding: chunked\r\n\r\n", None)
    assert b"\r\ncontent-length: 0\r\n" in shadow_head(HEAD[:-2] + b"content-length: 0\r\n\r\n", None)


def test_the_trace_of_a_copy_is_not_sampled() -> None:
    trace = b"traceparent: 00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-0"
    head = shadow_head(HEAD[:-2] + trace + b"1\r\n\r\n", None)
    assert trace + b"0\r\n" in head


def test_a_copy_is_told_the_timeout_of_the_route() -> None:
    """Not that of a try, which the original may be told: nobody tries a copy twice."""
    head = b"GET / HTTP/1.1\r\nhost: a\r\nx-envoy-expected-rq-timeout-ms: 60\r\n\r\n"
    assert b"\r\nx-envoy-expected-rq-timeout-ms: 1500\r\n" in shadow_head(head, None, timeout=1.5)
    assert b"\r\nx-envoy-expected-rq-timeout-ms: 60\r\n" in shadow_head(head, None)


# -- who gets one ------------------------------------------------------------------------------------


@settings(max_examples=200)
@given(st.lists(st.integers(1, MILLION), max_size=4), st.integers(0, 2**32 - 1))
def test_one_number_decides_for_all_mirrors(shares: list[int], draw: int) -> None:
    """Nested: who gets the smaller share is among who gets the larger."""
    cluster = cluster_of(1)
    chosen = [share for share in shares if wanted([mirror(cluster, share)], draw, cluster)]
    assert chosen == [share for share in shares if draw % MILLION < share]
    assert wanted([mirror(cluster, share) for share in shares], draw, cluster) == bool(chosen)
    assert not wanted([mirror(None, share) for share in shares], draw, cluster)
    assert not wanted([mirror(cluster, share) for share in shares], draw, cluster_of())
    shadows = Shadows()
    shadows.decline([mirror(cluster, share) for share in shares], draw)
    assert counts(shadows) == (len(chosen), 0, len(chosen), 0)


def test_every_chosen_mirror_gets_the_whole_request() -> None:
    async def main() -> None:
        async with RecordingBackend(OK) as one, RecordingBackend(OK) as two, RecordingBackend(OK) as three:
            clusters = [cluster_of(backend.port) for backend in (one, two, three)]
            mirrors = [
                mirror(clusters[0], 600_000),
                mirror(clusters[1], 500_000),
                mirror(clusters[2], 500_001),
                mirror(None),
            ]
            shadows = Shadows()
            head = HEAD.replace(b"GET", b"POST")[:-2] + b"content-length: 6\r\n\r\n"
            assert shadows.offer(mirrors, 7_500_000, head, [b"abc", b"def"], method="POST") == 2
            assert shadows.under_way == 2
            await until(lambda: shadows.sent == 2)
            for backend in (one, three):
                link = await backend.link()
                assert await link.receive(b"abcdef") == shadow_head(head, 6) + b"abcdef"
            assert not two.links
            assert counts(shadows) == (2, 2, 0, 0)
            await shadows.close()
            close(*clusters)

    asyncio.run(main())


def test_connections_to_mirrors_are_used_again() -> None:
    async def main() -> None:
        async with RecordingBackend(OK) as backend:
            cluster = cluster_of(backend.port)
            shadows = Shadows()
            for number in range(1, 4):
                assert shadows.offer([mirror(cluster)], 0, HEAD, method="GET") == 1
                await until(lambda wanted=number: shadows.sent == wanted)  # type: ignore[misc]
            assert len(backend.links) == 1
            assert only(cluster).active == 0
            close(cluster)

    asyncio.run(main())


def test_an_answer_that_is_too_long_is_not_read_to_its_end() -> None:
    async def main() -> None:
        length = 4 * DRAINED_BYTES
        async with RecordingBackend(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length) as backend:
            cluster = cluster_of(backend.port)
            shadows = Shadows()
            shadows.offer([mirror(cluster)], 0, HEAD, method="GET")
            link = await backend.link()
            await link.receive(b"\r\n\r\n")
            sending = asyncio.ensure_future(link.send(*[bytes(DRAINED_BYTES)] * 2))
            await until(lambda: shadows.sent == 1)
            await link.gone.wait()
            await sending
            assert (cluster.pool.connections, only(cluster).active) == (0, 0)

    asyncio.run(main())


# -- what may go wrong -----------------------------------------------------------------------------------


def test_no_mirror_is_an_error_for_anybody() -> None:
    """Nobody listens, nobody is there, the answer is nonsense, the mirror says 500."""

    async def main() -> None:
        async with (
            RecordingBackend(b"nonsense\r\n\r\n") as mad,
            RecordingBackend(OK.replace(b"200", b"500")) as sad,
        ):
            clusters = [cluster_of(dead_port()), cluster_of(), cluster_of(mad.port), cluster_of(sad.port)]
            seen = Recorded()
            shadows, told = Shadows(clock=lambda: 7.0), []
            shadows.tell = told.append
            mirrors = [mirror(cluster) for cluster in clusters]
            for cluster, each in zip(clusters, mirrors, strict=True):
                cluster.outlier = seen  # type: ignore[assignment]
                assert shadows.offer([each], 0, HEAD, method="GET") == 1
            await until(lambda: not shadows.under_way)
            outcomes = {id(copy.mirror): (copy.status, copy.flag and str(copy.flag)) for copy in told}
            assert [outcomes[id(each)] for each in mirrors] == [(0, "UF"), (0, "UH"), (0, "UPE"), (500, None)]
            assert counts(shadows) == (4, 1, 0, 3)
            assert sorted(seen.seen) == [(0, "UF"), (0, "UPE"), (500, "")]
            assert [cluster.pool.active() for cluster in clusters] == [0, 0, 0, 0]
            close(*clusters)

    asyncio.run(main())


def test_a_copy_ends_at_the_timeout_of_its_route() -> None:
    async def main() -> None:
        async with RecordingBackend() as backend:
            cluster = cluster_of(backend.port)
            seen = Recorded()
            cluster.outlier = seen  # type: ignore[assignment]
            shadows = Shadows(clock=lambda: 7.0)
            shadows.offer([mirror(cluster)], 0, HEAD, method="GET", timeout=0.05)
            await until(lambda: shadows.failed == 1)
            assert seen.seen == [(0, "UT")]
            await (await backend.link()).closed()
            assert (cluster.pool.connections, only(cluster).active) == (0, 0)

    asyncio.run(main())


def test_breakers_hold_for_copies_too() -> None:
    async def main() -> None:
        async with RecordingBackend() as backend:
            cluster = cluster_of(backend.port, max_pending_requests=1)
            shadows = Shadows()
            shadows.offer([mirror(cluster), mirror(cluster)], 0, HEAD, method="GET")
            await until(lambda: shadows.failed == 1)
            assert cluster.pool.overflows == 1
            await shadows.close()

    asyncio.run(main())


# -- bounds ------------------------------------------------------------------------------------------------


def test_a_slow_mirror_gets_no_more_than_so_many_copies() -> None:
    async def main() -> None:
        async with RecordingBackend() as slow, RecordingBackend(OK) as quick:
            held, free = cluster_of(slow.port), cluster_of(quick.port)
            free.name = "another"
            shadows = Shadows(most_copies=3)
            started = [shadows.offer([mirror(held)], 0, HEAD, method="GET") for _ in range(5)]
            assert started == [1, 1, 1, 0, 0]
            assert shadows.offer([mirror(free)], 0, HEAD, method="GET") == 1
            await until(lambda: shadows.sent == 1)
            for number in range(3):
                link = await slow.link(number)
                await link.receive(b"\r\n\r\n")
                await link.send(OK)
            await until(lambda: not shadows.under_way)
            assert counts(shadows) == (6, 4, 2, 0)
            assert shadows.offer([mirror(held)], 0, HEAD, method="GET") == 1
            await shadows.close()
            close(held, free)

    asyncio.run(main())


def test_bodies_of_copies_take_no_more_than_so_many_bytes() -> None:
    async def main() -> None:
        async with RecordingBackend() as slow:
            cluster = cluster_of(slow.port)
            shadows = Shadows(most_bytes=10)

            def offer(body: Sequence[bytes]) -> int:
                return shadows.offer([mirror(cluster)], 0, HEAD, body, method="POST")

            assert [offer([b"12345"]), offer([b"123456"]), offer([b"123", b"45"]), offer([b"1"])] == [
                1,
                0,
                1,
                0,
            ]
            assert offer([]) == 1
            await shadows.close()
            assert shadows.under_way == 0
            assert offer([b"1234567890"]) == 1
            await shadows.close()

    asyncio.run(main())


def test_closing_ends_every_copy_and_leaks_nothing() -> None:
    """Those that connect, those that wait, and those that have not begun."""

    async def main() -> None:
        with SilentPort() as silent:
            async with RecordingBackend() as slow:
                clusters = [
                    cluster_of(silent),
                    cluster_of(slow.port),
                    cluster_of(slow.port, max_connections=1),
                ]
                shadows = Shadows()
                for cluster in clusters:
                    shadows.offer([mirror(cluster)] * 2, 0, HEAD, method="GET")
                await (await slow.link(2)).receive(b"\r\n\r\n")
                shadows.offer([mirror(clusters[1])], 0, HEAD, method="GET")
                await shadows.close()
                assert shadows.under_way == 0
                assert [cluster.pool.active() for cluster in clusters] == [0, 0, 0]
                await slow.none_open()

    asyncio.run(main())


def test_closing_lets_copies_finish_in_time() -> None:
    async def main() -> None:
        async with RecordingBackend(OK) as backend:
            cluster = cluster_of(backend.port)
            shadows = Shadows()
            shadows.offer([mirror(cluster)], 0, HEAD, method="GET")
            await shadows.close(grace=10.0)
            assert counts(shadows) == (1, 1, 0, 0)
            close(cluster)

    asyncio.run(main())
