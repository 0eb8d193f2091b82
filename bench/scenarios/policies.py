"""What retries, timeouts and limits cost a request that succeeds at once: one route with and without them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import configs
from bench.backends import backends
from bench.lab import Summary
from bench.load import Shot
from bench.report import Result, number, ratio
from bench.subjects import Gateway

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.backends import Backends
    from bench.lab import Lab
    from bench.subjects import Files, Running

ROUTE = """\
apiVersion: networking.istio.io/v1beta1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - route: [{destination: {host: reviews}}]
"""
NOTHING = "    retries: {attempts: 0}\n"
PATIENT = """\
    timeout: 10s
    retries: {attempts: 3, perTryTimeout: 2s, retryOn: "5xx,reset,connect-failure,refused-stream"}
"""
LIMITED = """\
  trafficPolicy:
    connectionPool:
      tcp: {maxConnections: 100}
      http: {http1MaxPendingRequests: 100, http2MaxRequests: 100}
    outlierDetection: {consecutiveErrors: 5, interval: 30s, maxEjectionPercent: 50, minHealthPercent: 40}
---
"""
"""The founding document's blocks, but for two requests a connection: that costs connections."""


def made(services: Backends, rule: str, policy: str) -> Files:
    """The configuration for a port."""
    reviews = configs.REVIEWS.format(v1=services.v1, v2=services.v2)
    if policy:
        reviews = reviews.removesuffix("---\n") + policy
    return lambda port: {"routes.yaml": configs.settings(port) + reviews + ROUTE + rule}


def run(lab: Lab) -> Result:
    """The gateway beside itself."""
    result = Result(
        "policies",
        "one proxied request that succeeds at once; 32 connections",
        ("route", "CPU us/request", "± of rounds", "x without", "p50 ms", "failures"),
    )
    with backends(lab.directory) as services:
        running: dict[str, Running] = {}
        try:
            for title, rule, policy in (
                ("no retries, timeouts, limits", NOTHING, ""),
                ("retries and timeouts", PATIENT, ""),
                ("retries, timeouts, limits, ejection", PATIENT, LIMITED),
            ):
                place = lab.directory / f"policies-{len(running)}"
                place.mkdir()
                running[title] = Gateway().start(place, made(services, rule, policy))
            found: Mapping[str, Summary] = lab.compare(running, [Shot("/reviews/7", {"Host": "reviews"})])
        finally:
            for subject in running.values():
                subject.stop()
    reference = next(iter(found.values())).cpu
    for title, summary in found.items():
        result.rows.append(
            (
                title, number(summary.cpu), f"{summary.spread:.0%}", ratio(summary.cpu, reference),
                number(summary.p50, 2), str(summary.failures),
            )
        )  # fmt: skip
    return result
