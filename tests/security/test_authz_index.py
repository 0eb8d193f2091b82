"""The index finds what trying every rule finds, and explain says what the checks do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st
from support.documents import config_of
from support.policies import HTTPBIN, asked, judged, peer, policy

from gateway.config.authorization_policy import AuthorizationPolicy
from gateway.security import Guard, explain
from gateway.security.counts import PolicyCounts
from gateway.security.index import FEW, Index, Tried, compile_find
from gateway.security.policies import CompiledPolicy, Taker

if TYPE_CHECKING:
    from gateway.http.request import Request

PATHS = ["/a", "/b", "/a/b", "/a*", "/b/*", "*/b", "*", "/{*}", "/a/{**}", "/{**}/b"]
HOSTS = ["a.test", "*.test", "a*", "*", "A.test:80"]
METHODS = ["GET", "PUT", "P*", "*"]
PRINCIPALS = ["td/ns/a/sa/x", "td/ns/b/sa/y", "td/ns/a/*", "*/sa/y", "*"]
SUBJECTS = ["i/s", "i/t", "i/*", "*/t", "*"]
KEYS = {
    "request.headers[x]": ["a", "b", "a*", "*"],
    "request.auth.claims[g]": ["a", "b", "5", "*"],
    "source.namespace": ["a", "b", "*"],
    "remote.ip": ["10.0.0.0/8", "10.1.0.0/16", "::1"],
    "destination.port": ["80", "8080"],
}


def some(values: list[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=2, unique=True)


def fields(**values: list[str]) -> st.SearchStrategy[dict[str, list[str]]]:
    """One or two fields, each as it is or its `not` twin."""
    choices = [
        st.tuples(st.just(name if plain else f"not{name[0].upper()}{name[1:]}"), some(given_values))
        for name, given_values in values.items()
        for plain in (True, True, False)
    ]
    return st.lists(st.one_of(choices), min_size=1, max_size=2).map(dict)


CONDITIONS = st.sampled_from(sorted(KEYS)).flatmap(
    lambda key: st.tuples(st.sampled_from(["values", "values", "notValues"]), some(KEYS[key])).map(
        lambda pair: {"key": key, pair[0]: pair[1]}
    )
)
RULES = st.fixed_dictionaries(
    {},
    optional={
        "from": st.lists(
            fields(principals=PRINCIPALS, requestPrincipals=SUBJECTS).map(lambda f: {"source": f}),
            min_size=1,
            max_size=2,
        ),
        "to": st.lists(
            fields(paths=PATHS, hosts=HOSTS, methods=METHODS).map(lambda f: {"operation": f}),
            min_size=1,
            max_size=2,
        ),
        "when": st.lists(CONDITIONS, min_size=1, max_size=2),
    },
)
REQUESTS = st.builds(
    asked,
    st.sampled_from(["/a", "/b", "/a/b", "/ab", "/c", "/b/c"]),
    st.lists(st.tuples(st.just(b"x"), st.sampled_from([b"a", b"b", b"ab", b"", b"\xff"])), max_size=2),
    method=st.sampled_from(["GET", "PUT", "POST"]),
    host=st.sampled_from(["a.test", "a.test:80", "b.other"]),
    by=st.sampled_from(
        [
            None,
            peer("td/ns/a/sa/x"),
            peer("td/ns/b/sa/y"),
            peer(),
            peer("", uris=("spiffe://a/b", "spiffe://c")),
        ]
    ),
    claims=st.sampled_from(
        [None, {"iss": "i", "sub": "s", "g": "a"}, {"iss": "i", "sub": "t", "g": ["b", 5]}, {"g": 5}]
    ),
    client_ip=st.sampled_from(["10.1.0.1", "10.2.0.1", "::1", ""]),
    port=st.sampled_from([80, 8080, 0]),
)


def takers(rules: list[dict[str, object]], action: str) -> list[Taker]:
    document = AuthorizationPolicy.model_validate(
        {
            "apiVersion": "security.istio.io/v1",
            "kind": "AuthorizationPolicy",
            "metadata": {"name": "p"},
            "spec": {"action": action, "rules": rules},
        }
    )
    return list(CompiledPolicy(document, PolicyCounts()).takers)


@settings(max_examples=150)
@given(st.lists(RULES, min_size=1, max_size=12), st.lists(REQUESTS, min_size=1, max_size=6))
def test_the_index_finds_what_trying_every_rule_finds(
    rules: list[dict[str, object]], requests: list[Request]
) -> None:
    """For rules that let in and for rules that keep out."""
    for action in ("ALLOW", "DENY"):
        found = sorted(takers(rules, action), key=lambda taker: taker.identifier)
        index, naive = Index(found), Tried(found)
        for request in requests:
            assert index.find(request) is naive.find(request)


def tried(rules: int) -> int:
    """How many of so many rules an index tries for one request."""
    written = [{"to": [{"operation": {"paths": [f"/route/{n}", f"/other/{n}/*"]}}]} for n in range(rules)]
    index = Index(takers(written, "DENY"))
    count: list[str] = []
    index._takers = tuple(
        (
            lambda request, matches=matches, name=taker.identifier: count.append(name) or matches(request),
            taker,
        )
        for matches, taker in index._takers
    )
    found = index.find(asked("/route/7"))
    assert found is not None
    assert found.rule.number == 7
    return len(count)


def test_policies_for_other_routes_are_not_tried() -> None:
    """A thousand rules cost a look-up and the one rule that may match."""
    assert tried(1000) == 1


def test_a_few_rules_are_tried_in_order() -> None:
    """Below the threshold there is no index."""
    rules = [{"to": [{"operation": {"paths": [f"/{n}"]}}]} for n in range(FEW + 1)]

    assert isinstance(compile_find(takers(rules[:-1], "DENY")).__self__, Tried)  # type: ignore[attr-defined]
    assert isinstance(compile_find(takers(rules, "DENY")).__self__, Index)  # type: ignore[attr-defined]


def document(number: int, action: str, rules: list[dict[str, object]], selector: str, dry_run: bool) -> str:
    select = f"selector: {{matchLabels: {{{selector}}}}}, " if selector else ""
    text = str(rules).replace("'", '"')
    if not rules:
        return policy(select.rstrip(", "), f"p{number}", dry_run=dry_run)
    return policy(f"{select}rules: {text}", f"p{number}", action=action, dry_run=dry_run)


DOCUMENTS = st.lists(
    st.tuples(
        st.sampled_from(["ALLOW", "DENY", "AUDIT"]),
        st.lists(RULES, max_size=2),
        st.sampled_from(["", "app: httpbin", "app: edge", "app: none"]),
        st.booleans(),
    ),
    max_size=5,
)


@settings(max_examples=120)
@given(DOCUMENTS, st.booleans(), st.lists(REQUESTS, min_size=1, max_size=4))
def test_explain_says_what_the_checks_do(
    documents: list[tuple[str, list[dict[str, object]], str, bool]], strict: bool, requests: list[Request]
) -> None:
    """The same reply, for requests that go to a destination and for those that do not."""
    texts = [document(number, *parts) for number, parts in enumerate(documents)]
    texts.append(
        "apiVersion: gateway.asgi/v1\nkind: GatewaySettings\nmetadata: {name: s}\nspec: {labels: {app: edge}}\n"
    )
    if strict:
        texts.append(
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: m}\n"
            "spec: {mtls: {mode: STRICT}}\n"
        )
    made = Guard(config_of("---\n".join(texts)), [HTTPBIN], note=lambda what, request: None)
    for request in requests:
        for target in (None, HTTPBIN):
            assert explain(made, request, target).reply == judged(made, request, target)
