"""The demo from start to end: sample backends, the gateway, traffic, and nothing left behind.

Lifetime: process.
"""

from __future__ import annotations

import asyncio
import random
import signal
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.config import load, render
from gateway.config.address import host_port
from gateway.demo import traffic
from gateway.demo.children import Child
from gateway.demo.guide import guide
from gateway.demo.services import Backend, backends_of
from gateway.server.banner import ADMIN
from gateway.server.listeners import Address, CannotListen, listen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.demo.screen import Screen

START_PATIENCE = 30.0
"""Seconds the gateway may take until it says that it listens."""
STATUS_INTERVAL = 3.0
"""Seconds between two lines about the split."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class CannotStart(Exception):  # noqa: N818 - what happened; the text is the sentence to print
    """Why there is no demo."""

    def __init__(self, sentence: str, code: int = 3) -> None:
        super().__init__(sentence)
        self.code = code


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run."""

    paths: tuple[str, ...]
    host: str
    port: int
    backends: tuple[Backend, ...]
    with_traffic: bool

    @property
    def url(self) -> str:
        """Where the gateway answers."""
        return f"http://{Address(self.host, self.port)}"


def plan(paths: Sequence[str], *, port: int | None, with_traffic: bool) -> Plan:
    """Reads the configuration. Raises CannotStart with the findings of a file that cannot be used."""
    loaded = load(paths)
    if loaded.config is None:
        raise CannotStart(render(loaded.findings, loaded.sources))
    settings = loaded.config.settings.spec
    host, configured = host_port(settings.listen)
    return Plan(
        tuple(paths),
        host,
        port or configured,
        tuple(backends_of(loaded.config)),
        with_traffic,
    )


async def run(plan: Plan, screen: Screen) -> int:
    """Runs until a signal comes or a part of it ends. Gives the exit code; raises CannotStart."""
    stop = asyncio.Event()
    children: list[Child] = []

    def interrupt() -> None:
        if stop.is_set():  # asked twice: no more patience
            for child in children:
                child.kill()
        stop.set()

    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        stack.callback(screen.end_status)
        for number in _SIGNALS:
            loop.add_signal_handler(number, interrupt)
            stack.callback(loop.remove_signal_handler, number)
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="gateway-demo-"))
        log = Path(directory, "access.log")
        _refuse_taken(Address(plan.host, plan.port))
        if plan.backends:
            children.append(await _start_backends(plan, screen))
            stack.push_async_callback(children[-1].stop)
        heard = Heard(screen)
        children.append(await _start_gateway(plan, heard, log))
        stack.push_async_callback(children[-1].stop)
        await _wait_until_open(children[-1], heard.opened, stop)
        if stop.is_set():
            return 0
        _announce(plan, heard.admin, screen, log)
        return await _watch(plan, screen, children, stop)


class Heard:
    """What the gateway says of itself, on its way to the screen."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self.opened = asyncio.Event()
        """It listens."""
        self.admin = "off"
        """Address of its admin listener: the port may have been taken."""

    def __call__(self, line: str) -> None:
        """One line of the gateway's."""
        self._screen.say(line)
        said = line.strip()
        if said.startswith(ADMIN):
            self.admin = said.removeprefix(ADMIN).removeprefix("on http://")
            self.opened.set()  # the line behind the one that says where it listens


def _announce(plan: Plan, admin: str, screen: Screen, log: Path) -> None:
    backends = [f"{backend.service} {backend.version} :{backend.port}" for backend in plan.backends]
    text = guide(url=plan.url, path=plan.paths[0], admin=admin, backends=backends, log=str(log))
    screen.say(
        text,
        "ready",
        url=plan.url,
        admin=admin,
        config=plan.paths,
        access_log=str(log),
        backends=[str(backend) for backend in plan.backends],
    )


def _refuse_taken(address: Address) -> None:
    """Looks before anything is started: otherwise whoever has the port would be taken for the gateway."""
    try:
        listen(address).close()
    except CannotListen as error:
        raise CannotStart(str(error)) from error


async def _start_backends(plan: Plan, screen: Screen) -> Child:
    specs = [str(backend) for backend in plan.backends]
    child = await Child.start("backends", ["-m", "gateway.demo.backends", *specs], screen.say)
    if await child.first_line() != "ready":
        raise CannotStart("The sample backends did not start.", code=await child.exited or 3)
    return child


async def _start_gateway(plan: Plan, heard: Heard, log: Path) -> Child:
    arguments = ["-m", "gateway", "run", "--host", plan.host, "--port", str(plan.port)]
    for path in plan.paths:
        arguments += ["-c", path]
    with log.open("wb") as out:
        return await Child.start("gateway", arguments, heard, stdout=out)


async def _wait_until_open(child: Child, opened: asyncio.Event, stop: asyncio.Event) -> None:
    waits = [asyncio.create_task(event.wait()) for event in (opened, stop)]
    try:
        await asyncio.wait(
            {child.exited, *waits}, timeout=START_PATIENCE, return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        for wait in waits:
            wait.cancel()
    if child.exited.done():
        raise CannotStart("The gateway did not start.", code=child.exited.result() or 3)
    if not opened.is_set() and not stop.is_set():
        raise CannotStart(f"The gateway did not listen within {START_PATIENCE:.0f} s.")


async def _watch(plan: Plan, screen: Screen, children: Sequence[Child], stop: asyncio.Event) -> int:
    tasks: list[asyncio.Task[None]] = []
    if plan.with_traffic:
        split = traffic.Split()
        rng = random.Random()  # noqa: S311 - which sample request comes next
        tasks = [
            asyncio.create_task(traffic.run(plan.url, split, rng)),
            asyncio.create_task(_report(screen, split)),
        ]
    stopping = asyncio.create_task(stop.wait())
    exits = [child.exited for child in children]
    try:
        await asyncio.wait({stopping, *exits, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for pending in (stopping, *tasks):
            pending.cancel()
        await asyncio.gather(stopping, *tasks, return_exceptions=True)
        screen.end_status()
    ended = [child for child in children if child.exited.done()]
    for child in ended:
        code = child.exited.result()
        screen.say(f"The {child.name} ended by itself with exit code {code}; so does the demo.")
    if not ended:
        screen.say("Stopping.", "stopping")
    return 1 if ended else 0


async def _report(screen: Screen, split: traffic.Split) -> None:
    while True:
        await asyncio.sleep(STATUS_INTERVAL)
        screen.show(split)
