"""`gateway diff`: what a new configuration changes for traffic.

Lifetime: process.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from gateway.cli._help import closing

if TYPE_CHECKING:
    from gateway.routing import Snapshot


@click.command(
    "diff",
    short_help="What a new configuration changes for traffic.",
    epilog=closing(
        "gateway diff old.yaml routes.yaml",
        codes="0 traffic notices nothing, 1 it does, 2 usage, 3 a configuration cannot be used",
    ),
)
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects.")
def command(*, old: str, new: str, as_json: bool) -> None:
    """Prints what NEW changes for traffic, compared with OLD: files or directories.

    Not which lines differ, but which requests fare otherwise: where they go and in which share, who may send
    them, timeouts, retries, faults, headers, endpoints, limits. What opens something comes first, marked `!`.
    """
    from gateway.explain.diff import differences  # noqa: PLC0415 - --help need not load it

    changes = differences(_snapshot(old), _snapshot(new))
    if as_json:
        told = [
            {"kind": item.kind, "subject": item.subject, "text": item.text, "opens": item.opens}
            for item in changes
        ]
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        from gateway.cli._page import Page  # noqa: PLC0415 - as above

        page = Page()
        for item in changes:
            page.line(f"{'!' if item.opens else ' '} {item}", "yellow" if item.opens else "")
        if not changes:
            page.line("nothing changes for traffic")
    sys.exit(1 if changes else 0)


def _snapshot(path: str) -> Snapshot:
    from gateway.config import render  # noqa: PLC0415 - as above
    from gateway.explain.load import offline  # noqa: PLC0415 - as above

    loaded, snapshot = offline([path])
    if snapshot is None:
        fatal = [finding for finding in loaded.findings if finding.fatal]
        click.echo(render(fatal, loaded.sources, color=sys.stderr.isatty()), err=True)
        sys.exit(3)
    return snapshot
