"""The one table of deliberate differences from Envoy, and the comparison that knows nothing beyond it.

`python -m differential.differences > docs/differences.md`, run in tests/, writes the page; a test holds it equal.
Every entry has an example: a test shows that the difference is there, and that without the entry it would be told.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from differential.backend import Arrival
from differential.play import Ask, Outcome

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
Settle = Callable[[Ask, Outcome, Outcome], tuple[Outcome, Outcome]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Something the gateway does otherwise on purpose."""

    when: str
    """Which requests, in words."""
    gateway: str
    envoy: str
    why: str
    example: Ask
    settings: Mapping[str, str] = field(default_factory=dict)
    """GatewaySettings the example needs."""
    concerns: Callable[[Ask], bool] = lambda _: True
    refuses: tuple[int, ...] = ()
    """The gateway answers one of these by itself, and nothing else is compared."""
    settle: Settle | None = None
    """Makes equal what may differ, and no more."""


# -- what is compared ------------------------------------------------------------------------------


def compare(ask: Ask, ours: Outcome, theirs: Outcome, table: Iterable[Difference] | None = None) -> list[str]:
    """What differs beyond the tables; nothing when all is well."""
    for difference in (*TABLE, *OPEN) if table is None else table:
        if not difference.concerns(ask):
            continue
        if difference.refuses and ours.status in difference.refuses and not ours.arrivals:
            return []
        if difference.settle is not None:
            ours, theirs = difference.settle(ask, ours, theirs)
    ours, theirs = _plain(ours), _plain(theirs)
    return [
        f"{field}: gateway {mine!r}, envoy {other!r}"
        for field in ("status", "interim", "headers", "body", "arrivals")
        if (mine := getattr(ours, field)) != (other := getattr(theirs, field))
    ]


def _plain(outcome: Outcome) -> Outcome:
    """Without what differs from one run to the next: times, random ids, the order of headers of different names."""
    arrivals = tuple(replace(arrival, headers=_headers(arrival.headers)) for arrival in outcome.arrivals)
    return replace(outcome, headers=_headers(outcome.headers), arrivals=arrivals)


