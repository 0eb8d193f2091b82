"""The spine of calls that a program makes itself: the client's side of a mesh.

Lifetime: `EgressSpine` is the process's, `Egress` a generation's.

A call is trusted: it is sent as it was written, with what a sidecar adds (request id, attempt, trace), and
without what a gateway tells of strangers (x-forwarded-*). Where no VirtualService is written the service
itself is called, as in a mesh.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Protocol, cast

from gateway.config.hosts import aliases, covers
from gateway.exchange.hygiene import BAD_FRAMING, BAD_HOST, CHUNKED, Hygiene, new_request_id
from gateway.exchange.spine import Spine
from gateway.http.headers import HOP_BY_HOP
from gateway.http.host import split as split_authority
from gateway.http.path import PathRules, canonical
from gateway.http.reply import NO_CLUSTER, NO_ROUTE, Reply
from gateway.http.request import Request
from gateway.routing.hash_key import compile_hash_cookie, compile_hash_key
from gateway.routing.policies import compile_retries
from gateway.routing.route import Destination, Forwarding, Route, Source
from gateway.upstream.app import VISIT

if TYPE_CHECKING:
    from gateway.exchange.downstream import Downstream
    from gateway.exchange.exchange import Exchange
    from gateway.exchange.spine import Policy
    from gateway.http.headers import Headers
    from gateway.routing.listener import Listener
    from gateway.routing.snapshot import Snapshot
    from gateway.upstream import Cluster

BLACK_HOLE = Reply(502, b"no service of this name is configured", details="BlackHoleCluster")
"""Istio's answer to a host it does not know (outboundTrafficPolicy REGISTRY_ONLY)."""
NOT_SECURE = Reply(
    502,
    b"an https URL, and a service that is spoken to in plain text: give it a DestinationRule with"
    b" tls: {mode: SIMPLE}, or its port the protocol HTTPS",
    details="https_to_plain_text",
)

_DROPPED = HOP_BY_HOP | {b"host", b"expect", b"http2-settings", b"x-request-id", b"content-length"}
_TRACE = (b"traceparent", b"tracestate", b"b3", b"x-b3-traceid", b"x-b3-spanid", b"x-b3-sampled")
"""What carries a trace from the request that is being served to the calls that are made for it."""
_is_length = re.compile(rb"[0-9]{1,18}").fullmatch
_RULES = PathRules("NONE", "KEEP_UNCHANGED")


class Curious(Protocol):
    """A downstream that is told of its exchange."""

    exchange: Exchange | None


class Egress(Hygiene):
    """Step 2 for calls; they come from a `Curious` downstream."""

    def admit(self, exchange: Exchange, downstream: Downstream) -> Reply | None:
        """Gives `exchange` its request; or returns the reply that refuses it."""
        cast("Curious", downstream).exchange = exchange
        host, length, given_id = b"", b"", b""
        headers: Headers = []
        for pair in downstream.headers:
            name = pair[0]
            if name == b"host":
                host = pair[1]
            elif name == b"x-request-id":
                given_id = pair[1]
            elif name == b"content-length":
                length = pair[1]
            elif name == b"transfer-encoding":
                exchange.body = CHUNKED
            elif name not in _DROPPED and not name.startswith(b"x-envoy-"):
                headers.append(pair)
        authority = split_authority(host)
        if authority is None:
            return BAD_HOST
        if length and exchange.body != CHUNKED:
            if not _is_length(length):
                return BAD_FRAMING
            exchange.body = int(length)
        path = canonical(downstream.raw_path, _RULES, downstream.query)
        if isinstance(path, Reply):
            return path
        exchange.request_id = _continued(headers, given_id)
        headers.append((b"x-request-id", exchange.request_id.encode("latin-1")))
        place = downstream.place
        exchange.request = Request(
            downstream.method,
            place.scheme,
            host,
            authority.host,
            path,
            downstream.query,
            headers,
            authority.port or place.port,
        )
        return None


