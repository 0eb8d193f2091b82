"""GatewaySettings: defaults, and what is refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from gateway.config import load
from gateway.config.address import host_port
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
        {"serverName": "a\r\nx: y"},
        {"unknown": 1},
    ],
)
def test_what_is_refused(fields: dict[str, object]) -> None:
    """Addresses, networks, contradictions, unknown words."""
    with pytest.raises(ValidationError):
        GatewaySettingsSpec.model_validate(fields)


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
