"""Every field of Source, Operation and Condition, and what a missing or odd attribute does to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.policies import SLEEP, allowed, asked, guard, peer, policy

from gateway.config.authorization_policy import Condition, Rule
from gateway.http.peer import Peer
from gateway.security.rules import compile_rule

if TYPE_CHECKING:
    from gateway.http.request import Request

BARE = peer("", uris=())
"""A verified certificate without SPIFFE identity."""
TWO = peer("", uris=("spiffe://td/a", "spiffe://td/b"))
"""A verified certificate with two identities."""
ODD = peer("", uris=("SPIFFE://td/a",))
OTHER = "other.domain/ns/prod/sa/web"


def takes(rule: str, request: Request, *, action: str = "DENY") -> bool:
    """Whether a rule takes a request: it is denied, or allowed."""
    document = policy(f"rules: [{rule}]", action=action)
    return allowed(guard(document), request) is (action == "ALLOW")


def both(rule: str, request: Request) -> bool | None:
    """Whether a rule takes a request; None: it leans, so that DENY takes it and ALLOW does not."""
    deny, allow = takes(rule, request, action="DENY"), takes(rule, request, action="ALLOW")
    if deny and not allow:
        return None
    assert deny is allow
    return deny


def source(text: str) -> str:
    return f"{{from: [{{source: {{{text}}}}}]}}"


def operation(text: str) -> str:
    return f"{{to: [{{operation: {{{text}}}}}]}}"


def when(key: str, values: str, field: str = "values") -> str:
    return f"{{when: [{{key: '{key}', {field}: {values}}}]}}"


PEERS: dict[str, Peer | None] = {
    "none": None,
    "unverified": peer(SLEEP, verified=False),
    "sleep": peer(SLEEP),
    "other": peer(OTHER),
    "bare": BARE,
    "two": TWO,
    "odd": ODD,
}


@pytest.mark.parametrize(
    ("field", "values", "takers", "leaning"),
    [
        ("principals", f"[{SLEEP}]", {"sleep"}, {"two", "odd"}),
        ("principals", '["cluster.local/ns/default/*"]', {"sleep"}, {"two", "odd"}),
        ("principals", '["*/sa/web"]', {"other"}, {"two", "odd"}),
        ("principals", '["*"]', {"sleep", "other", "bare"}, {"two", "odd"}),
        ("principals", "[cluster.local/ns/default/sa/slee]", set(), {"two", "odd"}),
        ("principals", f"['spiffe://{SLEEP}']", set(), {"two", "odd"}),
        ("namespaces", "[default]", {"sleep"}, {"two", "odd"}),
        ("namespaces", '["pro*"]', {"other"}, {"two", "odd"}),
        ("namespaces", '["*"]', {"sleep", "other"}, {"two", "odd"}),
        ("namespaces", "[d.fault]", set(), {"two", "odd"}),
        ("serviceAccounts", "[sleep]", {"sleep"}, {"two", "odd"}),
        ("serviceAccounts", "[prod/web]", {"other"}, {"two", "odd"}),
        ("serviceAccounts", "[web]", set(), {"two", "odd"}),
        ("trustDomains", "[other.domain]", {"other"}, {"two", "odd"}),
        ("trustDomains", '["*.local"]', {"sleep"}, {"two", "odd"}),
    ],
)
def test_identities_of_the_peer(field: str, values: str, takers: set[str], leaning: set[str]) -> None:
    """From the verified certificate alone; no certificate matches no value and every not."""
    negative = f"not{field[0].upper()}{field[1:]}"
    for name, by in PEERS.items():
        expected = None if name in leaning else name in takers
        request = asked(by=by)
        assert both(source(f"{field}: {values}"), request) is expected, name
        turned = None if expected is None else not expected
        assert both(source(f"{negative}: {values}"), request) is turned, name


def test_the_same_identities_as_conditions() -> None:
    """source.principal, source.namespace, source.serviceAccount, source.trustDomain."""
    request = asked(principal=SLEEP)
    for key, value in (
        ("source.principal", SLEEP),
        ("source.namespace", "default"),
        ("source.serviceAccount", "default/sleep"),
        ("source.serviceAccount", "sleep"),
        ("source.trustDomain", "cluster.local"),
    ):
        assert both(when(key, f"[{value}]"), request) is True
        assert both(when(key, f"[{value}]", "notValues"), request) is False
        assert both(when(key, f"[{value}]"), asked()) is False
        assert both(when(key, f"[{value}]", "notValues"), asked()) is True


def test_an_identity_with_two_namespaces_is_in_doubt() -> None:
    """`/ns/a/ns/b/` is in neither for sure."""
    request = asked(principal="td/ns/a/ns/b/sa/c")

    assert both(source("namespaces: [a]"), request) is None
    assert both(source("namespaces: [a, b, ns]"), request) is True
    assert both(source("notNamespaces: [b]"), request) is None


# -- addresses -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("blocks", "address", "expected"),
    [
        ("[10.0.0.0/8]", "10.1.2.3", True),
        ("[10.1.2.3/8]", "10.9.9.9", True),
        ("[10.0.0.0/8]", "11.0.0.1", False),
        ("[10.1.2.3]", "10.1.2.3", True),
        ("[10.1.2.3, 192.0.2.0/24]", "192.0.2.255", True),
        ("['2001:db8::/32']", "2001:db8::1", True),
        ("['2001:db8::/32']", "2001:db9::1", False),
        ("[10.0.0.0/8]", "::ffff:10.1.2.3", True),
        ("['::ffff:10.0.0.0/104']", "10.1.2.3", True),
        ("['fe80::/10']", "fe80::1%eth0", True),
        ("['::/0']", "10.1.2.3", False),
        ("['0.0.0.0/0']", "10.1.2.3", True),
        ("[10.0.0.0/8]", "", None),
        ("[10.0.0.0/8]", "unix:", None),
    ],
)
def test_addresses(blocks: str, address: str, expected: bool | None) -> None:
    """The direct peer (`ipBlocks`, source.ip) and the client (`remoteIpBlocks`, remote.ip), apart."""
    turned = None if expected is None else not expected
    peer_side = asked(peer_ip=address, client_ip="203.0.113.200")
    client_side = asked(peer_ip="203.0.113.200", client_ip=address)
    for field, key, request in (
        ("ipBlocks", "source.ip", peer_side),
        ("remoteIpBlocks", "remote.ip", client_side),
    ):
        negative = f"not{field[0].upper()}{field[1:]}"
        assert both(source(f"{field}: {blocks}"), request) is expected
        assert both(source(f"{negative}: {blocks}"), request) is turned
        assert both(when(key, blocks), request) is expected
        assert both(when(key, blocks, "notValues"), request) is turned


def test_an_address_that_is_not_known_is_in_doubt() -> None:
    """The local address is not told to policies yet."""
    assert both(when("destination.ip", "[10.0.0.1]"), asked()) is None


# -- tokens --------------------------------------------------------------------------------------

JANE: dict[str, Any] = {
    "iss": "https://issuer.test/realms/a",
    "sub": "jane",
    "aud": ["shop", "admin"],
    "azp": "web",
    "groups": ["a", "b"],
    "nested": {"role": "boss", "roles": ["x", "y"]},
    "scope": "read write",
    "level": 5,
    "active": True,
    "mixed": ["a", 5],
    "ratio": 1.5,
    "object": {"a": 1},
}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("https://issuer.test/realms/a/jane", True),
        ("https://issuer.test/realms/a/john", False),
        ("https://issuer.test/realms/*", False),  # the issuer is split off at the last slash
        ("https://issuer.test/realms/a/*", True),
        ("https://issuer.test/realms/a/ja*", True),
        ("*/jane", True),
        ("*a/jane", True),
        ("*b/jane", False),
        ("*ane", True),
        ("https://issuer*", False),
        ("*", True),
    ],
)
def test_request_principals(value: str, expected: bool) -> None:
    """`issuer/subject`, as requestPrincipals and request.auth.principal."""
    for rule in (source(f"requestPrincipals: ['{value}']"), when("request.auth.principal", f"['{value}']")):
        found = both(rule, asked(claims=JANE))
        # What a value means beyond its split is for DENY alone.
        assert found is expected or (found is None and not expected and value.endswith("*")), rule
        assert both(rule, asked()) is False
    for rule in (
        source(f"notRequestPrincipals: ['{value}']"),
        when("request.auth.principal", f"['{value}']", "notValues"),
    ):
        assert both(rule, asked()) is True
        if expected:
            assert both(rule, asked(claims=JANE)) is False


def test_a_subject_with_a_slash_is_no_other_issuers_subject() -> None:
    """`https://a` with `b/c` is not `https://a/b` with `c`; what keeps out takes both."""
    rule = source("requestPrincipals: ['https://a/b/c']")

    assert both(rule, asked(claims={"iss": "https://a/b", "sub": "c"})) is True
    assert both(rule, asked(claims={"iss": "https://a", "sub": "b/c"})) is None


def test_deny_without_principal_demands_a_token() -> None:
    """Istio's way to ask for one."""
    rule = source("notRequestPrincipals: ['*']")

    assert takes(rule, asked())
    assert takes(rule, asked(claims={"iss": "https://a"}))
    assert not takes(rule, asked(claims=JANE))


