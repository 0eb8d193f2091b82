"""Naming a configuration, for the commands that take one or the default.

Lifetime: config (constants).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

Command = TypeVar("Command", bound="Callable[..., Any]")


def config_option(command: Command) -> Command:
    """`-c PATH`, as `paths`."""
    return click.option(
        "-c",
        "--config",
        "paths",
        multiple=True,
        metavar="PATH",
        help="Configuration file or directory, repeatable. Default: $GATEWAY_CONFIG, or routes.yaml.",
    )(command)
