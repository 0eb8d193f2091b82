"""Asking a running gateway's admin listener, for the commands that do.

Lifetime: process.
"""

from __future__ import annotations

import json
import os
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gateway.config.address import host_port

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT = "127.0.0.1:15000"
TIMEOUT = 5.0
"""Seconds for an answer."""
OURS = "cross-origin-opener-policy"
"""A header that each answer of an admin listener has (`gateway.admin.guard`)."""

Command = TypeVar("Command", bound="Callable[..., Any]")


class Unreachable(Exception):  # noqa: N818 - what is wrong, as the sentence that is printed
    """No gateway answers there."""


class Unknown(Exception):  # noqa: N818 - as above
    """It answers, and has not what was asked for; the sentence is its own."""


def option(command: Command) -> Command:
    """`--admin HOST:PORT`."""
    return click.option(
        "--admin",
        metavar="HOST:PORT",
        help=f"The gateway's admin listener. Default: $GATEWAY_ADMIN, or {DEFAULT}.",
    )(command)


class Admin:
    """The admin listener of a gateway. A usage error when its address is none."""

    def __init__(self, given: str | None) -> None:
        text = given or os.environ.get("GATEWAY_ADMIN") or DEFAULT
        text = text.removeprefix("http://").rstrip("/")
        if text == "off":
            raise click.UsageError("GATEWAY_ADMIN is off, so there is nobody to ask; name one with --admin")
        try:
            self.host, self.port = host_port(text)
        except ValueError as error:
            raise click.UsageError(str(error)) from error

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        return f"http://{self.host}:{self.port}/"

    def ask(self, path: str) -> Any:
        """The JSON at `path`. Unreachable; Unknown for 404 and 400."""
        connection = HTTPConnection(self.host, self.port, timeout=TIMEOUT)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            if answer.getheader(OURS) is None:
                message = (
                    f"{self.host}:{self.port} answers, but is no gateway's admin listener. "
                    "A gateway says where it has one when it starts; --admin names it."
                )
                raise Unreachable(message)
            if answer.status in {400, 404}:
                raise Unknown(body.decode(errors="replace").strip())
            if answer.status != 200:
                message = f"the admin listener on {self.host}:{self.port} answers {answer.status} to {path}"
                raise Unreachable(message)
            return json.loads(body)
        except (OSError, HTTPException, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            message = (
                f"no gateway answers on {self.host}:{self.port}: {why}. "
                "Is one running, with its admin listener there? --admin names another place."
            )
            raise Unreachable(message) from error
        finally:
            connection.close()
