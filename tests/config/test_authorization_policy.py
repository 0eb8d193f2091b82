"""AuthorizationPolicy: what is read, and what a typo would widen is refused."""

from __future__ import annotations

import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.documents import config_of, validated

from gateway.config.authorization_policy import check_block, check_port, check_template, split_key

HEAD = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p}\n"


def said(spec: str) -> list[tuple[str, int, int, str, bool]]:
    """Findings of a document below its metadata; that part begins in line 1."""
    return [
        (code, line - 3, column, severity, fatal)
        for code, line, column, severity, fatal in validated(HEAD + textwrap.dedent(spec))
    ]


def rule(text: str) -> list[tuple[str, int, int, str, bool]]:
    """Findings of one rule of an ALLOW policy; its first line is line 1, and its first column 1."""
    spec = "spec:\n  rules:\n  - " + textwrap.indent(textwrap.dedent(text), "    ")[4:]
    return [
        (code, line - 2, column - 4, severity, fatal) for code, line, column, severity, fatal in said(spec)
    ]


def error(code: str, line: int, column: int) -> tuple[str, int, int, str, bool]:
    return (code, line, column, "error", True)


def warning(code: str, line: int, column: int) -> tuple[str, int, int, str, bool]:
    return (code, line, column, "warning", False)


def test_names_are_istio_s_in_snake_case() -> None:
    """Every field of a policy is read under its own name."""
    (policy,) = config_of(
        HEAD
        + textwrap.dedent(
            """
            spec:
              selector: {matchLabels: {app: shop}}
              action: DENY
              rules:
              - from:
                - source:
                    notPrincipals: ["*"]
                    remoteIpBlocks: [10.0.0.0/8]
                to:
                - operation:
                    not_methods: [GET]
                    paths: ["/a/{*}/b", /c*]
                when:
                - key: request.headers[X-Role]
                  notValues: [admin]
            """
        )
    ).authorization_policies
    (only,) = policy.spec.rules

    assert policy.spec.selector.match_labels == {"app": "shop"}
    assert (policy.spec.action, policy.dry_run) == ("DENY", False)
    assert only.from_[0].source.not_principals == ("*",)
    assert only.from_[0].source.remote_ip_blocks == ("10.0.0.0/8",)
    assert only.to[0].operation.not_methods == ("GET",)
    assert only.to[0].operation.paths == ("/a/{*}/b", "/c*")
    assert (only.when[0].key, only.when[0].not_values) == ("request.headers[X-Role]", ("admin",))


@pytest.mark.parametrize("spec", ["spec: {}", "spec:", ""])
def test_a_policy_without_rules_allows_nobody(spec: str) -> None:
    """An empty specification is Istio's allow-nothing, not a mistake."""
    (policy,) = config_of(HEAD + spec).authorization_policies

    assert (policy.spec.action, policy.spec.rules) == ("ALLOW", ())


def test_an_empty_rule_is_everybody() -> None:
    """`rules: [{}]` is Istio's allow-all."""
    assert said("spec: {rules: [{}]}") == []


@pytest.mark.parametrize("action", ["DENY", "CUSTOM"])
def test_deny_and_custom_need_rules(action: str) -> None:
    """Without rules they would do nothing; the place is where rules should be."""
    found = said(
        f"spec:\n  provider: {{name: x}}\n  action: {action}"
        if action == "CUSTOM"
        else "spec:\n  action: DENY"
    )

    assert [code for code, *_ in found] == ["GW032"]


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("from: []", 1),
        ("to: []", 1),
        ("when: []", 1),
        ("from: [{source: {}}]", 9),
        ("to: [{operation: {}}]", 7),
        ("from: [{source: {principals: []}}]", 18),
        ("to: [{operation: {methods: [GET], paths: []}}]", 35),
        ('to: [{operation: {hosts: [""]}}]', 27),
        ("when: [{key: source.ip, values: []}]", 25),
    ],
)
def test_emptiness_is_refused(text: str, column: int) -> None:
    """An empty list or value is a lost value, not a wish: it would widen or void a rule."""
    assert error("GW060", 1, column) in rule(text)


def test_a_null_rule_is_refused() -> None:
    """A rule that is only a dash is no `{}`."""
    assert [code for code, *_ in said("spec:\n  rules:\n  -\n")] == ["GW042"]


def test_unknown_fields_are_refused() -> None:
    """A misspelt field would leave the rule wider than meant."""
    assert rule("to: [{operation: {method: [GET]}}]") == [error("GW030", 1, 19)]


@pytest.mark.parametrize(
    ("text", "code", "column"),
    [
        ("from: [{source: {ipBlocks: [10.0.0.0/33]}}]", "GW062", 29),
        ("from: [{source: {notRemoteIpBlocks: [here]}}]", "GW062", 38),
        ("from: [{source: {serviceAccounts: ['a/*']}}]", "GW026", 36),
        ("from: [{source: {serviceAccounts: [a], principals: [b]}}]", "GW040", 40),
        ("to: [{operation: {ports: ['http']}}]", "GW037", 27),
        ("to: [{operation: {ports: ['65536']}}]", "GW037", 27),
        ("to: [{operation: {paths: ['/{**}/a/{*}']}}]", "GW063", 27),
        ("to: [{operation: {paths: ['/a{*}']}}]", "GW063", 27),
        ("when: [{key: 'request.header[x]', values: [a]}]", "GW061", 14),
        ("when: [{key: request.headers, values: [a]}]", "GW061", 14),
        ("when: [{key: 'request.headers[a b]', values: [a]}]", "GW039", 14),
        ("when: [{key: 'experimental.envoy.filters.a.b[c]', values: [a]}]", "GW045", 14),
        ("when: [{key: source.ip, values: [a]}]", "GW062", 34),
        ("when: [{key: destination.port, notValues: [a]}]", "GW037", 44),
        ("when: [{key: request.auth.principal}]", "GW060", 8),
    ],
)
def test_values_that_cannot_match_are_refused(text: str, code: str, column: int) -> None:
    """Each value is checked where it stands."""
    assert rule(text) == [error(code, 1, column)]


