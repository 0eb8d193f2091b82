"""Every metric there is: name, kind, unit by name, labels, and how the numbers of several workers join.

Lifetime: config (constants). `docs/metrics.md` is made from this table.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from gateway.security.redis_line import BOUNDS as ROUNDS

BOUNDS: Final = (
    0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000,
    30000, 60000, 300000, 600000, 1800000, 3600000,
)  # fmt: skip
"""Upper bounds of Istio's histograms (Envoy's defaults): milliseconds or bytes."""
SECONDS: Final = tuple(bound / 1000 for bound in BOUNDS)
LAG: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

ISTIO_LABELS: Final = (
    "reporter",
    "source_workload",
    "source_canonical_service",
    "source_canonical_revision",
    "source_workload_namespace",
    "source_principal",
    "source_app",
    "source_version",
    "source_cluster",
    "destination_workload",
    "destination_workload_namespace",
    "destination_principal",
    "destination_app",
    "destination_version",
    "destination_service",
    "destination_canonical_service",
    "destination_canonical_revision",
    "destination_service_name",
    "destination_service_namespace",
    "destination_cluster",
    "request_protocol",
    "response_code",
    "grpc_response_status",
    "response_flags",
    "connection_security_policy",
)
"""Of the four standard metrics, in Istio's order."""

Kind = Literal["counter", "gauge", "histogram"]
Merge = Literal["sum", "max", "min"]


class Metric(NamedTuple):
    """One family."""

    name: str
    """As it is scraped; counters end in `_total`."""
    kind: Kind
    text: str
    labels: tuple[str, ...] = ()
    merge: Merge = "sum"
    """How the workers of one gateway join; counters and histograms always add up."""
    bounds: tuple[float, ...] = ()


def _counter(name: str, text: str, *labels: str) -> Metric:
    return Metric(name, "counter", text, labels)


def _gauge(name: str, text: str, *labels: str, merge: Merge = "sum") -> Metric:
    return Metric(name, "gauge", text, labels, merge)


def _histogram(name: str, text: str, *labels: str, bounds: tuple[float, ...] = BOUNDS) -> Metric:
    return Metric(name, "histogram", text, labels, bounds=bounds)


# -- Istio's own -------------------------------------------------------------------------------

REQUESTS = _counter("istio_requests_total", "Requests, replies of the gateway included.", *ISTIO_LABELS)
DURATION = _histogram("istio_request_duration_milliseconds", "First byte in to last byte out.", *ISTIO_LABELS)
REQUEST_BYTES = _histogram("istio_request_bytes", "Headers and body of requests.", *ISTIO_LABELS)
RESPONSE_BYTES = _histogram("istio_response_bytes", "Headers and body of responses.", *ISTIO_LABELS)

# -- traffic -----------------------------------------------------------------------------------

ROUTE_REQUESTS = _counter(
    "gateway_route_requests_total",
    "Requests by the route that took them; route empty: no route did.",
    "virtual_service",
    "route",
    "response_code_class",
    "response_flags",
)
ROUTE_SECONDS = _histogram(
    "gateway_route_duration_seconds",
    "The same requests' durations, without WebSockets.",
    "virtual_service",
    "route",
    bounds=SECONDS,
)
LOCAL_REPLIES = _counter(
    "gateway_local_replies_total",
    "Answers the gateway made itself; reason is the response code details up to the first bracket.",
    "reason",
    "response_code",
    "response_flags",
)
REJECTED = _counter(
    "gateway_rejected_total", "Requests refused before routing: grammar, limits, deadlines.", "reason"
)
CONNECTIONS = _gauge("gateway_downstream_connections", "Open client connections.")
ACTIVE = _gauge("gateway_downstream_requests_active", "Requests in progress, open WebSockets among them.")
TUNNELS = _gauge("gateway_tunnels_open", "WebSockets that are open between a client and a backend.")

# -- resilience --------------------------------------------------------------------------------