@pytest.mark.parametrize(
    ("key", "values", "expected"),
    [
        ("request.auth.audiences", "[shop]", True),
        ("request.auth.audiences", "[other]", False),
        ("request.auth.presenter", "[web]", True),
        ("request.auth.presenter", "[we]", False),
        ("request.auth.claims[iss]", "['https://issuer.test/*']", True),
        ("request.auth.claims[groups]", "[b]", True),
        ("request.auth.claims[groups]", "[c]", False),
        ("request.auth.claims[groups]", "['*']", True),
        ("request.auth.claims[nested][role]", "[boss]", True),
        ("request.auth.claims[nested][roles]", "[y]", True),
        ("request.auth.claims[nested][none]", "[y]", False),
        ("request.auth.claims[groups][x]", "[y]", False),
        ("request.auth.claims[scope]", "[write]", True),
        ("request.auth.claims[scope]", "['read write']", False),
        ("request.auth.claims[none]", "['*']", False),
        ("request.auth.claims[nested.role]", "[boss]", False),
        ("request.auth.claims[mixed]", "[a]", True),
        # not text: Istio compares it with nothing
        ("request.auth.claims[level]", "['5']", None),
        ("request.auth.claims[level]", "['6']", False),
        ("request.auth.claims[active]", "['true']", None),
        ("request.auth.claims[mixed]", "['5']", None),
        ("request.auth.claims[ratio]", "['1.5']", None),
        ("request.auth.claims[object]", "['*']", None),
    ],
)
def test_claims(key: str, values: str, expected: bool | None) -> None:
    """Texts and lists of texts, nested ones too; a token without the claim is like no token."""
    request = asked(claims=JANE)
    turned = None if expected is None else not expected

    assert both(when(key, values), request) is expected
    assert both(when(key, values, "notValues"), request) is turned
    assert both(when(key, values), asked()) is False
    assert both(when(key, values, "notValues"), asked()) is True


