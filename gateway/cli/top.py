"""`gateway top`: where the requests are, right now.

Lifetime: process.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from gateway.cli._admin import Admin, Unknown, Unreachable, option
from gateway.cli._help import closing

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text


@click.command(
    "top",
    short_help="Routes and clusters now: rates, success, durations. Live.",
    epilog=closing(
        "gateway top",
        "gateway top --once --seconds 60",
        codes="0 fine, 2 usage, 3 nobody answers, or it remembers nothing",
    ),
)
@option
@click.option("--once", is_flag=True, help="Print the tables once; so does a pipe.")
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
@click.option(
    "--seconds",
    type=click.IntRange(1, 60),
    default=10,
    show_default=True,
    help="How far back rates and durations reach.",
)
@click.option("--interval", type=click.FloatRange(0.2, 60.0), default=1.0, show_default=True, help="Seconds.")
@click.option("--most", type=click.IntRange(1, 1000), default=20, show_default=True, help="Rows of a table.")
def command(
    *, admin: str | None, once: bool, as_json: bool, seconds: int, interval: float, most: int
) -> None:
    """Prints routes and clusters with requests a second, success, durations, and what is ejected.

    Ctrl-C ends it. Success is the share that did not end in 5xx; p50 and p99 are from the first byte in to
    the last byte out.
    """
    listener = Admin(admin)
    path = f"/stats.json?seconds={seconds}"
    try:
        told = listener.ask(path)
        if as_json:
            click.echo(json.dumps(told, indent=2, ensure_ascii=False))
            return
        from gateway.cli._page import console  # noqa: PLC0415 - --help need not load rich

        out = console()
        if once or not out.is_terminal:
            if not out.is_terminal:
                out.width = 160
            out.print(tables(told, most), soft_wrap=False)
            return
        from rich.live import Live  # noqa: PLC0415 - as above

        with Live(console=out, screen=True, auto_refresh=False) as live:
            while True:
                live.update(tables(told, most), refresh=True)
                time.sleep(interval)
                told = listener.ask(path)
    except KeyboardInterrupt:
        return
    except Unreachable as reason:
        click.echo(str(reason), err=True)
        sys.exit(3)
    except Unknown:
        click.echo("that gateway does not remember requests, so there are no rates", err=True)
        sys.exit(3)


def tables(told: dict[str, Any], most: int) -> RenderableType:
    """All requests in a line, then routes, then clusters; the busiest first."""
    from rich.console import Group  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    whole = told["total"]
    head = Text(
        f"{whole['rps']:g} requests/s, success {_percent(whole['success_percent'])},"
        f" p50 {_ms(whole['p50_ms'])}, p99 {_ms(whole['p99_ms'])}"
        f"  (last {told['seconds']:g} s, generation {told['generation']})"
    )
    return Group(
        head,
        *_silent(told),
        Text(),
        _routes(told["routes"][:most]),
        Text(),
        _clusters(told["clusters"][:most]),
    )


def _silent(told: dict[str, Any]) -> list[Text]:
    """A line for each worker whose numbers are missing."""
    from rich.text import Text  # noqa: PLC0415 - as above

    from gateway.cli._page import printable, worker  # noqa: PLC0415 - as above

    rows = (row for row in told.get("workers", ()) if "silent" in row)
    return [
        Text(printable(f"without {worker(row)}, which does not answer: {row['silent']}"), "red")
        for row in rows
    ]


def _routes(rows: list[dict[str, Any]]) -> RenderableType:
    table = _table("route", "rps", "success", "p50", "p99", "requests", "5xx")
    for row in rows:
        table.add_row(
            _name(row["route"] or "(no route)"), *_numbers(row), f"{row['requests']}", f"{row['failures']}"
        )
    return table


def _clusters(rows: list[dict[str, Any]]) -> RenderableType:
    from gateway.cli._page import short_cluster  # noqa: PLC0415 - as above

    table = _table(
        "cluster", "rps", "success", "p50", "p99", "in flight", "endpoints", "ejected", "full limits"
    )
    for row in rows:
        well = row["endpoints"] - row["unwell"]
        table.add_row(
            _name(short_cluster(row["cluster"])),
            *_numbers(row),
            f"{row['in_flight']}",
            f"{well}/{row['endpoints']}",
            f"{row['ejected'] or '-'}",
            _name(", ".join(row["full"]) or "-"),
            style="red"
            if row["endpoints"] and not well
            else "yellow"
            if row["unwell"] or row["full"]
            else "",
        )
    return table


def _table(first: str, *others: str) -> Table:
    from rich.table import Table  # noqa: PLC0415 - as above

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(first, overflow="fold")
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _name(text: str) -> Text:
    """A name as text: what clients and files say is no markup."""
    from rich.text import Text  # noqa: PLC0415 - as above

    from gateway.cli._page import printable  # noqa: PLC0415 - as above

    return Text(printable(text))


def _numbers(row: dict[str, Any]) -> tuple[str, ...]:
    return (f"{row['rps']:g}", _percent(row["success_percent"]), _ms(row["p50_ms"]), _ms(row["p99_ms"]))


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:g} %"


def _ms(value: float | None) -> str:
    from gateway.cli._page import seconds  # noqa: PLC0415 - as above

    return "-" if value is None else seconds(value / 1000)
