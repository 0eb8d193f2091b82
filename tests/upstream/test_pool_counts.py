"""Whatever happens, the counts of a pool return to zero."""

from __future__ import annotations

import asyncio
import contextlib
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from support.backend import RecordingBackend, dead_port
from support.upstreams import GET, HELLO, ask, cluster_of, counts, only

from gateway.upstream import NO_BODY, Cluster, Connection, Endpoint, UpstreamError


class Chaos:
    """Requests on one cluster, each at some stage of its life."""

    def __init__(self, cluster: Cluster, backend: RecordingBackend, dice: Random) -> None:
        self.cluster, self.backend, self.dice = cluster, backend, dice
        self.acquiring: list[asyncio.Task[Connection]] = []
        self.held: list[Connection] = []

    def acquire(self) -> None:
        endpoint = self.dice.choice(self.cluster.endpoints)
        self.acquiring.append(asyncio.ensure_future(self.cluster.acquire(endpoint)))

    def lease(self) -> None:
        connection = self.cluster.lease(self.dice.choice(self.cluster.endpoints))
        if connection is not None:
            self.held.append(connection)

    def cancel(self) -> None:
        if self.acquiring:
            self.dice.choice(self.acquiring).cancel()

    def start(self) -> None:
        if self.held:
            with contextlib.suppress(UpstreamError):
                self.held[0].start(GET, method="GET", body=NO_BODY)

    def release(self) -> None:
        if self.held:
            self.held.pop(self.dice.randrange(len(self.held))).release()

    def abort(self) -> None:
        if self.held:
            self.held.pop(self.dice.randrange(len(self.held))).abort()

    def reset(self) -> None:
        open_links = [link for link in self.backend.links if not link.ended]
        if open_links:
            self.dice.choice(open_links).reset()

    def retire(self) -> None:
        endpoint: Endpoint = self.dice.choice(self.cluster.endpoints)
        self.cluster.pool.retire(endpoint)

    def limit(self) -> None:
        self.cluster.pool.set_limit(self.dice.choice([1, 2, 5]))

    def collect(self) -> None:
        for task in [task for task in self.acquiring if task.done()]:
            self.acquiring.remove(task)
            if not task.cancelled() and task.exception() is None:
                self.held.append(task.result())

    async def turn(self) -> None:
        await asyncio.sleep(0)
        self.collect()

    async def wait(self) -> None:
        await asyncio.sleep(0.001)
        self.collect()

    async def finish(self) -> None:
        for task in self.acquiring:
            task.cancel()
        await asyncio.gather(*self.acquiring, return_exceptions=True)
        self.collect()
        for connection in self.held:
            connection.release()
        for endpoint in self.cluster.endpoints:
            for connection in tuple(endpoint.idle):
                connection.close()


_STEPS = ["acquire"] * 4 + ["lease", "cancel", "start", "release", "release", "abort", "reset"]
_STEPS += ["retire", "limit", "turn", "turn", "wait"]


@given(st.lists(st.sampled_from(_STEPS), max_size=40), st.integers(0, 2**32), st.integers(1, 3))
@settings(max_examples=120)
def test_after_any_sequence_the_counts_are_zero(steps: list[str], seed: int, limit: int) -> None:
    """
    Leases, releases, aborts, cancellations, resets, retirements, limits that move, and an endpoint where
    nobody listens: no slot, waiter or request is lost or counted twice (security.md F11, D17).
    """

    async def main() -> None:
        async with RecordingBackend(HELLO) as backend:
            cluster = cluster_of(backend.port, dead_port(), max_connections=limit)
            chaos = Chaos(cluster, backend, Random(seed))
            for step in steps:
                done = getattr(chaos, step)()
                if done is not None:
                    await done
                connections, pending, active, waiters = counts(cluster)
                assert min(connections, pending, active, waiters) >= 0
                assert pending >= sum(not f.done() for e in cluster.endpoints for f in e.waiters)
                idle = sum(len(endpoint.idle) for endpoint in cluster.endpoints)
                assert idle <= connections
            await chaos.finish()
            assert counts(cluster) == (0, 0, 0, 0)
            assert [endpoint.connections for endpoint in cluster.endpoints] == [0, 0]
            await backend.none_open()

    asyncio.run(main())


def test_clients_that_leave_at_every_stage_leak_nothing() -> None:
    """A thousand requests are cancelled while they wait, connect, send, and read (security.md D17)."""

    async def main() -> None:
        async with RecordingBackend(HELLO) as backend:
            cluster = cluster_of(backend.port, max_connections=8)
            endpoint = only(cluster)

            async def request() -> None:
                connection = await cluster.acquire(endpoint)
                try:
                    connection.start(GET, method="GET", body=NO_BODY)
                    await connection.response()
                    await asyncio.sleep(0)
                    await connection.read()
                finally:
                    connection.release()

            for start in range(0, 1000, 50):
                tasks = [asyncio.ensure_future(request()) for _ in range(50)]
                for turn, task in enumerate(tasks):
                    if turn % 5 == 0:
                        await asyncio.sleep(0)
                    if (start + turn) % 4:
                        task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            assert counts(cluster)[1:] == (0, 0, 0)
            assert cluster.pool.connections == endpoint.connections == len(endpoint.idle) <= 8
            for connection in tuple(endpoint.idle):
                connection.close()
            await backend.none_open()
            assert counts(cluster) == (0, 0, 0, 0)

    asyncio.run(main())


def test_a_connection_that_came_free_in_the_meantime_is_not_waited_for() -> None:
    """Between `lease` and `connect` the loop may turn: the connection is idle then, and nobody will pass it on."""

    async def main() -> None:
        async with RecordingBackend(HELLO) as backend:
            cluster = cluster_of(backend.port, max_connections=1)
            endpoint = only(cluster)
            first = await cluster.acquire(endpoint)
            assert cluster.lease(endpoint) is None
            first.release()
            async with asyncio.timeout(5):
                assert await cluster.connect(endpoint) is first
            assert first.reused
            assert counts(cluster) == (1, 0, 1, 0)
            first.abort()
            assert counts(cluster) == (0, 0, 0, 0)

    asyncio.run(main())


def test_one_that_came_free_and_is_not_clean_any_more_makes_room() -> None:
    """Closed instead, and another one is opened in its place."""

    async def main() -> None:
        async with RecordingBackend(HELLO) as backend:
            cluster = cluster_of(backend.port, max_connections=1)
            endpoint = only(cluster)
            first = await cluster.acquire(endpoint)
            await ask(first)
            assert cluster.lease(endpoint) is None
            first.release()
            first._poll = Unclean()
            async with asyncio.timeout(5):
                second = await cluster.connect(endpoint)
            assert second is not first
            assert first.closed
            assert counts(cluster) == (1, 0, 1, 0)
            second.abort()

    asyncio.run(main())


class Unclean:
    """Tells of bytes that nobody asked for."""

    def poll(self, _: float) -> list[tuple[int, int]]:
        return [(0, 1)]
