"""The sentences: what each flag and details string means, who is to blame, what to do.

Lifetime: config (constants). The empty flag holds the ends without one. The last rule of each has no details
and takes whatever is left; a test walks all flags and all details strings that the code can produce.
"""

from __future__ import annotations

from gateway.explain.rule import Rule
from gateway.explain.rules_client import CLIENT, REFUSED
from gateway.explain.rules_policy import POLICY
from gateway.http.flags import Flag

_RESET = r"upstream_reset_(?:before|after)_response_started\{"

ANSWERS = (
    (
        500,
        Rule(
            "via_upstream",
            "{place} answered {status} itself; the gateway passed the answer on",
            "the backend {place} ({service})",
            "look into the backend's own log for request id and time; if it should have been"
            " retried, give the"
            " route `retries.retryOn: 5xx` (or the code) at {where}",
        ),
    ),
    (
        400,
        Rule(
            "via_upstream",
            "{place} answered {status} itself: it found fault with the request",
            "the client, or the backend {place} ({service})",
            "compare the request with what the backend expects; `gateway explain` shows the head it was sent",
        ),
    ),
    (
        0,
        Rule(
            "via_upstream",
            "nothing went wrong: {place} answered {status}",
            "nobody",
            "nothing to do",
        ),
    ),
)
"""Least status -> what an answer of a backend means."""