def _continued(headers: Headers, given_id: bytes) -> str:
    """The call's request id; the trace that is under way goes into `headers`, unless one is there."""
    visit = VISIT.get()
    known = visit.known if visit is not None else None
    if not any(name in _TRACE for name, _ in headers):
        span = _current_span()
        if span:
            headers.append((b"traceparent", span))
        elif known is not None:
            headers += [pair for pair in known.request.headers if pair[0] in _TRACE]
    if given_id:
        return given_id.decode("latin-1")
    return known.request_id if known is not None else new_request_id()


def _current_span() -> bytes:
    """OpenTelemetry's current span as `traceparent`; empty without one, or when the program has no such."""
    module = sys.modules.get("opentelemetry.trace")
    if module is None:
        return b""
    context = module.get_current_span().get_span_context()
    if not context.is_valid:
        return b""
    return b"00-%032x-%016x-%02x" % (context.trace_id, context.span_id, context.trace_flags)


class Services:
    """The services themselves, by any of their names and by port."""

    __slots__ = ("_named", "_wild", "snapshot")

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        settings = snapshot.config.settings.spec
        self._named: dict[tuple[str, int], Route] = {}
        self._wild: list[tuple[str, int, Route]] = []
        short = []
        for cluster in snapshot.clusters.values():
            config = cluster.config
            if config.subset:
                continue
            route = _route(cluster)
            if config.host.startswith("*"):
                self._wild.append((config.host, config.port, route))
                continue
            full, *others = aliases(config.host, settings.cluster_domain)
            self._named[full, config.port] = route
            if others and config.namespace != settings.namespace:
                others.pop()  # The bare name is for those of one's own namespace.
            short += [(name, config.port, route) for name in others]
        for name, port, route in short:
            self._named.setdefault((name, port), route)
        self._wild.sort(key=lambda item: len(item[0]), reverse=True)

    def find(self, host: str, port: int) -> Route | None:
        """The route to a service; None: there is none of this name at this port."""
        found = self._named.get((host, port))
        if found is None:
            for pattern, number, route in self._wild:
                if number == port and covers(pattern, host):
                    return route
        return found


def _route(cluster: Cluster) -> Route:
    """What a service without VirtualService gets: Istio's default route."""
    policy = cluster.config.consistent_hash
    rule = Forwarding(
        destinations=(Destination(cluster, cluster.name),),
        retries=compile_retries(None, timeout=None, sticky=policy is not None),
        hash_key=compile_hash_key(policy) if policy is not None else None,
        hash_cookie=compile_hash_cookie(policy) if policy is not None else None,
    )
    return Route("default", Source(cluster.config.host, cluster.config.host, 0, None), (), rule)


class EgressSpine(Spine):
    """Carries calls to services."""

    _services: Services | None = None

    def knows(self, host: str, port: int) -> bool:
        """Whether a VirtualService or a service has this name."""
        snapshot = self._snapshot()
        listener = snapshot.listener(port)
        return listener.virtual_host(host) is not None or self._find(snapshot, host, port) is not None

    def _find(self, snapshot: Snapshot, host: str, port: int) -> Route | None:
        services = self._services
        if services is None or services.snapshot is not snapshot:
            services = self._services = Services(snapshot)
        return services.find(host, port)

    def _follow(self, snapshot: Snapshot) -> Policy:
        policy = super()._follow(snapshot)
        policy.hygiene = Egress(snapshot.config.settings.spec)
        policy.server = b""  # The program is told by what it called, not by us.
        return policy

    def _decide(self, exchange: Exchange, listener: Listener) -> Reply | None:
        request = exchange.request
        route = listener.match(request)
        if route is None and listener.virtual_host(request.host) is not None:
            return NO_ROUTE
        route = exchange.route = route or self._find(exchange.snapshot, request.host, request.port)
        if route is None:
            return BLACK_HOLE
        if route.answer is not None:
            if route.gate is None:
                return route.answer(request)
            exchange.waits = True
            return None
        draw = exchange.draw = self._draw(32)
        destination = exchange.destination = route.choose(draw)
        cluster = destination.cluster
        if cluster is None:
            return NO_CLUSTER
        if request.scheme == "https" and cluster.pool.tls is None:
            return NOT_SECURE
        if destination.gate is not None or route.fault is not None:
            exchange.waits = True
            return None
        return self._permit(request, destination.checks) or self._enter(request, route, destination)
