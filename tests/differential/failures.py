"""The table of deliberate differences, where requests fail or are copied."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from differential.difference import Difference
from differential.play import Ask
from differential.settle import without
from differential.which import sends, target_has
from gateway.exchange.retry import IDEMPOTENT
from gateway.http.secrets import is_secret

if TYPE_CHECKING:
    from differential.backend import Arrival
    from differential.play import Outcome


def copied(arrival: Arrival) -> bool:
    """Whether it came to a mirror."""
    return "-shadow" in dict(arrival.headers).get("host", "")


def settle_copies(
    ours: Outcome, theirs: Outcome, *names: str, secret: bool = False
) -> tuple[Outcome, Outcome]:
    """Headers of copies that are not compared: of these names, or all that hold credentials."""

    def plain(arrival: Arrival) -> Arrival:
        if not copied(arrival):
            return arrival
        dropped = [name for name, _ in arrival.headers if name in names or (secret and is_secret(name))]
        return replace(arrival, headers=without(dropped, arrival.headers))

    def of(outcome: Outcome) -> Outcome:
        return replace(outcome, arrivals=tuple(map(plain, outcome.arrivals)))

    return of(ours), of(theirs)


def copied_from(_: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
    return settle_copies(ours, theirs, "x-forwarded-for", "x-envoy-internal")


def copied_secrets(_: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
    if any(is_secret(name) for one in ours.arrivals if copied(one) for name, _ in one.headers):
        return ours, theirs
    return settle_copies(ours, theirs, secret=True)


def copied_length(_: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
    """The gateway's copy is framed by its length; that must be right."""

    def chunked(arrival: Arrival) -> Arrival:
        if not copied(arrival) or dict(arrival.headers).get("content-length") != str(len(arrival.body)):
            return arrival
        pairs = (
            *without(["content-length"], arrival.headers),
            ("transfer-encoding", "chunked"),
        )
        return replace(arrival, headers=pairs, framing="chunked")

    return replace(ours, arrivals=tuple(map(chunked, ours.arrivals))), theirs


