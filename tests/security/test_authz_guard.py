"""Where policies are judged, by whom, and what a client and the log are told."""

from __future__ import annotations

import pytest
from support.policies import HTTPBIN, SLEEP, allowed, asked, details, guard, judged, peer, policy, settings

from gateway.security import Target, Workload, explain

ALLOW_READ = """\
apiVersion: security.istio.io/v1beta1
kind: AuthorizationPolicy
metadata:
  name: allow-read
  namespace: default
spec:
  selector:
    matchLabels:
      app: httpbin
  action: ALLOW
  rules:
  - from:
    - source:
        principals: ["cluster.local/ns/default/sa/sleep"]
    to:
    - operation:
        methods: ["GET"]
"""
STRICT = """\
apiVersion: security.istio.io/v1beta1
kind: PeerAuthentication
metadata:
  name: default
  namespace: default
spec:
  mtls:
    mode: STRICT
"""
OTHER = Target("default", (Workload({"app": "reviews"}, 9080),))
NONE = "rbac_access_denied_matched_policy[none]"


def rule(number: int = 0, name: str = "p", namespace: str = "default") -> str:
    return f"rbac_access_denied_matched_policy[ns[{namespace}]-policy[{name}]-rule[{number}]]"


@pytest.mark.parametrize(
    ("count", "told"),
    [(0, "ns[default]-policy[nothing]"), (1, "ns[default]-policy[nothing]-rule[0]"),
     (5, ",".join(f"ns[default]-policy[nothing]-rule[{number}]" for number in range(3)) + ",+2")],
)  # fmt: skip
def test_the_log_names_who_could_have_allowed(count: int, told: str) -> None:
    """The first three rules; of a policy without rules its name. The client reads the same words always."""
    rules = ", ".join(["{to: [{operation: {methods: [PUT]}}]}"] * count)
    reply = judged(guard(policy(f"rules: [{rules}]" if count else "", "nothing")), asked())
    assert reply is not None
    assert reply.details == f"{NONE}_of[{told}]"
    assert reply.body == b"RBAC: access denied"


# -- the founding document's policies ------------------------------------------------------------


def test_the_founding_policies_let_sleep_read_and_nobody_else() -> None:
    """GET by sleep passes; POST, others, no certificate and plain text do not."""
    gate = guard(ALLOW_READ, STRICT)

    assert allowed(gate, asked(principal=SLEEP), HTTPBIN)
    assert details(gate, asked(principal=SLEEP, method="POST"), HTTPBIN) == NONE
    assert details(gate, asked(principal="cluster.local/ns/default/sa/other"), HTTPBIN) == NONE
    strict = "peer_authentication_strict_matched_policy[ns[default]-policy[default]]"
    assert details(gate, asked(), HTTPBIN) == strict
    assert details(gate, asked(by=peer(verified=False)), HTTPBIN) == strict


def test_a_policy_with_a_selector_is_for_its_destinations_alone() -> None:
    """Other destinations, and requests that go nowhere, are not concerned."""
    gate = guard(ALLOW_READ)

    assert allowed(gate, asked(method="POST"), OTHER)
    assert allowed(gate, asked(method="POST"))


def test_the_client_is_not_told_which_policy_refused() -> None:
    """403 with Envoy's text; flag and policy are for the log."""
    reply = judged(guard(ALLOW_READ), asked(), HTTPBIN)

    assert reply is not None
    assert (reply.status, reply.body, reply.flag, reply.headers) == (403, b"RBAC: access denied", None, ())


# -- actions ------------------------------------------------------------------------------------


def test_deny_goes_before_allow_and_names_policy_and_rule() -> None:
    """What both take is refused; of several rules the first by name is told."""
    gate = guard(
        policy("rules: [{}]", "everything"),
        policy(
            "rules: [{to: [{operation: {paths: [/a]}}]}, {to: [{operation: {paths: [/b, /c]}}]}]",
            "some",
            action="DENY",
        ),
        policy("rules: [{to: [{operation: {paths: [/c]}}]}]", "other", action="DENY"),
    )

    assert allowed(gate, asked("/d"))
    assert details(gate, asked("/a")) == rule(0, "some")
    assert details(gate, asked("/b")) == rule(1, "some")
    assert details(gate, asked("/c")) == rule(0, "other")


