"""The command line as a whole."""

from __future__ import annotations

import subprocess
import sys

from click.testing import CliRunner

from gateway.cli import main


def test_every_command_has_help_and_json() -> None:
    """The promises of every command, whoever adds one."""
    with main.make_context("gateway", [], resilient_parsing=True) as context:
        names = main.list_commands(context)
        assert {"check", "schema"} <= set(names)
        for name in names:
            command = main.get_command(context, name)
            assert command is not None
            assert command.help, name


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
