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
        others = "any other port" if len(status["listeners"]) > 1 else "every port"
        where = f"port {listener['port']}" if listener["port"] else others
        secure = "TLS, " if listener["tls"] else ""
        holds = f"{_many(listener['virtual_hosts'], 'host')}, {_many(listener['routes'], 'route')}"
        page.line(f"listener {listener['name']}  {where}, {secure}{holds}")
    for certificate in status["certificates"]:
        _certificate(certificate, page)
    if (store := status.get("rate_limit_store")) is not None:
        page.line(_store(store), "" if store["up"] else BAD)
    page.line()
    for cluster in clusters:
        page.line(cluster["name"], STRONG)
        page.line(f"  {_summary(cluster)}")
        _limits(cluster["limits"], page)
        if cluster["retries_left"] == 0:
            page.line("  retries have used up their share of its requests: no further ones for now", BAD)
        longest = max((len(endpoint["address"]) for endpoint in cluster["endpoints"]), default=0)
        weighed = len({endpoint["weight"] for endpoint in cluster["endpoints"]}) > 1
        for endpoint in cluster["endpoints"]:
            line = _endpoint(endpoint, longest, weighed=weighed)
            page.line(line, "" if endpoint["health"] == "healthy" else BAD)


def _worker(row: dict[str, Any], page: Page) -> None:
    from gateway.cli._page import BAD, worker  # noqa: PLC0415 - loaded by now

    if "silent" in row:
        page.line(f"{worker(row)} does not answer: {row['silent']}", BAD)
        return
    refused = ", refused the last reload" if row["refused"] else ""
    behind = ", SERVES OLDER FILES than the others" if row["behind"] else ""
    text = f"{worker(row)}  {row['state']}, generation {row['generation']}{refused}{behind}"
    page.line(text, BAD if refused or behind or row["state"] != "ready" else "")


_WITHOUT = {
    "LOCAL": "each process counts its own",
    "ALLOW": "every request passes",
    "DENY": "every request is refused",
}


def _store(store: dict[str, Any]) -> str:
    asked = store["allowed"] + store["limited"]
    told = f"rate limit store {store['kind']} {store['address']}"
    if store["up"]:
        missed = store["failed"] + store["skipped"]
        return f"{told}  up, {asked} questions" + (f", {missed} without an answer" if missed else "")
    some = 0 < store.get("down_in", 0) < store["workers"]
    where = f" in {store['down_in']} of {store['workers']} workers" if some else ""
    return f"{told}  DOWN{where}, {_WITHOUT[store['on_failure']]}: {store['reason']}"


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


def _limits(limits: dict[str, dict[str, Any]], page: Page) -> None:
    """All of them, as many on a line as there is room for; then those that are full."""
    from gateway.cli._page import BAD  # noqa: PLC0415 - loaded by now

    line = ""
    for name, limit in limits.items():
        told = f"{_words(name)} {limit['used']} of {limit['limit']}"
        if line and len(line) + len(told) + 2 > page.width:
            page.line(f"{line},")
            line = ""
        line = f"{line}, {told}" if line else f"  {told}"
    if line:
        page.line(line)
    for name, limit in limits.items():
        if limit["open"] and limit["limit"]:
            where = f" in {limit['open_in']} of {limit['workers']} workers" if "open_in" in limit else ""
            page.line(f"  {_words(name)} is FULL{where}: further ones are turned away", BAD)


def _many(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _words(limit: str) -> str:
    return limit.replace("_", " ")


def _summary(cluster: dict[str, Any]) -> str:
    waiting = f", {cluster['pending']} waiting" if cluster["pending"] else ""
    turned = f", {cluster['overflows']} turned away" if cluster["overflows"] else ""
    return (
        f"{cluster['resolution']}, {cluster['policy']},"
        f" {_many(cluster['connections'], 'connection')}{waiting}{turned}"
    )


def _endpoint(endpoint: dict[str, Any], longest: int, *, weighed: bool) -> str:
    health = endpoint["health"]
    if "ejected_for" in endpoint:
        health += f" for {endpoint['ejected_for']:g} s still ({endpoint.get('ejected_because', '')})"
    weight = f"  weight {endpoint['weight']}" if weighed else ""
    return (
        f"  {endpoint['address']:<{longest}}{weight}  active {endpoint['active']}"
        f"  requests {endpoint['requests']}  connections {endpoint['connections']}"
        f", idle {endpoint['idle']}  {health}"
    )
