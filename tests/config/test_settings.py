"""GatewaySettings: defaults, and what is refused."""

from __future__ import annotations

import sys

import pytest
from pydantic import ValidationError

from gateway.config import load
from gateway.config.address import host_port, nameserver
from gateway.config.settings import DEFAULTS, GatewaySettingsSpec


def test_defaults_are_those_of_the_manual() -> None:
    """No document means these."""
    spec = DEFAULTS.spec

    assert (spec.listen, spec.admin, spec.namespace) == ("127.0.0.1:8080", "127.0.0.1:15000", "default")
    assert (spec.path_normalization, spec.escaped_slashes, spec.underscore_headers) == (
        "MERGE_SLASHES",
        "REJECT",
        "REJECT",
    )
    assert (spec.limits.request_head_bytes, spec.limits.connections) == (61440, None)
    assert (spec.timeouts.downstream_idle, spec.access_log.encoding) == (75.0, "JSON")
    assert (spec.trusted_proxies, spec.num_trusted_proxies) == ((), None)


def test_a_document_replaces_what_it_names() -> None:
    """The rest keeps its defaults; metadata needs only a name."""
    text = """apiVersion: gateway.asgi/v1
kind: GatewaySettings
metadata: {name: edge}
spec:
  listen: "[::1]:80"
  trustedProxies: [10.0.0.0/8, "::1"]
  timeouts: {drain: 5s}
  limits: {connections: 100}
"""
    loaded = load([], texts={"f": text})

    assert loaded.findings == ()
    spec = loaded.require().settings.spec
    assert (spec.listen, spec.trusted_proxies) == ("[::1]:80", ("10.0.0.0/8", "::1"))
    assert (spec.timeouts.drain, spec.timeouts.request_head, spec.limits.connections) == (5.0, 10.0, 100)


@pytest.mark.parametrize(
    "fields",
    [
        {"listen": "8080"},
        {"listen": "a:b"},
        {"listen": "::1:80"},
        {"listen": "a:70000"},
        {"admin": "on"},
        {"trustedProxies": ["x"]},
        {"trustedProxies": ["10.0.0.0/8"], "numTrustedProxies": 1},
        {"numTrustedProxies": -1},
        {"pathNormalization": "base"},
        {"limits": {"requestHeadBytes": 0}},
        {"timeouts": {"drain": "0s"}},
        {"accessLog": {"encoding": "XML"}},
        {"dns": {"nameservers": ["ns.example.com"]}},
        {"dns": {"nameservers": ["ns.example.com:53"]}},
        {"dns": {"nameservers": ["10.0.0.0/8"]}},
        {"dns": {"nameservers": ["10.0.0.53:0"]}},
        {"dns": {"nameservers": ["10.0.0.53:70000"]}},
        {"dns": {"nameservers": ["[10.0.0.53]:53"]}},
        {"dns": {"nameservers": ["[::1]"]}},
        {"dns": {"nameservers": ["10.0.0.53:"]}},
        {"dns": {"nameservers": ["fe80::1%eth0"]}},
        {"serverName": "a\r\nx: y"},
        {"unknown": 1},
    ],
)
def test_what_is_refused(fields: dict[str, object]) -> None:
    """Addresses, networks, contradictions, unknown words."""
    with pytest.raises(ValidationError):
        GatewaySettingsSpec.model_validate(fields)


def test_a_nameserver_is_an_address_with_a_port_or_without() -> None:
    """Never a name: who would look that up?"""
    served = ["10.0.0.53", "127.0.0.1:5353", "::1", "[2001:db8::1]:53"]
    spec = GatewaySettingsSpec.model_validate({"dns": {"nameservers": served}})

    assert [nameserver(each) for each in spec.dns.nameservers] == [
        ("10.0.0.53", 53),
        ("127.0.0.1", 5353),
        ("::1", 53),
        ("2001:db8::1", 53),
    ]


def test_a_wrong_nameserver_is_named_with_its_place() -> None:
    """And what to write instead."""
    text = "apiVersion: gateway.asgi/v1\nkind: GatewaySettings\nmetadata: {name: a}\nspec: {dns: {nameservers: [ns]}}\n"
    (found,) = load([], texts={"f": text}).findings

    assert (found.code, found.line, found.column) == ("GW035", 4, 28)
    assert "[::1]:5353" in found.message


def test_the_admin_listener_can_be_off() -> None:
    """`off` is text here, not false."""
    text = "apiVersion: gateway.asgi/v1\nkind: GatewaySettings\nmetadata: {name: a}\nspec: {admin: off}\n"

    assert load([], texts={"f": text}).require().settings.spec.admin == "off"


def test_addresses_have_host_and_port() -> None:
    """IPv6 in brackets."""
    assert [host_port(x) for x in ("a.b:1", "127.0.0.1:80", "[::1]:443")] == [
        ("a.b", 1),
        ("127.0.0.1", 80),
        ("::1", 443),
    ]


def problems(spec: str) -> list[tuple[str, str]]:
    """Code and message of every finding about GatewaySettings with these fields."""
    text = "apiVersion: gateway.asgi/v1\nkind: GatewaySettings\nmetadata: {name: s}\nspec:\n  "
    return [(item.code, item.message) for item in load([], texts={"f": text + spec}).findings]


def test_a_store_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told when the file is checked, with what to install, not when the first request comes."""
    text = "rateLimitStore: {redis: {address: 'localhost:6379'}}\n  rateLimits: [{name: a, requests: 1}]"
    assert problems(text) == []
    monkeypatch.setitem(sys.modules, "redis", None)
    ((code, message),) = problems(text)

    assert code == "GW032"
    assert "asgi-gateway[redis]" in message


@pytest.mark.parametrize(
    ("redis", "code"),
    [
        ("address: localhost", "GW035"),
        ("address: 'redis://:secret@localhost:6379'", "GW035"),
        ("address: 'a:1', username: u", "GW032"),
        ("address: 'a:1', prefix: 'a b'", "GW035"),
        ("address: 'a:1', onFailure: MAYBE", "GW033"),
        ("address: 'a:1', database: -1", "GW037"),
        ("address: 'a:1', tls: {clientCertificate: c}", "GW032"),
        ("address: 'a:1', tls: {caCertificates: c, insecureSkipVerify: true}", "GW040"),
        ("address: 'a:1', tls: {insecureSkipVerify: true}", "GW091"),
        ("address: 'a:1', password: secret", "GW030"),
    ],
)
def test_a_store_that_cannot_be(redis: str, code: str) -> None:
    """One finding for what was meant; passwords stand in no document."""
    found = problems(f"rateLimitStore: {{redis: {{{redis}}}}}\n  rateLimits: [{{name: a, requests: 1}}]")

    assert code in {one for one, _ in found}


def test_limits_and_their_store_belong_together() -> None:
    """A shared limit without a store is an error, a store without a shared limit a warning."""
    limit = "rateLimits: [{name: a, requests: 1, shared: %s}]"
    store = "rateLimitStore: {redis: {address: 'a:1'}}\n  "

    assert [code for code, _ in problems(limit % "true")] == ["GW032"]
    assert [code for code, _ in problems(store + limit % "false")] == ["GW051"]
    assert [code for code, _ in problems(store + limit % "true")] == []