def _headers(headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    # The sort is stable: lines of one name keep their order.
    return tuple(sorted(map(_header, headers), key=lambda pair: pair[0]))


def _header(pair: tuple[str, str]) -> tuple[str, str]:
    name, value = pair
    if name == "date" and value.endswith(" GMT"):
        return name, "a date"
    if name == "x-request-id" and _UUID.match(value):
        return name, "a UUID"
    if name == "x-envoy-upstream-service-time" and value.isdigit():
        return name, "a time"
    return pair


# -- ways to make outcomes equal ---------------------------------------------------------------------


def _without(names: Sequence[str], headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple(pair for pair in headers if pair[0] not in names)


def drop_answered(*names: str) -> Settle:
    """These headers of the answer are not compared."""

    def settle(_: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
        return (
            replace(ours, headers=_without(names, ours.headers)),
            replace(theirs, headers=_without(names, theirs.headers)),
        )

    return settle


def only_envoy_forwards(*names: str) -> Settle:
    """Envoy forwards these headers; the gateway must not."""

    def settle(_: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
        return ours, arrived(theirs, lambda one: replace(one, headers=_without(names, one.headers)))

    return settle


def arrived(outcome: Outcome, change: Callable[[Arrival], Arrival]) -> Outcome:
    """With every arrival changed."""
    return replace(outcome, arrivals=tuple(map(change, outcome.arrivals)))


def _request_id(_: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
    if ("x-envoy-upstream-service-time" in dict(ours.headers)) or not ours.status:
        return ours, theirs
    kept = [pair for pair in ours.headers if pair[0] != "x-request-id" or not _UUID.match(pair[1])]
    return replace(ours, headers=tuple(kept)), theirs


def _whole_chunks(_: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
    length = ("content-length", str(len(ours.body)))
    if length in ours.headers and ("transfer-encoding", "chunked") in theirs.headers:
        chunked = tuple(("transfer-encoding", "chunked") if pair == length else pair for pair in ours.headers)
        return replace(ours, headers=chunked), theirs
    return ours, theirs


def _loopback(_: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
    def change(one: Arrival) -> Arrival:
        pairs = [
            (name, re.sub(r"[0-9.]+\Z", "127.0.0.1", value) if name == "x-forwarded-for" else value)
            for name, value in one.headers
        ]
        return replace(one, headers=tuple(pairs))

    return ours, arrived(theirs, change)


def _own_forwarded_for(_: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
    def change(one: Arrival) -> Arrival:
        pairs = [
            (name, value.rpartition(",")[2] if name == "x-forwarded-for" else value)
            for name, value in one.headers
        ]
        return replace(one, headers=tuple(pairs))

    return ours, arrived(theirs, change)


def _empty_query(_: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
    trimmed = arrived(theirs, lambda one: replace(one, target=one.target.removesuffix("?")))
    pairs = [
        (name, value.removesuffix("?") if name in {"location", "x-envoy-original-path"} else value)
        for name, value in trimmed.headers
    ]
    return ours, replace(trimmed, headers=tuple(pairs))


def _no_body_no_length(_: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
    def change(one: Arrival) -> Arrival:
        if one.framing == "length" and not one.body:
            return replace(one, framing="none", headers=_without(["content-length"], one.headers))
        return one

    bare = all(one.framing == "none" for one in ours.arrivals)
    return ours, arrived(theirs, change) if bare else theirs


def _refusal(_: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
    """Both refuse with the same status: body and headers of the refusal are each one's own."""
    if ours.status == theirs.status >= 400 and not ours.arrivals and not theirs.arrivals and _by_parser(ours):
        return replace(ours, headers=(), body=b""), replace(theirs, headers=(), body=b"")
    return ours, theirs


def _by_parser(outcome: Outcome) -> bool:
    """Whether the gateway refused before it looked for a route."""
    return outcome.status in {400, 403, 414, 417, 426, 431, 501, 505}


def _lost_slash(_: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
    """The two see another path, so anything may follow from it."""
    del theirs
    return ours, ours


def _own_location(ask: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
    place = dict(theirs.headers).get("location", "")
    if not ours.arrivals and "location" not in dict(ours.headers) and place.startswith(_origin(ask)):
        return ours, replace(theirs, headers=_without(["location"], theirs.headers))
    return ours, theirs


def _default_port(ask: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
    host, _, port = (ask.header("host") or [""])[0].partition(":")
    mine, other = dict(ours.headers).get("location", ""), dict(theirs.headers).get("location", "")
    if (
        port
        and other.startswith((f"http://{host}:{port}/", f"https://{host}:{port}/"))
        and mine == other.replace(f":{port}", "", 1)
    ):
        return replace(ours, headers=_put(ours.headers, "location", other)), theirs
    return ours, theirs


def _own_status(_: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
    """In values that name the status: Envoy has none yet."""
    if "x-envoy-upstream-service-time" in dict(ours.headers):
        return ours, theirs
    known = set(theirs.headers)
    told = [(name, value.replace(str(ours.status), "0")) for name, value in ours.headers]
    pairs = [zero if zero in known else pair for zero, pair in zip(told, ours.headers, strict=True)]
    return replace(ours, headers=tuple(pairs)), theirs


def _unchanged_path(_: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
    def change(one: Arrival) -> Arrival:
        if dict(one.headers).get("x-envoy-original-path") == one.target:
            return replace(one, headers=_without(["x-envoy-original-path"], one.headers))
        return one

    return ours, arrived(theirs, change)


def _escaped_rewrite(_: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
    def change(one: Arrival) -> Arrival:
        return replace(one, target=one.target.replace("<", "%3C").replace(">", "%3E"))

    return ours, arrived(theirs, change)


def _refused_rewrite(_: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
    paths = [one.target.partition("?")[0] for one in theirs.arrivals]
    odd = any(not path.startswith("/") or {".", ".."} & set(path.split("/")) for path in paths)
    return (theirs, theirs) if odd and ours.status == 400 and not ours.arrivals else (ours, theirs)


def _two_slashes(_: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
    place = dict(theirs.headers).get("location", "")
    if ours.status == theirs.status == 307 and place.startswith(("//", "/\\")):
        return ours, replace(theirs, headers=_put(theirs.headers, "location", "/" + place.lstrip("/\\")))
    return ours, theirs


def _asked_again(_: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
    if (
        len(ours.arrivals) == 2
        and len(theirs.arrivals) == 1
        and ours.arrivals[0].target == ours.arrivals[1].target
    ):
        return replace(ours, arrivals=ours.arrivals[:1]), theirs
    return ours, theirs


def _no_empty_allowance(_: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
    kept = [pair for pair in theirs.headers if pair != ("access-control-allow-headers", "")]
    return ours, replace(theirs, headers=tuple(kept))


def _preflight_without_operations(ask: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
    if ask.method == "OPTIONS" and ours.status == theirs.status == 200 and not ours.arrivals:
        kept = [pair for pair in ours.headers if not pair[0].startswith("x-") or pair in theirs.headers]
        return replace(ours, headers=tuple(kept)), theirs
    return ours, theirs


def _put(headers: Iterable[tuple[str, str]], name: str, value: str) -> tuple[tuple[str, str], ...]:
    return tuple((key, value if key == name else old) for key, old in headers)


def _origin(ask: Ask) -> str:
    return f"http://{(ask.header('host') or [''])[0]}/"


# -- which requests --------------------------------------------------------------------------------


def target_has(pattern: str) -> Callable[[Ask], bool]:
    """Whether the request target matches somewhere."""
    found = re.compile(pattern).search
    return lambda ask: found(ask.target) is not None


def path_has(pattern: str) -> Callable[[Ask], bool]:
    """Whether the part before the query matches somewhere."""
    found = re.compile(pattern).search
    return lambda ask: found(ask.target.partition("?")[0]) is not None


def only_slashes(ask: Ask) -> bool:
    """Whether nothing but two or more slashes is left of the path once its dots are resolved."""
    path = re.sub(r"%2[fF]|%5[cC]|\\", "/", ask.target.partition("?")[0])
    kept: list[str] = []
    path = re.sub(r"%2[eE]", ".", path)
    for piece in path.split("/")[1:]:
        if piece == "..":
            kept = kept[:-1]
        elif piece != ".":
            kept.append(piece)
    if path.rpartition("/")[2] in {".", ".."}:
        kept.append("")
    return len(kept) > 1 and not any(kept)


def sends(*names: str) -> Callable[[Ask], bool]:
    """Whether one of these headers is there."""
    return lambda ask: any(ask.header(name) for name in names)


def head_has(pattern: bytes) -> Callable[[Ask], bool]:
    """Whether the bytes of the request match somewhere."""
    found = re.compile(pattern, re.DOTALL).search
    return lambda ask: found(ask.data) is not None


_HOST = re.compile(r"([A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(:(?!0+\Z)[0-9]{1,5})?\Z")


def odd_host(ask: Ask) -> bool:
    """Whether the Host is not one `host[:port]`."""
    values = ask.header("host")
    if len(values) != 1 or not _HOST.match(values[0]):
        return True
    port = values[0].rpartition(":")[2]
    return port.isdigit() and int(port) > 65535


def _protected(value: str) -> bool:
    words = [word.strip().lower() for word in value.split(",")]
    return any(word.startswith("x-") or word in {"host", "authorization", "cookie"} for word in words)


def _raw(head: str) -> Ask:
    return Ask(head.replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n")


# -- the table --------------------------------------------------------------------------------------

TABLE: tuple[Difference, ...] = (
    Difference(
        when="every answer the gateway makes itself",
        gateway="carries `x-request-id`",
        envoy="does not",
        why="a client can name the request that failed",
        example=Ask.of(target="/direct"),
        settle=_request_id,
    ),
    Difference(
        when="a refusal before routing: bad syntax, limits, versions, paths",
        gateway="its own short text, or none, and its own headers",
        envoy="`Bad Request` and the like, or none",
        why="the status is the contract; the text is for people",
        example=_raw("GET /a#b HTTP/1.1\nHost: a.test"),
        settle=_refusal,
    ),
    Difference(
        when="every request",
        gateway="says `connection: close` when it closes, for reasons of its own",
        envoy="the same, for other reasons (a body that was not read, among others)",
        why="hop-by-hop; nothing a client relies on",
        example=Ask.of("POST", "/direct", body=b"hi"),
        settle=drop_answered("connection"),
    ),
    Difference(
        when="a chunked response that has arrived whole when its head is sent on",
        gateway="is sent with `content-length`",
        envoy="stays chunked",
        why="one write instead of several; the same bytes for the client",
        example=Ask.of(target="/?answer=chunked"),
        settle=_whole_chunks,
    ),
    Difference(
        when="a chunked response to HEAD",
        gateway="`transfer-encoding` is not sent on",
        envoy="it is",
        why="there is no body to frame (RFC 9112 6.1 allows both)",
        example=Ask.of("HEAD", "/?answer=chunked"),
        concerns=lambda ask: ask.method == "HEAD",
        settle=drop_answered("transfer-encoding"),
    ),
    Difference(
        when="a `directResponse` with status 201 or 3xx",
        gateway="has the headers that the route gives it",
        envoy="adds `location`, with the request's own URL",
        why="with 301 that is a redirect to itself",
        example=Ask.of(target="/see-other"),
        settle=_own_location,
    ),
    Difference(
        when="a redirect with the `port` that its scheme has anyway",
        gateway="the port of the Host header goes",
        envoy="(as Istio programs it) it stays: `Host: a:8080` is sent to `http://a:8080`",
        why="the field says which port",
        example=Ask.of(target="/port-80", host="a.test:8080"),
        settle=_default_port,
    ),
    Difference(
        when="`%RESPONSE_CODE%` in headers of answers the gateway makes itself",
        gateway="is the status",
        envoy="is 0",
        why="the status is known",
        example=Ask.of(target="/status"),
        settle=_own_status,
    ),
    Difference(
        when="a rewrite that leaves the path as it was",
        gateway="adds no `x-envoy-original-path`",
        envoy="adds it",
        why="there is nothing to tell",
        example=Ask.of(target="/same"),
        settle=_unchanged_path,
    ),
    Difference(
        when="characters in a rewrite that may not stand in a path (`<`, `>`, blanks)",
        gateway="are escaped",
        envoy="are sent as they are",
        why="what is forwarded is a request target (RFC 9112 3.2)",
        example=Ask.of(target="/unsafe"),
        settle=_escaped_rewrite,
    ),
    Difference(
        when="a client on the loopback interface",
        gateway="`x-forwarded-for` gets its address",
        envoy="`x-forwarded-for` gets the machine's own address",
        why="an address that is not the peer's is a guess",
        example=Ask.of(),
        settle=_loopback,
    ),
    Difference(
        when="`x-forwarded-for` from a peer that is not trusted",
        gateway="is replaced",
        envoy="gets the peer's address appended",
        why="a backend that reads the first entry would believe the client",
        example=Ask.of(headers=[("x-forwarded-for", "192.0.2.1")]),
        concerns=sends("x-forwarded-for"),
        settle=_own_forwarded_for,
    ),
    Difference(
        when="`forwarded`, `x-forwarded-host`, `-port`, `-prefix`, `x-real-ip` from a peer that is not trusted",
        gateway="are removed",
        envoy="are forwarded",
        why="they say who the client is; only a trusted proxy may",
        example=Ask.of(headers=[("forwarded", "for=1"), ("x-forwarded-host", "b"), ("x-real-ip", "1.1.1.1")]),
        concerns=sends(
            "forwarded", "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix", "x-real-ip"
        ),
        settle=only_envoy_forwards(
            "forwarded", "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix", "x-real-ip"
        ),
    ),
    Difference(
        when="`te`, `trailer`, `proxy-authorization`, `proxy-authenticate`",
        gateway="are removed",
        envoy="are forwarded (`te` as `trailers`)",
        why="hop-by-hop (RFC 9110 7.6.1, 11.7); trailers are not forwarded",
        example=Ask.of(headers=[("te", "trailers"), ("trailer", "x"), ("proxy-authorization", "Basic eDp5")]),
        concerns=sends("te", "trailer", "proxy-authorization", "proxy-authenticate"),
        settle=only_envoy_forwards("te", "trailer", "proxy-authorization", "proxy-authenticate"),
    ),
    Difference(
        when="`proxy`, `x-original-url`, `x-rewrite-url`",
        gateway="are removed",
        envoy="are forwarded",
        why="CGI and some frameworks take proxies and paths from them",
        example=Ask.of(headers=[("proxy", "http://evil"), ("x-original-url", "/admin")]),
        concerns=sends("proxy", "x-original-url", "x-rewrite-url"),
        settle=only_envoy_forwards("proxy", "x-original-url", "x-rewrite-url"),
    ),
    Difference(
        when="`x-envoy-...` headers that Envoy does not know",
        gateway="are removed, as all `x-envoy-...` of a client are",
        envoy="are forwarded",
        why="the prefix is the proxy's own",
        example=Ask.of(headers=[("x-envoy-anything", "1")]),
        concerns=sends("x-envoy-anything"),
        settle=only_envoy_forwards("x-envoy-anything"),
    ),
    Difference(
        when="a request with a method such as POST and no body",
        gateway="is forwarded without `content-length`",
        envoy="gets `content-length: 0`",
        why="both say that there is no body (RFC 9112 6.3)",
        example=Ask.of("POST"),
        concerns=lambda ask: ask.method not in {"GET", "HEAD", "DELETE"},
        settle=_no_body_no_length,
    ),
    Difference(
        when="a target with an empty query (`/a?`)",
        gateway="is forwarded without the `?`",
        envoy="keeps it",
        why="ASGI does not tell the two apart",
        example=Ask.of(target="/a?"),
        concerns=target_has(r"\?\Z"),
        settle=_empty_query,
    ),
    Difference(
        when="a path of slashes only (`//`), merging slashes",
        gateway="becomes `/`",
        envoy="becomes `//`",
        why="Envoy's merging leaves one slash too many",
        example=Ask.of(target="//"),
        concerns=only_slashes,
        settle=_lost_slash,
    ),
    Difference(
        when="a percent sign that starts no escape (`/%zz`)",
        gateway="400",
        envoy="forwards it",
        why="backends disagree about what it means",
        example=Ask.of(target="/%zz"),
        concerns=path_has(r"%(?![0-9A-Fa-f]{2})"),
        refuses=(400,),
    ),
    Difference(
        when="a dot segment with a parameter (`/..;a=b/x`)",
        gateway="400",
        envoy="resolves it",
        why="servlet containers see another path",
        example=Ask.of(target="/..;/x"),
        concerns=path_has(r"/(\.|%2[eE]){1,2};"),
        refuses=(400,),
    ),
    Difference(
        when="a Host that is not one `host[:port]`: two, empty, user info, commas, escapes, a bad port",
        gateway="400",
        envoy="looks for a virtual host: 404, or serves it",
        why="a backend could read another host from it",
        example=Ask.of(host="a.test:99999"),
        concerns=odd_host,
        refuses=(400,),
    ),
    Difference(
        when="an absolute target whose host is not the Host header's, or with scheme https on a plain port",
        gateway="400",
        envoy="takes the target's host; 403 for https",
        why="two hosts are one too many",
        example=Ask.of(target="http://b.test/"),
        concerns=lambda ask: (
            "://" in ask.target and not ask.target.startswith(f"http://{ask.header('host')[0]}")
        ),
        refuses=(400,),
    ),
    Difference(
        when="TRACE and CONNECT",
        gateway="405",
        envoy="routes TRACE; 404 for CONNECT",
        why="TRACE echoes credentials; this is no forward proxy",
        example=Ask.of("TRACE"),
        concerns=lambda ask: ask.method in {"TRACE", "CONNECT"},
        refuses=(405,),
    ),
    Difference(
        when="`OPTIONS *`",
        gateway="400",
        envoy="looks for a route: 404",
        why="there is no path to authorize",
        example=Ask.of("OPTIONS", "*"),
        concerns=lambda ask: ask.target == "*",
        refuses=(400,),
    ),
    Difference(
        when="methods of newer RFCs (QUERY, M-SEARCH)",
        gateway="are routed",
        envoy="400",
        why="the grammar of llhttp knows them",
        example=Ask.of("M-SEARCH"),
        concerns=lambda ask: ask.method in {"QUERY", "M-SEARCH"},
        settle=lambda _, ours, __: (ours, ours),
    ),
    Difference(
        when="a Connection header that nominates an `x-...` header or one that identifies the client",
        gateway="400",
        envoy="drops the nominated header",
        why="a client could have another proxy's identity header dropped",
        example=Ask.of(headers=[("connection", "x-user"), ("x-user", "me")]),
        concerns=lambda ask: any(_protected(value) for value in ask.header("connection")),
        refuses=(400,),
    ),
    Difference(
        when="an Expect header other than `100-continue`",
        gateway="417",
        envoy="forwards it",
        why="RFC 9110 10.1.1; obfuscated Expect desynchronizes backends",
        example=Ask.of("POST", headers=[("expect", "something")], body=b"hi"),
        concerns=lambda ask: any(value.lower() != "100-continue" for value in ask.header("expect")),
        refuses=(417,),
    ),
    Difference(
        when="two Authorization headers",
        gateway="400",
        envoy="joins them",
        why="which one was checked?",
        example=Ask.of(headers=[("authorization", "Bearer a"), ("authorization", "Bearer b")]),
        concerns=lambda ask: len(ask.header("authorization")) > 1,
        refuses=(400,),
    ),
    Difference(
        when="a target of more than `limits.requestTargetBytes`",
        gateway="414",
        envoy="takes it as long as the head is small enough",
        why="a limit of its own",
        example=Ask.of(target="/" + "a" * 17000),
        concerns=lambda ask: len(ask.target) > 16384,
        refuses=(414,),
    ),
    Difference(
        when="bare LF line ends, folded headers, CR inside a value, two blanks in the request line, blank lines first",
        gateway="400",
        envoy="takes them",
        why="parsers that disagree about lines are how requests are smuggled",
        example=_raw("GET / HTTP/1.1\nHost: a.test\nX-A: b\n c"),
        concerns=head_has(rb"\A\r\n|\A[A-Z]+  |(?<!\r)\n|\r(?!\n)|\r\n[ \t].*\r\n\r\n"),
        refuses=(400,),
    ),
    Difference(
        when="`Transfer-Encoding: identity`",
        gateway="400",
        envoy="501",
        why="only `chunked` frames a request",
        example=_raw("POST / HTTP/1.1\nHost: a.test\nTransfer-Encoding: identity"),
        concerns=lambda ask: ask.header("transfer-encoding") == ["identity"],
        refuses=(400,),
    ),
    Difference(
        when="HTTP versions other than 1.0 and 1.1",
        gateway="505",
        envoy="426",
        why="RFC 9110 15.6.6",
        example=_raw("GET / HTTP/1.2\nHost: a.test"),
        concerns=lambda ask: not ask.data.strip().splitlines()[0].endswith((b"HTTP/1.1", b"HTTP/1.0")),
        refuses=(505,),
    ),
    Difference(
        when="a Referer that is not an http URL, or several",
        gateway="is forwarded as it is",
        envoy="is removed; several are joined",
        why="it is a hint for the backend, nothing here reads it",
        example=Ask.of(headers=[("referer", "no url")]),
        concerns=sends("referer"),
        settle=lambda _, ours, theirs: (
            arrived(ours, lambda one: replace(one, headers=_without(["referer"], one.headers))),
            arrived(theirs, lambda one: replace(one, headers=_without(["referer"], one.headers))),
        ),
    ),
    Difference(
        when="a rewrite whose result does not begin with a slash, or has a dot segment the request had not",
        gateway="400",
        envoy="forwards it",
        why="it would leave what was matched: `/api../admin` with `/api` rewritten to `/`",
        example=Ask.of(target="/cut"),
        settle=_refused_rewrite,
    ),
    Difference(
        when="the redirect of `escapedSlashes: UNESCAPE_AND_REDIRECT`",
        gateway="its Location begins with one slash",
        envoy="it may begin with two: `/%2fevil.test` is sent to `//evil.test`",
        why="that is another host",
        example=Ask.of(target="/%2fevil.test"),
        settings={"escapedSlashes": "UNESCAPE_AND_REDIRECT", "pathNormalization": "BASE"},
        settle=_two_slashes,
    ),
    Difference(
        when="a preflight that asks for no headers, where `allowHeaders` is `*`",
        gateway="has no `access-control-allow-headers`",
        envoy="has an empty one",
        why="it says nothing",
        example=Ask.of(
            "OPTIONS",
            "/cors",
            headers=[("origin", "https://o.test"), ("access-control-request-method", "PUT")],
        ),
        concerns=sends("access-control-request-method"),
        settle=_no_empty_allowance,
    ),
    Difference(
        when="a reused connection that the backend closes under an idempotent request without a body",
        gateway="asks once more, on a fresh connection",
        envoy="503 (Istio's default retries do not cover it)",
        why="the backend had closed an idle connection, which is no failure; no byte of an answer had come",
        example=Ask.of(target="/?answer=gone"),
        settle=_asked_again,
    ),
)

OPEN: tuple[Difference, ...] = (
    Difference(
        when="a preflight that is answered here, on a route with `headers.response`",
        gateway="gets the route's header operations",
        envoy="does not: it never comes to the router",
        why="to do",
        example=Ask.of(
            "OPTIONS",
            "/preflight",
            headers=[("origin", "https://o.test"), ("access-control-request-method", "PUT")],
        ),
        concerns=sends("access-control-request-method"),
        settle=_preflight_without_operations,
    ),
    Difference(
        when="several VirtualServices without `creationTimestamp` for one host",
        gateway="come in the order of the files",
        envoy="(as exported, and as Istio sorts) come by name",
        why="to decide",
        example=Ask.of(target="/", host="order.test"),
        concerns=lambda ask: ask.header("host") == ["order.test"],
        settle=lambda _, __, theirs: (theirs, theirs),
    ),
    Difference(
        when="`withoutHeaders` with the regex `.*`, where the header is missing",
        gateway="holds",
        envoy="does not: a missing header is an empty one",
        why="to do",
        example=Ask.of(target="/without"),
        concerns=target_has("/without"),
        settle=lambda _, __, theirs: (theirs, theirs),
    ),
    Difference(
        when="`queryParams`, where the request escapes the name or the value (`?%71=%31` for q=1)",
        gateway="compares what the escapes stand for",
        envoy="compares them as they are written",
        why="to decide",
        example=Ask.of(target="/named?q=%31"),
        concerns=target_has(r"[?].*%"),
        settle=lambda _, ours, __: (ours, ours),
    ),
    Difference(
        when="`x-envoy-original-host`",
        gateway="is not added",
        envoy="tells the authority before a rewrite",
        why="to do",
        example=Ask.of(target="/authority"),
        settle=only_envoy_forwards("x-envoy-original-host"),
    ),
    Difference(
        when="`%REQ(x)%` in response headers, where the route changes header x of the request",
        gateway="is what the client sent",
        envoy="is what the backend got",
        why="to do",
        example=Ask.of(target="/changed"),
        settle=drop_answered("x-told"),
    ),
    Difference(
        when="`%RESPONSE_FLAGS%` in headers of answers the gateway makes itself",
        gateway="is `-`",
        envoy="is the flag",
        why="to do",
        example=Ask.of(target="/flags?answer=gone"),
        settle=drop_answered("x-flags"),
    ),
    Difference(
        when="header operations of the only destination whose weight is not 0, among several",
        gateway="are merged into the route's",
        envoy="are a level of their own: the route's win",
        why="to do",
        example=Ask.of(target="/weights"),
        settle=drop_answered("x-level"),
    ),
    Difference(
        when='a rewrite with the match `prefix: ""`',
        gateway="replaces the first slash",
        envoy="replaces nothing, puts it in front",
        why="to do",
        example=Ask.of(target="/no-prefix", host="prefix.test"),
        settle=lambda _, ours, theirs: (replace(ours, arrivals=theirs.arrivals), theirs),
        concerns=lambda ask: ask.header("host") == ["prefix.test"],
    ),
    Difference(
        when="own answers to gRPC requests",
        gateway="are plain HTTP",
        envoy="are `200` with `grpc-status`",
        why="to do",
        example=Ask.of("POST", host="nobody.test", headers=[("content-type", "application/grpc")]),
        concerns=lambda ask: any(
            value.startswith("application/grpc") for value in ask.header("content-type")
        ),
        settle=lambda _, ours, __: (ours, ours),
    ),
    Difference(
        when="a direct response with status 304",
        gateway="has `content-length: 0`",
        envoy="has none",
        why="to do",
        example=Ask.of(target="/not-modified"),
        settle=lambda _, ours, theirs: (
            drop_answered("content-length")(_, ours, theirs)
            if ours.status == 304 and not ours.arrivals
            else (ours, theirs)
        ),
    ),
    Difference(
        when="a backend that cannot be reached, on a route without `retries`",
        gateway="is tried once",
        envoy="is tried as Istio's default policy says",
        why="retries are not made yet",
        example=Ask.of(target="/dead"),
        settle=lambda _, ours, theirs: (
            (theirs, theirs) if b"retried and the latest" in theirs.body else (ours, theirs)
        ),
    ),
)
"""What is not the same yet, and should be."""

_PAGE = """\
# Differences from Envoy

Everything else is the same: `tests/differential/` starts real Envoy on what `gateway export envoy` prints and the
gateway on the original, sends the same bytes to both, and compares status, headers and body of the answer, the backend
that was chosen and every byte it received. Only dates, random ids, measured times and the order of headers with
different names are left out. The page is written from the table the tests use
(`tests/differential/differences.py`); each row has an example that is tried.

| when | the gateway | Envoy | why |
|---|---|---|---|
"""


def document() -> str:
    """docs/differences.md."""
    rows = [f"| {row.when} | {row.gateway} | {row.envoy} | {row.why} |\n" for row in TABLE]
    page = _PAGE + "".join(rows)
    if OPEN:
        page += "\n## Not the same yet\n\n| when | the gateway | Envoy |\n|---|---|---|\n"
        page += "".join(f"| {row.when} | {row.gateway} | {row.envoy} |\n" for row in OPEN)
    return page


if __name__ == "__main__":
    sys.stdout.write(document())
