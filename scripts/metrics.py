# ruff: noqa: INP001 - a script, not a package
"""Prints docs/metrics.md: every metric, with its kind, labels and meaning."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

from gateway.telemetry.catalog import BOUNDS, CATALOG, ISTIO_LABELS

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD = """\
# Metrics

`GET /metrics` (or `/stats/prometheus`) on the admin listener, in Prometheus' text format, or in OpenMetrics
with exemplars for who asks for it. This page is made by `scripts/docs` from the metrics themselves;
[Observability](observability.md) says what to do with them.

Numbers are of the whole gateway: with several workers, counters and histograms add up, and the last column
says how gauges join. Label values come from the configuration, never from what clients send, unless a
Telemetry document asks for it with `tagOverrides`. Of one metric there are at most 10 000 label sets; what
is beyond is counted together, every label `overflow`.
"""
GROUPS = {
    "Istio's standard metrics": "istio_",
    "Traffic": "gateway_route gateway_local gateway_rejected gateway_downstream",
    "Resilience": "gateway_upstream gateway_retries gateway_timeouts gateway_faults gateway_mirror"
    " gateway_cluster gateway_ejections gateway_endpoint gateway_pool gateway_breaker",
    "Security": "gateway_certificate gateway_tls gateway_policy gateway_rate gateway_jw",
    "Configuration": "gateway_config gateway_ready",
    "Runtime and telemetry itself": "gateway_",
}
"""Heading -> how the names of its metrics begin; the first that fits has them."""
COLUMNS = "| metric | kind | labels | meaning | workers |\n|---|---|---|---|---|\n"


class Line(NamedTuple):
    """One metric."""

    name: str
    kind: str
    labels: tuple[str, ...]
    text: str
    joins: str


def lines() -> Iterator[Line]:
    """Every metric of the catalog."""
    for metric in CATALOG:
        joins = metric.merge if metric.kind == "gauge" else "sum"
        labels = ("see below",) if metric.labels == ISTIO_LABELS else metric.labels
        yield Line(metric.name, metric.kind, labels, metric.text, joins)


def page() -> str:
    """The whole page."""
    left = list(lines())
    parts = [HEAD]
    for title, beginnings in GROUPS.items():
        group = [line for line in left if line.name.startswith(tuple(beginnings.split()))]
        left = [line for line in left if line not in group]
        parts.append(f"\n## {title}\n\n{COLUMNS}")
        parts += [
            f"| `{line.name}` | {line.kind} | {', '.join(f'`{label}`' for label in line.labels)} "
            f"| {line.text} | {line.joins} |\n"
            for line in group
        ]
    parts.append(f"""
Beside them `process_*` and `python_gc_*` of the Prometheus client library: processor time, memory, open
files, collections.

## Labels of the standard metrics

In this order: {", ".join(f"`{label}`" for label in ISTIO_LABELS)}.

The gateway reports as `reporter="source"`. `source_*` is the gateway itself (`labels`, `namespace` and
`serverName` of GatewaySettings), `destination_*` is the cluster's host and the labels of the endpoint that
answered (`app`, `version`, `service.istio.io/canonical-name`...), never the Host header. What is not known
is `unknown`, as in Istio. `source_principal` and `destination_principal` are the SPIFFE IDs that the gateway
and the endpoint showed each other, read when a series begins; `connection_security_policy` is always
`unknown`: only the reporter at the destination says `mutual_tls` or `none`. `response_code` is `0` for a
client that left; `response_flags` are Envoy's, in the order they were set; `grpc_response_status` is there
for answers that carry it in their headers.

Bounds of their histograms: {", ".join(f"{bound:.10g}" for bound in BOUNDS)} milliseconds or bytes. Those in
seconds have the same bounds divided by a thousand.

Istio's metrics that are not here: `istio_request_messages_total` and `istio_response_messages_total` count
gRPC messages, which need HTTP/2; `istio_tcp_*` are of TCP routes.
""")
    return "".join(parts)


if __name__ == "__main__":
    sys.stdout.write(page())
