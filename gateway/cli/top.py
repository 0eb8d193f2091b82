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

ROOMY = 100
"""Columns from which headings are words in full."""
SHORTEST = 12
"""Columns of a name, however little room there is."""


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
    the last byte out. In a narrow terminal, busy are requests in flight, up the endpoints that get requests,
    out those that are ejected, full the limits that are reached.
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
            out.print(tables(told, most, out.width), soft_wrap=False)
            return
        from rich.live import Live  # noqa: PLC0415 - as above

        with Live(console=out, screen=True, auto_refresh=False) as live:
            while True:
                live.update(tables(told, most, out.width), refresh=True)
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


def tables(told: dict[str, Any], most: int, width: int) -> RenderableType:
    """All requests in a line, then routes, then clusters; the busiest first. `width`: columns there are."""
    from rich.console import Group  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    whole = told["total"]
    head = Text(
        f"{whole['rps']:g} rps, success {_percent(whole['success_percent'])},"
        f" p50 {_ms(whole['p50_ms'])}, p99 {_ms(whole['p99_ms'])}"
        f"  (last {told['seconds']:g} s, generation {told['generation']})"
    )
    return Group(
        head,
        *_silent(told),
        Text(),
        _routes(told["routes"][:most], width),
        Text(),
        _clusters(told["clusters"][:most], width),
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


def _routes(rows: list[dict[str, Any]], width: int) -> Table:
    heads = ("route", "rps", "success", "p50", "p99", "requests", "5xx")
    cells = [
        (row["route"] or "(no route)", *_numbers(row), f"{row['requests']}", f"{row['failures']}")
        for row in rows
    ]
    return _table(heads, [(row, "") for row in cells], width)


def _clusters(rows: list[dict[str, Any]], width: int) -> Table:
    from gateway.cli._page import short_cluster  # noqa: PLC0415 - as above

    narrow = width < ROOMY
    others = ("busy", "up", "out", "full") if narrow else ("in flight", "endpoints", "ejected", "full limits")
    told = []
    for row in rows:
        well, full = row["endpoints"] - row["unwell"], row["full"]
        cells = (
            short_cluster(row["cluster"]),
            *_numbers(row),
            f"{row['in_flight']}",
            f"{well}/{row['endpoints']}",
            f"{row['ejected'] or '-'}",
            f"{len(full) or '-'}" if narrow else ", ".join(full) or "-",
        )
        dead = row["endpoints"] and not well
        told.append((cells, "red" if dead else "yellow" if row["unwell"] or full else ""))
    return _table(("cluster", "rps", "success", "p50", "p99", *others), told, width)


def _table(heads: tuple[str, ...], rows: list[tuple[tuple[str, ...], str]], width: int) -> Table:
    """Rows with their styles. Numbers are never broken: names give way."""
    from rich.table import Table  # noqa: PLC0415 - as above

    columns = zip(heads[1:], *(row[1:] for row, _ in rows), strict=True)
    room = max(width - sum(max(map(len, column)) + 2 for column in columns), SHORTEST)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(heads[0], no_wrap=True)
    for name in heads[1:]:
        table.add_column(name, justify="right", no_wrap=True)
    for (name, *others), style in rows:
        table.add_row(_name(_cut(name, room)), *map(_name, others), style=style)
    return table


def _cut(name: str, room: int) -> str:
    """The beginning and the end, which tells the versions of a service apart."""
    if len(name) <= room:
        return name
    end = room // 3
    return f"{name[: room - end - 1]}\N{HORIZONTAL ELLIPSIS}{name[-end:]}"


def _name(text: str) -> Text:
    """A name as text: what clients and files say is no markup."""
    from rich.text import Text  # noqa: PLC0415 - as above

    from gateway.cli._page import printable  # noqa: PLC0415 - as above

    return Text(printable(text))


def _numbers(row: dict[str, Any]) -> tuple[str, ...]:
    rps = f"{row['rps']:.1f}" if row["rps"] < 100 else f"{row['rps']:.0f}"
    return (rps, _percent(row["success_percent"]), _ms(row["p50_ms"]), _ms(row["p99_ms"]))


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:g} %"


def _ms(value: float | None) -> str:
    from gateway.cli._page import seconds  # noqa: PLC0415 - as above

    return "-" if value is None else seconds(value / 1000)
