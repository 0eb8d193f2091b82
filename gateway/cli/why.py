"""`gateway why`: what happened to a request, and what to do about it.

Lifetime: process.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from gateway.cli._admin import Admin, Unknown, Unreachable, option
from gateway.cli._help import closing
from gateway.http.flags import Flag

if TYPE_CHECKING:
    from gateway.cli._page import Page

BAR = 32
"""Columns of the waterfall."""


@click.command(
    "why",
    short_help="What happened to a request, whose fault it is, what to do.",
    epilog=closing(
        "gateway why last",
        "gateway why 515b39ee-8985-4d29-bd99-39ecacf0b232 --json",
        codes="0 told, 1 no such request is remembered, 2 usage, 3 nobody answers",
    ),
)
@click.argument("request_id", metavar="REQUEST_ID")
@option
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
def command(*, request_id: str, admin: str | None, as_json: bool) -> None:
    """Prints why a request ended as it did: the cause, whose fault it is, what to do, and every try.

    REQUEST_ID is the x-request-id of an answer, or request_id of the access log; `last` is the last request
    that failed or was turned away. A gateway remembers its last 1000 requests (of
    successes, 250 a second), and 1000 each of those that failed and that it turned away.
    """
    listener = Admin(admin)
    try:
        if request_id == "last":
            request_id = _last(listener)
        told = listener.ask(f"/requests/{quote(request_id, safe='')}")
    except Unreachable as reason:
        click.echo(str(reason), err=True)
        sys.exit(3)
    except Unknown as reason:
        click.echo(str(reason), err=True)
        sys.exit(1)
    if as_json:
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
        return
    from gateway.cli._page import Page  # noqa: PLC0415 - --help need not load rich

    _show(told, Page())


def _last(listener: Admin) -> str:
    """The id of the newest request that ended with 5xx or not at all, or was turned away. Unknown: none."""
    failed = listener.ask("/requests?failed=1&limit=1")["requests"]
    refused = [
        item
        for item in listener.ask("/requests?status=4xx&limit=1000")["requests"]
        if item["details"] != "via_upstream"
    ]
    newest = max([*failed, *refused[:1]], key=lambda item: str(item["at"]), default=None)
    if newest is None:
        raise Unknown("no request has failed, as far as the gateway remembers")
    return str(newest["id"])


def _show(told: dict[str, Any], page: Page) -> None:
    from gateway.cli._page import BAD, GOOD, STRONG, sentence  # noqa: PLC0415 - loaded by now

    flags = ",".join(told["flags"]) or "-"
    well = not told["flags"] and 0 < told["status"] < 400
    page.item(
        "request", f"{told['method']} {told['path']}  to {told['authority'] or '?'}  {told['protocol']}"
    )
    by = f", by worker {told['worker']['number']} (pid {told['worker']['pid']})" if "worker" in told else ""
    page.item("", f"{told['id']}, {told['at']}, from {told['client'] or 'a local client'}{by}")
    status = str(told["status"] or "no answer")
    page.item(
        "outcome",
        (status, GOOD if well else BAD),
        f"  flag {flags}  {told['details']}  {_ms(told['duration_ms'])}",
    )
    page.text("cause", sentence(told["cause"]), STRONG)
    page.text("culprit", told["culprit"])
    page.text("what to do", sentence(told["remedy"]))
    for note in told["notes"]:
        page.text("note", note)
    if told["attempts"]:
        _waterfall(told, page)
    elif told["endpoint"]:
        page.item("endpoint", told["endpoint"])
    if told["transport_failure"]:
        page.item("transport", told["transport_failure"])
    if told["trace"]:
        page.item("trace", told["trace"])
        if jaeger := os.environ.get("GATEWAY_JAEGER_URL", "").rstrip("/"):
            page.item("", f"{jaeger}/trace/{told['trace']}")
    _decision(told, page)


def _decision(told: dict[str, Any], page: Page) -> None:
    from gateway.cli._page import sentence  # noqa: PLC0415 - loaded by now

    if told["source"]:
        page.item("route", f"{told['route']}  ({told['source']})")
        if told["cluster"]:
            page.item("cluster", told["cluster"])
    if told["changed"]:
        page.text("note", sentence(told["changed"]))
    for verdict in told["policies"]:
        both = ", for the gateway and the destination" if verdict["place"] == "both" else ""
        dry = " (dry run)" if verdict["dry_run"] else ""
        head = f"{verdict['action']} {verdict['policy']}{dry}{both}"
        page.items("policy", (f"{head}: {reason}" for reason in verdict["reasons"]))
    decision = told["decision"]
    if decision is None or told["source"]:
        return
    host = decision["virtual_host"]
    if host["name"] is None:
        page.item("virtual host", f"none: {host['because']}")
        if host["also"]:
            page.item("", f"known and similar: {', '.join(host['also'])}")
        return
    page.item("virtual host", f"{host['name']}  ({host['because']})")
    taken = decision["route"]
    if taken and Flag.NO_ROUTE not in told["flags"]:
        named = f"{taken['name'] or taken['source']}  ({taken['source']})"
        page.item("route", f"{named} would be next; it was turned away before")
        return
    page.items(
        "near misses",
        (f"{item['name'] or item['source']}: {item['because']}" for item in decision["nearest"]),
    )


def _waterfall(told: dict[str, Any], page: Page) -> None:
    """One line a try: `.` before it, `c` connecting, `-` waiting for the answer, `=` receiving it."""
    whole = max(told["duration_ms"], 0.001)
    width = max(len(attempt["endpoint"]) for attempt in told["attempts"])
    for number, attempt in enumerate(told["attempts"], 1):
        bar = _bar(attempt, whole)
        reused = "on an open connection" if attempt["reused"] else _connecting(attempt)
        outcome = " ".join(
            str(part)
            for part in (attempt["status"] or "", attempt["flag"] if attempt["flag"] != "-" else "")
            if part
        )
        why = _reason(attempt["details"])
        details = (f"  {why}" if why else "") + ("; it was closed while idle" if attempt["stale"] else "")
        page.item(
            "tries" if number == 1 else "",
            f"{number}  {attempt['endpoint']:<{width}}  |{bar}|  "
            f"{_ms(attempt['end_ms'] - attempt['start_ms']):>8}  {outcome:<7} {reused}{details}".rstrip(),
        )


def _reason(details: str) -> str:
    """`upstream_reset_before_response_started{connection_timeout}` as `connection timeout`."""
    inner = details.partition("{")[2].removesuffix("}") or details
    return "" if inner == "via_upstream" else inner.replace("_", " ").replace("|", ", ")


def _bar(attempt: dict[str, Any], whole: float) -> str:
    start = attempt["start_ms"]
    connected = start if attempt["reused"] else attempt["connected_ms"]
    headers = attempt["headers_ms"]
    end = attempt["end_ms"]
    marks = []
    for column in range(BAR):
        at = (column + 0.5) * whole / BAR
        if at < start or at > end:
            marks.append(".")
        elif connected is None or at < connected:
            marks.append("c")
        elif headers is None or at < headers:
            marks.append("-")
        else:
            marks.append("=")
    if set(marks) == {"."}:  # Too short to be seen: it is there all the same.
        marks[min(BAR - 1, int(start * BAR / whole))] = "|"
    return "".join(marks)


def _connecting(attempt: dict[str, Any]) -> str:
    connected = attempt["connected_ms"]
    return "" if connected is None else f"connected in {_ms(connected - attempt['start_ms'])}"


def _ms(value: float) -> str:
    from gateway.cli._page import seconds  # noqa: PLC0415 - loaded by now

    return seconds(value / 1000)