ATTEMPTS = _counter(
    "gateway_upstream_attempts_total",
    "Tries at an endpoint; outcome is the class of its answer (2xx) or the flag of its failure (UF).",
    "cluster",
    "endpoint",
    "outcome",
)
ATTEMPT_SECONDS = _histogram(
    "gateway_upstream_response_seconds",
    "From the complete request to the endpoint's response head, of the last try.",
    "cluster",
    bounds=SECONDS,
)
RETRIES = _counter(
    "gateway_retries_total",
    "Tries after the first, by what made them necessary; stale: the connection was closed while idle.",
    "cluster",
    "reason",
)
RETRIES_WON = _counter("gateway_retries_succeeded_total", "Requests a retry saved.", "cluster")
RETRIES_DENIED = _counter(
    "gateway_retries_denied_total", "Retries that were wanted and not made, by why.", "cluster", "reason"
)
TIMEOUTS = _counter(
    "gateway_timeouts_total", "Deadlines that passed: response, per_try...", "cluster", "kind"
)
FAULTS = _counter(
    "gateway_faults_total", "Faults injected: delay, abort.", "virtual_service", "route", "kind"
)
MIRRORS = _counter("gateway_mirrors_total", "Copies of requests sent elsewhere.", "virtual_service", "route")
MIRROR_COPIES = _counter(
    "gateway_mirror_copies_total",
    "What became of copies at a mirror: the class of its answer (2xx), the flag of a failure (UF), or"
    " declined, because too many were on their way.",
    "cluster",
    "outcome",
)
ENDPOINTS = _gauge("gateway_cluster_endpoints", "Endpoints of a cluster.", "cluster", merge="max")
AVAILABLE = _gauge(
    "gateway_cluster_endpoints_available",
    "Endpoints that get requests: neither ejected nor failing their checks.",
    "cluster",
    merge="min",
)
EJECTED = _gauge(
    "gateway_ejections_active",
    "Endpoints out of rotation for their failures; of workers, the worst.",
    "cluster",
    merge="max",
)
EJECTIONS = _counter("gateway_ejections_total", "Ejections, by what was detected.", "cluster", "reason")
ENDPOINT_EJECTED = _gauge(
    "gateway_endpoint_ejected",
    "1 while this endpoint is out of rotation.",
    "cluster",
    "endpoint",
    merge="max",
)
POOL_CONNECTIONS = _gauge(
    "gateway_pool_connections", "Open connections to a cluster, and those being opened.", "cluster"
)
POOL_PENDING = _gauge("gateway_pool_pending_requests", "Requests that wait for a connection.", "cluster")
POOL_ACTIVE = _gauge("gateway_pool_active_requests", "Requests at a cluster.", "cluster")
POOL_IDLE = _gauge("gateway_pool_idle_connections", "Connections that wait for a request.", "cluster")
BREAKER_OPEN = _gauge(
    "gateway_breaker_open",
    "1 while a limit of the cluster is reached.",
    "cluster",
    "limit",
    merge="max",
)
BREAKER_REMAINING = _gauge(
    "gateway_breaker_remaining",
    "What is left until the limit is reached; only where there is a limit.",
    "cluster",
    "limit",
)
OVERFLOWS = _counter(
    "gateway_breaker_overflows_total", "Requests refused because a limit was reached.", "cluster"
)
ENDPOINT_HEALTHY = _gauge(
    "gateway_endpoint_healthy",
    "0 while health checks fail; of several workers, the worst.",
    "cluster",
    "endpoint",
    merge="min",
)

# -- security ----------------------------------------------------------------------------------

