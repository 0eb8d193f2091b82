"""The command line as a whole."""

from __future__ import annotations

import re
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from gateway.cli import main


def commands() -> dict[str, click.Command]:
    """Every command, and every command of a group, by what one types."""
    found: dict[str, click.Command] = {}
    with main.make_context("gateway", [], resilient_parsing=True) as context:
        for name in main.list_commands(context):
            command = main.get_command(context, name)
            assert command is not None
            found[name] = command
            if isinstance(command, click.Group):
                found |= {f"{name} {inner}": each for inner, each in command.commands.items()}
    return found


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_command_keeps_the_promises_of_all(name: str) -> None:
    """Help with examples that begin with the command, exit codes, one line in the list, `--json`."""
    command = commands()[name]
    result = CliRunner().invoke(main, [*name.split(), "--help"], prog_name="gateway")

    assert result.exit_code == 0
    assert len(command.short_help or "") in range(10, 61)
    assert re.search(rf"^  Examples:\n    gateway {name}", result.output, re.MULTILINE)
    assert re.search(r"^  Exit codes: 0 .*2\s+usage", result.output, re.MULTILINE | re.DOTALL)
    assert "\b" not in result.output
    if not isinstance(command, click.Group):
        assert "--json" in {flag for option in command.params for flag in option.opts}
        assert all(option.help for option in command.params if isinstance(option, click.Option))


def test_the_list_of_commands_is_whole() -> None:
    """No line of it is cut off."""
    _, _, listed = CliRunner().invoke(main, ["--help"]).output.partition("Commands:")
    assert "why" in listed
    assert "..." not in listed


def test_an_unknown_command_is_a_usage_error() -> None:
    """Exit code 2, and the way to help."""
    result = CliRunner().invoke(main, ["chekc"])

    assert result.exit_code == 2
    assert "No such command 'chekc'" in result.output


def test_a_private_module_is_no_command() -> None:
    """Only modules without an underscore in front are commands."""
    with main.make_context("gateway", [], resilient_parsing=True) as context:
        assert main.get_command(context, "__init__") is None
        assert main.get_command(context, "..config") is None


def test_a_command_is_loaded_when_it_is_named() -> None:
    """`gateway schema --help` costs neither a server nor pydantic's schemas."""
    code = "import sys; from gateway.cli import main; main(['schema', '--help'], standalone_mode=False);"
    code += "print([name for name in ('uvicorn', 'httpx', 'gateway.config') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "[]"


def test_the_version_is_the_distribution_s() -> None:
    """`gateway --version`."""
    assert CliRunner().invoke(main, ["--version"]).output.startswith("gateway, version ")
