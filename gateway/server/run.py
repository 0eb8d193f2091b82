"""`gateway run`: configuration, sockets, one process or several, and every way not to start.

Lifetime: process.
"""

from __future__ import annotations

import logging
import os
import sys
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from gateway.asgi import Gateway
from gateway.config import ConfigError, render
from gateway.server.banner import banner
from gateway.server.listeners import CannotListen, bound, listen, wanted
from gateway.server.serve import serve
from gateway.server.workers import COULD_NOT_START, Workers

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from gateway.config import Config

QUIET_START = ("gateway", "uvicorn")
"""Loggers that keep their remarks to themselves until the banner has said the same in order."""


def run(
    paths: Sequence[str] | None, *, host: str | None, port: int | None, workers: int, log_level: str
) -> int:
    """Serves until a signal ends it; everything it says goes to stderr. Gives the exit code: 0 after a drain,
    3 when it could not start.
    """
    configure_logging(log_level)
    gateway = Gateway(paths, own_process=True)
    try:
        gateway.control.load_first()
    except ConfigError as error:
        _say(render(error.findings, error.sources, color=sys.stderr.isatty()))
        _say("The configuration has errors; nothing is served.")
        return COULD_NOT_START
    try:
        sockets, notes = _open(gateway.control.snapshot.config, host, port)
    except CannotListen as error:
        _say(str(error))
        return COULD_NOT_START

    def announce(gateway: Gateway) -> None:
        _say(
            banner(
                gateway.control,
                bound(sockets, gateway.control.tls.ports),
                admin=gateway.admin_address,
                workers=workers,
                notes=notes,
            ).rstrip("\n")
        )
        _speak_up(log_level)

    if workers == 1:
        return serve(gateway, sockets, announce)
    del gateway

    def work(number: int) -> int:
        logging.getLogger("gateway").setLevel(logging.ERROR)  # the findings have been said
        if number:
            os.environ["GATEWAY_ADMIN"] = "off"  # the first worker has the address
        later = (lambda _: _speak_up(log_level)) if number else announce
        return serve(Gateway(paths, own_process=True), sockets, later)

    # Where workers leave their numbers for the one that is asked for all of them.
    with TemporaryDirectory(prefix="gateway-") as folder:
        os.environ.setdefault("GATEWAY_RUNTIME", folder)
        return Workers(workers, work).run()


def _open(config: Config, host: str | None, port: int | None) -> tuple[list[socket.socket], list[str]]:
    """The listening sockets, and what there is to say about addresses that were asked for in vain."""
    asked = wanted(config, host, port)
    notes = list(asked.passed_over)
    sockets = [listen(address) for address in asked.required]
    for address in asked.optional:
        try:
            sockets.append(listen(address))
        except CannotListen as error:
            notes.append(str(error))
    return sockets, notes


def configure_logging(level: str) -> None:
    """Everything to stderr, a line each; uvicorn only when it warns."""
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger().setLevel(level.upper())
    for name in QUIET_START:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))


def _speak_up(level: str) -> None:
    logging.getLogger("gateway").setLevel(level.upper())
    if level == "debug":
        logging.getLogger("uvicorn").setLevel(logging.DEBUG)


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