def test_seventeen_service_accounts_are_too_many() -> None:
    """Istio's limit; the first one too many is pointed at."""
    names = ", ".join(f"a{number}" for number in range(17))

    assert [code for code, *_ in rule(f"from: [{{source: {{serviceAccounts: [{names}]}}}}]")] == ["GW037"]


def test_what_never_matches_is_a_warning() -> None:
    """spiffe:// and lower-case methods are valid and useless."""
    text = "from: [{source: {principals: ['spiffe://td/ns/a/sa/b']}}]\nto: [{operation: {methods: [get]}}]"

    assert rule(text) == [warning("GW066", 1, 31), warning("GW066", 2, 29)]


def test_custom_comes_before_anybody_is_identified() -> None:
    """A CUSTOM policy cannot ask for principals or tokens."""
    found = said(
        """\
        spec:
          action: CUSTOM
          provider: {name: opa}
          rules:
          - from: [{source: {requestPrincipals: ["*"]}}]
            when: [{key: "request.auth.claims[a]", values: [b]}]
        """
    )

    assert [(code, line) for code, line, *_ in found] == [("GW040", 5), ("GW040", 6)]


def test_a_provider_is_for_custom() -> None:
    """CUSTOM needs it, the others must not have it."""
    assert [code for code, *_ in said("spec: {action: CUSTOM, rules: [{}]}")] == ["GW032"]
    assert [code for code, *_ in said("spec: {provider: {name: a}, rules: [{}]}")] == ["GW040"]


def test_selector_and_target_exclude_each_other() -> None:
    """One way to say whom a policy is for."""
    target = "{kind: Service, name: a}"

    assert [
        code for code, *_ in said(f"spec: {{selector: {{matchLabels: {{a: b}}}}, targetRefs: [{target}]}}")
    ] == ["GW040"]
    assert said(f"spec: {{targetRefs: [{target}]}}") == []


def test_selectors_take_no_wildcard() -> None:
    """A star would be compared as text, and select nothing."""
    assert [code for code, *_ in said("spec: {selector: {matchLabels: {app: 'a*'}}}")] == ["GW041"]


def test_dry_run_is_an_annotation() -> None:
    """It is for ALLOW and DENY, and warns elsewhere."""
    text = HEAD.replace("{name: p}", '{name: p, annotations: {istio.io/dry-run: "true"}}')
    (policy,) = config_of(text + "spec: {}").authorization_policies

    assert policy.dry_run
    assert [item[0] for item in validated(text + "spec: {action: AUDIT, rules: [{}]}")] == ["GW051"]


@pytest.mark.parametrize(
    ("key", "parts"),
    [
        ("source.ip", ("source.ip", None)),
        ("request.headers[x-a]", ("request.headers", "x-a")),
        ("request.auth.claims[a][b]", ("request.auth.claims", "a][b")),
        ("request.auth.claims", (None, None)),
        ("request.auth.claims[]", (None, None)),
        ("request.auth.claims[a]b", (None, None)),
        ("destination.namespace", (None, None)),
    ],
)
def test_condition_keys_have_a_family_and_an_argument(key: str, parts: tuple[str | None, str | None]) -> None:
    """Istio's list of keys, exactly."""
    assert split_key(key) == parts


@pytest.mark.parametrize("text", ["10.0.0.1", "10.0.0.0/8", "2001:db8::/32", "::1", "10.1.2.3/8"])
def test_address_blocks(text: str) -> None:
    """Addresses and CIDRs, host bits allowed."""
    assert check_block(text) is None


@pytest.mark.parametrize("text", ["10.0.0.0/255.0.0.0", "fe80::1%eth0", "10", "10.0.0", "/8", "a"])
def test_what_go_does_not_read_as_an_address_block(text: str) -> None:
    """Python reads netmasks and zones; Istio does not."""
    assert check_block(text) is not None


@pytest.mark.parametrize(
    "path", ["/a/{*}", "/{**}", "/a/{**}/b", "/{*}/{*}/{**}", "/plain*", "*", "/a b", ""]
)
def test_path_templates(path: str) -> None:
    """Templates are whole segments; without one, a path may be any text."""
    assert check_template(path) is None


@pytest.mark.parametrize("path", ["/{**}/{**}", "/{**}/{*}", "/a{*}", "/{a}", "/{*}/b*", "/{*}/a b"])
def test_broken_path_templates(path: str) -> None:
    """Nothing after `{**}`, nothing but plain text beside a template."""
    assert check_template(path) is not None


@given(st.text(max_size=8))
@settings(max_examples=200)
def test_ports_are_numbers_and_nothing_else(text: str) -> None:
    """Any text is a port or refused, digits of other scripts included."""
    valid = text.isascii() and text.isdigit() and int(text) <= 65535

    assert (check_port(text) is None) == valid
