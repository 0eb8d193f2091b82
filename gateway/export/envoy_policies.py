"""How a route treats requests, in Envoy's words: header operations, retries, faults, CORS, mirrors, hashing.

Lifetime: config.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from gateway.config.fields import format_duration
from gateway.config.http_actions import AUTHORITY_NAMES
from gateway.config.http_policies import GRPC_STATUSES
from gateway.export.envoy_match import string_match

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.config.fields import Percent
    from gateway.config.http_actions import HeaderOperations, Headers
    from gateway.config.http_policies import CorsPolicy, HTTPFaultInjection, HTTPRetry
    from gateway.config.load_balancer import ConsistentHashLB

DEFAULT_RETRY_ON = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"
"""Istio's, when a route says nothing."""
DEFAULT_ATTEMPTS = 2
HOST_ATTEMPTS = 5
"""How often another endpoint is drawn to avoid those already tried (Istio's number)."""

FAULT = "envoy.filters.http.fault"
CORS = "envoy.filters.http.cors"
_TYPE = "type.googleapis.com/envoy.extensions"


def typed(kind: str, **fields: Any) -> dict[str, Any]:
    """A `typed_config` of an extension: `filters.http.router.v3.Router`."""
    return {"@type": f"{_TYPE}.{kind}", **fields}


def header_operations(levels: Iterable[Headers | None]) -> dict[str, Any]:
    """The operations of several levels as one of Envoy's: removals, then every `set`, then every `add`."""
    present = [headers for headers in levels if headers is not None]
    fields: dict[str, Any] = {}
    for side in ("request", "response"):
        operations = [found for headers in present if (found := getattr(headers, side)) is not None]
        added = [*_values(operations, "set"), *_values(operations, "add")]
        if added:
            fields[f"{side}_headers_to_add"] = added
        removed = [name for one in operations for name in one.remove]
        if removed:
            fields[f"{side}_headers_to_remove"] = list(dict.fromkeys(removed))
    return fields


def _values(operations: Iterable[HeaderOperations], field: str) -> list[dict[str, Any]]:
    action = "OVERWRITE_IF_EXISTS_OR_ADD" if field == "set" else "APPEND_IF_EXISTS_OR_ADD"
    return [
        {"header": {"key": name, "value": value}, "append_action": action}
        for one in operations
        for name, value in sorted(getattr(one, field).items(), key=lambda item: item[0].lower())
        if name.lower() not in AUTHORITY_NAMES and not name.startswith(":")
    ]


def authority(headers: Headers | None) -> str | None:
    """The authority that request operations set: `set` before `add`."""
    if headers is None or headers.request is None:
        return None
    for changes in (headers.request.set, headers.request.add):
        for name, value in changes.items():
            if name.lower() in AUTHORITY_NAMES:
                return value
    return None


def retry_policy(retries: HTTPRetry | None, timeout: float | None, *, hashed: bool) -> dict[str, Any] | None:
    """A route's retry policy; Istio's default when it has none, None when it turns retries off.

    `hashed`: the key decides the endpoint, so those already tried are not avoided.
    """
    attempts = DEFAULT_ATTEMPTS if retries is None else retries.attempts
    if not attempts:
        return None
    tokens = ((retries.retry_on if retries else None) or DEFAULT_RETRY_ON).split(",")
    codes = [int(token) for token in tokens if token.isdigit()]
    words = [token for token in tokens if not token.isdigit()]
    if codes and "retriable-status-codes" not in words:
        words.append("retriable-status-codes")
    policy: dict[str, Any] = {"retry_on": ",".join(words), "num_retries": attempts}
    if codes:
        policy["retriable_status_codes"] = codes
    if (retries is None or retries.retry_ignore_previous_hosts is not False) and not hashed:
        predicate = typed("retry.host.previous_hosts.v3.PreviousHostsPredicate")
        policy["retry_host_predicate"] = [
            {"name": "envoy.retry_host_predicates.previous_hosts", "typed_config": predicate}
        ]
        policy["host_selection_retry_max_attempts"] = HOST_ATTEMPTS
    if retries is None:
        return policy
    if retries.retry_remote_localities:
        other = typed("retry.priority.previous_priorities.v3.PreviousPrioritiesConfig", update_frequency=2)
        policy["retry_priority"] = {
            "name": "envoy.retry_priorities.previous_priorities",
            "typed_config": other,
        }
    if retries.per_try_timeout is not None and (timeout is None or retries.per_try_timeout < timeout):
        policy["per_try_timeout"] = format_duration(retries.per_try_timeout)
    if retries.backoff is not None:
        base, longest = format_duration(retries.backoff), format_duration(retries.backoff * 10)
        policy["retry_back_off"] = {"base_interval": base, "max_interval": longest}
    return policy


def fraction(percent: float) -> dict[str, Any]:
    """A percentage as Istio hands it on: four decimals, the rest cut off."""
    return {"numerator": math.trunc(round(percent * 10_000, 6)), "denominator": "MILLION"}


def fault(policy: HTTPFaultInjection | None) -> dict[str, Any] | None:
    """Injected delays and errors; None when nothing would ever be injected."""
    if policy is None:
        return None
    fields: dict[str, Any] = {}
    if (delay := policy.delay) is not None and delay.fixed_delay is not None:
        share = _share(delay.percentage, delay.percent or 0)
        fields["delay"] = {"fixed_delay": format_duration(delay.fixed_delay), "percentage": fraction(share)}
    if (abort := policy.abort) is not None and abort.percentage is not None:
        share = abort.percentage.value
        if abort.http_status is not None:
            fields["abort"] = {"http_status": abort.http_status, "percentage": fraction(share)}
        elif abort.grpc_status is not None:
            code = GRPC_STATUSES.index(abort.grpc_status)
            fields["abort"] = {"grpc_status": code, "percentage": fraction(share)}
    return typed("filters.http.fault.v3.HTTPFault", **fields) if fields else None


def _share(percentage: Percent | None, otherwise: float) -> float:
    return otherwise if percentage is None else percentage.value


def cors(policy: CorsPolicy | None) -> dict[str, Any] | None:
    """Who may read answers across origins."""
    if policy is None:
        return None
    origins = [string_match(origin) for origin in policy.allow_origins]
    origins = origins or [{"exact": origin} for origin in policy.allow_origin]
    fields: dict[str, Any] = {"allow_origin_string_match": origins}
    for name in ("allow_methods", "allow_headers", "expose_headers"):
        if values := getattr(policy, name):
            fields[name] = ",".join(values)
    if policy.max_age is not None:
        fields["max_age"] = str(int(policy.max_age))
    if policy.allow_credentials:
        fields["allow_credentials"] = True
    fields["forward_not_matching_preflights"] = policy.unmatched_preflights != "IGNORE"
    return typed("filters.http.cors.v3.CorsPolicy", **fields)


def hash_policy(key: ConsistentHashLB) -> dict[str, Any]:
    """What a request's endpoint is chosen by."""
    if key.http_header_name is not None:
        return {"header": {"header_name": key.http_header_name}}
    if key.http_query_parameter_name is not None:
        return {"query_parameter": {"name": key.http_query_parameter_name}}
    if key.http_cookie is None:
        return {"connection_properties": {"source_ip": True}}
    cookie = key.http_cookie
    fields: dict[str, Any] = {"name": cookie.name}
    if cookie.ttl is not None:
        fields["ttl"] = format_duration(cookie.ttl)
    if cookie.path is not None:
        fields["path"] = cookie.path
    if cookie.attributes:
        fields["attributes"] = [{"name": item.name, "value": item.value or ""} for item in cookie.attributes]
    return {"cookie": fields}
