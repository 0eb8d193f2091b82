"""Cost of the number of routes: a request for the last of 10, 100, 1 000, 10 000, prefixes and regexes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import configs
from bench.backends import backends
from bench.load import Shot
from bench.report import Result, number, ratio

if TYPE_CHECKING:
    from bench.lab import Lab
    from bench.subjects import Files, Subject


def run(lab: Lab) -> Result:
    """The gateway and Envoy, for every kind and number of routes."""
    counts = (10, 1000) if lab.quick else (10, 100, 1000, 10000)
    result = Result(
        "routes",
        "CPU us/request for the last of N routes of one host",
        (
            "routes",
            "gateway",
            "x gateway's 10",
            "envoy",
            "gateway / envoy",
            "gateway RSS MiB",
            "envoy RSS MiB",
        ),
    )
    with backends(lab.directory) as services:
        for kind in ("prefix", "regex"):
            first: float | None = None
            for count in counts:

                def files(subject: Subject, count: int = count, kind: str = kind) -> Files:
                    del subject
                    return lambda port: configs.many_routes(port, services, count, kind)

                lab.say(f"{count} {kind} routes")
                with lab.running(files, only=("gateway", "envoy")) as running:
                    shots = [Shot(configs.last_path(count), {"Host": "reviews"})]
                    found = lab.compare(running, shots)
                    cpu = {name: summary.cpu for name, summary in found.items()}
                    rss = {name: subject.child.rss() for name, subject in running.items()}
                failures = sum(summary.failures for summary in found.values())
                if failures:
                    result.notes.append(f"{count} {kind} routes: {failures} requests failed")
                ours, theirs = cpu.get("gateway"), cpu.get("envoy")
                first = first if first is not None else ours
                result.rows.append(
                    (f"{count:,} {kind}", number(ours), ratio(ours, first), number(theirs),
                     ratio(ours, theirs), number(rss.get("gateway")), number(rss.get("envoy")))
                )  # fmt: skip
    return result
