"""The snapshot: all that a request needs to know, frozen; a reload replaces it in one assignment.

Lifetime: config.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.routing.binding import Binder
from gateway.routing.guarding import compile_guard
from gateway.routing.listener import Listener
from gateway.routing.rules import RuleCompiler

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.config import Config
    from gateway.security import Guard
    from gateway.security.state import SecurityState
    from gateway.upstream import Cluster, Plan


class Snapshot:
    """One generation of the configuration, joined with the clusters it names."""

    __slots__ = ("_by_port", "_fallback", "clusters", "config", "default", "generation", "guard", "listeners")

    def __init__(  # noqa: PLR0913 - the parts of a generation
        self,
        generation: int,
        config: Config,
        clusters: Mapping[str, Cluster],
        default: Listener,
        listeners: Mapping[int, Listener],
        guard: Guard,
        *,
        opened: frozenset[int] = frozenset(),
    ) -> None:
        self.generation = generation
        self.config = config
        self.clusters = clusters
        self.default = default
        """The listener without Gateway document (`mesh`)."""
        self.listeners = listeners
        """Those of Gateway documents, by port."""
        self.guard = guard
        """The policies, as `gateway.security.explain` wants them."""
        # A stock server listens where its command line says; with one Gateway port, that one is meant.
        self._fallback = next(iter(listeners.values())) if len(listeners) == 1 else default
        closed = {port: Listener(f"http.{port}", port, (), guard=guard) for port in opened}
        self._by_port = {**closed, **listeners}

    def listener(self, port: int) -> Listener:
        """The listener of a local port; for one that was never a Gateway's the only Gateway port's, or else
        `default`. A Gateway's port that was opened at the start and is in no document any more has no routes.
        """
        return self._by_port.get(port, self._fallback)

    def __repr__(self) -> str:
        return (
            f"<Snapshot {self.generation} listeners {sorted(self.listeners)} clusters {len(self.clusters)}>"
        )


def compile_snapshot(
    config: Config,
    plan: Plan,
    clusters: Mapping[str, Cluster],
    *,
    generation: int,
    security: SecurityState | None = None,
    opened: frozenset[int] = frozenset(),
) -> Snapshot:
    """Compiles a generation. Pure, so it may run in a thread; validated configuration cannot fail here.

    What validation let pass degrades as Istio does: a destination that nobody knows answers 503 with flag NC,
    a rule whose delegate is missing vanishes. Without `security` no token is verified, so nobody has one, and
    nothing is limited. `opened` are the ports that Gateway documents named when the process started.
    """
    limits = None if security is None else security.limits(config)
    guard = compile_guard(config, plan, clusters, security, limits)
    binder = Binder(config, RuleCompiler(plan, clusters, config.settings.spec, guard, limits), guard)
    listeners = {listener.port: listener for listener in binder.gateways()}
    return Snapshot(generation, config, clusters, binder.mesh(), listeners, guard, opened=opened)
