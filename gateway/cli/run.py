"""`gateway run`: serves the configuration.

Lifetime: process.
"""

from __future__ import annotations

import sys

import click

from gateway.cli._config import config_option
from gateway.cli._help import closing


@click.command(
    "run",
    short_help="Serves a configuration, and follows its files.",
    epilog=closing(
        "gateway run -c routes.yaml",
        "gateway run -c conf.d --host 0.0.0.0 --port 80 --workers 4",
        codes="0 stopped after a drain, 2 usage, 3 could not start",
    ),
)
@config_option
@click.option(
    "--host", metavar="HOST", help="Where to listen. Default: 127.0.0.1, or what the configuration says."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="Port to listen on, besides those of Gateway documents; 0 chooses one. Default: 8080 without any.",
)
@click.option("--workers", type=click.IntRange(1, 256), default=1, show_default=True, help="Processes.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="Of the messages on stderr; the access log is GatewaySettings' business.",
)
@click.option("--json", "as_json", is_flag=True, help="Say everything as JSON, one object a line, on stderr.")
def run(
    *,
    paths: tuple[str, ...],
    host: str | None,
    port: int | None,
    workers: int,
    log_level: str,
    as_json: bool,
) -> None:
    """Serves the configuration until SIGTERM or Ctrl-C, reloading it when it changes or on SIGHUP.

    The first signal drains: readiness says no, no further connection is accepted, requests under way finish.
    A second one ends the process at once.
    """
    from gateway.server.run import run as start  # noqa: PLC0415 - `gateway --help` need not load a server

    code = start(paths or None, host=host, port=port, workers=workers, log_level=log_level, as_json=as_json)
    sys.exit(code)
