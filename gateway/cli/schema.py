"""`gateway schema`: the JSON Schema of the configuration, for editors.

Lifetime: process.
"""

from __future__ import annotations

import json

import click

from gateway.cli._help import closing


@click.command(
    "schema",
    short_help="The JSON Schema of the configuration, for editors.",
    epilog=closing("gateway schema > routes.schema.json", codes="0 printed, 2 usage"),
)
@click.option("--json", "as_json", is_flag=True, help="The schema is JSON anyway; accepted as everywhere.")
def command(*, as_json: bool) -> None:
    """Prints the JSON Schema of routes.yaml.

    Editors with the YAML language server complete and check a file whose first line names it, as
    `# yaml-language-server: $schema=routes.schema.json`.
    """
    del as_json
    from gateway.config.schema import json_schema  # noqa: PLC0415 - making it takes a moment, --help does not

    click.echo(json.dumps(json_schema(), indent=2, sort_keys=True, ensure_ascii=False))
