"""Active health checks: endpoints are asked how they are (GatewaySettings `healthChecks`).

Lifetime: process. One task an address and host, however many ports and subsets have it; results outlive
reloads. A new endpoint gets requests at once: it is taken out by failures, not admitted by a success.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from gateway.upstream.connect import open_connection
from gateway.upstream.connection import NO_BODY
from gateway.upstream.endpoint import Endpoint, endpoint_address
from gateway.upstream.errors import UpstreamError
from gateway.upstream.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from random import Random

    from gateway.config.health_checks import HealthCheck
    from gateway.upstream.cluster_config import ClusterConfig

logger = logging.getLogger(__name__)

USER_AGENT = "asgi-gateway/healthcheck"
FIRST_WITHIN = 1.0
"""Seconds within which the first check of an address begins: soon, and not all at once."""

Key = tuple[str, str, int, object]
"""Host, address, port, TLS settings."""


class Checked(Protocol):
    """A cluster, as far as checks concern it."""

    config: ClusterConfig
    endpoints: Sequence[Endpoint]

    def rebalance(self) -> None:
        """Picks from who is well now."""


class Probe:
    """One address under check."""

    __slots__ = ("config", "failures", "healthy", "host", "last", "port", "successes", "task", "users")

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.config: ClusterConfig
        """How to connect, and the check itself: the newest, so a reload counts from the next check on."""
        self.users: list[tuple[Checked, Endpoint]] = []
        """Who wants to know."""
        self.healthy = True
        self.failures = self.successes = 0
        """In a row."""
        self.last: str | None = None
        """What the last check found: "" is well, None not checked yet."""
        self.task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        address = endpoint_address(self.host, self.port)
        return f"<Probe {address} {'healthy' if self.healthy else 'failing'}, last {self.last!r}>"

    @property
    def check(self) -> HealthCheck:
        """What to ask, and how often."""
        assert self.config.health_check is not None
        return self.config.health_check

    def note(self, problem: str) -> bool:
        """Counts one result ("" is well); whether the endpoint's health changed by it."""
        self.last = problem
        if problem:
            self.failures, self.successes = self.failures + 1, 0
            changed = self.healthy and self.failures >= self.check.unhealthy_threshold
        else:
            self.failures, self.successes = 0, self.successes + 1
            changed = not self.healthy and self.successes >= self.check.healthy_threshold
        self.healthy ^= changed
        return changed


class Checks:
    """Every probe there is."""

    def __init__(
        self,
        clock: Callable[[], float],
        rng: Random,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self.probes: dict[Key, Probe] = {}
        self._clock, self._rng, self._sleep = clock, rng, sleep

    def __repr__(self) -> str:
        return f"<Checks {len(self.probes)} addresses>"

    def probe(self, config: ClusterConfig, endpoint: Endpoint) -> Probe | None:
        """The probe of a cluster's endpoint; None when it is not checked."""
        return self.probes.get(_key(config, endpoint))

    def follow(self, clusters: Iterable[Checked]) -> None:
        """Checks the endpoints of these clusters from now on, as far as they have a check, and no others."""
        wanted: dict[Key, list[tuple[Checked, Endpoint]]] = {}
        for cluster in clusters:
            if cluster.config.health_check is not None:
                for endpoint in cluster.endpoints:
                    wanted.setdefault(_key(cluster.config, endpoint), []).append((cluster, endpoint))
        for key in self.probes.keys() - wanted.keys():
            _end(self.probes.pop(key))
        for key, users in wanted.items():
            probe = self.probes.get(key)
            if probe is None:
                probe = self.probes[key] = Probe(users[0][1].host, users[0][1].port)
            probe.users, probe.config = users, users[0][0].config
            for _, endpoint in users:
                endpoint.failed_check = not probe.healthy
            if probe.task is None:
                probe.task = asyncio.get_running_loop().create_task(self._keep_asking(probe))

    async def close(self) -> None:
        """Ends every check."""
        probes = list(self.probes.values())
        self.probes.clear()
        tasks = [probe.task for probe in probes if probe.task is not None]
        for probe in probes:
            _end(probe)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep_asking(self, probe: Probe) -> None:
        await self._sleep(self._rng.random() * min(FIRST_WITHIN, probe.check.interval))
        while True:
            if probe.note(await self._ask(probe)):
                self._tell(probe)
            await self._sleep(probe.check.interval)

    def _tell(self, probe: Probe) -> None:
        level = logging.INFO if probe.healthy else logging.WARNING
        address, host = endpoint_address(probe.host, probe.port), probe.config.host
        word = "well again" if probe.healthy else "taken out: " + (probe.last or "")
        logger.log(level, "health check of %s: %s %s", host, address, word)
        for _, endpoint in probe.users:
            endpoint.failed_check = not probe.healthy
            if probe.healthy:
                endpoint.since = self._clock()  # Envoy: who was out begins slowly.
        for cluster in {id(cluster): cluster for cluster, _ in probe.users}.values():
            cluster.rebalance()

    async def _ask(self, probe: Probe) -> str:
        """One check, on a connection of its own so that it is also seen whether new ones are taken."""
        check, config = probe.check, probe.config
        port = probe.port if check.port is None or not probe.port else check.port
        pool = Pool(f"health checks of {config.host}", self._clock)
        pool.tls = next((used.pool.tls for _, used in probe.users), None)
        endpoint = Endpoint(pool, probe.host, port)
        head = (
            f"GET {check.path} HTTP/1.1\r\nhost: {config.host}\r\n"
            f"user-agent: {USER_AGENT}\r\nconnection: close\r\n\r\n"
        )
        try:
            async with asyncio.timeout(check.timeout):
                connection = await open_connection(endpoint, config)
                try:
                    connection.start(head.encode("latin-1"), method="GET", body=NO_BODY)
                    status = (await connection.response()).status
                finally:
                    connection.close()
        except TimeoutError:
            return f"no answer within {check.timeout:g} s"
        except UpstreamError as error:
            return error.transport_failure or error.reason
        except Exception as error:  # A check that ends would leave its endpoint as it is for ever.
            logger.exception("health check of %s", endpoint.address)
            return f"{type(error).__name__}: {error}"
        return "" if status in check.expected_statuses else f"status {status}"


def _key(config: ClusterConfig, endpoint: Endpoint) -> Key:
    return config.host, endpoint.host, endpoint.port, config.tls


def _end(probe: Probe) -> None:
    if probe.task is not None:
        probe.task.cancel()
    for _, endpoint in probe.users:
        endpoint.failed_check = False
