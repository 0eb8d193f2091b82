"""Policies on listeners, destinations, answers and redirects: where a request meets them."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from support.documents import config_of
from support.policies import SLEEP, asked, policy
from support.routing import PlannedCluster, service

from gateway.config import Config
from gateway.explain.judging import at_listener
from gateway.routing import compile_snapshot
from gateway.routing.describe import describe_snapshot
from gateway.routing.guarding import target_of
from gateway.security import explain
from gateway.security.external import Gate
from gateway.security.in_order import InOrder
from gateway.security.state import SecurityState
from gateway.upstream.plan import plan

if TYPE_CHECKING:
    from gateway.http.reply import Reply
    from gateway.http.request import Request
    from gateway.routing import Snapshot

DICE = random.Random(1)
NONE = "rbac_access_denied_matched_policy[none]"


def compiled(*documents: str, security: SecurityState | None = None) -> Snapshot:
    """A generation, whatever of it `load` would still refuse as not enforced."""
    config: Config = config_of("\n---\n".join(documents))
    planned = plan(config)
    clusters = {name: PlannedCluster(name, found) for name, found in planned.clusters.items()}
    return compile_snapshot(config, planned, clusters, generation=1, security=security)  # type: ignore[arg-type]


def served(snap: Snapshot, request: Request, port: int = 0) -> Reply | None:
    """What the gateway answers by itself, in the order of the life of a request; None: it forwards."""
    listener = snap.listener(port)
    for check in listener.checks:
        if (reply := check(request, DICE)) is not None:
            return reply
    if listener.https_redirect is not None and (reply := listener.https_redirect(request)) is not None:
        return reply
    route = listener.match(request)
    if route is None:
        return listener.unrouted(request)
    if route.answer is not None:
        return route.answer(request)
    destination = route.choose(0)
    for check in destination.checks:
        if (reply := check(request, DICE)) is not None:
            return reply
    return None


def details(snap: Snapshot, request: Request, port: int = 0) -> str:
    reply = served(snap, request, port)
    return "" if reply is None else reply.details.partition("_of[")[0]


HTTPBIN = """\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: httpbin}
spec:
  hosts: [httpbin]
  ports: [{number: 8000, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints:
  - {address: 10.0.0.1, labels: {app: httpbin, version: v1}}
  - {address: 10.0.0.2, labels: {app: httpbin, version: v2}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: httpbin}
spec:
  host: httpbin
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: httpbin}
spec:
  hosts: [httpbin]
  http:
  - {name: v1, match: [{uri: {prefix: /v1}}], route: [{destination: {host: httpbin, subset: v1}}]}
  - {match: [{uri: {prefix: /v2}}], route: [{destination: {host: httpbin, subset: v2}}]}
  - {match: [{uri: {prefix: /hello}}], directResponse: {status: 200, body: {string: hi}}}
  - {match: [{uri: {prefix: /nowhere}}], route: [{destination: {host: unknown}}]}
  - {match: [{uri: {prefix: /all}}], route: [{destination: {host: httpbin}}]}
"""
ALLOW_READ = policy(
    f"selector: {{matchLabels: {{app: httpbin}}}}, "
    f"rules: [{{from: [{{source: {{principals: [{SLEEP}]}}}}], to: [{{operation: {{methods: [GET]}}}}]}}]",
    "allow-read",
)
STRICT = """\
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default}
spec: {mtls: {mode: STRICT}}
"""


def bin_asked(path: str, principal: str = "", method: str = "GET") -> Request:
    return asked(path, host="httpbin", principal=principal, method=method)


def test_the_founding_documents_policies() -> None:
    """STRICT and allow-read: plain text and strangers are refused, sleep reads."""
    snap = compiled(HTTPBIN, ALLOW_READ, STRICT)

    assert details(snap, bin_asked("/all")).startswith("peer_authentication_strict")
    assert served(snap, bin_asked("/all", SLEEP)) is None
    assert details(snap, bin_asked("/all", SLEEP, "POST")) == NONE
    assert details(snap, bin_asked("/all", "cluster.local/ns/default/sa/other")) == NONE


def test_subsets_have_the_labels_of_their_endpoints() -> None:
    """A policy for one version is for its subset and for the whole service."""
    snap = compiled(HTTPBIN, policy("selector: {matchLabels: {version: v2}}, rules: [{}]", action="DENY"))

    assert [bool(details(snap, bin_asked(path))) for path in ("/v1", "/v2", "/all")] == [False, True, True]


def test_what_the_gateway_answers_itself_is_judged_by_its_own_policies() -> None:
    """Direct responses, unknown destinations and unknown routes, where ALLOW is judged at destinations."""
    snap = compiled(HTTPBIN, policy("", "allow-nothing"), ALLOW_READ)

    assert snap.default.checks == ()
    for path in ("/hello", "/nowhere", "/none"):
        assert details(snap, bin_asked(path, SLEEP)) == NONE, path
    assert details(snap, asked(host="unknown.test")) == NONE
    assert served(snap, bin_asked("/all", SLEEP)) is None


def test_without_policies_nothing_is_asked() -> None:
    """Listeners and destinations carry nothing, and answers are not wrapped."""
    snap = compiled(HTTPBIN)
    route = snap.default.match(bin_asked("/all"))

    assert route is not None
    assert (snap.default.checks, snap.default.gate) == ((), None)
    assert (route.destinations[0].checks, route.destinations[0].gate) == ((), None)
    assert details(snap, bin_asked("/none")) == "route_not_found"
    assert details(snap, bin_asked("/hello")) == "direct_response"


EDGE = """\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {}
  servers:
  - port: {number: 8080, name: http, protocol: HTTP}
    hosts: ["*"]
    tls: {httpsRedirect: true}
