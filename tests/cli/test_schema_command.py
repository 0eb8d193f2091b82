"""`gateway schema`: what editors read."""

from __future__ import annotations

import json

from click.testing import CliRunner

from gateway.cli import main
from gateway.config.schema import json_schema


def test_the_schema_is_printed() -> None:
    """As JSON, with and without --json."""
    for arguments in (["schema"], ["schema", "--json"]):
        result = CliRunner().invoke(main, arguments)
        assert (result.exit_code, json.loads(result.output)) == (0, json_schema())
