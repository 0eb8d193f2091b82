"""`gateway status`: what a running gateway serves, asked of its admin listener.

Lifetime: process.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from gateway.cli._admin import Admin, Unknown, Unreachable, option
from gateway.cli._help import closing
from gateway.config import Finding

if TYPE_CHECKING:
    from gateway.cli._page import Page

SOON = 14 * 86400
"""Seconds before its end from which a certificate is told as a warning."""


@click.command(
    "status",
    short_help="What a running gateway serves, and how its endpoints are.",
    epilog=closing(
        "gateway status",
        "gateway status --admin 127.0.0.1:15001 --json",
        codes="0 fine; 1 errors, a refused reload, an expired certificate, a silent worker or one with older"
        " files; 2 usage; 3 nobody answers",
    ),
)
@option
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
def command(*, admin: str | None, as_json: bool) -> None:
    """Prints state, generation, findings, listeners, certificates and clusters of a running gateway.

    Of each cluster its endpoints, who is ejected and for how long still, and which limits are full. With
    several workers: of all of them, and a line for each.
    """
    listener = Admin(admin)
    try:
        status = listener.ask("/status")
        clusters = listener.ask("/clusters?format=json")["clusters"]
    except (Unreachable, Unknown) as reason:
        click.echo(str(reason), err=True)
        sys.exit(3)
    if as_json:
        click.echo(json.dumps({**status, "clusters": clusters}, indent=2))
    else:
        from gateway.cli._page import Page  # noqa: PLC0415 - --help need not load rich

        _show(status, clusters, Page())
    sys.exit(1 if _wrong(status) else 0)


def _wrong(status: dict[str, Any]) -> bool:
    refused = status["last_reload"]["outcome"] == "refused"
    expired = any(_left(item) < 0 for item in status["certificates"])
    astray = any("silent" in row or row["behind"] for row in status.get("workers", ()))
    return (
        refused or expired or astray or any(finding["severity"] == "error" for finding in status["findings"])
    )


def _left(certificate: dict[str, Any]) -> float:
    left = certificate["seconds_left"]
    return float("inf") if left is None else float(left)


def _show(status: dict[str, Any], clusters: list[dict[str, Any]], page: Page) -> None:
    from gateway.cli._page import BAD, GOOD, STRONG  # noqa: PLC0415 - loaded by now

    reloads, last = status["reloads"], status["last_reload"]
    ready = status["state"] == "ready"
    page.line(
        f"{status['state']}, generation {status['generation']} since {reloads['applied_at']}",
        GOOD if ready else BAD,
    )
    page.line(f"from {', '.join(status['paths'])}")
    page.line(f"reloads: {reloads['applied']} applied, {reloads['refused']} refused")
    for row in status.get("workers", ()):
        _worker(row, page)
    if last["outcome"] == "refused":
        page.line(f"the last one ({last['reason']}, {last['at']}) was refused:", BAD)
        _findings(last["findings"], page)
    elif status["findings"]:
        page.line("findings:")
        _findings(status["findings"], page)
    page.line()
    for listener in status["listeners"]:
        where = f"port {listener['port']}" if listener["port"] else "any other port"
        secure = "TLS, " if listener["tls"] else ""
        holds = f"{listener['virtual_hosts']} hosts, {listener['routes']} routes"
        page.line(f"listener {listener['name']}  {where}, {secure}{holds}")
    for certificate in status["certificates"]:
        _certificate(certificate, page)
    page.line()
    for cluster in clusters:
        page.line(_cluster(cluster), STRONG)
        for name, limit in cluster["limits"].items():
            words = name.replace("_", " ")
            where = f" in {limit['open_in']} of {limit['workers']} workers" if "open_in" in limit else ""
            full = f", FULL{where}: further ones are turned away" if limit["open"] and limit["limit"] else ""
            page.line(f"  {words} {limit['used']} of {limit['limit']}{full}", BAD if full else "")
        if cluster["retries_left"] == 0:
            page.line("  retries have used up their share of its requests: no further ones for now", BAD)
        for endpoint in cluster["endpoints"]:
            page.line(_endpoint(endpoint), "" if endpoint["health"] == "healthy" else BAD)


def _worker(row: dict[str, Any], page: Page) -> None:
    from gateway.cli._page import BAD, worker  # noqa: PLC0415 - loaded by now

    if "silent" in row:
        page.line(f"{worker(row)} does not answer: {row['silent']}", BAD)
        return
    refused = ", refused the last reload" if row["refused"] else ""
    behind = ", SERVES OLDER FILES than the others" if row["behind"] else ""
    text = f"{worker(row)}  {row['state']}, generation {row['generation']}{refused}{behind}"
    page.line(text, BAD if refused or behind or row["state"] != "ready" else "")


def _certificate(certificate: dict[str, Any], page: Page) -> None:
    left = _left(certificate)
    if certificate["seconds_left"] is None:
        when = "does not expire"
    elif left < 0:
        when = f"EXPIRED {_span(-left)} ago"
    else:
        when = f"expires in {_span(left)}, {certificate['not_after']}"
    who = certificate["principal"] or certificate["subject"] or ", ".join(certificate["names"])
    page.line(
        f"{certificate['role']} {certificate['name']}  {who}  {when}",
        "red" if left < 0 else "yellow" if left < SOON else "",
    )


def _span(seconds: float) -> str:
    """`12 days`, `3 hours`, `40 s`."""
    for size, word in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{int(seconds / size)} {word}"
    return f"{int(seconds)} s"


def _findings(findings: list[dict[str, Any]], page: Page) -> None:
    for item in findings:
        page.line(f"  {Finding(**item)}")


def _cluster(cluster: dict[str, Any]) -> str:
    waiting = f", {cluster['pending']} waiting" if cluster["pending"] else ""
    turned = f", {cluster['overflows']} turned away" if cluster["overflows"] else ""
    return (
        f"{cluster['name']}  {cluster['resolution']} {cluster['policy']}"
        f"  {cluster['connections']} connections{waiting}{turned}"
    )


def _endpoint(endpoint: dict[str, Any]) -> str:
    health = endpoint["health"]
    if "ejected_for" in endpoint:
        health += f" for {endpoint['ejected_for']:g} s still ({endpoint.get('ejected_because', '')})"
    return (
        f"  {endpoint['address']:<24} {health}  weight {endpoint['weight']}"
        f"  active {endpoint['active']}  requests {endpoint['requests']}"
        f"  connections {endpoint['connections']} ({endpoint['idle']} idle)"
    )