@pytest.mark.parametrize(
    ("spec", "passes"),
    [("", False), ("rules: []", False), ("rules: [{}]", True)],
)
def test_allow_without_rules_allows_nothing(spec: str, passes: bool) -> None:
    """An empty specification refuses everybody; an empty rule takes everybody."""
    document = policy(spec).replace("spec: {rules: []}", "spec: {rules: null}")

    assert allowed(guard(document), asked()) is passes


def test_without_allow_policies_everything_passes() -> None:
    """DENY and AUDIT alone do not make anything forbidden."""
    gate = guard(policy("rules: [{to: [{operation: {methods: [PUT]}}]}]", action="DENY"))

    assert allowed(gate, asked())
    assert not allowed(gate, asked(method="PUT"))


def test_audit_marks_and_does_not_decide() -> None:
    """What an AUDIT rule takes is noted, counted, and passes."""
    notes: list[str] = []
    gate = guard(
        policy("rules: [{to: [{operation: {methods: [PUT]}}]}]", action="AUDIT"),
        note=lambda what, request: notes.append(what),
    )

    assert allowed(gate, asked())
    assert allowed(gate, asked(method="PUT"))
    assert notes == ["audit ns[default]-policy[p]-rule[0]"]
    assert gate.counts.audited == 1


def test_dry_runs_say_what_they_would_do() -> None:
    """DENY and ALLOW with the annotation are noted and counted, and the request passes."""
    notes: list[str] = []
    gate = guard(
        policy("rules: [{to: [{operation: {methods: [PUT]}}]}]", "d", action="DENY", dry_run=True),
        policy("rules: [{to: [{operation: {methods: [GET]}}]}]", "a", dry_run=True),
        note=lambda what, request: notes.append(what),
    )

    assert all(allowed(gate, asked(method=method)) for method in ("GET", "PUT", "POST"))
    assert notes == [
        "dry run would deny by ns[default]-policy[d]-rule[0]",
        "dry run would deny by none",
    ]
    assert (gate.counts.shadow_allowed, gate.counts.shadow_denied, gate.counts.denied) == (1, 2, 0)


# -- scope --------------------------------------------------------------------------------------

DENY_ALL = "rules: [{}]"
SHOP = Target("shop", (Workload({"app": "cart"}, 80),))


@pytest.mark.parametrize(
    ("namespace", "selector", "denied"),
    [
        # own namespace of the gateway: every request
        ("default", "", {"nowhere", "httpbin", "shop"}),
        ("default", "app: httpbin", {"httpbin"}),
        ("default", "app: cart", set()),
        # the root namespace: every namespace
        ("istio-system", "", {"nowhere", "httpbin", "shop"}),
        ("istio-system", "app: cart", {"shop"}),
        # a namespace of some destinations
        ("shop", "", {"shop"}),
        ("shop", "app: cart", {"shop"}),
        ("shop", "app: httpbin", set()),
        ("elsewhere", "", set()),
        # the gateway's own labels
        ("default", "app: edge", {"nowhere", "httpbin", "shop"}),
        ("istio-system", "app: edge", {"nowhere", "httpbin", "shop"}),
        ("shop", "app: edge", set()),
    ],
)
def test_namespace_and_selector_say_whom_a_policy_is_for(
    namespace: str, selector: str, denied: set[str]
) -> None:
    """Namespace, root namespace and labels, for requests that go to destinations or nowhere."""
    select = f"selector: {{matchLabels: {{{selector}}}}}, " if selector else ""
    gate = guard(
        policy(select + DENY_ALL, namespace=namespace, action="DENY"),
        settings(labels="{app: edge}"),
        targets=(HTTPBIN, SHOP),
    )

    places = {"nowhere": None, "httpbin": HTTPBIN, "shop": SHOP}
    assert {name for name, target in places.items() if not allowed(gate, asked(), target)} == denied


def test_all_labels_of_a_selector_must_match() -> None:
    """One label of two is not enough."""
    gate = guard(policy("selector: {matchLabels: {app: httpbin, tier: x}}, rules: [{}]", action="DENY"))

    assert allowed(gate, asked(), HTTPBIN)
    assert not allowed(
        gate, asked(), Target("default", (Workload({"app": "httpbin", "tier": "x", "a": "b"}),))
    )


def test_a_destination_with_some_matching_endpoints_is_protected() -> None:
    """The dice do not decide whether a policy holds."""
    gate = guard(ALLOW_READ)
    mixed = Target("default", (Workload({"app": "new"}), Workload({"app": "httpbin"})))

    assert not allowed(gate, asked(), mixed)


