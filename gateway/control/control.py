"""The only writer: loads the configuration, replaces it whole, and says how that went.

Lifetime: process.

A reload reads, validates, plans and compiles in a thread, next to the generation that serves. Only then, on
the event loop, process state is reconciled and `snapshot` assigned: one assignment, so a request that read
the snapshot before keeps everything it refers to. Whatever fails before that point changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gateway.config import render
from gateway.config.files import spread
from gateway.control.build import Before, Built, Refused, build
from gateway.control.content import Content, look, torn
from gateway.control.history import History
from gateway.control.pauses import considerate, uncollected
from gateway.control.restart import Opened, Ports, unopened
from gateway.control.result import Outcome, ReloadCounts, ReloadResult, State
from gateway.control.retire import retire
from gateway.control.watch import Watch
from gateway.security.state import SecurityState
from gateway.tls import Store
from gateway.tls.credentials import SUFFIXES as CREDENTIAL_SUFFIXES
from gateway.upstream import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from gateway.config import Finding, Loaded
    from gateway.routing import Snapshot

logger = logging.getLogger(__name__)


MOST_LOOKS: Final = 20
"""How often files that change as they are read are read again, and ..."""
PAUSE: Final = 0.02
"""... seconds in between."""


class Control:
    """Owns the snapshot and the registry. Use from one event loop.

    `load_first`, then `start`; `stop` ends everything that `start` began.
    """

    snapshot: Snapshot
    """What serves. A request reads it once; only a reload assigns it. Absent before `load_first`."""
    loaded: Loaded
    """The files of the serving generation, as they were read. Absent before `load_first`."""
    serving_findings: tuple[Finding, ...] = ()
    """What there was to say about the serving generation; `findings` is about the last attempt."""

    def __init__(
        self,
        paths: Sequence[Path | str] | Path | str,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        rng: random.Random | None = None,
        watch: bool = True,
        own_process: bool = False,
    ) -> None:
        self.paths = spread(paths)
        """Files and directories, in the order they are read."""
        self.registry = Registry(clock=clock, rng=rng or random.Random())  # noqa: S311 - dice, not secrets
        self.tls = Store(self.paths)
        """Every credential, and the contexts made of them."""
        self.security = SecurityState(clock=clock, wall=wall)
        """Keys of issuers, verified tokens, what was asked lately, what policies decided."""
        self.state = State.STARTING
        self.last = ReloadResult(outcome=Outcome.REFUSED, generation=0)
        """The last attempt, the first load included."""
        self.counts = ReloadCounts()
        self.history = History()
        """The last attempts, and the files of the last generations."""
        self.ports: Ports | None = None
        """Opens ports that a reload adds; None: they wait for the next start."""
        self._clock, self._wall = clock, wall
        self._own_process = own_process
        """The interpreter serves nothing else: its garbage collector may be tuned."""
        self._watch = Watch(self.paths, lambda: self.reload("watch")) if watch else None
        self._credentials = (
            Watch(self._credential_paths, self.renew, suffixes=CREDENTIAL_SUFFIXES) if watch else None
        )
        self._first: Built | None = None
        self._opened: Opened | None = None
        self._refused: Content | None = None
        """What was refused by the last attempt; None when it was not refused."""
        self._turn = asyncio.Lock()
        self._next: asyncio.Task[ReloadResult] | None = None
        self._tasks: set[asyncio.Task[ReloadResult]] = set()
        self._retiring: set[asyncio.Task[None]] = set()
        self._hangup = False

    def __repr__(self) -> str:
        return f"<Control {self.state} generation {self.generation}, {self.counts!r}>"

    @property
    def generation(self) -> int:
        """Number of the serving generation: 1 is the first, 0 is none yet."""
        return self.snapshot.generation if hasattr(self, "snapshot") else 0

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What there is to say about the files as they were at the last attempt."""
        return self.last.findings

    @property
    def refused(self) -> bool:
        """Whether the files, as they were last read, are not what serves."""
        return self.last.outcome is Outcome.REFUSED

    # -- life ----------------------------------------------------------------------------------

    def load_first(self) -> None:
        """Loads the first generation; `ConfigError` with all findings when there can be none."""
        began = self._clock()
        built = self._build(1)
        if isinstance(built, Refused):
            self._record(Outcome.REFUSED, built.findings, began, "start")
            raise built.error
        self._first, self._opened = built, Opened.by(built.snapshot.config)
        self._serve(built)
        self._record(Outcome.APPLIED, built.findings, began, "start")
        self._say_applied(built)

    async def start(self) -> None:
        """Adopts the first generation, waits for its names, and follows the files from here on."""
        assert self._first is not None, "load_first comes before start"
        self.registry.commit(self._first.prepared)
        self.registry.secure(self._first.secured.originations)
        await self.security.start(self.snapshot.config)
        self._first = None
        await self.registry.ready()
        if self._watch is not None:
            await self._watch.start()
        if self._credentials is not None:
            await self._credentials.start()
        self._follow_hangup()
        if self.state is State.STARTING:
            self.state = State.READY

    def drain(self) -> None:
        """Tells load balancers to stay away; requests are still answered."""
        self.state = State.DRAINING

    async def stop(self) -> None:
        """Ends watching, reloads under way and every upstream connection."""
        self.drain()
        if self._hangup:
            asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
            self._hangup = False
        if self._watch is not None:
            await self._watch.stop()
        if self._credentials is not None:
            await self._credentials.stop()
        while self._tasks:
            # Not cancelled: the thread would go on anyway, and the assignment is atomic.
            await asyncio.wait(self._tasks)
        for retiring in tuple(self._retiring):
            retiring.cancel()  # What requests still hold goes with them.
        await self.security.stop()
        await self.registry.close()

    def _follow_hangup(self) -> None:
        """SIGHUP reloads, unless the program around us has its own use for it or runs us in a thread."""
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError, AttributeError):
            if signal.getsignal(signal.SIGHUP) in {signal.SIG_DFL, signal.SIG_IGN}:
                loop = asyncio.get_running_loop()
                loop.add_signal_handler(signal.SIGHUP, lambda: self._schedule("SIGHUP"))
                self._hangup = True

    # -- reload --------------------------------------------------------------------------------

    async def reload(self, reason: str = "admin") -> ReloadResult:
        """Reads the files again and serves what they say if it can; never raises for what it reads.

        Reloads run one after the other. Who asks while one runs gets the next, shared with everyone else who
        asked meanwhile: its result always tells about files read after the question.
        """
        return await asyncio.shield(self._schedule(reason))

    def _schedule(self, reason: str) -> asyncio.Task[ReloadResult]:
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._reload(reason), name="gateway-reload")
            self._tasks.add(self._next)
            self._next.add_done_callback(self._tasks.discard)
        return self._next

    async def _reload(self, reason: str) -> ReloadResult:
        async with self._turn:
            self._next = None
            result = await self._attempt(reason)
            if reason != "watch" and result.outcome is not Outcome.APPLIED:
                await self._renew()  # Who asks wants the credentials of this moment too.
            return result

    async def _attempt(self, reason: str, looks: int = MOST_LOOKS) -> ReloadResult:
        began = self._clock()
        read = await asyncio.to_thread(look, self.paths)
        if read == self._refused and reason == "watch":
            return self.last  # The same bad files once more: something else stirred in the directory.
        if read == Content(self.loaded.digest):
            return self._keep(began, reason)
        built = await asyncio.to_thread(self._build, self.generation + 1)
        if looks > 1 and await asyncio.to_thread(torn, self.paths, {read.digest, built.loaded.digest}):
            await asyncio.sleep(PAUSE)  # Somebody writes: half a file may lack a policy.
            return await self._attempt(reason, looks - 1)
        if isinstance(built, Refused):
            self._refused = Content(built.loaded.digest, read.unread)
            return self._refuse(built, began, reason)
        if built.loaded.digest == self.loaded.digest:
            return self._keep(began, reason)  # It changed back while it was read.
        await self.security.follow(built.snapshot.config)  # Its keys are there before it serves.
        built = await self._open(built)
        self.registry.commit(built.prepared)
        self.registry.secure(built.secured.originations)
        self._retire([built.prepared.plan, self.loaded, self.snapshot])
        self._serve(built)
        self._refused = None
        result = self._record(Outcome.APPLIED, built.findings, began, reason)
        self._say_applied(built)
        if self.ports is not None:
            await self.ports.admit()
        return result

    async def _open(self, built: Built) -> Built:
        """Binds the ports that a generation adds; what fails is a finding, and the rest serves."""
        ports, opened, config = self.ports, self._opened, built.snapshot.config
        if ports is None or opened is None:
            return built
        failed = await asyncio.to_thread(ports.open, config)
        self._opened = opened.beside(config, failed)
        for reason in failed.values():
            logger.error("%s", reason)
        return replace(built, findings=(*built.findings, *unopened(failed, config)))

    # -- credentials ---------------------------------------------------------------------------

    async def renew(self) -> bool:
        """Reads the files of the credentials again and puts what changed to use; whether anything had.

        What cannot be used stays as it was, and `tls.secured.findings` says why.
        """
        async with self._turn:
            return await self._renew()

    async def _renew(self) -> bool:
        secured = await asyncio.to_thread(self.tls.refresh)
        if secured is None:
            return False
        if secured.fatal:  # A credential that worked is kept, so this is one that was never needed.
            logger.error("credentials refused:\n%s", render(secured.findings, self.loaded.sources))
            return False
        self.tls.commit(secured, changed=True)
        self.registry.secure(secured.originations)
        if secured.findings:
            logger.warning("%s", render(secured.findings, self.loaded.sources))
        logger.info("credentials changed and are in use (%d)", self.tls.changes)
        return True

    def _credential_paths(self) -> frozenset[Path]:
        return self.tls.secured.watched if self.tls.secured is not None else frozenset()

    def _look_elsewhere(self) -> None:
        if self._credentials is not None:
            self._credentials.look_again()

    def _retire(self, generation: list[object]) -> None:
        task = asyncio.get_running_loop().create_task(retire(generation), name="gateway-retire")
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    def _serve(self, built: Built) -> None:
        self.snapshot = built.snapshot
        if self.tls.secured is None or self.tls.secured.watched != built.secured.watched:
            self._look_elsewhere()
        self.tls.commit(built.secured)
        self.loaded, self.serving_findings = built.loaded, built.findings

    def _keep(self, began: float, reason: str) -> ReloadResult:
        if reason == "watch" and self._refused is None:
            return self.last  # A look that found nothing is no news.
        self._refused = None
        return self._record(Outcome.UNCHANGED, self.serving_findings, began, reason)

    def _refuse(self, refused: Refused, began: float, reason: str) -> ReloadResult:
        result = self._record(Outcome.REFUSED, refused.findings, began, reason)
        logger.error(
            "configuration refused (%s), generation %d goes on serving:\n%s",
            reason,
            self.generation,
            refused.report,
        )
        return result

    def _build(self, generation: int) -> Built | Refused:
        with considerate(), uncollected(freeze=self._own_process):
            opened = self._opened
            if opened is not None:
                opened = opened._replace(more=self.ports is not None)
            before = None if opened is None else Before(opened, self.serving_findings)
            return build(self.paths, self.registry, self.tls, self.security, generation, before)

    def _record(
        self, outcome: Outcome, findings: tuple[Finding, ...], began: float, reason: str
    ) -> ReloadResult:
        result = ReloadResult(
            outcome=outcome,
            generation=self.generation,
            findings=findings,
            seconds=self._clock() - began,
            reason=reason,
            at=self._wall(),
        )
        self.last = result
        self.counts.record(result)
        self.history.record(result, self.loaded if outcome is Outcome.APPLIED else None)
        return result

    def _say_applied(self, built: Built) -> None:
        milliseconds = self.last.seconds * 1000
        logger.info(
            "configuration generation %d serves (%s, %.0f ms)",
            self.generation,
            self.last.reason,
            milliseconds,
        )
        if built.report:
            logger.warning("%s", built.report)
