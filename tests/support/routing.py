"""Requests, facts and snapshots for tests of routing, made from as little as a test needs to say.

Lifetime: request. No I/O.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from textwrap import dedent
from typing import TYPE_CHECKING, Any

from gateway.config import load
from gateway.http.request import Request
from gateway.routing import compile_snapshot
from gateway.upstream.plan import plan

if TYPE_CHECKING:
    from gateway.http.flags import Flag
    from gateway.http.headers import Headers
    from gateway.routing import Route, Snapshot
    from gateway.upstream import ClusterConfig


def request(
    path: str = "/",
    headers: dict[str, str] | Headers | None = None,
    *,
    method: str = "GET",
    host: str = "reviews",
    query: str = "",
    scheme: str = "http",
    port: int = 8080,
    client_ip: str = "203.0.113.7",
) -> Request:
    """A canonical request; `host` may have a port."""
    if headers is None or isinstance(headers, dict):
        headers = [
            (name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()
        ]
    name = host.lower() if host.endswith("]") else host.lower().rpartition(":")[0] or host.lower()
    return Request(
        method,
        scheme,
        host.encode(),
        name,
        path.encode(),
        query.encode(),
        headers,
        port,
        "127.0.0.1",
        client_ip,
    )


@dataclass
class KnownFacts:
    """Facts of a finished exchange, as format strings read them."""

    request: Request = field(default_factory=request)
    request_headers: Headers = field(default_factory=list)
    response_headers: Headers = field(default_factory=list)
    request_authority: bytes = b"reviews:8080"
    request_target: bytes = b"/new?q=1"
    protocol: str = "HTTP/1.1"
    start_time: float = 1577934245.678901
    duration: float = 1.2345
    route: Any = None
    status: int = 200
    flags: tuple[Flag, ...] = ()
    details: str = "via_upstream"
    termination_details: str = ""
    bytes_received: int = 10
    bytes_sent: int = 20
    attempts: int = 1
    downstream_remote_address: str = "203.0.113.7:0"
    downstream_direct_remote_address: str = "127.0.0.1:55555"
    downstream_local_address: str = "[::1]:8080"
    upstream_host: str = "10.0.0.1:9080"
    upstream_cluster: str = "outbound|9080|v1|reviews.default.svc.cluster.local"
    upstream_local_address: str = "10.0.0.9:41000"
    upstream_transport_failure: str = ""
    requested_server_name: str = "reviews.example.com"
    peer_uri_san: str = "spiffe://cluster.local/ns/default/sa/sleep"


@dataclass(frozen=True)
class PlannedCluster:
    """What routing needs of a cluster."""

    name: str
    config: ClusterConfig


def snapshot(*documents: str) -> Snapshot:
    """A generation compiled from YAML documents, each indented as the test likes; none of their findings is fatal."""
    text = "\n---\n".join(dedent(document) for document in documents)
    loaded = load([], texts={"routes.yaml": text})
    assert loaded.config is not None, [finding.message for finding in loaded.findings]
    planned = plan(loaded.config)
    clusters: Any = {name: PlannedCluster(name, config) for name, config in planned.clusters.items()}
    return compile_snapshot(loaded.config, planned, clusters, generation=1)


def service(host: str, *, port: int = 9080, versions: tuple[str, ...] = (), hashing: str = "") -> str:
    """A ServiceEntry with one endpoint a version, and a DestinationRule with a subset a version."""
    endpoints = "".join(
        f"\n  - {{address: 10.0.0.{index + 1}, labels: {{version: {version}}}}}"
        for index, version in enumerate(versions or ("v1",))
    )
    subsets = "".join(f"\n  - {{name: {version}, labels: {{version: {version}}}}}" for version in versions)
    policy = f"\n  trafficPolicy: {{loadBalancer: {{consistentHash: {hashing}}}}}" if hashing else ""
    name = host.replace(".", "-").replace("*", "any")
    return f"""\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}}}
spec:
  hosts: [{host}]
  ports: [{{number: {port}, name: http, protocol: HTTP}}]
  resolution: STATIC
  endpoints:{endpoints}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name}}}
spec:
  host: {host}{policy}{f"{chr(10)}  subsets:{subsets}" if subsets else ""}
"""


def chosen(snap: Snapshot, asked: Request, port: int = 0) -> Route | None:
    """The route of a request on a port's listener."""
    return snap.listener(port).match(asked)


def where(snap: Snapshot, asked: Request, port: int = 0) -> str:
    """The source of the route that takes a request, in short: `reviews 0.1`, or `-`."""
    route = chosen(snap, asked, port)
    if route is None:
        return "-"
    name = route.source.rule_of.removeprefix("default/")
    match = "" if route.source.match is None else f".{route.source.match}"
    return f"{name} {route.source.rule}{match}"
