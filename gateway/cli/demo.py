"""`gateway demo`: the gateway with sample backends and light traffic on this machine.

Lifetime: process.
"""

from __future__ import annotations

import asyncio
import os
import sys
from importlib import resources
from pathlib import Path

import click

from gateway.cli._config import config_option
from gateway.cli._help import closing
from gateway.config import split_paths
from gateway.demo.guide import shown

DEFAULT_PATH = "routes.yaml"


@click.command(
    "demo",
    short_help="The gateway with sample backends and traffic, here.",
    epilog=closing(
        "gateway demo",
        "gateway demo --port 8090 --no-traffic",
        codes="0 stopped, 1 a part of it ended by itself, 2 usage, 3 could not start",
    ),
)
@config_option
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help="Where the gateway listens on 127.0.0.1. Default: 8080, or what GatewaySettings says.",
)
@click.option("--no-traffic", is_flag=True, help="Send nothing; only what you send arrives.")
@click.option("--json", "as_json", is_flag=True, help="Say everything as JSON, one object a line.")
def demo(*, paths: tuple[str, ...], port: int | None, no_traffic: bool, as_json: bool) -> None:
    """Runs the gateway, sample backends for its loopback endpoints, and light traffic, until Ctrl-C."""
    from gateway.demo.screen import Screen  # noqa: PLC0415 - other commands need not load it
    from gateway.demo.session import CannotStart, plan, run  # noqa: PLC0415 - as above

    screen = Screen(sys.stdout, as_json=as_json)
    try:
        chosen = plan(paths or _default_paths(), port=port, with_traffic=not no_traffic)
        code = asyncio.run(run(chosen, screen))
    except CannotStart as reason:
        click.echo(str(reason), err=True)
        code = reason.code
    sys.exit(code)


def _default_paths() -> tuple[str, ...]:
    """What is configured, or routes.yaml here; where there is none, the sample one is written."""
    configured = tuple(split_paths(os.environ.get("GATEWAY_CONFIG", "")))
    if configured:
        return tuple(map(shown, configured))
    path = Path(DEFAULT_PATH)
    if not path.exists():
        sample = resources.files("gateway.demo").joinpath(DEFAULT_PATH)
        path.write_bytes(sample.read_bytes())
        click.echo(f"There was no {DEFAULT_PATH} in {Path.cwd()}: wrote one to try things on.", err=True)
    return (DEFAULT_PATH,)
