"""Which clusters speak TLS, under which name, and who may answer (DestinationRule `tls`).

Lifetime: config.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.tls import Destination

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.config.tls import ClientTLSSettings
    from gateway.upstream.cluster_config import ClusterConfig
    from gateway.upstream.plan import Plan

_PLAIN = frozenset({None, "DISABLE"})


def destinations(plan: Plan) -> Mapping[str, Destination]:
    """By cluster; those that speak plain text are not in it."""
    return {
        name: Destination(tls, _sni(cluster, tls), _names(cluster, tls))
        for name, cluster in plan.clusters.items()
        if (tls := cluster.tls) is not None and tls.mode not in _PLAIN
    }


def _sni(cluster: ClusterConfig, tls: ClientTLSSettings) -> str:
    """The rule's, or the mesh's form, or the service's host.

    Istio takes the request's Host instead of the service's: a connection here serves requests of every host
    that is routed to the cluster, so it has one name.
    """
    if tls.sni:
        return tls.sni
    if tls.mode == "ISTIO_MUTUAL":
        return f"outbound_.{cluster.port}_.{cluster.subset}_.{cluster.host}"
    return "" if cluster.host.startswith("*") else cluster.host


def _names(cluster: ClusterConfig, tls: ClientTLSSettings) -> tuple[str, ...]:
    """The rule's, or the ServiceEntry's, or the name that was asked for. In the mesh every workload that its
    authority vouches for may answer, unless service accounts say who they are.

    Stricter than Istio, which compares nothing when `sni` is set: an authority signs for many.
    """
    if tls.insecure_skip_verify:
        return ()
    said = tls.subject_alt_names or cluster.subject_alt_names
    if said or tls.mode == "ISTIO_MUTUAL":
        return said
    return tuple(dict.fromkeys(name for name in (tls.sni, cluster.host) if name))
