"""The founding document's canary: a user-agent regex, a 90/10 split, a timeout, and the JSON access log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import configs
from bench.backends import backends
from bench.load import Shot, fire
from bench.report import Result, number, ratio

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.lab import Lab
    from bench.subjects import Files, Subject

BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/126.0 Safari/537.36"
OTHER = "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0"
SHOTS = [
    Shot("/reviews/7?full=1", {"Host": "reviews", "user-agent": agent, "accept": "*/*"})
    for agent in (OTHER, BROWSER, OTHER, OTHER)
]


def run(lab: Lab) -> Result:
    """Gateway, Envoy, and bare uvicorn as the floor."""
    result = Result(
        "canary",
        "one proxied request; 32 connections, one of four requests from Chrome, JSON access log to a file",
        ("subject", "CPU us/request", "± of rounds", "x Envoy", "requests/s", "p50 ms", "p99 ms",
         "p50 ms alone", "RSS MiB", "failures"),
    )  # fmt: skip
    with backends(lab.directory) as services:

        def files(subject: Subject) -> Files:
            log = lab.directory / f"{subject.name}-access.log"

            def made(port: int) -> Mapping[str, str]:
                return configs.canary(port, services, log)

            return made

        with lab.running(files) as running:
            found = lab.compare(running, SHOTS)
            direct = fire(lab.directory, services.v1, SHOTS, seconds=1, connections=1)
            envoy = found["envoy"].cpu if "envoy" in found else None
            for name, summary in found.items():
                alone = fire(lab.directory, running[name].port, SHOTS, seconds=2, connections=1)
                result.rows.append(
                    (name, number(summary.cpu), f"{summary.spread:.0%}", ratio(summary.cpu, envoy),
                     number(summary.rate, 0), number(summary.p50, 2), number(summary.p99, 2),
                     number(alone.p50, 3), number(running[name].child.rss()), summary.failures)
                )  # fmt: skip
            result.notes.append(
                f"alone: one connection; the backend itself answers with a p50 of {direct.p50:.3f} ms"
            )
            _count_lines(lab, running, result)
    return result


def _count_lines(lab: Lab, running: Mapping[str, object], result: Result) -> None:
    """A subject that writes no log did not do the work."""
    for name in running:
        log = lab.directory / f"{name}-access.log"
        if name == "uvicorn":
            continue
        with log.open("rb") if log.exists() else (lab.directory / "nothing").open("w+b") as file:
            lines = sum(1 for _ in file)
        result.notes.append(f"{name} wrote {lines:,} lines of access log")
