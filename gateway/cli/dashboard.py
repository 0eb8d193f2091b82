"""`gateway dashboard`: the pages where the gateway can be watched.

Lifetime: process.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import webbrowser
from urllib.parse import urlsplit

import click

from gateway.cli._admin import Admin, option
from gateway.cli._help import closing

PLACES = {
    "grafana": ("GATEWAY_GRAFANA_URL", "http://127.0.0.1:3000/"),
    "prometheus": ("GATEWAY_PROMETHEUS_URL", "http://127.0.0.1:9090/"),
    "jaeger": ("GATEWAY_JAEGER_URL", "http://127.0.0.1:16686/"),
}
"""Variable that says where it is, and where deploy/observability starts it."""
PATIENCE = 2.0
"""Seconds until a page that does not answer counts as not there."""


@click.command(
    "dashboard",
    short_help="Opens the console, Grafana, Prometheus or Jaeger.",
    epilog=closing(
        "gateway dashboard console",
        "gateway dashboard grafana --print",
        codes="0 it is there, 2 usage, 3 nobody answers there",
    ),
)
@click.argument("name", type=click.Choice(["console", *PLACES]))
@option
@click.option("--url", metavar="URL", help="Where it is, if not where deploy/observability starts it.")
@click.option("--print", "only_print", is_flag=True, help="Do not open a browser.")
@click.option("--json", "as_json", is_flag=True, help="Print one object; opens no browser.")
def command(*, name: str, admin: str | None, url: str | None, only_print: bool, as_json: bool) -> None:
    """Opens a page in the browser, and prints its address: the gateway's console, or a tool beside it.

    GATEWAY_GRAFANA_URL, GATEWAY_PROMETHEUS_URL and GATEWAY_JAEGER_URL say where the tools are.
    """
    address = url or _address(name, admin)
    answers = _answers(address)
    if as_json:
        click.echo(json.dumps({"name": name, "url": address, "answers": answers}))
    else:
        click.echo(address)
        if not answers:
            click.echo(_missing(name), err=True)
        elif not only_print and sys.stdout.isatty():
            webbrowser.open(address)
    sys.exit(0 if answers else 3)


def _address(name: str, admin: str | None) -> str:
    if name == "console":
        return Admin(admin).url
    variable, usual = PLACES[name]
    return os.environ.get(variable) or usual


def _answers(address: str) -> bool:
    parts = urlsplit(address)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        port = 0
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port:
        message = f"{address!r} is not http://HOST:PORT/"
        raise click.UsageError(message)
    try:
        socket.create_connection((parts.hostname, port), timeout=PATIENCE).close()
    except OSError:
        return False
    return True


def _missing(name: str) -> str:
    if name == "console":
        return "nobody answers there: is the gateway running, and its admin listener on?"
    variable, _ = PLACES[name]
    return f"nobody answers there: start it (deploy/observability), or say where it is ({variable}, --url)"