CERTIFICATE = _gauge(
    "gateway_certificate_expiry_timestamp_seconds",
    "When a certificate or revocation list in use ends, in seconds since the epoch.",
    "name",
    "role",
    "subject",
    merge="min",
)
HANDSHAKES = _counter(
    "gateway_tls_handshakes_total",
    "TLS handshakes of clients: complete, or why there was no connection.",
    "outcome",
)
POLICY_DECISIONS = _counter(
    "gateway_policy_decisions_total",
    "What authorization policies decided: allowed, denied, audited, shadow_allowed, shadow_denied,"
    " plaintext, error.",
    "decision",
)
POLICY_MATCHES = _counter(
    "gateway_policy_rule_matches_total", "Requests that a rule of a policy took.", "policy", "rule"
)
RATE_LIMITED = _counter("gateway_rate_limited_total", "Requests refused by a rate limit.", "limit")
RATE_KEYS = _gauge("gateway_rate_limit_keys", "Keys a rate limit counts for in this process.", "limit")
RATE_ALONE = _counter(
    "gateway_rate_limit_fallbacks_total",
    "Requests that a shared rate limit was asked about while its store did not answer.",
    "limit",
)
STORE_UP = _gauge(
    "gateway_rate_limit_store_up", "1 while the store of shared rate limits answers.", "store", merge="min"
)
STORE_REQUESTS = _counter(
    "gateway_rate_limit_store_requests_total",
    "Questions for the store of shared rate limits: allowed, limited, recalled (a refusal known for less than"
    " a second), failed (no answer), skipped (not asked, because it had failed).",
    "store",
    "result",
)
STORE_SECONDS = _histogram(
    "gateway_rate_limit_store_seconds",
    "Rounds of questions to the store of shared rate limits.",
    "store",
    bounds=ROUNDS,
)
JWKS_KEYS = _gauge("gateway_jwks_keys", "Keys of an issuer that are in use.", "issuer", merge="min")
JWKS_FETCHED = _gauge(
    "gateway_jwks_last_success_timestamp_seconds",
    "When an issuer's keys were fetched last; only of those that are fetched.",
    "issuer",
    merge="min",
)
JWKS_FAILING = _gauge(
    "gateway_jwks_failing", "1 while the last fetch of an issuer's keys failed.", "issuer", merge="max"
)
JWT_CACHE = _counter(
    "gateway_jwt_cache_lookups_total",
    "Tokens looked up among those verified lately: hit, miss.",
    "issuer",
    "result",
)

# -- configuration -----------------------------------------------------------------------------

RELOADS = _counter("gateway_config_reloads_total", "Configurations applied, each process' first included.")
RELOAD_ERRORS = _counter("gateway_config_reload_errors_total", "Configurations refused.")
GENERATION = _gauge(
    "gateway_config_generation",
    "Number of the serving generation; each process counts its own.",
    merge="max",
)
CONFIG_INFO = _gauge(
    "gateway_config_info", "Processes that serve these files; two digests: not all serve the same.", "digest"
)
RELOADED = _gauge("gateway_config_last_reload_successful", "1 unless refused.", merge="min")
APPLIED = _gauge("gateway_config_applied_timestamp_seconds", "When it began to serve.", merge="max")
READY = _gauge("gateway_ready", "1 while traffic should come here.", merge="min")

# -- telemetry itself --------------------------------------------------------------------------

LOG_LINES = _counter("gateway_access_log_lines_total", "Lines of the access log that were written.")
LOG_DROPPED = _counter(
    "gateway_access_log_dropped_total", "Lines lost because their reader did not keep up or failed."
)
SPANS = _counter("gateway_traced_requests_total", "Requests that were traced, by who decided.", "decision")
SERIES = _gauge("gateway_metric_series", "Label sets in use.")
SERIES_OVERFLOW = _counter(
    "gateway_metric_series_overflow_total", "Requests counted in the overflow series because of the limit."
)

# -- runtime -----------------------------------------------------------------------------------

LOOP_LAG = _histogram(
    "gateway_event_loop_lag_seconds",
    "How late the event loop runs timers, four samples a second.",
    bounds=LAG,
)
LOOP_LAG_MAX = _gauge(
    "gateway_event_loop_lag_max_seconds", "The latest timer of the last minute.", merge="max"
)
BUILD = _gauge("gateway_build_info", "Always 1.", "version", "python", "implementation", merge="max")
WORKERS = _gauge("gateway_workers", "Processes whose numbers are in this exposition.")

OVERFLOW: Final = "overflow"
"""Label value of the series that takes what is beyond the limit."""
UNKNOWN: Final = "unknown"
"""Istio's word for a label without value."""

CATALOG: Final = tuple(value for value in tuple(globals().values()) if isinstance(value, Metric))
"""All of them, in this order. Beside them: `process_*` and `python_gc_*` of prometheus_client."""
