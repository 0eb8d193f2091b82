"""The command line, one module a command: `gateway check` is `gateway/cli/check.py`.

Lifetime: process. A command is loaded when it is named, so that `gateway check` does not pay for a server.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from pkgutil import iter_modules

import click

DISTRIBUTION = "asgi-gateway"


class Commands(click.Group):
    """The commands whose modules exist: each has a `click.Command` named `command`, or like the module."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command, by the names of the modules."""
        del ctx
        return sorted(
            module.name.replace("_", "-") for module in iter_modules(__path__) if module.name[0] != "_"
        )

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Loads a command; None when there is none of that name."""
        if cmd_name not in self.list_commands(ctx):
            return None
        name = cmd_name.replace("-", "_")
        module = import_module(f"{__name__}.{name}")
        command = getattr(module, "command", None) or getattr(module, name, None)
        assert isinstance(command, click.Command), f"{module.__name__} has no command"
        return command


@click.group(
    "gateway",
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=(
        "\b\nExit codes of every command: 0 fine, 1 findings, 2 usage, 3 could not start.\n"
        "Every command takes --json.\n"
        'Completion: eval "$(_GATEWAY_COMPLETE=bash_source gateway)"; zsh_source, fish_source.'
    ),
)
@click.version_option(version(DISTRIBUTION), prog_name="gateway")
def main() -> None:
    """The edge gateway that runs Istio's YAML in one process."""
