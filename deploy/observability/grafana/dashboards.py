# ruff: noqa: INP001 - a script, not a package
"""Writes the Grafana dashboards beside it: `python deploy/observability/grafana/dashboards.py`.

The JSON is what Grafana is given; this is where it is changed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent / "dashboards"
SOURCE = {"type": "prometheus", "uid": "prometheus"}
JOB = 'job=~"$job",instance=~"$instance"'
RATE = "$__rate_interval"
WIDTH = 24

Query = tuple[str, str]
"""Expression and legend."""


def panel(  # noqa: PLR0913 - the parts of a panel
    title: str,
    *queries: Query,
    unit: str = "short",
    kind: str = "timeseries",
    width: int = 8,
    height: int = 8,
    text: str = "",
    stack: bool = False,
    most: float | None = None,
) -> dict[str, Any]:
    """One panel; `most`: the axis ends there."""
    custom = {"fillOpacity": 20 if stack else 0, "stacking": {"mode": "normal" if stack else "none"}}
    defaults: dict[str, Any] = {"unit": unit, "min": 0, "custom": custom if kind == "timeseries" else {}}
    if most is not None:
        defaults["max"] = most
    made: dict[str, Any] = {
        "type": kind,
        "title": title,
        "description": text,
        "datasource": SOURCE,
        "size": (width, height),
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [
            {
                "refId": chr(65 + number),
                "datasource": SOURCE,
                "expr": expression,
                "legendFormat": legend,
                "exemplar": kind == "timeseries",
                **({"instant": True, "format": "table"} if kind == "table" else {}),
                **({"instant": True} if kind == "stat" else {}),
            }
            for number, (expression, legend) in enumerate(queries)
        ],
    }
    if kind == "timeseries":
        made["options"] = {
            "legend": {"displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "multi"},
        }
    elif kind == "stat":
        made["options"] = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value"}
    elif kind == "table":
        made["transformations"] = [
            {"id": "organize", "options": {"excludeByName": {"Time": True, "job": True, "instance": True}}}
        ]
    return made


def variable(name: str, query: str) -> dict[str, Any]:
    """A choice above the dashboard."""
    return {
        "name": name,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": name},
        "definition": query,
        "refresh": 2,
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def dashboard(name: str, title: str, text: str, panels: list[dict[str, Any]]) -> dict[str, Any]:
    """A dashboard; panels are laid from left to right, line by line."""
    x = y = tallest = 0
    laid = []
    for number, item in enumerate(panels, 1):
        width, height = item.pop("size")
        if x + width > WIDTH:
            x, y, tallest = 0, y + tallest, 0
        laid.append({"id": number, "gridPos": {"x": x, "y": y, "w": width, "h": height}, **item})
        x, tallest = x + width, max(tallest, height)
    return {
        "uid": f"asgi-gateway-{name}",
        "title": f"Gateway: {title}",
        "description": text,
        "tags": ["asgi-gateway"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "15s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [
                variable("job", "label_values(gateway_build_info, job)"),
                variable("instance", 'label_values(gateway_build_info{job=~"$job"}, instance)'),
            ]
        },
        "links": [
            {
                "type": "dashboards",
                "title": "Gateway",
                "tags": ["asgi-gateway"],
                "asDropdown": True,
                "keepTime": True,
                "includeVars": True,
            }
        ],
        "panels": laid,
    }


def _by(labels: tuple[str, ...]) -> str:
    return f"by ({', '.join(labels)}) " if labels else ""


def rate(metric: str, *by: str, where: str = "") -> str:
    """Events a second, by labels."""
    inside = f"{metric}{{{JOB}{',' + where if where else ''}}}"
    return f"sum {_by(by)}(rate({inside}[{RATE}]))"


def quantile(share: float, metric: str, *by: str) -> str:
    """A quantile of a histogram, by labels."""
    return f"histogram_quantile({share}, {rate(metric + '_bucket', *by, 'le')})"


def now(metric: str, *by: str, join: str = "sum") -> str:
    """A gauge, by labels."""
    return f"{join} {_by(by)}({metric}{{{JOB}}})"


ROUTE = ("virtual_service", "route")
ROUTE_LEGEND = "{{virtual_service}} {{route}}"
ENDS = ("response_code_class", "response_flags")
FAILED = 'outcome!~"[1234]xx|abandoned"'
FIVES = 'response_code_class="5xx"'
NEVER = " or vector(0)"
"""For totals that begin with the first event: until then they are nought, not absent."""

TRAFFIC = [
    panel(
        "Requests", (rate("gateway_route_requests_total"), ""), unit="reqps", kind="stat", width=4, height=4
    ),
    panel(
        "Success",
        (
            (
                f"1 - ({rate('gateway_route_requests_total', where=FIVES)}{NEVER})"
                f" / {rate('gateway_route_requests_total')}"
            ),
            "",
        ),
        unit="percentunit",
        kind="stat",
        width=4,
        height=4,
        text="Share of requests without 5xx.",
    ),
    panel(
        "p50", (quantile(0.5, "gateway_route_duration_seconds"), ""), unit="s", kind="stat", width=4, height=4
    ),
    panel(
        "p99",
        (quantile(0.99, "gateway_route_duration_seconds"), ""),
        unit="s",
        kind="stat",
        width=4,
        height=4,
    ),
    panel("In progress", (now("gateway_downstream_requests_active"), ""), kind="stat", width=4, height=4),
    panel("Client connections", (now("gateway_downstream_connections"), ""), kind="stat", width=4, height=4),
    panel(
        "Requests by class",
        (rate("gateway_route_requests_total", "response_code_class"), "{{response_code_class}}"),
        unit="reqps",
        stack=True,
        text="0 is a client that left before its answer.",
    ),
    panel("Requests by route", (rate("gateway_route_requests_total", *ROUTE), ROUTE_LEGEND), unit="reqps"),
    panel(
        "Failures by flag",
        (
            rate("gateway_route_requests_total", "response_flags", where='response_flags!="-"') + NEVER,
            "{{response_flags}}",
        ),
        unit="reqps",
        text="Envoy's response flags: UF no connection, UC cut off, UH nobody healthy, UO limit...",
    ),
    panel(
        "Duration",
        *(
            (quantile(share, "gateway_route_duration_seconds"), f"p{share * 100:g}")
            for share in (0.5, 0.9, 0.99)
        ),
        unit="s",
    ),
    panel("p99 by route", (quantile(0.99, "gateway_route_duration_seconds", *ROUTE), ROUTE_LEGEND), unit="s"),
    panel(
        "p99 of upstreams until their response head",
        (quantile(0.99, "gateway_upstream_response_seconds", "cluster"), "{{cluster}}"),
        unit="s",
        text="What is left of the duration above is ours, the body, and the client.",
    ),
    panel(
        "Requests by destination and version",
        (
            rate("istio_requests_total", "destination_service_name", "destination_version"),
            "{{destination_service_name}} {{destination_version}}",
        ),
        unit="reqps",
        text="The split of a canary.",
    ),
    panel(
        "Error budget: failed share by VirtualService",
        ("virtual_service:error_ratio:rate5m", "{{virtual_service}}"),
        unit="percentunit",
        text="Recording rule; the alerts burn on it.",
    ),
    panel(
        "Bytes",
        (rate("istio_request_bytes_sum"), "received"),
        (rate("istio_response_bytes_sum"), "sent"),
        unit="Bps",
    ),
    panel(
        "Answers the gateway made itself",
        (rate("gateway_local_replies_total", "reason", "response_code"), "{{response_code}} {{reason}}"),
        unit="reqps",
        width=12,
    ),
    panel(
        "Routes",
        (
            f"sort_desc({rate('gateway_route_requests_total', *ROUTE, *ENDS)})",
            "",
        ),
        kind="table",
        width=12,
    ),
]

RESILIENCE = [
    panel(
        "Attempts by outcome",
        (rate("gateway_upstream_attempts_total", "outcome"), "{{outcome}}"),
        unit="reqps",
        stack=True,
    ),
    panel(
        "Guilty endpoints",
        (
            f"topk(10, {rate('gateway_upstream_attempts_total', 'cluster', 'endpoint', where=FAILED)})"
            + NEVER,
            "{{endpoint}} {{cluster}}",
        ),
        unit="reqps",
        text="Failed attempts: the endpoint's, whoever was retried afterwards.",
    ),
    panel(
        "Failed share by endpoint",
        ("cluster_endpoint:failure_ratio:rate5m" + NEVER, "{{endpoint}} {{cluster}}"),
        unit="percentunit",
        most=1,
    ),
    panel(
        "Endpoints in rotation",
        (now("gateway_cluster_endpoints_available", "cluster", join="min"), "{{cluster}}"),
    ),
    panel("Ejected now", (now("gateway_ejections_active", "cluster", join="max"), "{{cluster}}")),
    panel(
        "Ejections",
        (rate("gateway_ejections_total", "cluster", "reason"), "{{reason}} {{cluster}}"),
        unit="cps",
    ),
    panel(
        "Limits: what is left",
        (now("gateway_breaker_remaining", "cluster", "limit"), "{{limit}} {{cluster}}"),
        text="Only limits that were set.",
    ),
    panel(
        "Limits: reached",
        (
            now("gateway_breaker_open", "cluster", "limit", join="max") + " > 0" + NEVER,
            "{{limit}} {{cluster}}",
        ),
        most=1,
    ),
    panel(
        "Refused by a limit",
        (rate("gateway_breaker_overflows_total", "cluster"), "{{cluster}}"),
        unit="reqps",
    ),
    panel(
        "Connections",
        (now("gateway_pool_connections", "cluster"), "{{cluster}}"),
    ),
    panel(
        "Requests at upstreams, and waiting",
        (now("gateway_pool_active_requests", "cluster"), "active {{cluster}}"),
        (now("gateway_pool_pending_requests", "cluster"), "waiting {{cluster}}"),
    ),
    panel("Idle connections", (now("gateway_pool_idle_connections", "cluster"), "{{cluster}}")),
    panel(
        "Retries by reason",
        (rate("gateway_retries_total", "cluster", "reason"), "{{reason}} {{cluster}}"),
        unit="reqps",
    ),
    panel(
        "Retries: saved, denied",
        (rate("gateway_retries_succeeded_total") + NEVER, "saved a request"),
        (rate("gateway_retries_denied_total", "reason") + NEVER, "denied: {{reason}}"),
        unit="reqps",
    ),
    panel(
        "Retries as a share of attempts",
        (f"{rate('gateway_retries_total')} / {rate('gateway_upstream_attempts_total')}", ""),
        unit="percentunit",
        most=1,
    ),
    panel(
        "Timeouts", (rate("gateway_timeouts_total", "cluster", "kind"), "{{kind}} {{cluster}}"), unit="reqps"
    ),
    panel(
        "Faults injected",
        (rate("gateway_faults_total", *ROUTE, "kind"), "{{kind}} " + ROUTE_LEGEND),
        unit="reqps",
    ),
    panel(
        "Copies sent to mirrors", (rate("gateway_mirrors_total", *ROUTE) + NEVER, ROUTE_LEGEND), unit="reqps"
    ),
    panel(
        "What became of copies",
        (rate("gateway_mirror_copies_total", "cluster", "outcome") + NEVER, "{{outcome}} {{cluster}}"),
        unit="reqps",
        text="By the class of the mirror's answer, the flag of its failure, or declined.",
    ),
    panel(
        "Health checks",
        (now("gateway_endpoint_healthy", "cluster", "endpoint", join="min"), "{{endpoint}} {{cluster}}"),
        most=1,
        width=12,
        text="0 while they fail.",
    ),
    panel(
        "Ejected endpoints",
        (now("gateway_endpoint_ejected", "cluster", "endpoint", join="max"), "{{endpoint}} {{cluster}}"),
        most=1,
        width=12,
    ),
]

SECURITY = [
    panel(
        "Denied",
        (
            rate(
                "gateway_local_replies_total", "reason", "response_code", where='response_code=~"401|403|429"'
            )
            + NEVER,
            "{{response_code}} {{reason}}",
        ),
        unit="reqps",
        width=12,
        text="By JWT, authorization policies, rate limits.",
    ),
    panel(
        "Refused before routing",
        (rate("gateway_rejected_total", "reason") + NEVER, "{{reason}}"),
        unit="reqps",
        width=12,
        text="Broken requests, limits of heads and bodies, slow clients.",
    ),
    panel(
        "Decisions of policies",
        (rate("gateway_policy_decisions_total", "decision") + NEVER, "{{decision}}"),
        unit="reqps",
        text="shadow_*: dry runs. error: refused because a policy could not be evaluated.",
    ),
    panel(
        "Rules that took requests",
        (rate("gateway_policy_rule_matches_total", "policy", "rule") + NEVER, "{{policy}} rule {{rule}}"),
        unit="reqps",
    ),
    panel(
        "Refused by rate limits",
        (rate("gateway_rate_limited_total", "limit") + NEVER, "{{limit}}"),
        unit="reqps",
    ),
    panel(
        "Certificates: time left",
        (
            f"min by (name, role, subject) (gateway_certificate_expiry_timestamp_seconds{{{JOB}}}) - time()"
            + NEVER,
            "{{name}} {{role}} {{subject}}",
        ),
        unit="s",
    ),
    panel("Keys of issuers", (now("gateway_jwks_keys", "issuer", join="min") + NEVER, "{{issuer}}")),
    panel(
        "Keys: age, failing",
        (
            f"time() - min by (issuer) (gateway_jwks_last_success_timestamp_seconds{{{JOB}}})" + NEVER,
            "{{issuer}}",
        ),
        (now("gateway_jwks_failing", "issuer", join="max") + NEVER, "failing {{issuer}}"),
        unit="s",
    ),
    panel(
        "Tokens that were verified lately",
        (rate("gateway_jwt_cache_lookups_total", "result") + NEVER, "{{result}}"),
        unit="reqps",
    ),
    panel("Keys of rate limits", (now("gateway_rate_limit_keys", "limit") + NEVER, "{{limit}}")),
    panel(
        "Responses by security class",
        (
            rate("istio_requests_total", "response_code", where='response_code=~"4.."') + NEVER,
            "{{response_code}}",
        ),
        unit="reqps",
    ),
]

RUNTIME = [
    panel("Ready", (now("gateway_ready", join="min"), ""), kind="stat", width=4, height=4),
    panel("Generation", (now("gateway_config_generation", join="max"), ""), kind="stat", width=4, height=4),
    panel(
        "Configuration accepted",
        (now("gateway_config_last_reload_successful", join="min"), ""),
        kind="stat",
        width=4,
        height=4,
    ),
    panel("Workers", (now("gateway_workers"), ""), kind="stat", width=4, height=4),
    panel(
        "Up since",
        (f"time() - min(process_start_time_seconds{{{JOB}}})", ""),
        unit="s",
        kind="stat",
        width=4,
        height=4,
    ),
    panel(
        "Version",
        (now("gateway_build_info", "version", "python", join="max"), "{{version}} on Python {{python}}"),
        kind="stat",
        width=4,
        height=4,
    ),
    panel(
        "Event loop: how late",
        *((quantile(share, "gateway_event_loop_lag_seconds"), f"p{share * 100:g}") for share in (0.5, 0.99)),
        (now("gateway_event_loop_lag_max_seconds", join="max"), "worst of a minute"),
        unit="s",
        text="Every request waits that long, at least once.",
    ),
    panel(
        "Processor",
        (rate("process_cpu_seconds_total", "instance"), "{{instance}}"),
        text="Cores; workers together.",
    ),
    panel(
        "Processor time a request",
        (f"{rate('process_cpu_seconds_total')} / ({rate('istio_requests_total')} > 0)", ""),
        unit="s",
    ),
    panel("Memory", (now("process_resident_memory_bytes", "instance"), "{{instance}}"), unit="bytes"),
    panel(
        "File descriptors",
        (now("process_open_fds", "instance"), "open {{instance}}"),
        (now("process_max_fds", "instance", join="max"), "most {{instance}}"),
    ),
    panel(
        "Garbage collections",
        (rate("python_gc_collections_total", "generation"), "generation {{generation}}"),
        unit="cps",
    ),
    panel(
        "Reloads",
        (f"sum(increase(gateway_config_reloads_total{{{JOB}}}[{RATE}]))", "applied"),
        (f"sum(increase(gateway_config_reload_errors_total{{{JOB}}}[{RATE}]))", "refused"),
    ),
    panel(
        "Configuration: age",
        (f"time() - max by (instance) (gateway_config_applied_timestamp_seconds{{{JOB}}})", "{{instance}}"),
        unit="s",
    ),
    panel(
        "Access log",
        (rate("gateway_access_log_lines_total"), "written"),
        (rate("gateway_access_log_dropped_total"), "lost"),
        unit="cps",
    ),
    panel(
        "Traced requests",
        (rate("gateway_traced_requests_total", "decision") + NEVER, "{{decision}}"),
        unit="reqps",
    ),
    panel("Metric series", (now("gateway_metric_series", "instance"), "{{instance}}")),
    panel(
        "Requests in the overflow series", (rate("gateway_metric_series_overflow_total"), ""), unit="reqps"
    ),
]


def dashboards() -> dict[str, dict[str, Any]]:
    """File name -> dashboard."""
    made = [
        ("traffic", "Traffic", "Who asks for what, how it ends, how long it takes.", TRAFFIC),
        ("resilience", "Resilience", "Endpoints, attempts, retries, limits, ejections.", RESILIENCE),
        ("security", "Security", "Who is refused and why; keys and certificates.", SECURITY),
        ("runtime", "Runtime", "The process, its configuration, its own telemetry.", RUNTIME),
    ]
    return {f"{name}.json": dashboard(name, title, text, panels) for name, title, text, panels in made}


if __name__ == "__main__":
    for name, made in dashboards().items():
        (HERE / name).write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")
