"""What is read and validated but has no effect yet: one row a feature, so that nothing is silently ignored.

Lifetime: config (a table). Whoever makes a feature work deletes its row. A row that protects is an error and
fatal: the process refuses to start instead of serving unprotected. Every other row is a warning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.config.codes import define
from gateway.config.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway.config.config import Config
    from gateway.config.resource import Resource

Path = tuple[str | int, ...]


class Row(NamedTuple):
    """One feature."""

    code: str
    feature: str
    """As the subject of "... is not enforced yet"."""
    kind: str
    path: str
    """Where it is written: `[]` goes through a list, `{}` through a mapping, "" is the document itself."""
    used: Callable[[Any], object] = bool
    """Whether the value asks for the feature; default: it is set, and not 0 or empty."""
    protects: bool = False


def _is(*words: str) -> Callable[[Any], object]:
    return lambda value: value in words


def _passes_through(server: Any) -> object:
    """Whether TLS of a server is not terminated here: unset reads as PASSTHROUGH, Istio's zero value."""
    mode = server.tls.mode if server.tls is not None else None
    return server.port.protocol == "HTTPS" and mode in {None, "PASSTHROUGH", "AUTO_PASSTHROUGH"}


DR = "DestinationRule"
AP, RA = "AuthorizationPolicy", "RequestAuthentication"
POLICY = "POLICY."
"""Each trafficPolicy of a DestinationRule, those of subsets and ports included."""
HTTP = POLICY + "connection_pool.http."
REQUEST_ID_SAMPLING = "spec.tracing[].use_request_id_for_trace_sampling"

TABLE: tuple[Row, ...] = (
    Row("GW316", "zoneAwareLbSetting", DR, POLICY + "load_balancer.zone_aware_lb_setting"),
    Row("GW317", "HTTP/2 to upstreams", DR, HTTP + "h2_upgrade_policy", _is("UPGRADE")),
    Row("GW317", "useClientProtocol", DR, HTTP + "use_client_protocol"),
    Row("GW318", "proxyProtocol", DR, POLICY + "proxy_protocol"),
    Row("GW319", "the tunnel", DR, POLICY + "tunnel"),
    Row("GW320", "resolution DYNAMIC_DNS", "ServiceEntry", "spec.resolution", _is("DYNAMIC_DNS")),
    Row("GW331", "PASSTHROUGH", "Gateway", "spec.servers[]", _passes_through, protects=True),
    Row("GW336", "targetRef", AP, "spec.target_ref", protects=True),
    Row("GW336", "targetRefs", AP, "spec.target_refs", protects=True),
    Row("GW336", "targetRef", RA, "spec.target_ref", protects=True),
    Row("GW336", "targetRefs", RA, "spec.target_refs", protects=True),
    Row("GW340", "customMetric", "Telemetry", "spec.metrics[].overrides[].match.custom_metric"),
    Row("GW340", "reportingInterval", "Telemetry", "spec.metrics[].reporting_interval"),
    Row(
        "GW340",
        "useRequestIdForTraceSampling",
        "Telemetry",
        REQUEST_ID_SAMPLING,
        lambda value: value is False,
    ),
    Row("GW340", "a targetRef", "Telemetry", "spec.target_ref"),
    Row("GW340", "a list of targetRefs", "Telemetry", "spec.target_refs"),
)


def unenforced(config: Config, table: tuple[Row, ...] = TABLE) -> Iterator[Finding]:
    """One finding a feature and document, at the feature's first use."""
    rows: dict[str, list[Row]] = {}
    for row in table:
        rows.setdefault(row.kind, []).append(row)
    for resource in config.resources():
        told = set[str]()
        for row in rows.get(resource.kind, ()):
            at = None if row.feature in told else next(_uses(row, resource), None)
            if at is not None:
                told.add(row.feature)
                yield _finding(config, resource, row, at)


def _finding(config: Config, resource: Resource, row: Row, at: Path) -> Finding:
    here = config.origin(resource).position(*(at or ("kind",)))
    if row.protects:
        message = f"{resource.title}: {row.feature} is not enforced yet, so the gateway refuses to start"
        hint = "remove it, or put what it protects elsewhere: to go on without it would only look safe"
        return Finding(*here.where, "error", row.code, message, hint, fatal=True, length=here.length)
    message = f"{resource.title}: {row.feature} is not enforced yet and has no effect"
    return Finding(*here.where, "warning", row.code, message, length=here.length)


_POLICIES = (
    "spec.traffic_policy.",
    "spec.traffic_policy.port_level_settings[].",
    "spec.subsets[].traffic_policy.",
    "spec.subsets[].traffic_policy.port_level_settings[].",
)


def _uses(row: Row, resource: Resource) -> Iterator[Path]:
    """Where `resource` asks for the feature."""
    paths = [row.path]
    if row.path.startswith(POLICY):
        paths = [prefix + row.path.removeprefix(POLICY) for prefix in _POLICIES]
    for path in paths:
        for at, value in _values(resource, path.split(".") if path else []):
            if row.used(value):
                yield at


def _values(value: Any, steps: list[str]) -> Iterator[tuple[Path, Any]]:
    """Everything at a path of a model, None left out."""
    if value is None:
        return
    if not steps:
        yield (), value
        return
    name = steps[0].rstrip("[]{}")
    inside = getattr(value, name, None)
    branches: list[tuple[Path, Any]]
    if steps[0].endswith("[]"):
        branches = [((name, index), item) for index, item in enumerate(inside or ())]
    elif steps[0].endswith("{}"):
        branches = [((name, key), item) for key, item in (inside or {}).items()]
    else:
        branches = [((name,), inside)]
    for head, item in branches:
        for at, found in _values(item, steps[1:]):
            yield (*head, *at), found


# -- what each code says -----------------------------------------------------------------------

_LATER = " The rest of the document works, and the field is validated: it can stay where it is."
_REFUSED = (
    " To go on without it would look safe and not be. Remove it, or put what it protects elsewhere;"
    " nothing is served as long as it stands."
)
_TITLES = {
    "GW316": (
        "zones are not weighed yet",
        "Endpoints are chosen as without zoneAwareLbSetting; distribute and failover do regard localities.",
    ),
    "GW317": ("HTTP/2 to upstreams is not spoken yet", "Backends are spoken to in HTTP/1.1."),
    "GW318": ("PROXY protocol is not spoken yet", "No PROXY header is sent to the backend."),
    "GW319": ("tunnels are not made yet", "Connections go to the endpoints themselves."),
    "GW320": ("names are not resolved per request yet", "Requests to such a service are answered with 503."),
    "GW331": (
        "PASSTHROUGH",
        "The gateway sees requests only where it terminates TLS. A server without `mode` is PASSTHROUGH.",
    ),
    "GW336": (
        "Kubernetes targets",
        "The objects a targetRef names do not exist here, so who is protected is unclear. Use a selector.",
    ),
    "GW340": (
        "parts of Telemetry have no effect yet",
        "Metrics are Istio's and the gateway's own; whether a request is traced is drawn, or was said.",
    ),
}
for _code, (_title, _text) in _TITLES.items():
    _protects = [row.protects for row in TABLE if row.code == _code]
    if _protects:
        _fatal = any(_protects)
        define(_code, _title, "error" if _fatal else "warning", _text + (_REFUSED if _fatal else _LATER))