"""


def test_policies_come_before_the_redirect_to_https_and_strict_does_not() -> None:
    """A forbidden request is not redirected; one without certificate is."""
    deny = policy("rules: [{to: [{operation: {paths: [/no]}}]}]", action="DENY")
    snap = compiled(HTTPBIN, EDGE, STRICT, deny)
    assert (
        details(snap, bin_asked("/no"), 8080)
        == "rbac_access_denied_matched_policy[ns[default]-policy[p]-rule[0]]"
    )
    redirected = served(snap, bin_asked("/all"), 8080)
    assert redirected is not None
    assert redirected.status == 301

    nothing = compiled(HTTPBIN, EDGE, policy("", "allow-nothing"), ALLOW_READ)
    assert details(nothing, bin_asked("/all"), 8080) == NONE


def test_custom_policies_are_gates_with_the_endpoints_of_the_provider() -> None:
    """A ServiceEntry says where a provider is; without one the name itself does."""
    settings = """\
apiVersion: gateway.asgi/v1
kind: GatewaySettings
metadata: {name: s}
spec:
  extensionProviders:
  - {name: known, envoyExtAuthzHttp: {service: reviews, port: 9080}}
  - {name: named, envoyExtAuthzHttp: {service: authz.test, port: 80}}
"""
    custom = policy("rules: [{}], provider: {name: known}", action="CUSTOM")
    snap = compiled(HTTPBIN, service("reviews", versions=("v1", "v2")), settings, custom)

    assert isinstance(snap.default.gate, Gate)
    (_, provider), *_ = snap.default.gate._finds
    assert provider._origins == (("10.0.0.1", 9080), ("10.0.0.2", 9080))
    named = compiled(settings, custom.replace("known", "named"))
    assert isinstance(named.default.gate, Gate)
    assert named.default.gate._finds[0][1]._origins == (("authz.test", 80),)


LIMITS = """\
apiVersion: gateway.asgi/v1
kind: GatewaySettings
metadata: {name: s}
spec:
  rateLimits:
  - {name: everybody, key: [], requests: 3, per: 3600s}
  - {name: v1, match: {routes: [v1]}, key: [], requests: 1, per: 3600s}
