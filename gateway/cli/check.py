"""`gateway check`: every finding about a configuration; nothing is applied.

Lifetime: process.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli._help import closing
from gateway.config import render, split_paths
from gateway.config.config import FIELDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.config import Config, Finding
    from gateway.control.build import Built, Refused

DEFAULT_PATH = "routes.yaml"


@click.command(
    "check",
    short_help="Every error and warning of a configuration, with its place.",
    epilog=closing(
        "gateway check",
        "gateway check --strict conf.d extra.yaml",
        codes="0 fine or only warnings, 1 errors (with --strict: or warnings), 2 usage",
    ),
)
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects.")
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
def command(*, paths: tuple[str, ...], as_json: bool, strict: bool) -> None:
    """Prints everything that is wrong with a configuration, with its place and what to do.

    Certificates that it names are read, too. PATH is a file or a directory of *.yaml; default
    $GATEWAY_CONFIG, or routes.yaml. A comment `# gateway: ignore GW220` at the end of a line silences that
    warning there. What each code means stands in docs/findings.md.
    """
    chosen = paths or tuple(split_paths(os.environ.get("GATEWAY_CONFIG", ""))) or (DEFAULT_PATH,)
    built = _build(chosen)
    loaded, findings = built.loaded, built.findings
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        if findings:
            click.echo(render(findings, loaded.sources, color=_in_color()) + "\n")
        click.echo(_summary(chosen, findings, loaded.config))
    refused = {"error", "warning"} if strict else {"error"}
    sys.exit(1 if any(finding.severity in refused for finding in findings) else 0)


def _build(chosen: Sequence[str]) -> Built | Refused:
    """All that a start does before it serves: certificates are read, routes compiled; no socket is opened."""
    from gateway.control.build import build  # noqa: PLC0415 - --help need not load it
    from gateway.security.state import SecurityState  # noqa: PLC0415 - as above
    from gateway.tls import Store  # noqa: PLC0415 - as above
    from gateway.upstream import Registry  # noqa: PLC0415 - as above

    paths = [Path(path) for path in chosen]
    return build(paths, Registry(), Store(paths), SecurityState(), 1)


def _in_color() -> bool:
    """Whether a person reads this (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def _summary(paths: Sequence[str], findings: Sequence[Finding], config: Config | None) -> str:
    """One line: `routes.yaml: 2 errors, 1 warning`."""
    name = ", ".join(paths) if len(paths) <= 3 else f"{len(paths)} paths"
    severities: Counter[str] = Counter(finding.severity for finding in findings)
    counts = [
        _plural(severities[severity], word)
        for severity, word in (("error", "error"), ("warning", "warning"), ("info", "remark"))
        if severities[severity]
    ]
    verdict = ", ".join(counts) or "fine"
    return f"{name}: {verdict}" + (f" ({_contents(config)})" if config is not None else "")


def _contents(config: Config) -> str:
    """What there is: `3 virtual services, 12 routes, 2 service entries`."""
    parts = []
    for kind, field in FIELDS.items():
        resources = getattr(config, field)
        if resources:
            parts.append(_plural(len(resources), _words(kind)))
        if kind == "VirtualService":
            routes = sum(len(service.spec.http) for service in config.virtual_services)
            parts += [_plural(routes, "route")] if routes else []
    return ", ".join(parts) or "nothing to serve"


def _words(kind: str) -> str:
    """`VirtualService` -> `virtual service`."""
    return "".join(f" {char.lower()}" if char.isupper() else char for char in kind).strip()


def _plural(count: int, noun: str) -> str:
    if count == 1:
        return f"1 {noun}"
    if noun.endswith("y"):
        return f"{count} {noun[:-1]}ies"
    return f"{count} {noun}s"
