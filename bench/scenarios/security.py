"""Mutual TLS on both sides, a verified token, three policies, beside Envoy; 1 000 policies beside 10."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import configs
from bench.backends import backends
from bench.lab import Sample, Summary
from bench.load import Shot, fire
from bench.report import Result, number, ratio
from bench.secure import Materials, RememberingEnvoy, documents, fronts, secure_backend
from bench.subjects import Envoy, Gateway

if TYPE_CHECKING:
    from bench.lab import Lab
    from bench.subjects import Files, Running, Subject

COUNTS = (10, 1000)


def run(lab: Lab) -> Result:
    """The gateway and Envoy; then the gateway with policies that are for other routes."""
    result = Result(
        "security",
        "one proxied request; 32 connections; mutual TLS 1.3 from the client and to the backend, a remembered"
        " RS256 token, two DENY policies and an ALLOW policy (principal, method, claim)",
        ("subject", "CPU us/request", "± of rounds", "x Envoy", "p50 ms", "failures"),
    )
    materials = Materials(lab.directory)
    _beside_envoy(lab, materials, result)
    _many_policies(lab, result)
    return result


def _beside_envoy(lab: Lab, materials: Materials, result: Result) -> None:
    subjects: list[Subject] = [
        RememberingEnvoy() if isinstance(subject, Envoy) else subject
        for subject in lab.subjects
        if isinstance(subject, Envoy | Gateway)
    ]
    shots = [Shot("/reviews/7", {"Host": "reviews", "authorization": f"Bearer {materials.token}"})]
    with secure_backend(lab.directory, materials) as backend:
        running: dict[str, Running] = {}
        try:
            for subject in subjects:
                place = lab.directory / f"secure-{subject.name}"
                place.mkdir()
                running[subject.name] = subject.start(place, lambda port: documents(port, backend, materials))
            ports = {name: item.port for name, item in running.items()}
            with fronts(lab.directory, materials, ports) as entrances:
                found = _compare(lab, running, entrances, shots)
        finally:
            for item in running.values():
                item.stop()
    envoy = found["envoy"].cpu if "envoy" in found else None
    for name, summary in found.items():
        result.rows.append(
            (name, number(summary.cpu), f"{summary.spread:.0%}", ratio(summary.cpu, envoy),
             number(summary.p50, 2), summary.failures)
        )  # fmt: skip
    result.notes.append(
        "wrk has no client certificate: an nginx on the load's core calls the subjects for it"
    )


def _compare(
    lab: Lab, running: dict[str, Running], entrances: dict[str, int], shots: list[Shot]
) -> dict[str, Summary]:
    samples: dict[str, list[Sample]] = {name: [] for name in running}
    for name in running:
        fire(lab.directory, entrances[name], shots, seconds=1, connections=32)
    for _ in range(lab.rounds):
        for name, subject in running.items():
            before = subject.child.usage()
            volley = fire(lab.directory, entrances[name], shots, seconds=lab.seconds, connections=32)
            spent = subject.child.usage().cpu - before.cpu
            samples[name].append(Sample(spent / max(1, volley.requests) * 1e6, volley))
            lab.say(f"{name}: {samples[name][-1].cpu:.1f} us/request, {volley.rate:,.0f} requests/s")
    return {name: Summary.of(items) for name, items in samples.items()}


def _many_policies(lab: Lab, result: Result) -> None:
    result.notes.append(
        "the policies of the last two rows are for other paths than the request's, but for one"
    )
    first: float | None = None
    with backends(lab.directory) as services:
        for count in COUNTS:

            def files(subject: Subject, count: int = count) -> Files:
                del subject
                return lambda port: configs.many_policies(port, services, count)

            with lab.running(files, only=("gateway",)) as running:
                found = lab.compare(running, [Shot("/reviews/7", {"Host": "reviews"})])
            for summary in found.values():
                first = first or summary.cpu
                result.rows.append(
                    (f"plain, {count:,} policies", number(summary.cpu), f"{summary.spread:.0%}",
                     f"{ratio(summary.cpu, first)} of 10", number(summary.p50, 2), summary.failures)
                )  # fmt: skip
