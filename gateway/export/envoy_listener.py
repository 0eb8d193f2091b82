"""A listener with its HTTP connection manager, set up as the gateway's own edge is.

Lifetime: config.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.config.fields import format_duration
from gateway.export.envoy_policies import CORS, FAULT, typed
from gateway.export.envoy_route import MOST_BODY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gateway.config.settings import GatewaySettingsSpec

_ESCAPED = {
    "KEEP_UNCHANGED": "KEEP_UNCHANGED",
    "REJECT": "REJECT_REQUEST",
    "UNESCAPE_AND_FORWARD": "UNESCAPE_AND_FORWARD",
    "UNESCAPE_AND_REDIRECT": "UNESCAPE_AND_REDIRECT",
}
_UNDERSCORES = {"ALLOW": "ALLOW", "DROP": "DROP_HEADER", "REJECT": "REJECT_REQUEST"}

JSON_LOG = {
    "start_time": "%START_TIME%",
    "route_name": "%ROUTE_NAME%",
    "method": "%REQ(:METHOD)%",
    "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
    "protocol": "%PROTOCOL%",
    "response_code": "%RESPONSE_CODE%",
    "response_flags": "%RESPONSE_FLAGS%",
    "response_code_details": "%RESPONSE_CODE_DETAILS%",
    "connection_termination_details": "%CONNECTION_TERMINATION_DETAILS%",
    "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
    "duration": "%DURATION%",
    "upstream_service_time": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
    "x_forwarded_for": "%REQ(X-FORWARDED-FOR)%",
    "user_agent": "%REQ(USER-AGENT)%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "authority": "%REQ(:AUTHORITY)%",
    "upstream_host": "%UPSTREAM_HOST%",
    "upstream_cluster": "%UPSTREAM_CLUSTER_RAW%",
    "upstream_local_address": "%UPSTREAM_LOCAL_ADDRESS%",
    "downstream_local_address": "%DOWNSTREAM_LOCAL_ADDRESS%",
    "downstream_remote_address": "%DOWNSTREAM_REMOTE_ADDRESS%",
    "requested_server_name": "%REQUESTED_SERVER_NAME%",
    "upstream_transport_failure_reason": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
}
"""Istio's keys (`accessLogEncoding: JSON`)."""

TEXT_LOG = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE%'
    " %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS%"
    ' "%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% %BYTES_SENT% %DURATION%'
    ' %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%"'
    ' "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW%'
    " %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS%"
    " %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n"
)
"""Istio's default format."""


@dataclass(frozen=True, slots=True)
class Chain:
    """One of the ways in at an address: what is spoken there, and the virtual hosts behind it."""

    virtual_hosts: Sequence[Mapping[str, Any]]
    filters: Sequence[Mapping[str, Any]] = ()
    """What judges every request, in order."""
    name: str = ""
    """Of its table of routes; empty: the port's."""
    server_names: tuple[str, ...] = ()
    """For clients that ask for one of these; empty: for all others."""
    socket: Mapping[str, Any] | None = None
    """What terminates TLS; None: it is plain."""


def envoy_listener(
    name: str, address: tuple[str, int], chains: Sequence[Chain], settings: GatewaySettingsSpec
) -> dict[str, Any]:
    """One address. Believes forwarded headers of the trusted peers only."""
    host, port = address
    listener: dict[str, Any] = {
        "name": name,
        "address": {"socket_address": {"address": host, "port_value": port}},
        "filter_chains": [made for chain in chains for made in _filter_chains(name, port, chain, settings)],
    }
    if any(chain.socket is not None for chain in chains):
        inspector = typed("filters.listener.tls_inspector.v3.TlsInspector")
        listener["listener_filters"] = [
            {"name": "envoy.filters.listener.tls_inspector", "typed_config": inspector}
        ]
        listener["listener_filters_timeout"] = format_duration(settings.timeouts.tls_handshake)
    return listener


def _filter_chains(
    name: str, port: int, chain: Chain, settings: GatewaySettingsSpec
) -> Iterator[dict[str, Any]]:
    """The chain; before it, one for trusted peers where only those are believed."""
    routes = {
        "name": chain.name or f"http.{port}",
        "virtual_hosts": chain.virtual_hosts,
        # An unknown host or subset answers 503 NC instead of refusing the whole configuration.
        "validate_clusters": False,
        "ignore_port_in_host_matching": True,
        "max_direct_response_body_size_bytes": MOST_BODY,
    }
    common: dict[str, Any] = {}
    if chain.socket is not None:
        patience = format_duration(settings.timeouts.tls_handshake)
        common = {"transport_socket": chain.socket, "transport_socket_connect_timeout": patience}
    wanted = {"server_names": list(chain.server_names)} if chain.server_names else {}
    everybody: dict[str, Any] = {"use_remote_address": True}
    if settings.num_trusted_proxies:
        everybody["xff_num_trusted_hops"] = settings.num_trusted_proxies
    elif settings.trusted_proxies:
        networks = [_network(text) for text in settings.trusted_proxies]
        match = {**wanted, "direct_source_prefix_ranges": networks}
        filters = [_manager(name, routes, settings, _trust(networks), chain)]
        yield {"filter_chain_match": match, "filters": filters, **common}
    if wanted:
        common["filter_chain_match"] = wanted
    yield {"filters": [_manager(name, routes, settings, everybody, chain)], **common}


