"""What a change of the configuration does to traffic."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.documents import config_of
from support.routing import service, snapshot

from gateway.cli import main
from gateway.explain.diff import Change, differences
from gateway.routing import Snapshot, compile_snapshot
from gateway.upstream import Registry, plan

SERVICES = service("reviews", versions=("v1", "v2"))


def rules(text: str) -> str:
    return f"""\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: reviews}}
spec:
  hosts: [reviews]
  http:
{text}"""


def canary(old: int, new: int, more: str = "") -> str:
    return rules(f"""\
  - name: canary
    route:
    - {{destination: {{host: reviews, subset: v1}}, weight: {old}}}
    - {{destination: {{host: reviews, subset: v2}}, weight: {new}}}
{more}""")


def told(old: str, new: str) -> list[str]:
    return [str(change) for change in differences(snapshot(old, SERVICES), snapshot(new, SERVICES))]


def test_a_share_that_moves_is_told_in_per_cent() -> None:
    """The sentence of a canary."""
    assert told(canary(90, 10), canary(80, 20)) == [
        "route reviews/canary: 10 % moves from reviews v1 to reviews v2"
    ]


def test_nothing_is_told_when_traffic_notices_nothing() -> None:
    """A route that is renamed, split in two or written elsewhere is the same to whoever calls."""
    one = rules("  - route: [{destination: {host: reviews, subset: v1}}]")
    two = rules("""\
  - name: a
    match: [{uri: {prefix: /a}}]
    route: [{destination: {host: reviews, subset: v1}}]
  - name: rest
    route: [{destination: {host: reviews, subset: v1}}]""")

    assert told(one, two) == []
    assert told(one, one) == []


def test_settings_of_a_route_are_told() -> None:
    """Timeouts, retries, faults, mirrors, headers: what becomes of a request on its way."""
    more = """\
    timeout: 2s
    retries: {attempts: 3, perTryTimeout: 1s}
    fault: {abort: {httpStatus: 500, percentage: {value: 5}}}
    mirror: {host: reviews, subset: v2}
    headers: {request: {set: {x-a: b}}}"""
    changes = told(canary(90, 10), canary(90, 10, more))

    assert "route reviews/canary: timeout: none -> 2 s" in changes
    assert "route reviews/canary: retries, most: 2 -> 3" in changes
    assert "route reviews/canary: retries, per try timeout: none -> 1 s" in changes
    assert "route reviews/canary: fault: none -> abort HTTP 500, abort percent 5" in changes
    assert "route reviews/canary: mirrors: none -> 100 % to reviews v2" in changes
    assert "route reviews/canary: request headers to reviews v1: none -> =x-a" in changes


def test_a_request_that_another_route_takes_is_told_by_example() -> None:
    """A rule before all others takes what was another's."""
    one = rules("  - route: [{destination: {host: reviews, subset: v1}}]")
    two = rules("""\
  - match: [{headers: {end-user: {exact: jason}}, uri: {prefix: /beta}}]
    route: [{destination: {host: reviews, subset: v2}}]
  - route: [{destination: {host: reviews, subset: v1}}]""")

    assert told(one, two) == [
        "route GET reviews.default.svc.cluster.local/beta (end-user: jason): 100 % moves from reviews v1 to reviews v2"
    ]


def test_a_path_that_nobody_took_is_opened() -> None:
    """404 before, an answer now; and the other way round."""
    one = rules("  - match: [{uri: {exact: /a}}]\n    route: [{destination: {host: reviews, subset: v1}}]")
    two = rules("  - match: [{uri: {exact: /b}}]\n    directResponse: {status: 200}")
    found = differences(snapshot(one, SERVICES), snapshot(two, SERVICES))

    assert [(change.opens, change.text) for change in found] == [
        (True, "404 -> answers 200"),
        (False, "100 % reviews v1 -> nobody takes it: 404"),
    ]