# -- headers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "lines", "expected"),
    [
        ("[a]", [b"a"], True),
        ("[a]", [b"A"], False),
        ("[a]", [], False),
        ("['a*']", [b"abc"], True),
        ("['*c']", [b"abc"], True),
        ("['*']", [b"x"], True),
        ("['*']", [], False),
        ("['*']", [b""], None),
        # lines are not joined; a header that can be read in two ways is in doubt
        ("['a,b']", [b"a", b"b"], False),
        ("['a,b']", [b"a,b"], True),
        ("[a]", [b"a", b"a"], True),
        ("[a]", [b"a", b"b"], None),
        ("[a]", [b"b", b"a"], None),
        ("[a, b]", [b"a", b"b"], True),
        # UTF-8 is read, other bytes are not
        ("[é]", ["é".encode()], True),
        ("[admin]", [b"adm\xefn"], None),
        ("[admin]", [b"x", b"adm\xefn"], None),
    ],
)
def test_headers(values: str, lines: list[bytes], expected: bool | None) -> None:
    """request.headers[...], with regard to case in the value and none in the name."""
    request = asked(headers=[(b"x-role", line) for line in lines])
    turned = None if expected is None else not expected

    assert both(when("request.headers[X-Role]", values), request) is expected
    assert both(when("request.headers[x-role]", values, "notValues"), request) is turned


def test_the_host_header_is_the_authority() -> None:
    """It is not among the other headers any more."""
    assert both(when("request.headers[Host]", "['a.test:80']"), asked(host="a.test:80")) is True
    assert both(when("request.headers[host]", "['a.test']"), asked(host="b.test:80")) is False
    assert both(when("request.headers[host]", "['a.test']"), asked(host="A.test:80")) is None