def _trust(networks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    detection = typed("http.original_ip_detection.xff.v3.XffConfig", xff_trusted_cidrs={"cidrs": networks})
    detection["skip_xff_append"] = False
    return {
        "use_remote_address": False,
        "original_ip_detection_extensions": [
            {"name": "envoy.http.original_ip_detection.xff", "typed_config": detection}
        ],
    }


def _network(text: str) -> dict[str, Any]:
    address, _, length = text.partition("/")
    return {"address_prefix": address, "prefix_len": int(length or (128 if ":" in address else 32))}


def _manager(
    name: str,
    routes: Mapping[str, Any],
    settings: GatewaySettingsSpec,
    trust: Mapping[str, Any],
    chain: Chain,
) -> dict[str, Any]:
    limits, timeouts = settings.limits, settings.timeouts
    manager = typed(
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=name,
        codec_type="HTTP1",
        route_config=routes,
        http_filters=[*chain.filters, *_filters(routes)],
        server_name=settings.server_name,
        server_header_transformation="OVERWRITE",
        generate_request_id=True,
        **_client_certificate(told=chain.socket is not None),
        normalize_path=settings.path_normalization != "NONE",
        merge_slashes=settings.path_normalization in {"MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"},
        strip_trailing_host_dot=True,  # what we take for the host without it
        path_with_escaped_slashes_action=_escaped_slashes(settings),
        common_http_protocol_options={
            "headers_with_underscores_action": _UNDERSCORES[settings.underscore_headers],
            "max_headers_count": limits.request_headers,
            "idle_timeout": format_duration(timeouts.downstream_idle),
        },
        max_request_headers_kb=min(8192, math.ceil(limits.request_head_bytes / 1024)),
        request_headers_timeout=format_duration(timeouts.request_head),
        stream_idle_timeout=format_duration(timeouts.stream_idle),
        drain_timeout=format_duration(timeouts.drain),
        upgrade_configs=[{"upgrade_type": "websocket"}],
        **trust,
    )
    if settings.access_log.encoding != "OFF":
        manager["access_log"] = [_access_log(settings)]
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}


def _client_certificate(*, told: bool) -> dict[str, Any]:
    """What backends are told of it in `x-forwarded-client-cert`; never what a client says."""
    if not told:
        return {"forward_client_cert_details": "SANITIZE"}
    details = {"subject": True, "cert": True, "dns": True, "uri": True}
    return {"forward_client_cert_details": "SANITIZE_SET", "set_current_client_cert_details": details}


def _escaped_slashes(settings: GatewaySettingsSpec) -> str:
    """DECODE_AND_MERGE_SLASHES unescapes by its name; only a redirect says more."""
    asked = settings.escaped_slashes
    if settings.path_normalization == "DECODE_AND_MERGE_SLASHES" and asked != "UNESCAPE_AND_REDIRECT":
        return "UNESCAPE_AND_FORWARD"
    return _ESCAPED[asked]


def _filters(routes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Only what some route uses: a filter costs every request."""
    used = {
        name
        for host in routes["virtual_hosts"]
        for route in host["routes"]
        for name in route.get("typed_per_filter_config", ())
    }
    found = []
    if FAULT in used:
        found.append({"name": FAULT, "typed_config": typed("filters.http.fault.v3.HTTPFault")})
    if CORS in used:
        found.append({"name": CORS, "typed_config": typed("filters.http.cors.v3.Cors")})
    router = typed("filters.http.router.v3.Router")
    return [*found, {"name": "envoy.filters.http.router", "typed_config": router}]


def _access_log(settings: GatewaySettingsSpec) -> dict[str, Any]:
    if settings.access_log.encoding == "JSON":
        form: dict[str, Any] = {"json_format": JSON_LOG}
    else:
        form = {"text_format_source": {"inline_string": TEXT_LOG}}
    log = typed("access_loggers.file.v3.FileAccessLog", path=settings.access_log.path, log_format=form)
    return {"name": "envoy.access_loggers.file", "typed_config": log}
