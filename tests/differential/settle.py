"""How outcomes are made equal where a difference is deliberate: as narrowly as it can be told."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from differential.difference import UUID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from differential.backend import Arrival
    from differential.difference import Settle
    from differential.play import Ask, Outcome


def without(names: Sequence[str], headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple(pair for pair in headers if pair[0] not in names)


def drop_answered(*names: str) -> Settle:
    """These headers of the answer are not compared."""

    def settle(_: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
        return (
            replace(ours, headers=without(names, ours.headers)),
            replace(theirs, headers=without(names, theirs.headers)),
        )

    return settle


def only_envoy_forwards(*names: str) -> Settle:
    """Envoy forwards these headers; the gateway must not."""

    def settle(_: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
        return ours, arrived(theirs, lambda one: replace(one, headers=without(names, one.headers)))

    return settle


def arrived(outcome: Outcome, change: Callable[[Arrival], Arrival]) -> Outcome:
    """With every arrival changed."""
    return replace(outcome, arrivals=tuple(map(change, outcome.arrivals)))


def dotless_host(arrival: Arrival) -> Arrival:
    """Its Host without a dot at its end."""
    headers = tuple((name, value.rstrip(".") if name == "host" else value) for name, value in arrival.headers)
    return replace(arrival, headers=headers)


def request_id(_: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
    if ("x-envoy-upstream-service-time" in dict(ours.headers)) or not ours.status:
        return ours, theirs
    kept = [pair for pair in ours.headers if pair[0] != "x-request-id" or not UUID.match(pair[1])]
    return replace(ours, headers=tuple(kept)), theirs


def whole_chunks(_: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
    length = ("content-length", str(len(ours.body)))
    if length in ours.headers and ("transfer-encoding", "chunked") in theirs.headers:
        chunked = tuple(("transfer-encoding", "chunked") if pair == length else pair for pair in ours.headers)
        return replace(ours, headers=chunked), theirs
    return ours, theirs


def loopback(_: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
    def change(one: Arrival) -> Arrival:
        pairs = [
            (name, re.sub(r"[0-9.]+\Z", "127.0.0.1", value) if name == "x-forwarded-for" else value)
            for name, value in one.headers
        ]
        return replace(one, headers=tuple(pairs))

    return ours, arrived(theirs, change)


def own_forwarded_for(_: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
    def change(one: Arrival) -> Arrival:
        pairs = [
            (name, value.rpartition(",")[2] if name == "x-forwarded-for" else value)
            for name, value in one.headers
        ]
        return replace(one, headers=tuple(pairs))

    return ours, arrived(theirs, change)


def empty_query(_: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
    trimmed = arrived(theirs, lambda one: replace(one, target=one.target.removesuffix("?")))
    pairs = [
        (name, value.removesuffix("?") if name in {"location", "x-envoy-original-path"} else value)
        for name, value in trimmed.headers
    ]
    return ours, replace(trimmed, headers=tuple(pairs))


def no_body_no_length(_: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
    def change(one: Arrival) -> Arrival:
        if one.framing == "length" and not one.body:
            return replace(one, framing="none", headers=without(["content-length"], one.headers))
        return one

    bare = all(one.framing == "none" for one in ours.arrivals)
    return ours, arrived(theirs, change) if bare else theirs


def refusal(_: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
    """Both refuse with the same status: body and headers of the refusal are each one's own."""
    if ours.status == theirs.status >= 400 and not ours.arrivals and not theirs.arrivals and by_parser(ours):
        return replace(ours, headers=(), body=b""), replace(theirs, headers=(), body=b"")
    return ours, theirs


def by_parser(outcome: Outcome) -> bool:
    """Whether the gateway refused before it looked for a route."""
    return outcome.status in {400, 403, 414, 417, 426, 431, 501, 505}


def lost_slash(_: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
    """The two see another path, so anything may follow from it."""
    del theirs
    return ours, ours


def own_location(ask: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
    place = dict(theirs.headers).get("location", "")
    if not ours.arrivals and "location" not in dict(ours.headers) and place.startswith(origin(ask)):
        return ours, replace(theirs, headers=without(["location"], theirs.headers))
    return ours, theirs


def default_port(ask: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
    host, _, port = (ask.header("host") or [""])[0].partition(":")
    mine, other = dict(ours.headers).get("location", ""), dict(theirs.headers).get("location", "")
    if (
        port
        and other.startswith((f"http://{host}:{port}/", f"https://{host}:{port}/"))
        and mine == other.replace(f":{port}", "", 1)
    ):
        return replace(ours, headers=put(ours.headers, "location", other)), theirs
    return ours, theirs


def own_status(_: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
    """In values that name the status: Envoy has none yet."""
    if "x-envoy-upstream-service-time" in dict(ours.headers):
        return ours, theirs
    known = set(theirs.headers)
    told = [(name, value.replace(str(ours.status), "0")) for name, value in ours.headers]
    pairs = [zero if zero in known else pair for zero, pair in zip(told, ours.headers, strict=True)]
    return replace(ours, headers=tuple(pairs)), theirs


def unchanged_path(_: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
    def change(one: Arrival) -> Arrival:
        if dict(one.headers).get("x-envoy-original-path") == one.target:
            return replace(one, headers=without(["x-envoy-original-path"], one.headers))
        return one

    return ours, arrived(theirs, change)


def escaped_rewrite(_: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
    def change(one: Arrival) -> Arrival:
        return replace(one, target=one.target.replace("<", "%3C").replace(">", "%3E"))

    return ours, arrived(theirs, change)


def refused_rewrite(_: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
    paths = [one.target.partition("?")[0] for one in theirs.arrivals]
    odd = any(not path.startswith("/") or {".", ".."} & set(path.split("/")) for path in paths)
    return (theirs, theirs) if odd and ours.status == 400 and not ours.arrivals else (ours, theirs)


def two_slashes(_: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
    place = dict(theirs.headers).get("location", "")
    if ours.status == theirs.status == 307 and place.startswith(("//", "/\\")):
        return ours, replace(theirs, headers=put(theirs.headers, "location", "/" + place.lstrip("/\\")))
    return ours, theirs


def asked_again(_: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
    if (
        len(ours.arrivals) == 2
        and len(theirs.arrivals) == 1
        and ours.arrivals[0].target == ours.arrivals[1].target
    ):
        return replace(ours, arrivals=ours.arrivals[:1]), theirs
    return ours, theirs


def no_empty_allowance(_: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
    kept = [pair for pair in theirs.headers if pair != ("access-control-allow-headers", "")]
    return ours, replace(theirs, headers=tuple(kept))


def asked_host(ask: Ask, ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
    """Where a host `destination.test` is or was."""
    asked = (ask.header("host") or [""])[0]

    def change(one: Arrival) -> Arrival:
        headers = dict(one.headers)
        if "destination.test" in {headers.get("host"), headers.get("x-envoy-original-host")}:
            others = without(["x-envoy-original-host"], one.headers)
            return replace(one, headers=(*others, ("x-envoy-original-host", asked)))
        return one

    return ours, arrived(theirs, change)


def put(headers: Iterable[tuple[str, str]], name: str, value: str) -> tuple[tuple[str, str], ...]:
    return tuple((key, value if key == name else old) for key, old in headers)


def origin(ask: Ask) -> str:
    return f"http://{(ask.header('host') or [''])[0]}/"
