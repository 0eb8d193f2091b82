"""Policies and tokens, told for a request that nobody sent."""

from __future__ import annotations

from typing import Any

import pytest
from support.documents import config_of
from support.routing import service
from support.tokens import jwk, jwks, private_key, raw

from gateway.explain.asked import Question
from gateway.explain.offline import Explanation, explain
from gateway.explain.plain import explanation_json
from gateway.routing import Snapshot, compile_snapshot
from gateway.security.state import SecurityState
from gateway.upstream import Registry, plan

ROUTES = """\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - match: [{uri: {exact: /hello}}]
    directResponse: {status: 200}
  - route: [{destination: {host: reviews}}]
"""


def policy(name: str, spec: str) -> str:
    return f"apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: {name}}}\nspec:\n{spec}"


NO_ADMIN = policy(
    "no-admin",
    """\
  action: DENY
  rules:
  - to: [{operation: {paths: ["/admin*"]}}]
    from: [{source: {notPrincipals: [cluster.local/ns/default/sa/boss]}}]
""",
)
KEYED = policy(
    "keyed",
    """\
  selector: {matchLabels: {version: v1}}
  rules:
  - when: [{key: "request.headers[x-api-key]", values: [sesame-open]}]
""",
)


def compiled(*documents: str) -> Snapshot:
    config = config_of("\n---\n".join((ROUTES, service("reviews", versions=("v1",)), *documents)))
    planned = plan(config)
    clusters = Registry().prepare(planned).clusters
    return compile_snapshot(config, planned, clusters, generation=1, security=SecurityState())


def asked(snap: Snapshot, url: str, **more: Any) -> Explanation:
    return explain(snap, Question(url=f"http://reviews{url}", **more))


def test_a_policy_that_denies_is_named() -> None:
    """With its rule, and what it found."""
    told = asked(compiled(NO_ADMIN), "/admin/x")

    assert told.answer is not None
    assert (told.answer.by, told.answer.status) == ("policy", 403)
    assert [(item.policy, item.action, item.matched, item.rule) for item in told.verdicts] == [
        ("default/no-admin", "DENY", True, 0)
    ]
    assert told.refused
    assert "rule 0 of the DENY policy default/no-admin" in told.diagnosis.cause


def test_an_identity_changes_the_verdict() -> None:
    """`--principal` is the client's certificate."""
    told = asked(compiled(NO_ADMIN), "/admin/x", principal="cluster.local/ns/default/sa/boss")

    assert told.answer is None
    assert [item.matched for item in told.verdicts] == [False]
    assert told.request is not None
    assert told.request.principal == "cluster.local/ns/default/sa/boss"


def test_a_destination_s_policies_are_told_with_it() -> None:
    """They are not for requests that go elsewhere."""
    snap = compiled(KEYED)
    refused = asked(snap, "/x")
    (target,) = refused.targets

    assert refused.answer is not None
    assert refused.answer.details.startswith("rbac_access_denied_matched_policy[none]_of[ns[")
    assert target.refused == refused.answer
    assert [item.policy for item in target.verdicts] == ["default/keyed"]
    assert asked(snap, "/x", headers=(("x-api-key", "sesame-open"),)).answer is None
    hello = asked(snap, "/hello").answer
    assert hello is not None
    assert (hello.status, hello.by) == (200, "route")


def test_secrets_of_policies_are_not_told() -> None:
    """Neither what a policy wants nor what the request has."""
    told = asked(compiled(KEYED), "/x", headers=(("x-api-key", "another-secret"),))
    text = str(explanation_json(told))

    assert "sesame-open" not in text
    assert "another-secret" not in text
    assert "request.headers[x-api-key] [redacted]" in text


def authentication(keys: str) -> str:
    return f"""\
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: tokens}}
spec:
  jwtRules:
  - issuer: https://issuer.example
    {keys}
"""


KNOWN = policy(
    "known", '  rules:\n  - from: [{source: {requestPrincipals: ["https://issuer.example/ann"]}}]\n'
)


def signed(**claims: Any) -> str:
    payload = {"iss": "https://issuer.example", "sub": "ann", "exp": 4_000_000_000, **claims}
    return raw({"alg": "ES256", "kid": "k1"}, payload, private_key("P-256"), "ES256")


def test_a_token_is_verified_with_written_keys() -> None:
    """As on the data path; its principal is told, the token is not."""
    keys = "jwks: '" + jwks(jwk(private_key("P-256"))) + "'"
    snap = compiled(authentication(keys), KNOWN)
    good, bad = signed(), signed(exp=1)
    told = asked(snap, "/x", token=good)

    assert told.answer is None
    assert told.request is not None
    assert told.request.token == "https://issuer.example/ann"
    assert told.notes == ()
    assert good not in str(explanation_json(told))
    refused = asked(snap, "/x", token=bad)
    assert refused.answer is not None
    assert (refused.answer.status, refused.answer.by) == (401, "policy")
    assert refused.diagnosis.cause == "the request's token has expired"


def test_a_token_whose_keys_would_be_fetched_is_taken_at_its_word() -> None:
    """Nothing is sent; that is told."""
    snap = compiled(authentication("jwksUri: https://issuer.example/keys"), KNOWN)
    told = asked(snap, "/x", token=signed())

    assert told.answer is None
    assert told.request is not None
    assert told.request.token == "https://issuer.example/ann"
    assert "signature was not checked" in told.notes[0]
    stranger = asked(snap, "/x", token=signed(sub="eve"))
    assert stranger.answer is not None
    assert stranger.answer.status == 403


@pytest.mark.parametrize("token", ["", "not-a-token"])
def test_without_a_token_nothing_is_believed(token: str) -> None:
    """No claims come of nonsense."""
    told = asked(compiled(authentication("jwksUri: https://issuer.example/keys"), KNOWN), "/x", token=token)

    assert told.answer is not None
    assert told.answer.status in {401, 403}


STRICT = """\
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default}
spec: {mtls: {mode: STRICT}}
"""
LAX = """\
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: lax}
spec:
  selector: {matchLabels: {version: v1}}
  mtls: {mode: PERMISSIVE}
"""


def test_what_is_demanded_twice_is_told_once() -> None:
    """By the gateway and by the destination: one verdict that says both."""
    told = asked(compiled(STRICT), "/")

    assert [(item.policy, item.place) for item in told.verdicts] == [("default/default", "both")]
    assert [target.verdicts for target in told.targets] == [()]


def test_a_destination_that_says_otherwise_speaks_for_itself() -> None:
    """It overrides what the gateway's own document demands."""
    told = asked(compiled(STRICT, LAX), "/")

    assert told.answer is None
    assert [(item.policy, item.place) for item in told.verdicts] == [("default/default", "gateway")]
    assert [(item.policy, item.action) for item in told.targets[0].verdicts] == [
        ("default/lax", "PERMISSIVE")
    ]
