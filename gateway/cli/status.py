"""`gateway status`: what a running gateway serves, asked of its admin listener.

Lifetime: process.
"""

from __future__ import annotations

import json
import os
import sys
from http.client import HTTPConnection, HTTPException
from typing import Any

import click

from gateway.config import Finding
from gateway.config.settings import host_port

DEFAULT_ADMIN = "127.0.0.1:15000"
TIMEOUT = 5.0
"""Seconds for an answer of the admin listener."""


class Unreachable(Exception):  # noqa: N818 - what is wrong, as the sentence that is printed
    """No gateway answers there."""


@click.command(
    "status",
    epilog="Exit codes: 0 fine, 1 errors or a refused reload, 2 usage, 3 nobody answers.",
)
@click.option(
    "--admin",
    metavar="HOST:PORT",
    help=f"The gateway's admin listener. Default: $GATEWAY_ADMIN, or {DEFAULT_ADMIN}.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
def command(*, admin: str | None, as_json: bool) -> None:
    """Prints state, generation, findings and clusters of a running gateway."""
    address = admin or os.environ.get("GATEWAY_ADMIN") or DEFAULT_ADMIN
    try:
        host, port = host_port(address)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    try:
        status = _ask(host, port, "/status")
        clusters = _ask(host, port, "/clusters?format=json")["clusters"]
    except Unreachable as reason:
        click.echo(str(reason), err=True)
        sys.exit(3)
    click.echo(json.dumps({**status, "clusters": clusters}, indent=2) if as_json else _page(status, clusters))
    sys.exit(1 if _wrong(status) else 0)


def _ask(host: str, port: int, path: str) -> Any:
    connection = HTTPConnection(host, port, timeout=TIMEOUT)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            message = f"the admin listener on {host}:{port} answers {answer.status} to {path}"
            raise Unreachable(message)
        return json.loads(body)
    except (OSError, HTTPException, ValueError) as error:
        message = f"no gateway answers on {host}:{port}: {error}"
        raise Unreachable(message) from error
    finally:
        connection.close()


def _wrong(status: dict[str, Any]) -> bool:
    refused = status["last_reload"]["outcome"] == "refused"
    return refused or any(finding["severity"] == "error" for finding in status["findings"])


def _page(status: dict[str, Any], clusters: list[dict[str, Any]]) -> str:
    reloads, last = status["reloads"], status["last_reload"]
    lines = [
        f"{status['state']}, generation {status['generation']} since {reloads['applied_at']}",
        f"from {', '.join(status['paths'])}",
        f"reloads: {reloads['applied']} applied, {reloads['refused']} refused",
    ]
    if last["outcome"] == "refused":
        lines += [f"the last one ({last['reason']}, {last['at']}) was refused:", *_findings(last["findings"])]
    elif status["findings"]:
        lines += ["findings:", *_findings(status["findings"])]
    lines.append("")
    for cluster in clusters:
        lines.append(_cluster(cluster))
        lines += (_endpoint(endpoint) for endpoint in cluster["endpoints"])
    return "\n".join(_printable(line) for line in lines)


def _findings(findings: list[dict[str, Any]]) -> list[str]:
    return [f"  {Finding(**item)}" for item in findings]


def _cluster(cluster: dict[str, Any]) -> str:
    waiting = f", {cluster['pending']} waiting" if cluster["pending"] else ""
    return (
        f"{cluster['name']}  {cluster['resolution']} {cluster['policy']}"
        f"  {cluster['connections']} connections{waiting}"
    )


def _endpoint(endpoint: dict[str, Any]) -> str:
    return (
        f"  {endpoint['address']:<24} {endpoint['health']}  weight {endpoint['weight']}"
        f"  active {endpoint['active']}  requests {endpoint['requests']}"
        f"  connections {endpoint['connections']} ({endpoint['idle']} idle)"
    )


def _printable(text: str) -> str:
    """`text` without anything that could move a terminal's cursor: names come from files."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
