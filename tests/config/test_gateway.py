"""Gateway: what is read, and what is refused where."""

from __future__ import annotations

import textwrap

import pytest

from gateway.config import load
from gateway.config.gateway import GatewaySpec

HEAD = "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: edge}\nspec:\n"
HTTP = "{number: 80, name: http, protocol: HTTP}"
HTTPS = "{number: 443, name: https, protocol: HTTPS}"


def said(spec: str) -> list[tuple[str, int, int, str]]:
    """Findings of a spec, its lines and columns counted from 1."""
    text = HEAD + textwrap.indent(textwrap.dedent(spec), "  ")
    return [
        (item.code, item.line - 4, item.column - 2, item.severity)
        for item in load([], texts={"f": text}).findings
        if item.code < "GW2"
    ]


def server(port: str, rest: str) -> list[tuple[str, int, int, str]]:
    """Findings of one server; the line after its port is line 1."""
    text = f"servers:\n- port: {port}\n  hosts: ['*']\n" + textwrap.indent(rest, "  ")
    return [(code, line - 3, column - 2, severity) for code, line, column, severity in said(text)]


def test_protocols_are_read_in_any_case() -> None:
    """And kept in upper case."""
    spec = GatewaySpec.model_validate(
        {"servers": [{"port": {"number": 80, "name": "h", "protocol": "grpc-web"}, "hosts": ["*"]}]}
    )

    assert spec.servers[0].port.protocol == "GRPC-WEB"
    assert not spec.servers[0].https_redirect


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("servers: []\n", [("GW032", 1, 1, "error")]),
        ("selector: {a: b}\n", [("GW032", 0, -1, "error")]),
        (f"servers: [{{port: {HTTP}, hosts: [a, '*.b', 'ns/*', './c', '*/d', 10.0.0.1]}}]\n", []),
        (f"servers: [{{port: {HTTP}}}]\n", [("GW032", 1, 11, "error")]),
        (f"servers: [{{port: {HTTP}, hosts: ['Ns/a']}}]\n", [("GW035", 1, 68, "error")]),
        (f"servers: [{{port: {HTTP}, hosts: ['ns/']}}]\n", [("GW035", 1, 68, "error")]),
        (f"servers: [{{port: {HTTP}, bind: x, hosts: [a]}}]\n", [("GW035", 1, 66, "error")]),
        (f"servers: [{{port: {HTTP}, bind: '::1', hosts: [a]}}]\n", []),
        (f"servers: [{{port: {HTTP}, bind: 'unix:///x', hosts: [a]}}]\n", [("GW037", 1, 27, "error")]),
        (
            "servers: [{port: {number: 0, name: a, protocol: HTTP}, hosts: [a]}]\n",
            [("GW037", 1, 27, "error")],
        ),
        (
            "servers: [{port: {number: 1, name: a, protocol: HTPP}, hosts: [a]}]\n",
            [("GW033", 1, 49, "error")],
        ),
        ("servers: [{port: {number: 1, protocol: HTTP}, hosts: [a]}]\n", [("GW032", 1, 12, "error")]),
        (
            "servers: [{port: {number: 1, name: a, protocol: HTTP, targetPort: 2}, hosts: [a]}]\n",
            [("GW045", 1, 67, "error")],
        ),
        (
            f"servers: [{{port: {HTTP}, hosts: [a]}}, {{port: {HTTP}, hosts: [b]}}]\n",
            [("GW043", 1, 99, "error")],
        ),
        (
            f"servers: [{{port: {HTTP}, hosts: [a], defaultEndpoint: x}}]\n",
            [("GW051", 1, 89, "warning")],
        ),
    ],
)
def test_rules_of_servers(spec: str, expected: list[object]) -> None:
    """Ports, addresses, hosts with namespaces."""
    assert expected == said(spec)


@pytest.mark.parametrize(
    ("port", "rest", "expected"),
    [
        (HTTP, "tls: {httpsRedirect: true}\n", []),
        (
            HTTP,
            "tls: {mode: SIMPLE, credentialName: a}\n",
            [("GW070", 1, 37, "error"), ("GW070", 1, 13, "error")],
        ),
        (HTTPS, "", [("GW032", -1, 1, "error")]),
        (HTTPS, "tls: {mode: SIMPLE, serverCertificate: a, privateKey: b}\n", []),
        (HTTPS, "tls: {mode: SIMPLE, credentialName: a}\n", []),
        (HTTPS, "tls: {mode: SIMPLE}\n", [("GW032", 1, 1, "error")]),
        (HTTPS, "tls: {mode: SIMPLE, serverCertificate: a}\n", [("GW032", 1, 1, "error")]),
        (
            HTTPS,
            "tls: {mode: SIMPLE, credentialName: a, privateKey: b, serverCertificate: c}\n",
            [("GW040", 1, 37, "error")],
        ),
        (HTTPS, "tls: {mode: MUTUAL, serverCertificate: a, privateKey: b}\n", [("GW032", 1, 1, "error")]),
        (HTTPS, "tls: {mode: MUTUAL, serverCertificate: a, privateKey: b, caCertificates: c}\n", []),
        (HTTPS, "tls: {mode: ISTIO_MUTUAL, privateKey: b}\n", [("GW040", 1, 39, "error")]),
        (HTTPS, "tls: {mode: PASSTHROUGH, privateKey: b}\n", [("GW051", 1, 38, "warning")]),
        (HTTPS, "tls: {mode: SIMPLE, credentialName: a, caCrl: b}\n", [("GW040", 1, 47, "error")]),
        (
            HTTPS,
            "tls: {mode: SIMPLE, credentialName: a, httpsRedirect: true}\n",
            [("GW051", 1, 55, "warning")],
        ),
        (
            HTTPS,
            (
                "tls: {mode: SIMPLE, credentialName: a, minProtocolVersion: TLSV1_3,"
                " maxProtocolVersion: TLSV1_2}\n"
            ),
            [("GW093", 1, 60, "error")],
        ),
        (
            HTTPS,
            "tls: {mode: SIMPLE, credentialName: a, minProtocolVersion: TLSV1_0}\n",
            [("GW051", 1, 60, "warning")],
        ),
        (
            HTTPS,
            "tls: {mode: SIMPLE, credentialName: a, verifyCertificateHash: [xy]}\n",
            [("GW031", 1, 64, "error")],
        ),
        (HTTPS, "tls: {mode: SIMPLE, credentialNames: [a, b, c]}\n", [("GW071", 1, 21, "warning")]),
    ],
)
def test_rules_of_tls(port: str, rest: str, expected: list[object]) -> None:
    """Certificates of one source where TLS is terminated, none where it is not."""
    assert sorted(expected) == sorted(server(port, rest))
