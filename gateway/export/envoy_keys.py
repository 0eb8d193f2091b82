"""Keys that Envoy fetches for itself: where they are, as a cluster of their own.

Lifetime: config. Keys that an issuer's discovery document leads to cannot be said in a bootstrap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from gateway.config.fields import format_duration
from gateway.config.names import is_ip
from gateway.export.envoy_tls import outside
from gateway.security.jwks import REFRESH
from gateway.security.jwks_fetch import is_loopback
from gateway.security.state import FETCH_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.config import Config
    from gateway.config.request_authentication import JWTRule
    from gateway.config.settings import GatewaySettingsSpec

_PORTS = {"http": 80, "https": 443}


def told(rule: JWTRule, settings: GatewaySettingsSpec) -> bool:
    """Whether the bootstrap says where the keys of a rule are."""
    if rule.jwks or not rule.jwks_uri:
        return bool(rule.jwks)
    plain = rule.jwks_uri.startswith("http:")
    return not plain or is_loopback(rule.jwks_uri) or settings.jwks.allow_http


def keys(rule: JWTRule) -> dict[str, Any]:
    """The part of a provider that says where its keys are."""
    if rule.jwks:
        return {"local_jwks": {"inline_string": rule.jwks}}
    uri = rule.jwks_uri or ""
    timeout = format_duration(rule.timeout or FETCH_TIMEOUT)
    return {
        "remote_jwks": {
            "http_uri": {"uri": uri, "cluster": _name(uri), "timeout": timeout},
            "cache_duration": format_duration(REFRESH),
            "async_fetch": {},  # before the first request needs them
        }
    }


def key_clusters(config: Config) -> Iterable[dict[str, Any]]:
    """A cluster for each place that keys are fetched from."""
    settings = config.settings.spec
    places = {
        _name(rule.jwks_uri): rule.jwks_uri
        for item in config.request_authentications
        for rule in item.spec.jwt_rules
        if rule.jwks_uri and told(rule, settings)
    }
    for name, uri in places.items():
        yield _cluster(name, uri)


def _name(uri: str) -> str:
    parts = urlsplit(uri)
    return f"keys|{parts.port or _PORTS[parts.scheme]}||{parts.hostname}"


def _cluster(name: str, uri: str) -> dict[str, Any]:
    parts = urlsplit(uri)
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    address = {"socket_address": {"address": host, "port_value": port}}
    made: dict[str, Any] = {
        "name": name,
        "type": "STATIC" if is_ip(host) else "STRICT_DNS",
        "connect_timeout": format_duration(FETCH_TIMEOUT),
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }
    if not is_ip(host):
        made["dns_lookup_family"] = "V4_PREFERRED"
    if parts.scheme == "https":
        made["transport_socket"] = outside(host)
    return made