# -- the usual pattern: nothing for everybody, something for some ----------------------------------


def test_allow_nothing_leaves_what_a_selector_allows() -> None:
    """A namespace-wide `spec: {}` and an ALLOW policy for a workload are judged together, at the workload."""
    gate = guard(policy("", "allow-nothing"), ALLOW_READ, targets=(HTTPBIN, OTHER))

    assert allowed(gate, asked(principal=SLEEP), HTTPBIN)
    assert details(gate, asked(principal=SLEEP, method="POST"), HTTPBIN) == NONE
    assert details(gate, asked(principal=SLEEP), OTHER) == NONE
    assert details(gate, asked(principal=SLEEP)) == NONE


def test_allow_policies_of_the_gateway_itself_are_judged_besides() -> None:
    """One that selects the gateway by its labels is not overruled by a destination's."""
    gate = guard(
        policy('selector: {matchLabels: {app: edge}}, rules: [{from: [{source: {ipBlocks: ["10.0.0.1"]}}]}]'),
        ALLOW_READ,
        settings(labels="{app: edge}"),
    )

    assert allowed(gate, asked(principal=SLEEP, peer_ip="10.0.0.1"), HTTPBIN)
    assert not allowed(gate, asked(principal=SLEEP, peer_ip="10.0.0.2"), HTTPBIN)
    assert not allowed(gate, asked(peer_ip="10.0.0.1"), HTTPBIN)
    assert allowed(gate, asked(peer_ip="10.0.0.1"))


def test_a_destination_in_another_namespace_does_not_overrule_the_gateways_policies() -> None:
    """The namespace-wide policies of the gateway are for every request; the destination's come on top."""
    gate = guard(
        policy("rules: [{to: [{operation: {methods: [GET, PUT]}}]}]", "own"),
        policy("rules: [{to: [{operation: {methods: [GET, POST]}}]}]", "theirs", "shop"),
        ALLOW_READ,
        targets=(HTTPBIN, SHOP),
    )

    assert [m for m in ("GET", "PUT", "POST") if allowed(gate, asked(method=m), SHOP)] == ["GET"]
    assert allowed(gate, asked(method="PUT"), HTTPBIN)


def test_a_policy_is_evaluated_once_where_it_can_be() -> None:
    """Namespace-wide policies alone are judged before the route; destinations add nothing."""
    gate = guard(policy("rules: [{to: [{operation: {methods: [GET]}}]}]"))

    assert len(gate.everywhere.checks) == 1
    assert (gate.own, gate.destination(HTTPBIN).checks, gate.destination(HTTPBIN).gate) == ((), (), None)


def test_destinations_with_the_same_policies_share_their_checks() -> None:
    """A thousand clusters of one application are compiled once."""
    gate = guard(ALLOW_READ)
    again = Target("default", (Workload({"app": "httpbin", "version": "v2"}, 1),))

    assert gate.destination(HTTPBIN) is gate.destination(again)


# -- peer authentication ---------------------------------------------------------------------------


def peers(mode: str, name: str = "pa", namespace: str = "default", more: str = "") -> str:
    return (
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n"
        f"metadata: {{name: {name}, namespace: {namespace}}}\nspec: {{mtls: {{mode: {mode}}}{more}}}\n"
    )


SELECT = ", selector: {matchLabels: {app: httpbin}}"


@pytest.mark.parametrize(
    ("documents", "plain_passes"),
    [
        ((), True),
        ((peers("STRICT"),), False),
        ((peers("STRICT", namespace="istio-system"),), False),
        ((peers("STRICT", namespace="elsewhere"),), True),
        ((peers("PERMISSIVE"), peers("STRICT", namespace="istio-system")), True),
        ((peers("UNSET"), peers("STRICT", namespace="istio-system")), False),
        ((peers("DISABLE"),), True),
        ((peers("STRICT"), peers("PERMISSIVE", "w", more=SELECT)), True),
        ((peers("STRICT"), peers("UNSET", "w", more=SELECT)), False),
        ((peers("PERMISSIVE"), peers("STRICT", "w", more=SELECT)), False),
        ((peers("STRICT", "w", more=SELECT + ", portLevelMtls: {8000: {mode: DISABLE}}"),), True),
        ((peers("PERMISSIVE", "w", more=SELECT + ", portLevelMtls: {8000: {mode: STRICT}}"),), False),
        ((peers("PERMISSIVE", "w", more=SELECT + ", portLevelMtls: {8001: {mode: STRICT}}"),), True),
        ((peers("STRICT", "w", more=SELECT + ", portLevelMtls: {8000: {mode: UNSET}}"),), False),
        # two of one level: the oldest counts, which without timestamps is the first by name
        ((peers("STRICT", "b"), peers("PERMISSIVE", "a")), True),
        # Istio looks at no selector in the root namespace; what demands is heard all the same
        ((peers("STRICT", namespace="istio-system", more=SELECT),), False),
        ((peers("PERMISSIVE", namespace="istio-system", more=SELECT), peers("STRICT")), False),
    ],
)
def test_peer_authentication_by_level(documents: tuple[str, ...], plain_passes: bool) -> None:
    """Workload before namespace before mesh; UNSET asks on; ports apart."""
    gate = guard(*documents)

    assert allowed(gate, asked(), HTTPBIN) is plain_passes
    assert allowed(gate, asked(principal=SLEEP), HTTPBIN)