def test_hosts_and_listeners_come_and_go() -> None:
    """What is new opens something."""
    other = rules("  - route: [{destination: {host: reviews, subset: v1}}]").replace("[reviews]", "[other]")
    gateway = """\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: g}
spec:
  servers: [{port: {number: 8443, name: http, protocol: HTTP}, hosts: ["*"]}]
"""
    changes = told(canary(90, 10), other + "\n---\n" + gateway)

    assert (
        "host other.default.svc.cluster.local: is served on mesh now, by outbound|9080|v1|reviews.default.svc.cluster.local"
        in changes
    )
    assert (
        "host reviews.default.svc.cluster.local: is no longer served on mesh: its requests get 404" in changes
    )
    assert any(text.startswith("listener http.8443: is new, for ") for text in changes)


def test_redirects_are_followed_by_their_location() -> None:
    """Where they lead."""
    one, two = (rules(f"  - redirect: {{uri: {uri}}}") for uri in ("/a", "/b"))
    place = "http://reviews.default.svc.cluster.local"

    assert told(one, two) == [
        f"route default/reviews http[0]: answers 301 {place}/a -> answers 301 {place}/b"
    ]


def test_endpoints_and_limits_of_clusters_are_told() -> None:
    """Where a cluster's requests end up, and how many there may be."""
    more = SERVICES.replace("10.0.0.2", "10.0.0.9").replace(
        "  host: reviews", "  host: reviews\n  trafficPolicy: {connectionPool: {tcp: {maxConnections: 7}}}"
    )
    changes = [
        str(change)
        for change in differences(snapshot(canary(90, 10), SERVICES), snapshot(canary(90, 10), more))
    ]

    assert "cluster reviews v2: endpoint 10.0.0.2:9080 is gone" in changes
    assert "cluster reviews v2: endpoint 10.0.0.9:9080 is new" in changes
    assert "cluster (all 3): max connections: no limit -> 7" in changes


def test_settings_of_the_gateway_are_told() -> None:
    """By their names in the document."""
    settings = "apiVersion: gateway.asgi/v1\nkind: GatewaySettings\nmetadata: {name: s}\nspec: {limits: {requestHeaders: 50}}\n"

    assert told(canary(90, 10), canary(90, 10) + "---\n" + settings) == [
        "settings limits.requestHeaders: 100 -> 50"
    ]


def test_things_with_names_are_told_by_name() -> None:
    """A rate limit that changes, comes or goes; and nothing as Python would print it."""
    head = (
        "---\napiVersion: gateway.asgi/v1\nkind: GatewaySettings\nmetadata: {name: s}\nspec:\n  rateLimits: "
    )
    none, few = canary(90, 10), canary(90, 10) + head + "[{name: a, requests: 3}]"
    more = canary(90, 10) + head + "[{name: a, requests: 5}]"

    assert told(few, more) == ["settings rateLimits.a.requests: 3 -> 5"]
    (gone,) = told(few, none)
    assert gone.startswith("settings rateLimits.a: ")
    assert "requests 3" in gone
    assert gone.endswith(" -> none")
    budget = "---\napiVersion: gateway.asgi/v1\nkind: GatewaySettings\nmetadata: {name: s}\nspec: {retryBudget: {enabled: false}}"
    assert (
        "cluster (all 3): retry budget: percent 20, least 3, burst 25, reserve (size 5, refill 3600) -> none"
        in told(none, canary(90, 10) + budget)
    )


POLICY = """\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: admin}
spec:
  action: DENY
  rules:
  - to: [{operation: {paths: ["/admin*"]}}]
    from: [{source: {notPrincipals: [cluster.local/ns/default/sa/boss]}}]
"""


def guarded(*documents: str) -> Snapshot:
    config = config_of("\n---\n".join(documents))
    planned = plan(config)
    return compile_snapshot(config, planned, Registry().prepare(planned).clusters, generation=0)


def access(old: Snapshot, new: Snapshot) -> list[Change]:
    return [change for change in differences(old, new) if change.kind == "access"]


def test_a_path_that_becomes_public_is_told_first() -> None:
    """Before everything else, and marked."""
    one = guarded(canary(90, 10), SERVICES, POLICY)
    two = guarded(canary(80, 20), SERVICES)
    found = differences(one, two)

    assert found[0].opens
    assert found[0].subject == "GET reviews.default.svc.cluster.local/admin"
    assert found[0].text.startswith("becomes public (it was refused: rbac_access_denied_matched_policy[")
    assert [change.text for change in access(two, one)] == [
        "is not public any more: rbac_access_denied_matched_policy[ns[default]-policy[admin]-rule[0]]"
    ]