def fewer_tries(_: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
    """Envoy went on where the gateway did not; what both had in common must be the same."""
    mine = [one for one in ours.arrivals if not copied(one)]
    other = [one for one in theirs.arrivals if not copied(one)]
    same = all(
        (one.target, one.body, one.method) == (two.target, two.body, two.method)
        for one, two in zip(mine, other, strict=False)
    )
    return (ours, ours) if same and len(mine) < len(other) else (ours, theirs)


def unread(_: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
    if ours.arrivals or not all(map(copied, theirs.arrivals)):
        return ours, theirs
    return ours, replace(theirs, arrivals=())


def overloaded(ask: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
    told = ("x-envoy-overloaded", "true") in ours.headers
    return fewer_tries(ask, ours, theirs) if told else (ours, theirs)


def held_back(_: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
    """Envoy's client got a part and the end of the connection, the gateway's an error; once was asked by both."""
    told = ours.status == 502 and ours.body.endswith(b"reset reason: protocol error")
    if not told or theirs.status or len(ours.arrivals) != len(theirs.arrivals):
        return ours, theirs
    return ours, replace(ours, arrivals=theirs.arrivals)


def unnamed(ask: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
    told = dict(ours.headers).get("grpc-status") in {"1", "14"}
    return fewer_tries(ask, ours, theirs) if told else (ours, theirs)


FAILURES: tuple[Difference, ...] = (
    Difference(
        when="a response with `x-envoy-overloaded`",
        gateway="is final",
        envoy="is repeated, when `retryOn` covers its status",
        why="more requests are what an overloaded backend needs least",
        example=Ask.of(target="/retried?answer=overloaded.plain"),
        concerns=target_has("overloaded"),
        settle=overloaded,
    ),
    Difference(
        when="a POST or PATCH answered with grpc-status CANCELLED or UNAVAILABLE, under Istio's default retries",
        gateway="is not repeated; it is when the route names the status in `retryOn`",
        envoy="is repeated twice",
        why="nobody wrote that doing it twice is harmless",
        example=Ask.of("POST", "/?answer=grpc-14.plain", body=b"hi"),
        concerns=lambda ask: ask.method not in IDEMPOTENT and "grpc-1" in ask.target,
        settle=unnamed,
    ),
    Difference(
        when="a response of known length, at most `limits.responseHoldBytes` (16384), that breaks off in its body",
        gateway="is a failure like any other, for nothing of it was passed on: 502 `UPE`, or repeated where the"
        " route's policy names it (`reset`, `5xx`); and a timeout that passes inside it is 504",
        envoy="has begun: the client is cut off in the middle",
        why="a failure that the client need not see; `0` passes on what has come, as Envoy does",
        example=Ask.of(target="/?answer=cut"),
        concerns=target_has("answer=cut"),
        settle=held_back,
    ),
    Difference(
        when="the copy a mirror gets",
        gateway="has the `x-forwarded-for` that the backend gets",
        envoy="has one more address in it, its own, and `x-envoy-internal`",
        why="a copy of what the backend gets is what a mirror is to see",
        example=Ask.of(target="/mirrored"),
        copies=1,
        settle=copied_from,
    ),
    Difference(
        when="credentials in the copy a mirror gets (`authorization`, `cookie`, keys, tokens)",
        gateway="are removed, unless `mirrorCredentials` is set",
        envoy="are sent",
        why="who gets copies for testing is seldom who may act for the user",
        example=Ask.of(target="/mirrored", headers=[("authorization", "Bearer t"), ("cookie", "a=b")]),
        copies=1,
        concerns=lambda ask: any(is_secret(name) for name in names(ask)),
        settle=copied_secrets,
    ),
    Difference(
        when="the copy of a chunked request body",
        gateway="has a `content-length`",
        envoy="is chunked",
        why="the body is known by then",
        example=Ask(
            b"POST /mirrored HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
        ),
        copies=1,
        concerns=sends("transfer-encoding"),
        settle=copied_length,
    ),
    Difference(
        when="a request with a body that is still coming, and that no endpoint accepts a connection for",
        gateway="is not copied: it is answered before its body was read",
        envoy="is copied while it is read",
        why="a copy has the whole body, or there is none",
        example=Ask.of("POST", "/mirrored-dead", body=b"x" * 400_000),
        copies=1,
        concerns=lambda ask: not ask.data.endswith(b"\r\n\r\n"),
        settle=unread,
    ),
)


def names(ask: Ask) -> list[str]:
    """The request's header names."""
    lines = ask.data.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
    return [line.partition(":")[0].lower() for line in lines]


class Slow(NamedTuple):
    """A difference that no single request shows."""

    when: str
    gateway: str
    envoy: str
    why: str


UNTRIED = (
    Slow(
        "the retry budget",
        "is on by default (`retryBudget` of GatewaySettings): a share of the first tries in flight, and of the"
        " requests begun over time, with a reserve of five; requests that need no retry save up for more, and a"
        " failed connect needs no place while other endpoints accept connections. A DestinationRule with"
        " `retryBudget` or `maxRetries` has Envoy's instead",
        "is off by default, and a share of all requests in flight, retries among them, but always three",
        "20 % stay 20 %, with one request at a time too, and an endpoint that dies costs no client an error",
    ),
    Slow(
        "a retry when several endpoints were tried",
        "goes to one that was not, if there is one",
        "goes to one that was tried when five draws do not find another",
        "one dead endpoint of four costs nobody an error",
    ),
    Slow(
        "a copy for a mirror, on a route without `timeout`",
        "is given up after 60 s",
        "may take for ever",
        "a silent mirror would fill all places",
    ),
    Slow(
        "a response that falls silent, before its head or inside it (`timeouts.streamIdle`)",
        "is ended up to a tenth, or 0.2 s, later than the limit",
        "is ended at the limit",
        "one look at all connections every now and then, instead of a timer for each request",
    ),
    Slow(
        "a request body that comes with less than `limits.requestBodyRate` (240) bytes a second after 10 s",
        "408; cut off when its response has begun",
        "takes as long as it likes, a byte at least every `stream_idle_timeout` (5 min); Istio sets no"
        " `request_timeout`",
        "a byte a minute would hold a connection to the backend for ever; Kestrel has the same rule, and the"
        " same default",
    ),
    Slow(
        "a Host with a dot at its end (`shop.test.`)",
        "is the host without it, to routes, limits and TLS servers",
        "is another host, unless `strip_trailing_host_dot` is set, as it is in what `gateway export envoy` writes",
        "to backends it is the same",
    ),
    Slow(
        "a handshake for a WebSocket without one `Sec-WebSocket-Key` of 16 bytes, or with another version than 13",
        "400",
        "is forwarded",
        "who reads the other one of two keys takes it for another handshake (RFC 6455 4.2.1)",
    ),
    Slow(
        "an offer of WebSocket with another method than GET, or with a body",
        "is not taken: the request is forwarded without it",
        "is forwarded; the body's bytes are the tunnel's first",
        "a body that becomes something else than a body is how requests are smuggled (RFC 6455 4.1)",
    ),
    Slow(
        "an offer of WebSocket beside another protocol that may be ignored (h2c), or twice",
        "is not taken: the request is forwarded without it",
        "403",
        "an offer may be ignored (RFC 9110 7.8)",
    ),
    Slow(
        "a 101 for another protocol than was asked for, or for none",
        "502",
        "is relayed, and both connections are a tunnel",
        "nobody has agreed on what is spoken there",
    ),
    Slow(
        "a handshake that the backend, or the proxy, does not take",
        "is answered on a connection that stays open; a backend's answer has `x-envoy-upstream-service-time`",
        "is answered, and both connections are closed; there is no such header",
        "what follows is a request like any other",
    ),
    Slow(
        "the words of `connection` and the case of `upgrade` that a handshake has at the backend",
        "`Upgrade` and `websocket`",
        "as the client wrote them",
        "what else `connection` names is between the client and the gateway",
    ),
    Slow(
        "a client that stops sending on a WebSocket, and still reads (a half close)",
        "the backend sees that no more comes, and may go on",
        "both connections are closed",
        "bytes that are on their way arrive",
    ),
    Slow(
        "a WebSocket on which nobody says anything",
        "is ended after `timeouts.tunnelIdle` (1 h)",
        "is ended after `timeouts.streamIdle` (5 min)",
        "a silent socket is no stalled response; Istio's gateways have no limit at all",
    ),
    Slow(
        "one connection more than `limits.connections`",
        "503, and the connection ends",
        "the connection ends",
        "a balancer sees who is full",
    ),
    Slow(
        "a client certificate with two URIs, or with a SPIFFE ID that is not in canonical form",
        "is nobody's: rules that let a principal in do not, rules that keep one out, or ask for another, do",
        "has every one of its URIs, and its DNS names, as principals",
        "one connection is one workload (SPIFFE X.509-SVID 5.2)",
    ),
    Slow(
        "plain HTTP at a port that speaks TLS",
        "400, with a sentence that says so",
        "the connection ends",
        "a wrong scheme is found at once",
    ),
    Slow(
        "`upstream_transport_failure_reason` of a backend that is not who it should be",
        "`TLS_error:_CERTIFICATE_VERIFY_FAILED` and OpenSSL's words for the reason",
        "`TLS_error:` and the words of its own library, with `CERTIFICATE_VERIFY_FAILED` among them",
        "two libraries",
    ),
    Slow(
        "certificates, keys, authorities and revocation lists that change on disk",
        "are followed",
        "are read when it starts (static files, as `gateway export envoy` names them)",
        "no restart, and removed trust takes effect at once",
    ),
)