def test_strict_for_everybody_also_covers_what_the_gateway_answers() -> None:
    """Direct responses and unknown routes want a certificate; a redirect to https does not."""
    gate = guard(peers("STRICT"))

    assert not allowed(gate, asked())
    assert gate.everywhere.checks == ()
    assert gate.redirecting == ()


def test_strict_on_a_port_of_the_gateway() -> None:
    """portLevelMtls of a policy for the gateway's own labels speaks of its listening ports."""
    gate = guard(
        peers(
            "PERMISSIVE", more=", selector: {matchLabels: {app: edge}}, portLevelMtls: {8443: {mode: STRICT}}"
        ),
        settings(labels="{app: edge}"),
    )

    assert allowed(gate, asked(port=8080), HTTPBIN)
    assert not allowed(gate, asked(port=8443), HTTPBIN)
    assert not allowed(gate, asked(port=8443))


def test_one_strict_endpoint_makes_the_destination_strict() -> None:
    """As with selectors: the dice do not decide."""
    gate = guard(peers("STRICT", "w", more=SELECT))

    assert not allowed(
        gate, asked(), Target("default", (Workload({"app": "x"}), Workload({"app": "httpbin"})))
    )


# -- failing -------------------------------------------------------------------------------------


def test_what_cannot_be_evaluated_is_refused() -> None:
    """An exception inside a policy refuses the request, and is counted."""
    for action in ("ALLOW", "DENY"):
        gate = guard(policy("rules: [{when: [{key: 'request.auth.claims[a]', values: [b]}]}]", action=action))
        odd = asked()
        odd.header_map = None  # type: ignore[assignment]
        odd.claims = _Broken()  # type: ignore[assignment]

        assert details(gate, odd) == NONE
        assert gate.counts.errors == 1


class _Broken(dict):  # type: ignore[type-arg]
    def get(self, *_: object) -> object:
        raise RuntimeError("broken")


def test_an_error_in_a_dry_run_does_not_refuse() -> None:
    """What only records cannot do harm."""
    gate = guard(policy("rules: [{when: [{key: 'request.auth.claims[a]', values: [b]}]}]", dry_run=True))
    odd = asked()
    odd.claims = _Broken()  # type: ignore[assignment]

    assert allowed(gate, odd)


# -- explain -------------------------------------------------------------------------------------


def test_explain_tells_each_policys_verdict_and_why() -> None:
    """What holds, what does not, and what comes of it; nothing is counted."""
    gate = guard(
        ALLOW_READ, STRICT, policy("rules: [{to: [{operation: {paths: [/x]}}]}]", "no", action="DENY")
    )

    decision = explain(gate, asked("/a", principal=SLEEP, method="POST"), HTTPBIN)

    assert not decision.allowed
    assert [(v.kind, v.policy, v.action, v.place, v.matched) for v in decision.verdicts] == [
        ("AuthorizationPolicy", "default/no", "DENY", "gateway", False),
        ("AuthorizationPolicy", "default/allow-read", "ALLOW", "destination", False),
        ("PeerAuthentication", "default/default", "STRICT", "destination", True),
    ]
    assert decision.verdicts[0].reasons == ("rule[0]: to[0] paths /x: the request has /a",)
    assert decision.verdicts[1].reasons == ("rule[0]: to[0] methods GET: the request has POST",)
    assert decision.reply is not None
    assert decision.reply.details == f"{NONE}_of[ns[default]-policy[allow-read]-rule[0]]"
    assert gate.counts.denied == 0