# -- operations ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("methods: [GET]", True),
        ("methods: [PUT]", False),
        ("methods: ['G*']", True),
        ("methods: ['*']", True),
        ("notMethods: [GET]", False),
        ("notMethods: [PUT, POST]", True),
        ("paths: [/a/b]", True),
        ("paths: [/A/b]", False),
        ("paths: ['/a*']", True),
        ("paths: ['*/b']", True),
        ("paths: ['/{*}/b']", True),
        ("paths: ['/b/{**}', /x, '/{**}']", True),
        ("notPaths: ['/a*']", False),
        ("notPaths: ['/{*}/c']", True),
        ("hosts: ['a.test:8080']", True),
        ("hosts: ['A.test:8080']", True),
        ("hosts: ['a.test*']", True),
        ("hosts: ['*:8080']", True),
        ("hosts: ['*']", True),
        ("notHosts: ['*.other']", True),
        ("ports: ['8080']", True),
        ("ports: ['80']", False),
        ("notPorts: ['80']", True),
        ("methods: [GET], paths: [/c]", False),
        ("methods: [GET], paths: [/a/b], ports: ['8080']", True),
    ],
)
def test_operations(rule: str, expected: bool) -> None:
    """Fields together, values apart."""
    assert both(operation(rule), asked("/a/b", host="a.TEST:8080", port=8080)) is expected


@pytest.mark.parametrize("host", ["a.test:8080", "A.TEST:1", "a.test.", "a.test.:80"])
def test_a_host_is_kept_out_with_any_port_and_let_in_with_its_own(host: str) -> None:
    """Routes are chosen without the port, so naming one is no way around a DENY; `notHosts` of ALLOW alike."""
    assert both(operation("hosts: [a.test]"), asked(host=host)) is None
    assert both(operation("hosts: ['*.test', b.test]"), asked(host=host)) is None
    turned = operation("notHosts: [a.test]")
    assert takes(turned, asked(host=host), action="ALLOW") is False
    assert takes(turned, asked(host=host), action="DENY") is True


def test_an_unknown_port_is_in_doubt() -> None:
    """A Unix socket has none."""
    assert both(operation("ports: ['80']"), asked(port=0)) is None
    assert both(when("destination.port", "['80']"), asked(port=80)) is True


def test_the_server_name() -> None:
    """connection.sni; none without TLS."""
    rule = when("connection.sni", "['*.test']")

    assert both(rule, asked(by=peer(sni="a.test"))) is True
    assert both(rule, asked(by=peer(sni="a.other"))) is False
    assert both(rule, asked()) is False


@pytest.mark.parametrize(
    ("rule", "path", "method", "expected"),
    [
        ("{to: [{operation: {paths: [/a]}}, {operation: {methods: [PUT]}}]}", "/a", "GET", True),
        ("{to: [{operation: {paths: [/a]}}, {operation: {methods: [PUT]}}]}", "/b", "PUT", True),
        ("{to: [{operation: {paths: [/a]}}, {operation: {methods: [PUT]}}]}", "/b", "GET", False),
        (
            "{from: [{source: {ipBlocks: ['10.0.0.1']}}, {source: {ipBlocks: ['127.0.0.1']}}]}",
            "/",
            "GET",
            True,
        ),
        (
            "{from: [{source: {ipBlocks: ['127.0.0.1']}}], to: [{operation: {methods: [PUT]}}]}",
            "/",
            "GET",
            False,
        ),
        (
            "{to: [{operation: {methods: [GET]}}], when: [{key: 'request.headers[a]', values: [b]}]}",
            "/",
            "GET",
            False,
        ),
        ("{}", "/", "GET", True),
    ],
)
def test_from_and_to_and_when(rule: str, path: str, method: str, expected: bool) -> None:
    """One of each, and all conditions."""
    assert both(rule, asked(path, method=method)) is expected


# -- what cannot be translated -------------------------------------------------------------------


def test_a_part_that_means_nothing_narrows_allow_and_widens_deny() -> None:
    """ALLOW loses the rule, DENY only the attribute."""
    odd = Condition.model_construct(key="experimental.envoy.filters.a[b]", values=("c",), not_values=())
    rule = Rule.model_construct(from_=(), to=(), when=(odd,))

    assert compile_rule(0, rule, "default", lean=False) is None
    wide = compile_rule(0, rule, "default", lean=True)
    assert wide is not None
    assert wide.matches(asked())
