"""`gateway export envoy`: the configuration as a bootstrap that real Envoy runs.

Lifetime: process.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import click

from gateway.cli._config import config_option
from gateway.cli._help import closing

CODES = "0 written, 1 the configuration has errors, 2 usage, 3 cannot write"


@click.group(
    "export",
    short_help="The same configuration for Envoy.",
    epilog=closing("gateway export envoy -o envoy.json", codes=CODES),
)
def export() -> None:
    """Says the configuration in another proxy's words."""


@export.command(
    "envoy",
    short_help="A bootstrap for real Envoy.",
    epilog=closing("gateway export envoy -c routes.yaml -o envoy.json", codes=CODES),
)
@config_option
@click.option("--output", "-o", metavar="FILE", help="Where to write; default: standard output.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help='One object {"bootstrap": ..., "notes": [...]} instead of notes on stderr.',
)
def export_to_envoy(*, paths: tuple[str, ...], output: str | None, as_json: bool) -> None:
    """Writes a static bootstrap (JSON): `envoy -c FILE` then treats requests as this gateway does.

    What Envoy cannot say, or what is not exported yet, is told on standard error.
    """
    from gateway.config import load, render  # noqa: PLC0415 - `gateway --help` need not load them
    from gateway.config.files import spread  # noqa: PLC0415 - as above
    from gateway.export import export_envoy  # noqa: PLC0415 - as above

    chosen = list(paths) or os.environ.get("GATEWAY_CONFIG") or "routes.yaml"
    loaded = load(chosen)
    if loaded.config is None:
        fatal = [finding for finding in loaded.findings if finding.fatal]
        click.echo(render(fatal, loaded.sources, color=sys.stderr.isatty()), err=True)
        sys.exit(1)
    made = export_envoy(loaded.config, spread(chosen))
    if as_json:
        text = json.dumps({"bootstrap": made.bootstrap, "notes": made.notes}, indent=2) + "\n"
    else:
        text = made.dumps()
        for note in made.notes:
            click.echo(f"note: {note}", err=True)
    try:
        _write(text, output)
    except OSError as error:
        click.echo(f"cannot write {output}: {error.strerror}", err=True)
        sys.exit(3)


def _write(text: str, output: str | None) -> None:
    if output is None or output == "-":
        click.echo(text, nl=False)
    else:
        Path(output).write_text(text)
