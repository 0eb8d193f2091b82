"""Other kinds of requests than the canary's: none like the one before, with a body, with a long answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import configs
from bench.backends import backends
from bench.load import Shot
from bench.report import Result, number, ratio
from bench.scenarios.canary import OTHER, SHOTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.lab import Lab
    from bench.subjects import Files, Subject

DIFFERENT = 5000
"""Requests without a header section in common: more than the gateway remembers lines."""
SIZES = (30_000, 200_000)
"""Bytes of longer answers."""
PAUSE = 60
"""Milliseconds between the requests of a connection at light load: about 500 requests a second in all."""
LIGHT = "the canary's, about 500 a second"


def shots() -> Mapping[str, list[Shot]]:
    """What is sent, by what it is called."""
    common = {"Host": "reviews", "user-agent": OTHER, "accept": "*/*"}
    different = [
        Shot(
            f"/reviews/{number}",
            {**common, "traceparent": f"00-{number:032x}-{number:016x}-00", "cookie": f"session={number}"},
        )
        for number in range(1, DIFFERENT + 1)
    ]
    return {
        "the canary's": SHOTS,
        LIGHT: SHOTS,
        "path, trace and cookie differ each time": different,
        "POST of 1 kB": [
            Shot("/reviews/7", {**common, "content-type": "application/json"}, "POST", 1000 * "x")
        ],
        **{f"answer of {size // 1000} kB": [Shot(f"/download-{size}", common)] for size in SIZES},
    }


def run(lab: Lab) -> Result:
    """The gateway and Envoy."""
    result = Result(
        "kinds",
        "one proxied request of another kind; 32 connections, JSON access log to a file",
        ("request", "subject", "CPU us/request", "± of rounds", "x Envoy", "requests/s", "p50 ms", "p99 ms",
         "failures"),
    )  # fmt: skip
    with backends(lab.directory) as services:
        for size in SIZES:
            (lab.directory / "files" / f"download-{size}").write_bytes(bytes(size))

        def files(subject: Subject) -> Files:
            log = lab.directory / f"{subject.name}-access.log"
            return lambda port: configs.canary(port, services, log)

        with lab.running(files, only=("gateway", "envoy")) as running:
            for kind, sent in shots().items():
                found = lab.compare(running, sent, pause=PAUSE if kind == LIGHT else 0)
                envoy = found["envoy"].cpu if "envoy" in found else None
                for name, summary in found.items():
                    result.rows.append(
                        (kind, name, number(summary.cpu), f"{summary.spread:.0%}", ratio(summary.cpu, envoy),
                         number(summary.rate, 0), number(summary.p50, 2), number(summary.p99, 2),
                         summary.failures)
                    )  # fmt: skip
    return result