"""


def test_rate_limits_come_last_and_on_named_routes() -> None:
    """What is refused before is not counted; a limit of a route counts its requests alone."""

    async def main() -> None:
        deny = policy("rules: [{to: [{operation: {methods: [PUT]}}]}]", action="DENY")
        snap = compiled(HTTPBIN, LIMITS, deny, security=SecurityState())
        for _ in range(5):
            assert details(snap, bin_asked("/v1", method="PUT")).startswith("rbac")
        assert served(snap, bin_asked("/v1")) is None
        assert details(snap, bin_asked("/v1")) == "local_rate_limited"
        assert served(snap, bin_asked("/v2")) is None
        assert details(snap, bin_asked("/v2")) == "local_rate_limited"

    asyncio.run(main())


def test_a_shared_limit_waits_and_nothing_else_does() -> None:
    """Where it is, policies stand before it in the gate, and are explained from there; other places stay."""
    deny = policy("rules: [{to: [{operation: {methods: [PUT]}}]}]", action="DENY")
    store = LIMITS.partition("  rateLimits")[0] + "  rateLimitStore: {redis: {address: 'localhost:6379'}}\n"
    limits = store + "  rateLimits: [{name: all, requests: 1}]"
    everywhere = compiled(HTTPBIN, deny, limits, security=SecurityState())
    limits = store + "  rateLimits: [{name: one, requests: 1, match: {routes: [v1]}}]"
    routes = compiled(HTTPBIN, deny, limits, security=SecurityState())

    assert everywhere.default.checks == ()
    assert isinstance(everywhere.default.gate, InOrder)
    assert len(everywhere.default.gate.checks) == 1
    refused = at_listener(everywhere, everywhere.default, bin_asked("/v1", method="PUT")).answer
    assert refused is not None
    assert refused.status == 403
    assert routes.default.gate is None
    assert len(routes.default.checks) == 1
    found = {
        route.name: route.destinations[0].gate
        for host in routes.default.virtual_hosts
        for route in host.routes
        if route.destinations
    }
    assert found.pop("v1") is not None
    assert set(found.values()) == {None}


def test_policies_are_described() -> None:
    """Dumps name what is enforced where."""
    audit = policy("rules: [{}]", "seen", action="AUDIT")
    dump = describe_snapshot(compiled(HTTPBIN, ALLOW_READ, STRICT, audit))

    (listener,) = dump["listeners"]
    assert listener["policies"] == ["AUDIT default/seen"]
    routes = {route["match"][0]: route for route in listener["virtual_hosts"][0]["routes"]}
    assert routes['path prefix "/all"']["destinations"][0]["policies"] == [
        "STRICT default/default",
        "ALLOW default/allow-read",
    ]


def test_a_snapshot_explains_its_policies() -> None:
    """The guard and the target of a destination are what `explain` wants."""
    snap = compiled(HTTPBIN, ALLOW_READ, STRICT)
    request = bin_asked("/all", SLEEP, "POST")
    route = snap.default.match(request)
    assert route is not None
    destination = route.destinations[0]
    assert destination.cluster is not None
    assert destination.target == target_of(destination.cluster.config)

    decision = explain(snap.guard, request, destination.target)

    assert decision.reply is not None
    assert decision.reply.details.startswith(NONE)


def test_no_copies_go_where_the_request_itself_might_not() -> None:
    """Nobody judges a copy, so a mirror with policies of its own gets none; one with the same policies does."""
    route = """\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: httpbin}
spec:
  hosts: [httpbin]
  http:
  - route: [{destination: {host: httpbin, subset: v1}}]
    mirror: {host: httpbin, subset: v2}
"""
    parts = (
        HTTPBIN.partition("---\napiVersion: networking.istio.io/v1\nkind: VirtualService")[0]
        + "---\n"
        + route
    )

    def mirrored(*policies: str) -> bool:
        found = compiled(parts, *policies).default.match(bin_asked("/"))
        assert found is not None
        return found.mirrors[0].cluster is not None

    assert mirrored()
    assert mirrored(ALLOW_READ, STRICT)
    assert not mirrored(policy("selector: {matchLabels: {version: v2}}, rules: [{}]"))
    assert mirrored(policy("selector: {matchLabels: {version: v1}}, rules: [{}]"))
