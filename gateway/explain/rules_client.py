"""The sentences about clients: those that left, and requests that were refused for what they are.

Lifetime: config (constants).
"""

from __future__ import annotations

from gateway.explain.rule import Rule
from gateway.explain.rules_policy import DENIED
from gateway.http.flags import Flag


def _refused(details: str, cause: str, remedy: str) -> Rule:
    return Rule(rf"(?:{details})$", cause, "the client {client}: its request", remedy)


SMUGGLING = "such requests are how one request is hidden in another; find out who sends them"
"""What to do about framing that means two things."""

MALFORMED = (
    _refused(
        "path_normalization_failed|bad_target",
        "the path has no single spelling: it has control characters, half-written or escaped slashes, %00, or"
        " segments like `..;x`",
        "let the client send a plain path; if a backend needs %2F, see `escapedSlashes` in GatewaySettings",
    ),
    _refused(
        "rewritten_path_not_canonical",
        "rewriting would have made a path that leaves what the route matched ({path})",
        "end `match.uri.prefix` and `rewrite.uri` at {where} both with a slash, or send a plain path",
    ),
    _refused(
        "invalid_host_header|bad_host|no_host|several_hosts|missing_host_header|authority_mismatch",
        "the Host header is missing, repeated or no host name",
        "send exactly one Host header of the form name or name:port",
    ),
    _refused(
        "invalid_framing|content_length_and_transfer_encoding|bad_content_length|several_transfer_encodings"
        "|transfer_encoding|bad_chunk|chunk_extension_too_long",
        "the length of the request's body is given twice, wrongly, or in a way nobody needs",
        SMUGGLING,
    ),
    _refused(
        "connection_header_names_protected_header",
        "the Connection header names a header that others rely on, to have it removed on the way",
        SMUGGLING,
    ),
    _refused(
        "header_name_with_underscore",
        "a header's name has an underscore, which many backends take for a hyphen",
        "rename the header, or set `underscoreHeaders: ALLOW` or DROP in GatewaySettings",
    ),
    _refused(
        "header_value_with_control_character",
        "the value of a header has control characters, which backends read in different ways",
        SMUGGLING,
    ),
    _refused(
        "method_not_allowed|invalid_method|method",
        "the gateway does not take the method {method}",
        "use GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS, in capitals",
    ),
    _refused(
        "request_headers_too_many|too_many_headers",
        "the request has more headers than `limits.requestHeaders` allows",
        "send fewer (cookies are the usual reason), or raise the limit in GatewaySettings",
    ),
    _refused(
        "request_headers_too_large|request_head_too_large|trailers_too_large",
        "the request's headers are larger than `limits.requestHeadBytes` allows",
        "send less (cookies and tokens are the usual reason), or raise the limit in GatewaySettings",
    ),
    _refused(
        "request_target_too_long",
        "path and query are longer than `limits.requestTargetBytes` allows",
        "send data in a body, or raise the limit in GatewaySettings",
    ),
    _refused(
        "repeated_authorization_header|several_authorizations",
        "the request has more than one Authorization header",
        "send exactly one",
    ),
    _refused(
        "request_payload_too_large|request_body_too_large",
        "the request's body is larger than `limits.requestBodyBytes` allows",
        "send less, or raise the limit in GatewaySettings",
    ),
    _refused(
        "request_payload_exceeded_retry_buffer_limit",
        "the request's body is larger than what is kept for a retry, and a retry was under way",
        "send less at once, or turn retries off for uploads at {where}",
    ),
    _refused(
        "request_head_timeout|request_header_timeout",
        "the client did not complete its request head in time",
        "a slow or broken client, or one that holds connections open on purpose; see `timeouts.requestHead`",
    ),
    _refused(
        "request_body_timeout|request_overall_timeout",
        "the client stopped sending its request body",
        "look at the client or its network; see `timeouts.requestBodyIdle`",
    ),
    _refused(
        "request_body_too_slow",
        "the client sent its request body more slowly than `limits.requestBodyRate` allows",
        "a slow or broken client, or one that holds connections open on purpose; where clients have reason to"
        " pause inside a body, lower the rate, or turn it off with 0",
    ),
    _refused(
        "misdirected_request",
        "the Host header names a host of another certificate than the TLS connection was opened for",
        "let the client open a connection of its own for each server name (browsers do so after 421)",
    ),
    _refused(
        "low_version|http_1_0|http_version",
        "the client speaks a version of HTTP that is not served here",
        "use HTTP/1.1",
    ),
    _refused("upgrade", "the request asks for another protocol", "WebSocket is the only one; ask without"),
    _refused(
        "websocket_key|websocket_version",
        "the request asks for a WebSocket without exactly one Sec-WebSocket-Key of 16 bytes, or with another"
        " Sec-WebSocket-Version than 13",
        "let the client use a WebSocket library (RFC 6455 4.1)",
    ),
    _refused("expectation", "the request has an Expect header other than 100-continue", "leave it out"),
    _refused(
        "too_many_connections",
        "as many clients are connected as `limits.connections` allows",
        "raise the limit, add workers, or find out who holds so many connections",
    ),
    _refused(
        "malformed_request|bad_request_line|scheme_mismatch|http1\\.codec_error|http2\\..*",
        "the request is not valid HTTP/1.1",
        "`gateway` keeps the first bytes of such requests: look at them in the console, under"
        " rejected requests",
    ),
)
"""By what was wrong with the request."""

