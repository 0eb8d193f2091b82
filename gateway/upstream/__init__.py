"""The other side of the gateway: clusters, endpoints, balancing, pools, HTTP/1.1 connections.

`plan(config)` says what the clusters are, `Registry` keeps what must survive a reload, and a request does:

    endpoint = cluster.pick(key, tried)
    connection = cluster.lease(endpoint) or await cluster.connect(endpoint)
    try:
        connection.start(head, method="POST", body=CHUNKED)
        ...                                   # one task: response(), read(); another: write(), finish()
    finally:
        connection.release()                  # exactly once; closes whatever is not provably clean
"""

from __future__ import annotations

from gateway.upstream.cluster import Cluster
from gateway.upstream.cluster_config import ClusterConfig, EndpointConfig, Policy, Resolution
from gateway.upstream.connection import CHUNKED, NO_BODY, Body, Connection, sized
from gateway.upstream.endpoint import Endpoint
from gateway.upstream.errors import UpstreamError
from gateway.upstream.plan import Plan, plan
from gateway.upstream.registry import Prepared, Registry
from gateway.upstream.response import Framing, ResponseHead
from gateway.upstream.securing import destinations

__all__ = [
    "CHUNKED",
    "NO_BODY",
    "Body",
    "Cluster",
    "ClusterConfig",
    "Connection",
    "Endpoint",
    "EndpointConfig",
    "Framing",
    "Plan",
    "Policy",
    "Prepared",
    "Registry",
    "Resolution",
    "ResponseHead",
    "UpstreamError",
    "destinations",
    "plan",
    "sized",
]
