"""Documents to resources: kinds, versions, lists, and mistakes in the words of YAML."""

from __future__ import annotations

import pytest

from gateway.config import Finding, load

HEAD = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec:\n  hosts: [a]\n"


def found(text: str) -> tuple[Finding, ...]:
    return tuple(item for item in load([], texts={"f": text}).findings if item.code < "GW2")


def document(version: str, kind: str) -> str:
    return f"apiVersion: {version}\nkind: {kind}\nmetadata: {{name: a}}\nspec: {{}}\n"


@pytest.mark.parametrize(
    ("version", "kind", "code", "line", "fatal"),
    [
        ("apps/v1", "Deployment", "GW021", 2, False),
        ("v1", "Service", "GW021", 2, False),
        ("gateway.networking.k8s.io/v1", "Gateway", "GW021", 2, False),
        ("networking.istio.io/v1alpha3", "EnvoyFilter", "GW021", 2, False),
        ("networking.istio.io/v1", "Sidecar", "GW021", 2, False),
        ("networking.istio.io/v1", "VirtualServce", "GW023", 2, True),
        ("networking.istio.io/v1", "virtualService", "GW023", 2, True),
        ("networking.isto.io/v1", "VirtualService", "GW023", 1, True),
        ("networking.istio.io/v2", "VirtualService", "GW022", 1, True),
        ("gateway.asgi/v2", "GatewaySettings", "GW022", 1, True),
        ("security.istio.io/v1", "Nonsense", "GW023", 2, True),
    ],
)
def test_kinds_that_are_not_read(version: str, kind: str, code: str, line: int, fatal: bool) -> None:
    """Other people's kinds are passed over; what looks misspelt, or secures something, is an error."""
    findings = found(document(version, kind))

    assert [(code, line, fatal)] == [(item.code, item.line, item.fatal) for item in findings]


@pytest.mark.parametrize(
    ("version", "kind", "words"),
    [
        ("v1", "Service", "ServiceEntry"),
        ("networking.k8s.io/v1", "Ingress", "VirtualService"),
        ("gateway.networking.k8s.io/v1", "HTTPRoute", "VirtualService"),
        ("v1", "Secret", "certs/NAME/tls.crt"),
        ("networking.istio.io/v1alpha3", "EnvoyFilter", "rateLimits"),
    ],
)
def test_what_is_passed_over_names_what_stands_for_it(version: str, kind: str, words: str) -> None:
    """Where there is something."""
    (finding,) = found(document(version, kind))

    assert words in (finding.suggestion or "")


@pytest.mark.parametrize("version", ["v1", "v1beta1", "v1alpha3"])
def test_every_version_of_istio_is_read(version: str) -> None:
    """The three are one schema."""
    text = (
        HEAD.replace("istio.io/v1", f"istio.io/{version}") + "  http: [{route: [{destination: {host: b}}]}]\n"
    )

    assert found(text) == ()


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("just text", 1, 1),
        ("- a\n- b\n", 1, 1),
        ("kind: VirtualService\n", 1, 1),
        ("apiVersion: v1\nkind:\n", 2, 1),
        ("apiVersion: 1\nkind: A\n", 1, 13),
        ("apiVersion: v1\nkind: List\nitems: [1]\n", 3, 9),
    ],
)
def test_what_is_no_resource(text: str, line: int, column: int) -> None:
    """A document says which resource it is."""
    assert [("GW020", line, column, True)] == [
        (item.code, item.line, item.column, item.fatal) for item in found(text)
    ]


def test_lists_are_expanded() -> None:
    """`kubectl get -o yaml` writes kind List; each item keeps its own positions and may be passed over."""
    item = "metadata: {name: %s}, spec: {hosts: [%s], http: [{route: [{destination: {host: b}}]}]}}"
    head = "{apiVersion: networking.istio.io/v1, kind: VirtualService, "
    text = (
        "apiVersion: v1\nkind: List\nitems:\n"
        f"- {head}{item % ('a', 'a')}\n- {{apiVersion: v1, kind: Pod}}\n- {head}{item % ('b', 'b_')}\n"
    )

    findings = found(text)

    assert [(item.code, item.line) for item in findings] == [("GW021", 5), ("GW035", 6)]


def test_what_the_cluster_adds_is_dropped() -> None:
    """A resource exported from a cluster loads as it is."""
    text = HEAD.replace(
        "metadata: {name: a}",
        "metadata: {name: a, uid: x, resourceVersion: '1', generation: 2, managedFields: [],"
        " creationTimestamp: null}",
    )
    text += "  http: [{route: [{destination: {host: b}}]}]\nstatus: {anything: 1}\n"

    assert found(text) == ()