def test_a_name_that_is_let_in_is_told() -> None:
    """Strangers stay outside; one identity more may come."""
    one = guarded(canary(90, 10), SERVICES, POLICY)
    two = guarded(
        canary(90, 10), SERVICES, POLICY.replace("sa/boss]", "sa/boss, cluster.local/ns/default/sa/new]")
    )

    assert [(change.opens, change.text.partition(" (")[0]) for change in access(one, two)] == [
        (True, "becomes reachable for cluster.local/ns/default/sa/new")
    ]


def policy(spec: str, name: str = "some") -> Snapshot:
    """The canary behind one policy."""
    head = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: %s}\nspec: %s\n"
    return guarded(canary(90, 10), SERVICES, head % (name, spec))


@pytest.mark.parametrize("operation", ["methods: [DELETE]", "notMethods: [GET]"])
def test_a_method_that_is_let_in_is_told(operation: str) -> None:
    """Methods that policies name are tried, and one that a list of exceptions leaves out."""
    one = policy("{action: DENY, rules: [{to: [{operation: {" + operation + "}}]}]}")
    (found,) = access(one, guarded(canary(90, 10), SERVICES))

    assert (found.opens, found.subject[:6]) == (True, "DELETE")
    assert found.text.startswith("becomes public (it was refused: ")


@pytest.mark.parametrize(
    ("spec", "opens"),
    [
        ("{action: DENY, rules: [{when: [{key: 'request.headers[x-bad]', values: ['1']}]}]}", False),
        ("{rules: [{}]}", True),
    ],
)
def test_no_policy_changes_in_silence(spec: str, opens: bool) -> None:
    """One that no made-up request meets is told by its name; a new name is no change."""
    none, one = guarded(canary(90, 10), SERVICES), policy(spec)
    told = "none of the requests that were made up fares otherwise"

    assert access(one, none) == [
        Change("access", "AuthorizationPolicy default/some", f"is gone; {told}", opens=True)
    ]
    assert access(none, one) == [
        Change("access", "AuthorizationPolicy default/some", f"is new; {told}", opens=opens)
    ]
    assert access(one, policy(spec, "other")) == []
    assert access(one, policy("{action: AUDIT, rules: [{}]}")) == access(one, none)


def test_secrets_in_matches_are_not_told() -> None:
    """A probe carries what a route wants; a secret header is not shown."""
    token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"
    one = rules("  - route: [{destination: {host: reviews, subset: v1}}]")
    two = rules(f"""\
  - match: [{{headers: {{authorization: {{exact: "Bearer {token}"}}, x-api-key: {{exact: sesame-open}}}}}}]
    route: [{{destination: {{host: reviews, subset: v2}}}}]
  - route: [{{destination: {{host: reviews, subset: v1}}}}]""")
    changes = told(one, two)

    assert len(changes) == 1
    assert "sesame-open" not in changes[0]
    assert token not in changes[0]


@pytest.mark.parametrize("as_json", [False, True])
def test_the_command(tmp_path: Path, as_json: bool) -> None:
    """Exit code 1 when traffic notices, 0 when not, 3 when a file cannot be used."""
    old, new, bad = (tmp_path / name for name in ("old.yaml", "new.yaml", "bad.yaml"))
    old.write_text(canary(90, 10) + "---\n" + SERVICES)
    new.write_text(canary(80, 20) + "---\n" + SERVICES)
    bad.write_text("a: [")
    more = ["--json"] if as_json else []
    runner = CliRunner()
    result = runner.invoke(main, ["diff", str(old), str(new), *more])

    assert result.exit_code == 1
    text = "10 % moves from reviews v1 to reviews v2"
    if as_json:
        assert json.loads(result.output) == [
            {"kind": "route", "subject": "reviews/canary", "text": text, "opens": False}
        ]
    else:
        assert result.output == f"  route reviews/canary: {text}\n"
    assert runner.invoke(main, ["diff", str(old), str(old), *more]).exit_code == 0
    assert runner.invoke(main, ["diff", str(old), str(bad), *more]).exit_code == 3
