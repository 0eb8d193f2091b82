"""PeerAuthentication as an RBAC filter of its own, with what differs on single routes.

Lifetime: config. Envoy could only end connections of clients without a certificate; as in the gateway they
get 403, for the same connection may carry requests for destinations that ask for none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.export.envoy_rbac import rbac_filter, rbac_on_route
from gateway.security.mutual_tls import PERMISSIVE, Mode, PeerModes
from gateway.security.scope import Target, Workload

if TYPE_CHECKING:
    from gateway.config import Config
    from gateway.upstream import ClusterConfig

PEERS = "gateway.peer_authentication"


class Demands:
    """Who must show a certificate: of the gateway's clients, and at each destination."""

    def __init__(self, config: Config) -> None:
        settings = config.settings.spec
        self._modes = PeerModes(config.peer_authentications, settings.root_namespace)
        self._namespace = settings.namespace
        self._labels = settings.labels
        self._usual = self._own(0)
        self.any = any(item.spec.strict for item in config.peer_authentications)
        """Whether some document demands something."""

    def _own(self, port: int) -> Mode:
        return self._modes.of(Target(self._namespace, (Workload(self._labels, port),)))

    def gateway(self, port: int) -> Mode:
        """For requests that go to no destination."""
        return self._own(port)

    def destination(self, cluster: ClusterConfig | None, port: int) -> Mode:
        """For requests to a cluster that come in on a port; None: an unknown one."""
        own = self._own(port)
        if cluster is None:
            return own
        workloads = tuple(Workload(item.labels, item.port) for item in cluster.endpoints)
        target = Target(cluster.namespace, workloads)
        mode = self._modes.of(target)
        if mode.strict or not own.strict:
            return mode if mode.strict else PERMISSIVE
        # What is for the gateway by its labels holds for all that passes it.
        special = own != self._usual or own.level == "workload"
        return own if special or not self._overrides(cluster.namespace, own) else PERMISSIVE

    def _overrides(self, namespace: str, mode: Mode) -> bool:
        """Whether a destination's own mode stands in the place of the gateway's."""
        return mode.level == "mesh" or (mode.level == "namespace" and namespace == self._namespace)


def peer_filter(mode: Mode) -> dict[str, Any]:
    """The filter, and what holds where a route says nothing else."""
    return rbac_filter(PEERS, _fields(mode))


def on_route(mode: Mode) -> dict[str, Any]:
    """What holds on one route, or for one of its destinations."""
    return {PEERS: rbac_on_route(_fields(mode))}


def _fields(mode: Mode) -> dict[str, Any]:
    """Whoever has no certificate is denied: TLS alone has none, and so no name of any kind."""
    if not mode.strict:
        return {}
    namespace, _, name = mode.policy.partition("/")
    somebody = {"authenticated": {"principal_name": {"safe_regex": {"regex": ".+"}}}}
    policy = {"permissions": [{"any": True}], "principals": [{"not_id": somebody}]}
    return {"rules": {"action": "DENY", "policies": {f"ns[{namespace}]-policy[{name}]": policy}}}