def test_creation_times_order_resources() -> None:
    """The unquoted time of a dump is read as a time."""
    text = HEAD.replace("{name: a}", "{name: a, creationTimestamp: 2026-01-31T12:00:00Z}")
    text += "  http: [{route: [{destination: {host: b}}]}]\n"

    created = load([], texts={"f": text}).require().virtual_services[0].metadata.creation_timestamp

    assert created is not None
    assert created.isoformat() == "2026-01-31T12:00:00+00:00"


def said(rule: str) -> list[tuple[str, int, int, str, str | None]]:
    """What is said of an http rule; its first line is 1, its first column 1."""
    lines = rule.split("\n")
    text = HEAD + "  http:\n  - " + "\n    ".join(lines) + "\n"
    return [(x.code, x.line - 6, x.column - 4, x.message, x.suggestion) for x in found(text)]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (
            "route:\n- destination:\n    host: b\n  weigth: 5",
            ("GW030", 4, 3, 'unknown field "weigth"', 'did you mean "weight"?'),
        ),
        (
            "route:\n- destination:\n    host: b\n    weight: 5",
            (
                "GW030",
                4,
                5,
                'unknown field "weight"',
                '"weight" belongs beside "destination": check the indentation',
            ),
        ),
        (
            "route: [{destination: {host: b}}]\nperTryTimeout: 1s",
            ("GW030", 2, 1, 'unknown field "perTryTimeout"', '"perTryTimeout" belongs into "retries"'),
        ),
        (
            "route: [{destination: {host: b}}]\nmatch: {uri: {prefix: /}}",
            ("GW031", 2, 1, "match is a list, not a mapping", 'begin the entries with "- "'),
        ),
        (
            "route: [{destination: {host: b}}]\nmatch: [{headers: {x: {exact: 1}}}]",
            ("GW031", 2, 31, "exact is text, not the number 1", 'write "1", in quotes'),
        ),
        (
            "route: [{destination: {host: b}}]\nmatch: [{ignoreUriCase: yes}]",
            ("GW031", 2, 25, 'ignoreUriCase is true or false, not the text "yes"', "write true"),
        ),
        (
            'route: [{destination: {host: b}, weight: "5"}]',
            ("GW031", 1, 42, 'weight is a whole number, not the text "5"', "write 5, without quotes"),
        ),
        (
            "route: [{destination: {host: b, port: 80}}]",
            ("GW031", 1, 39, "port is a mapping, not the number 80", None),
        ),
        (
            "route: [{destination: {hots: b}}]",
            ("GW032", 1, 10, '"host" is missing', 'did you mean it by "hots"?'),
        ),
        (
            "route: [{destination: {host: b}}, null]",
            ("GW042", 1, 35, "an entry of route is empty; it is a mapping", None),
        ),
        (
            "route: [{destination: {host: }}]",
            ("GW042", 1, 24, "host is empty; it is text", None),
        ),
        (
            "redirect: {uri: /, derivePort: FROM_REQUEST_PROT}",
            (
                "GW033",
                1,
                32,
                'derivePort is not "FROM_REQUEST_PROT": one of FROM_PROTOCOL_DEFAULT, FROM_REQUEST_PORT',
                'did you mean "FROM_REQUEST_PORT"?',
            ),
        ),
        (
            "directResponse: {status: 99}",
            ("GW037", 1, 26, "status is at least 200, not 99", None),
        ),
        (
            "route: [{destination: {host: b}}]\nmirror_percent: 1\nmirrorPercent: 2\nmirror: {host: b}",
            (
                "GW043",
                2,
                1,
                '"mirror_percent" is another spelling of "mirrorPercent", which is set as well',
                None,
            ),
        ),
    ],
)
def test_mistakes_are_told_in_the_words_of_yaml(rule: str, expected: tuple[object, ...]) -> None:
    """What is wrong, exactly where, and what to write instead."""
    assert expected in said(rule)


def test_every_mistake_of_every_document_is_told_at_once() -> None:
    """One run shows all: across rules, documents and after broken YAML."""
    broken = "  http:\n  - {routes: []}\n  - {route: [{destination: {host: b}}], timeout: 5}\n"
    text = f"{HEAD}{broken}---\na: [\n---\n{HEAD}{broken}"

    findings = found(text)

    assert sorted({item.line for item in findings}) == [7, 8, 11, 18, 19]
    assert [item.line for item in findings] == sorted(item.line for item in findings)


def test_findings_of_aliases_point_at_the_anchor() -> None:
    """A value written once is wrong once, where it is written."""
    text = HEAD + "  http:\n  - route: &r [{destination: {host: b, zone: c}}]\n  - route: *r\n"

    assert [(item.code, item.line, item.column) for item in found(text)] == [("GW030", 7, 40)]


def test_a_rule_s_field_beside_the_rules_belongs_into_them() -> None:
    """The remedy looks into the entries of lists as well."""
    text = HEAD + "  http: [{route: [{destination: {host: b}}]}]\n  timeout: 3s\n"

    assert [item.suggestion for item in found(text)] == ['"timeout" belongs into "http"']