RULES: dict[str, tuple[Rule, ...]] = {
    Flag.NO_ROUTE: (
        Rule(
            "",
            "no route takes {asked}: there is no virtual host for {host}, or none of its routes fits",
            "the configuration, or the client's URL or Host header",
            "`gateway explain {method} http://{host}{path}` names the route that missed by least and what it"
            " wanted; add a route for it, or correct the request",
        ),
    ),
    Flag.NO_CLUSTER: (
        Rule(
            "",
            "the route leads to {service}, which no document describes",
            "the configuration: {where}",
            "`gateway check` names the destination: its host needs a ServiceEntry with that port,"
            " its subset a"
            " DestinationRule that lists it",
        ),
    ),
    Flag.NO_HEALTHY_UPSTREAM: (
        Rule(
            "",
            "there is no endpoint of {service} that may be used: there is none at all, its name does"
            " not resolve,"
            " or all were ejected or fail their health checks",
            "the backends of {service}",
            "`gateway status` shows its endpoints, ejections and health; start a backend, or correct the"
            " endpoints, the subset's labels or the DNS name",
        ),
    ),
    Flag.UPSTREAM_CONNECT_FAILURE: (
        Rule(
            _RESET + r"connection_timeout",
            "{place} did not answer the connection attempt in time: it is gone, overloaded, or a"
            " firewall drops"
            " the packets",
            "the backend {place} ({service}), or the network to it",
            "check that the host is up and reachable from here; lower"
            " `connectionPool.tcp.connectTimeout` so that"
            " a retry reaches another endpoint sooner, and let outlierDetection eject it",
        ),
        Rule(
            _RESET + r".*(?i:expired)",
            "the TLS handshake with {place} failed because a certificate has expired: {why}",
            "the certificate of the backend {place}, or ours for it",
            "renew it: `gateway certs show FILE` tells the dates, `gateway status` those of every"
            " certificate in"
            " use",
        ),
        Rule(
            _RESET + r".*(?i:hostname|ip_address_mismatch|subject_alt|verify_san|not_valid_for)",
            "{place} showed a certificate of another name than the one we expect: {why}",
            "the certificate of the backend {place}, or `tls.subjectAltNames` and `tls.sni` of its"
            " DestinationRule",
            "issue the certificate for the name the DestinationRule expects, or correct the DestinationRule",
        ),
        Rule(
            _RESET + r".*(?i:revoked)",
            "the certificate of {place} was revoked by the authority that signed it: {why}",
            "the certificate of the backend {place}",
            "issue a new one; the list that names it is `tls.caCrl` of the DestinationRule",
        ),
        Rule(
            _RESET + r".*(?i:certificate_verify|unknown_ca|self.signed|unable_to_get_(?:local_)?issuer)",
            "the certificate of {place} is not signed by a root that we trust: {why}",
            "the certificate of the backend {place}, or `tls.caCertificates` of its DestinationRule",
            "give the DestinationRule the CA that signed it; `gateway certs show FILE` tells who that is",
        ),
        Rule(
            _RESET + r".*(?i:certificate_required|bad_certificate|handshake_failure)",
            "{place} refused our certificate: {why}",
            "`tls` of the DestinationRule of {service}: mode and client certificate",
            "with `mode: MUTUAL` give `clientCertificate` and `privateKey` that the backend's CA signed",
        ),
        Rule(
            _RESET + r".*(?i:tls|ssl|wrong_version|handshake)",
            "the TLS handshake with {place} failed: {why}",
            "`tls.mode` of the DestinationRule of {service}, or the backend {place}",
            "check whether the backend speaks TLS on that port at all: `openssl s_client -connect {place}`",
        ),
        Rule(
            _RESET + r".*(?i:refused)",
            "{place} refused the connection: nobody listens on that port",
            "the backend {place} ({service})",
            "start it, or correct address and port of its ServiceEntry; outlierDetection takes a"
            " dead endpoint"
            " out after a few failures",
        ),
        Rule(
            _RESET + r".*(?i:no_route|unreachable|host_is_down)",
            "there is no way to {place}: {why}",
            "the network between the gateway and {place}",
            "check routes, firewalls and the address in the ServiceEntry",
        ),
        Rule(
            _RESET + r".*(?i:too_many_open_files|cannot_assign|buffer_space)",
            "the gateway could not open a socket to {place}: {why}",
            "this machine's limits",
            "raise the limit of open files (`ulimit -n`, systemd `LimitNOFILE=`) or lower `maxConnections`",
        ),
        Rule(
            "",
            "no connection to {place} could be made: {why}",
            "the backend {place} ({service}), or the network to it",
            "check that it is up and reachable from here; `gateway status` shows how its endpoints fare",
        ),
    ),
    Flag.UPSTREAM_TERMINATION: (
        Rule(
            "",
            "{place} closed the connection before it answered",
            "the backend {place} ({service})",
            "it crashed, was restarted, or closes idle connections sooner than we do: look into its"
            " log, give it a"
            " longer keep-alive, or set `connectionPool.http.idleTimeout` below the backend's; with"
            " `retryOn: reset` safe requests are tried elsewhere",
        ),
    ),
    Flag.UPSTREAM_PROTOCOL_ERROR: (
        Rule(
            r"upstream_reset_after_response_started",
            "{place} ended its response in the middle of the body, after {sent} bytes had gone to"
            " the client; the"
            " client's connection was cut, so that it notices",
            "the backend {place} ({service})",
            "it crashed or was stopped while it answered: look into its log, and let it finish"
            " requests before it"
            " ends",
        ),
        Rule(
            r"upstream_reset_before_response_started\{protocol_error\|body_cut_off",
            "{place} ended its response in the middle of the body; nothing of it had gone to the client,"
            " which got {status} instead of half an answer",
            "the backend {place} ({service})",
            "it crashed or was stopped while it answered: look into its log, and let it finish requests"
            " before it ends; `retryOn: reset` tries such requests again",
        ),
        Rule(
            "",
            "what {place} sent is no valid HTTP response",
            "the backend {place} ({service})",
            "check that it speaks HTTP/1.1 on that port (not TLS, HTTP/2 or another protocol), and that its"
            " headers fit `limits.responseHeadBytes` and `responseHeaders`",
        ),
    ),
    Flag.UPSTREAM_REMOTE_RESET: (
        Rule(
            "",
            "{place} reset the request",
            "the backend {place} ({service})",
            "look into its log for the time and the request id; `retryOn: reset` tries safe requests"
            " elsewhere",
        ),
    ),
    Flag.LOCAL_RESET: (
        Rule(
            "",
            "the gateway gave the attempt up before {place} had answered: the client had sent a body"
            " that could"
            " not be forwarded, or the process was ending",
            "the client {client}, or a restart of the gateway",
            "if it happened during a restart, give `timeouts.drain` more time; else look at the"
            " client's upload",
        ),
    ),
    Flag.UPSTREAM_OVERFLOW: (
        Rule(
            "tunnel_limit_reached",
            "as many WebSockets are open as `limits.tunnels` allows, so this one was not",
            "the load on this process",
            "raise `limits.tunnels`, add workers, or find out who holds so many",
        ),
        Rule(
            "via_upstream",
            "{place} answered {status}, and it was not tried again because {held}",
            "the backend {place} ({service})",
            "look into the backend's log; {lever} is what held the retry back, and is there to keep an outage"
            " from growing",
        ),
        Rule(
            "",
            "the circuit breaker of {service} is open: as many requests or connections as its limits"
            " allow were"
            " already under way, so this one was not sent",
            "the load, or `connectionPool` of the DestinationRule of {service}",
            "`gateway status` shows which limit is full; add endpoints, find out why the backend"
            " became slow, or"
            " raise maxConnections, http1MaxPendingRequests or http2MaxRequests",
        ),
    ),
    Flag.UPSTREAM_TIMEOUT: (
        Rule(
            "upstream_per_try_timeout",
            "{place} did not answer within {per_try}, which is what a single try may take (perTryTimeout)",
            "the backend {place} ({service})",
            "find out why it is slow, or raise `retries.perTryTimeout` at {where}; with `retryOn: 5xx` or"
            " `gateway-error` a slow try is repeated elsewhere",
        ),
        Rule(
            "",
            "there was no complete answer within {limit}, the route's timeout; the last try was at {place}",
            "the backend {place} ({service})",
            "find out why it is slow (the waterfall shows where the time went), or raise `timeout`"
            " at {where}",
        ),
    ),
    Flag.RETRIES_EXHAUSTED: (
        Rule(
            "",
            "all {tries} tries failed; the answer of the last one, {status} of {place}, was passed on",
            "the backends of {service}",
            "the waterfall shows each try; if all endpoints fail alike, retries cannot help: look into the"
            " backends' logs",
        ),
    ),
    Flag.DELAY_INJECTED: (
        Rule(
            "",
            "the request was delayed on purpose: the route injects a fault into a share of its requests",
            "the configuration: `fault.delay` at {where}",
            "nothing is broken; take the fault out when the test is over",
        ),
    ),
    Flag.FAULT_INJECTED: (
        Rule(
            "",
            "the request was answered {status} on purpose: the route injects a fault into a share of its"
            " requests, and no backend was asked",
            "the configuration: `fault.abort` at {where}",
            "nothing is broken; take the fault out when the test is over",
        ),
    ),
    Flag.DURATION_TIMEOUT: (
        Rule(
            "",
            "the request or its connection lasted longer than it may ({took})",
            "the limit, or whoever was slow: the waterfall shows which side",
            "raise `connectionPool.tcp.maxConnectionDuration` or the route's `timeout` if such requests are"
            " meant to take that long",
        ),
    ),
    Flag.STREAM_IDLE_TIMEOUT: (
        Rule(
            "tunnel_idle_timeout",
            "nobody has said anything over the WebSocket for longer than `timeouts.tunnelIdle` allows",
            "the client {client} and the backend {place}",
            "let one of them send pings, or raise `timeouts.tunnelIdle`",
        ),
        Rule(
            "stream_idle_timeout",
            "nothing was sent in either direction for longer than `timeouts.streamIdle` allows",
            "the client {client} or the backend {place}: whoever had to speak next",
            "raise `timeouts.streamIdle` for answers that take so long and for streams that pause, or let"
            " them send something now and then",
        ),
        Rule(
            "",
            "nothing was sent in either direction for longer than it may",
            "the client {client} or the backend {place}: whoever had to speak next",
            "let streams that pause send something now and then",
        ),
    ),
    Flag.OVERLOAD: (
        Rule(
            "",
            "the gateway was overloaded and turned the request away before it did anything",
            "the load on this process",
            "add workers or machines; `gateway top` shows which route has the requests",
        ),
    ),
    **POLICY,
    **CLIENT,
    "": REFUSED,
}
"""By flag; particular details first."""
