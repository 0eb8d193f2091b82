"""`gateway run`: configuration, sockets, one process or several, and every way not to start.

Lifetime: process.
"""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from gateway.admin import Siblings, open_public, socket_home, wanted_address
from gateway.asgi import Gateway
from gateway.config import ConfigError, render
from gateway.server.banner import banner
from gateway.server.listeners import CannotListen, bound, listen, wanted
from gateway.server.serve import serve
from gateway.server.speech import Speech
from gateway.server.workers import COULD_NOT_START, Workers

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from gateway.config import Config

QUIET_START = ("gateway", "uvicorn")
"""Loggers that keep their remarks to themselves until the banner has said the same in order."""


def run(
    paths: Sequence[str] | None,
    *,
    host: str | None,
    port: int | None,
    workers: int,
    log_level: str,
    as_json: bool = False,
) -> int:
    """Serves until a signal ends it; everything it says goes to stderr. Gives the exit code: 0 after a drain,
    3 when it could not start.
    """
    speech = Speech(as_json=as_json)
    configure_logging(speech, log_level)
    gateway = Gateway(paths, own_process=True)
    try:
        gateway.control.load_first()
    except ConfigError as error:
        told = render(error.findings, error.sources, color=sys.stderr.isatty())
        speech.say(
            f"{told}\nThe configuration has errors; nothing is served.",
            "refused",
            findings=[asdict(finding) for finding in error.findings],
        )
        return COULD_NOT_START
    try:
        sockets, notes = _open(gateway.control.snapshot.config, host, port)
    except CannotListen as error:
        speech.say(str(error), "cannot listen")
        return COULD_NOT_START

    def announce(gateway: Gateway) -> None:
        addresses = bound(sockets, gateway.control.tls.ports)
        admin = gateway.admin_address
        speech.say(
            banner(gateway.control, addresses, admin=admin, workers=workers, notes=notes).rstrip("\n"),
            "serving",
            generation=gateway.control.snapshot.generation,
            paths=[str(path) for path in gateway.control.paths],
            listening=[address.url for address in addresses],
            admin=admin,
            workers=workers,
            notes=notes,
        )
        _speak_up(log_level)

    if workers == 1:
        return serve(gateway, sockets, announce, lambda config: wanted(config, host, port).addresses)
    admin = wanted_address(None, gateway.control.snapshot.config.settings)
    del gateway

    def work(siblings: Siblings) -> int:
        logging.getLogger("gateway").setLevel(logging.ERROR)  # the findings have been said
        later = (lambda _: _speak_up(log_level)) if siblings.number else announce
        return serve(Gateway(paths, own_process=True, siblings=siblings), sockets, later)

    return _serve_workers(workers, admin, work)


def _serve_workers(count: int, admin: str, work: Callable[[Siblings], int]) -> int:
    """`work` in so many processes. `admin`: the address of their admin listener; empty: they have none."""
    # Open before there are workers: all of them accept there, so it stays when one of them ends.
    public = open_public(admin) if admin else None
    if public is None:
        os.environ["GATEWAY_ADMIN"] = "off"
    # Where workers find each other, and leave their numbers.
    with TemporaryDirectory(prefix="gateway-", dir=socket_home()) as folder:
        Siblings.expect(Path(folder), count)
        return Workers(count, lambda number: work(Siblings(Path(folder), number, public))).run()


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


def configure_logging(speech: Speech, level: str) -> None:
    """Everything to stderr, a line each; uvicorn only when it warns."""
    speech.listen_to_logs(level)
    for name in QUIET_START:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))


def _speak_up(level: str) -> None:
    logging.getLogger("gateway").setLevel(level.upper())
    if level == "debug":
        logging.getLogger("uvicorn").setLevel(logging.DEBUG)
