"""Configurations about failure, and requests that say how each try fails: retries, timeouts, faults, mirrors.

Only what is determined: faults always or never, one endpoint a cluster, mirrors of everything or nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from differential.backend import FAILURES
from differential.generate import document
from differential.play import Ask

if TYPE_CHECKING:
    from collections.abc import Mapping

BACKENDS = ("main", "copy", "more")
HOST = "main.test"
WORDS = (
    "5xx", "gateway-error", "reset", "connect-failure", "refused-stream", "retriable-4xx", "cancelled",
    "deadline-exceeded", "internal", "resource-exhausted", "unavailable", "envoy-ratelimited",
    "reset-before-request", "retriable-status-codes", "425", "503", "404",
)  # fmt: skip
TIMEOUT = "150ms"
PER_TRY = "60ms"
MIRRORS = ("copy.test", "more.test", "nobody.test")


def services(ports: Mapping[str, int], dead: int) -> list[dict[str, Any]]:
    """A service for each backend; one that refuses, one without endpoints."""

    def entry(host: str, *found: int) -> dict[str, Any]:
        spec = {
            "hosts": [host],
            "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
            "resolution": "STATIC",
            "endpoints": [{"address": "127.0.0.1", "ports": {"http": port}} for port in found],
        }
        return document("ServiceEntry", host.replace(".", "-"), spec)

    return [
        *(entry(f"{name}.test", ports[name]) for name in BACKENDS),
        entry("dead.test", dead),
        entry("nobody.test"),
        # A connection for each request: which one a reset is about is nobody's guess then.
        *(
            document("DestinationRule", name, {"host": f"{name}.test", "trafficPolicy": _FRESH})
            for name in BACKENDS
        ),
    ]


_FRESH = {"connectionPool": {"http": {"maxRequestsPerConnection": 1}}}


@st.composite
def retries(draw: st.DrawFn) -> dict[str, Any] | None:
    """A retry policy; None leaves Istio's default."""
    if draw(st.integers(0, 7)) == 0:
        return None
    attempts = draw(st.sampled_from((0, 1, 1, 2, 3)))
    if not attempts:
        return {"attempts": 0}
    found: dict[str, Any] = {"attempts": attempts, "backoff": "1ms"}
    words = draw(st.lists(st.sampled_from(WORDS), max_size=4, unique=True))
    if words:
        found["retryOn"] = ",".join(words)
    if draw(st.integers(0, 2)) == 0:
        found["perTryTimeout"] = draw(st.sampled_from((PER_TRY, PER_TRY, "1h")))
    if draw(st.integers(0, 5)) == 0:
        found["retryIgnorePreviousHosts"] = draw(st.booleans())
    return found


@st.composite
def faults(draw: st.DrawFn) -> dict[str, Any]:
    """Delay, abort or both, always or never."""
    shares = st.sampled_from((100, 100, 0))
    found: dict[str, Any] = {}
    kinds = draw(st.sampled_from(("delay", "abort", "both")))
    if kinds != "abort":
        found["delay"] = {"fixedDelay": "2ms", "percentage": {"value": draw(shares)}}
    if kinds != "delay":
        what = draw(
            st.sampled_from(
                ({"httpStatus": 503}, {"httpStatus": 200}, {"httpStatus": 418}, {"grpcStatus": "UNAVAILABLE"})
            )
        )
        found["abort"] = {**what, "percentage": {"value": draw(shares)}}
    return found


@st.composite
def mirrors(draw: st.DrawFn) -> dict[str, Any]:
    """One in the old place, or a list."""
    if draw(st.booleans()):
        found: dict[str, Any] = {"mirror": {"host": draw(st.sampled_from(MIRRORS))}}
        share = draw(st.sampled_from((None, 100, 0)))
        if share is not None:
            found["mirrorPercentage"] = {"value": share}
        return found
    hosts = draw(st.lists(st.sampled_from(MIRRORS), min_size=1, max_size=2, unique=True))
    return {
        "mirrors": [
            {"destination": {"host": host}, "percentage": {"value": draw(st.sampled_from((100, 0)))}}
            for host in hosts
        ]
    }


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    """What one route does when things go wrong."""
    host = draw(st.sampled_from((HOST,) * 8 + ("dead.test", "nobody.test")))
    rule: dict[str, Any] = {"route": [{"destination": {"host": host}}]}
    written = draw(retries())
    if written is not None:
        rule["retries"] = written
    if draw(st.booleans()):
        rule["timeout"] = draw(st.sampled_from((TIMEOUT, TIMEOUT, "1h")))
    if draw(st.integers(0, 4)) == 0:
        rule["fault"] = draw(faults())
    if draw(st.integers(0, 3)) == 0:
        rule.update(draw(mirrors()))
    if draw(st.integers(0, 5)) == 0:
        rule["rewrite"] = {"uri": "/rewritten", "authority": "other.test:81"}
    if draw(st.integers(0, 5)) == 0:
        rule["headers"] = {"request": {"set": {"x-a": "set"}}, "response": {"add": {"x-b": "added"}}}
    return rule