LEFT_TUNNEL = Rule(
    "downstream_remote_disconnect",
    "nothing went wrong: the client {client} closed its WebSocket after {took}",
    "nobody",
    "nothing to do",
)
"""The end of most WebSockets, which Envoy flags like any client that leaves."""

CLIENT: dict[str, tuple[Rule, ...]] = {
    Flag.CLIENT_GONE: (
        Rule(
            "",
            "the client {client} closed its connection after {took}, before the answer was complete",
            "the client {client}, or its patience",
            "compare {took} with the client's own timeout; if the backend was still at work, the"
            " waterfall shows"
            " for how long",
        ),
    ),
    Flag.DOWNSTREAM_PROTOCOL_ERROR: (
        *MALFORMED,
        Rule(
            "",
            "the request was refused: {reason}",
            "the client {client}: its request",
            "correct the request; `gateway explain` tells the same without sending it",
        ),
    ),
}
"""By flag."""

REFUSED = (
    Rule(
        "BlackHoleCluster",
        "the program called a host that no VirtualService and no ServiceEntry names",
        "the configuration, or the program",
        "add a ServiceEntry for the host and its port; `gateway.Transport(passthrough=True)` lets"
        " unknown hosts through",
    ),
    Rule(
        "https_to_plain_text",
        "the program asked for https, and {service} is spoken to in plain text; it was not sent",
        "the configuration, or the program",
        "give the service a DestinationRule with `tls: {{mode: SIMPLE}}`, or its port the protocol HTTPS; or"
        " ask for http",
    ),
    Rule(
        "websocket_elsewhere",
        "a WebSocket was opened on a route that leads to a service; only the wrapped application has them",
        "the client, or the configuration: {where}",
        "send the path to `host: app.local`, or open the WebSocket at the service itself",
    ),
    Rule(
        "tunnel_drained",
        "the gateway stopped, and the WebSocket was still open when its patience (`timeouts.drain`) was over",
        "whoever stopped the gateway",
        "let clients connect again; raise `timeouts.drain` if they need longer to finish",
    ),
    Rule(
        "direct_response",
        "nothing went wrong: the route answers {status} by itself (redirect, direct response, or"
        " http to https)",
        "the configuration: {where}",
        "nothing to do, unless the route should forward",
    ),
    Rule(
        "cors_response",
        "nothing went wrong: a browser's CORS preflight was answered by the route's corsPolicy",
        "nobody",
        "if the browser complains, compare its Origin with `corsPolicy.allowOrigins` at {where}",
    ),
    Rule(
        "path_normalization_redirect",
        "the client was sent to the plain spelling of its path (`escapedSlashes: UNESCAPE_AND_REDIRECT`)",
        "nobody",
        "nothing to do",
    ),
    *DENIED,
    *MALFORMED,
    Rule(
        "fault_filter_abort",
        "the request was answered {status} on purpose: the route injects a fault into a share of its"
        " requests",
        "the configuration: `fault.abort` at {where}",
        "nothing is broken; take the fault out when the test is over",
    ),
    Rule("via_upstream", "{place} answered {status}", "the backend {place}", "nothing to do"),
    Rule(
        "",
        "the gateway answered {status}: {reason}",
        "see the details string",
        "`gateway explain` tells each step of the decision",
    ),
)
"""Ends without a flag."""
