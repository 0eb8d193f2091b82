"""AuthorizationPolicies as Envoy's RBAC filters, the way Istio writes them.

Lifetime: config.
"""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

from gateway.config.authorization_policy import split_key
from gateway.export.envoy_match import JWT
from gateway.export.envoy_policies import typed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from gateway.config.authorization_policy import AuthorizationPolicy, Condition, Operation, Rule, Source

    Match = dict[str, Any]
    Make = Callable[[str], Match]

RBAC = "envoy.filters.http.rbac"


def envoy_rbac(policies: Sequence[AuthorizationPolicy]) -> list[dict[str, Any]]:
    """The filters for these policies: AUDIT, DENY, ALLOW; dry runs are the shadow rules of the last two."""
    return [rbac_filter(RBAC, fields) for fields in rbac(policies).values()]


def rbac_filter(name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """A filter with these rules."""
    return {"name": name, "typed_config": typed("filters.http.rbac.v3.RBAC", **fields)}


def rbac_on_route(fields: Mapping[str, Any]) -> dict[str, Any]:
    """These rules instead of the filter's own, on a route or for one of its destinations."""
    return typed("filters.http.rbac.v3.RBACPerRoute", **({"rbac": fields} if fields else {}))


def rbac(policies: Sequence[AuthorizationPolicy]) -> dict[str, dict[str, Any]]:
    """The rules of these policies by Istio's action, in the order they are judged."""
    found = {}
    for action, envoys in (("AUDIT", "LOG"), ("DENY", "DENY"), ("ALLOW", "ALLOW")):
        acting = [policy for policy in policies if policy.spec.action == action]
        rules = _rules([policy for policy in acting if not policy.dry_run], envoys)
        shadow = _rules([policy for policy in acting if policy.dry_run], envoys)
        given = {"rules": rules, "shadow_rules": shadow}
        if fields := {name: value for name, value in given.items() if value is not None}:
            found[action] = fields
    return found


def _rules(policies: Sequence[AuthorizationPolicy], action: str) -> dict[str, Any] | None:
    if not policies:
        return None
    found = {}
    for policy in policies:
        namespace, name = policy.metadata.namespace, policy.metadata.name
        for number, rule in enumerate(policy.spec.rules):
            found[f"ns[{namespace}]-policy[{name}]-rule[{number}]"] = _policy(
                rule, namespace, wide=action != "ALLOW"
            )
    return {"action": action, "policies": found}


def _policy(rule: Rule, namespace: str, *, wide: bool) -> dict[str, Any]:
    about = _Principals(namespace)
    conditions = [item for item in rule.when if _is_permission(item)]
    callers = [item for item in rule.when if not _is_permission(item)]
    permissions = [
        _and([*_operation(item.operation, wide=wide), *(m for c in conditions for m in _permission(c))])
        for item in rule.to
    ]
    principals = [
        _and([*about.source(item.source), *(m for c in callers for m in about.condition(c))], "ids")
        for item in rule.from_
    ]
    return {
        "permissions": permissions or [_and([m for c in conditions for m in _permission(c)])],
        "principals": principals or [_and([m for c in callers for m in about.condition(c)], "ids")],
    }


def _and(matches: list[Match], word: str = "rules") -> Match:
    return {f"and_{word}": {word: matches}} if matches else {"any": True}


def _both(values: Iterable[str], not_values: Iterable[str], make: Make, word: str) -> Iterator[Match]:
    """One of the values, and none of the others."""
    wanted, unwanted = [make(value) for value in values], [make(value) for value in not_values]
    negation = "not_rule" if word == "rules" else "not_id"
    if wanted:
        yield {f"or_{word}": {word: wanted}}
    if unwanted:
        yield {negation: {f"or_{word}": {word: unwanted}}}


# -- strings -------------------------------------------------------------------------------------


def _string(value: str, prefix: str = "") -> Match:
    if value == "*":
        return _regex(".+")
    if value.startswith("*"):
        return _regex(f"{prefix}.*{re.escape(value[1:])}") if prefix else {"suffix": value[1:]}
    if value.endswith("*"):
        return {"prefix": prefix + value[:-1]}
    return {"exact": prefix + value}


def _regex(pattern: str) -> Match:
    return {"safe_regex": {"regex": pattern}}


def _header(name: str, *, fold: bool = False) -> Make:
    def make(value: str) -> Match:
        if value == "*":
            return {"header": {"name": name, "present_match": True}}
        match = _string(value)
        return {"header": {"name": name, "string_match": {**match, "ignore_case": True} if fold else match}}

    return make


def _host_however(value: str) -> Match:
    """A host with any port or none: what keeps out is not walked around by naming one."""
    if value == "*" or value.endswith("*"):
        return _header(":authority", fold=True)(value)
    suffix = ".*" + re.escape(value[1:]) if value.startswith("*") else re.escape(value)
    pattern = rf"(?i){suffix}\.?(:[0-9]+)?"
    return {"header": {"name": ":authority", "string_match": _regex(pattern)}}


def _cidr(value: str) -> Match:
    network = ip_network(value, strict=False)
    return {"address_prefix": str(network.network_address), "prefix_len": network.prefixlen}


# -- what a request does -------------------------------------------------------------------------


def _operation(operation: Operation, *, wide: bool) -> Iterator[Match]:
    plain, however = _header(":authority", fold=True), _host_however
    hosts, not_hosts = (however, plain) if wide else (plain, however)
    yield from _both(operation.hosts, (), hosts, "rules")
    yield from _both((), operation.not_hosts, not_hosts, "rules")
    for field, make in (
        ("methods", _header(":method")),
        ("paths", _path),
        ("ports", _port),
    ):
        yield from _both(getattr(operation, field), getattr(operation, f"not_{field}"), make, "rules")


def _path(value: str) -> Match:
    if "{*}" in value or "{**}" in value:
        template = value.replace("{**}", "**").replace("{*}", "*")
        config = typed("path.match.uri_template.v3.UriTemplateMatchConfig", path_template=template)
        return {"uri_template": {"name": "uri-template", "typed_config": config}}
    return {"url_path": {"path": _string(value)}}


def _port(value: str) -> Match:
    return {"destination_port": int(value)}


_PERMISSIONS: dict[str, Make] = {
    "destination.ip": lambda value: {"destination_ip": _cidr(value)},
    "destination.port": _port,
    "connection.sni": lambda value: {"requested_server_name": _string(value)},
}


def _is_permission(condition: Condition) -> bool:
    return condition.key in _PERMISSIONS


def _permission(condition: Condition) -> Iterator[Match]:
    return _both(condition.values, condition.not_values, _PERMISSIONS[condition.key], "rules")


# -- who makes it --------------------------------------------------------------------------------


class _Principals:
    def __init__(self, namespace: str) -> None:
        self._namespace = namespace

    def source(self, source: Source) -> Iterator[Match]:
        for field, make in (
            ("principals", _principal),
            ("request_principals", _request_principal),
            ("namespaces", _namespace),
            ("service_accounts", self._account),
            ("trust_domains", _trust_domain),
            ("remote_ip_blocks", _remote),
            ("ip_blocks", _direct),
        ):
            yield from _both(getattr(source, field), getattr(source, f"not_{field}"), make, "ids")

    def condition(self, condition: Condition) -> Iterator[Match]:
        family, argument = split_key(condition.key)
        if family == "request.headers":
            make = _header((argument or "").lower())
        elif family == "request.auth.claims":
            make = _claim((argument or "").split("]["))
        else:
            make = {
                "source.ip": _direct,
                "remote.ip": _remote,
                "source.namespace": _namespace,
                "source.principal": _principal,
                "source.serviceAccount": self._account,
                "source.trustDomain": _trust_domain,
                "request.auth.principal": _request_principal,
                "request.auth.audiences": _claim(["aud"]),
                "request.auth.presenter": _claim(["azp"]),
            }[condition.key]
        yield from _both(condition.values, condition.not_values, make, "ids")

    def _account(self, value: str) -> Match:
        place, _, name = value.rpartition("/")
        place = re.escape(place or self._namespace)
        return _authenticated(_regex(f"spiffe://.+/ns/{place}/(.+/|)sa/{re.escape(name)}(/.+)?"))


def _authenticated(name: Match) -> Match:
    return {"authenticated": {"principal_name": name}}


def _principal(value: str) -> Match:
    return _authenticated(_string(value, "spiffe://"))


def _namespace(value: str) -> Match:
    return _authenticated(_regex(f"spiffe://.*/ns/{re.escape(value).replace(re.escape('*'), '.*')}/.*"))


def _trust_domain(value: str) -> Match:
    return _authenticated(_regex(f"spiffe://{re.escape(value).replace(re.escape('*'), '[^/]*')}/.*"))


def _direct(value: str) -> Match:
    return {"direct_remote_ip": _cidr(value)}


def _remote(value: str) -> Match:
    return {"remote_ip": _cidr(value)}


def _request_principal(value: str) -> Match:
    """Split at the last slash (Istio `requestPrincipalGenerator`)."""
    issuer, slash, subject = value.rpartition("/")
    every = _regex(".+")
    if value == "*":
        one, other = every, every
    elif not slash:
        if value.startswith("*"):
            one, other = every, {"suffix": value[1:]}
        elif value.endswith("*"):
            one, other = {"prefix": value[:-1]}, every
        else:
            one, other = {"exact": value}, {"exact": ""}
    elif value.startswith("*"):
        one, other = (every if issuer == "*" else {"suffix": issuer[1:]}), {"exact": subject}
    else:
        one, other = {"exact": issuer}, every if subject == "*" else _string(subject)
    return _and(
        [_metadata(["iss"], {"string_match": one}), _metadata(["sub"], {"string_match": other})], "ids"
    )


def _claim(path: list[str]) -> Make:
    def make(value: str) -> Match:
        text = {"string_match": _string(value)}
        either = {"or_match": {"value_matchers": [text, {"list_match": {"one_of": text}}]}}
        return _metadata(path, either)

    return make


def _metadata(path: list[str], value: Match) -> Match:
    keys = [{"key": key} for key in ("payload", *path)]
    return {"metadata": {"filter": JWT, "path": keys, "value": value}}