@dataclass(frozen=True, slots=True)
class Scene:
    """Routes, each for the requests that carry its number."""

    rules: list[dict[str, Any]]

    def text(self, ports: Mapping[str, int], dead: int) -> str:
        """The YAML (JSON is YAML)."""
        # Envoy limits retries in flight only, so one request at a time has them all. And it holds nothing; what
        # both do with an answer that breaks off is compared all the same.
        settings = {
            "admin": "off",
            "accessLog": {"encoding": "OFF"},
            "serverName": "edge",
            "retryBudget": {"overTime": {"enabled": False}},
            "limits": {"responseHoldBytes": 0},
        }
        routes = [
            {"match": [{"headers": {"x-rule": {"exact": str(number)}}}], **rule}
            for number, rule in enumerate(self.rules)
        ]
        documents = [
            document("GatewaySettings", "s", settings, "gateway.asgi/v1"),
            *services(ports, dead),
            document("VirtualService", "v", {"hosts": ["a.test"], "http": routes}),
        ]
        return "\n---\n".join(json.dumps(item) for item in documents)

    def copies(self, ask: Ask) -> int:
        """How many copies of a request go to mirrors that are there."""
        rule = self.rules[int(ask.header("x-rule")[0])]
        if _answered(rule):
            return 0
        shares = [(one["destination"]["host"], one["percentage"]["value"]) for one in rule.get("mirrors", ())]
        if "mirror" in rule:
            shares.append((rule["mirror"]["host"], rule.get("mirrorPercentage", {"value": 100})["value"]))
        return sum(share == 100 and host != "nobody.test" for host, share in shares)

    def ends(self, ask: Ask) -> bool:
        """Whether a request to a backend that never answers comes to an end."""
        rule = self.rules[int(ask.header("x-rule")[0])]
        limits = (rule.get("timeout"), rule.get("retries", {}).get("perTryTimeout"))
        return any(limit not in {None, "1h"} for limit in limits)


def _answered(rule: Mapping[str, Any]) -> bool:
    """Whether a fault answers before a mirror could have a copy."""
    return bool(rule.get("fault", {}).get("abort", {}).get("percentage", {}).get("value", 0) == 100)


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    """Some routes."""
    return Scene(draw(st.lists(rules(), min_size=4, max_size=8)))


ANSWERS = (*(name.decode() for name in FAILURES), "plain", "plain", "gone", "gone", "503", "garbage")


@st.composite
def asks(draw: st.DrawFn, scene: Scene) -> Ask:
    """A request for one of the routes, with an answer for each of its tries."""
    tries = draw(st.lists(st.sampled_from(ANSWERS), min_size=1, max_size=4))
    method = draw(st.sampled_from(("GET", "GET", "PUT", "POST", "POST", "DELETE", "HEAD", "PATCH")))
    body = (
        draw(st.sampled_from((b"", b"body", b"long" * 5000))) if method in {"PUT", "POST", "PATCH"} else b""
    )
    headers = [("x-rule", str(draw(st.integers(0, len(scene.rules) - 1))))]
    if method == "POST" and draw(st.integers(0, 4)) == 0:
        headers.append(("content-type", "application/grpc"))
    if draw(st.integers(0, 9)) == 0:
        headers.append(("authorization", "Bearer t"))
    ask = Ask.of(method, f"/x?answer={'.'.join(tries)}", "a.test", headers, body)
    if "silent" in tries and not scene.ends(ask):
        tries = [name for name in tries if name != "silent"] or ["plain"]
        ask = Ask.of(method, f"/x?answer={'.'.join(tries)}", "a.test", headers, body)
    return ask


@st.composite
def plays(draw: st.DrawFn, most: int = 16) -> tuple[Scene, list[Ask]]:
    """A scene and requests for it."""
    scene = draw(scenes())
    return scene, draw(st.lists(asks(scene), min_size=8, max_size=most))
