"""The gateway as an ASGI application, alone or in front of another one.

Lifetime: process.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import TYPE_CHECKING, Any

from gateway.admin import AdminListener
from gateway.config import ConfigError, render
from gateway.control import Control
from gateway.control.pauses import considerate
from gateway.exchange.downstream import AsgiDownstream
from gateway.exchange.spine import Spine
from gateway.telemetry.record import Telemetry
from gateway.telemetry.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence
    from pathlib import Path

    from gateway.exchange.downstream import Downstream

    Receive = Callable[[], Awaitable[dict[str, Any]]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]

logger = logging.getLogger("gateway")

CONFIG_VARIABLE = "GATEWAY_CONFIG"
DEFAULT_CONFIG = "routes.yaml"
SETTINGS = "gateway.settings"
"""Key of the lifespan state under which the server finds a function that returns the settings in force."""


def configured_paths() -> list[str]:
    """Where `GATEWAY_CONFIG` says the configuration is: paths joined with the OS path separator."""
    return [part for part in os.environ.get(CONFIG_VARIABLE, DEFAULT_CONFIG).split(os.pathsep) if part]


class Gateway:
    """An ASGI 3 application that routes HTTP requests as the configuration says.

    `config`: paths of files or directories; default: `GATEWAY_CONFIG`, else `routes.yaml`. The configuration
    is loaded by the lifespan's start-up; a bad one fails it with every finding in the message. `adopt` is
    given the lifespan's `receive`: it may fit the server behind it to us, or say in a sentence why it cannot.
    """

    def __init__(
        self,
        config: Sequence[Path | str] | Path | str | None = None,
        *,
        control: Control | None = None,
        own_process: bool = False,
        adopt: Callable[[Receive], str | None] | None = None,
    ) -> None:
        self._config = config
        self._own_process = own_process
        self._control = self._given = control
        self._adopt = adopt
        self.telemetry = Telemetry()
        self.recorder = Recorder()
        """The last requests, and the last that failed."""
        self.telemetry.observe(self.recorder.record)
        self._edge: Callable[[], Any] = lambda: None
        self._serve: Callable[[Downstream], Coroutine[Any, Any, None]] | None = None
        self._spine: Spine | None = None
        self._admin: AdminListener | None = None
        self._generation = 0

    @property
    def control(self) -> Control:
        """The writer of this gateway's state; made when first asked for."""
        if self._control is None:
            paths = configured_paths() if self._config is None else self._config
            self._control = Control(paths, own_process=self._own_process)
        return self._control

    @property
    def admin_address(self) -> str | None:
        """Where the admin listener is; None when it is off."""
        return self._admin.address if self._admin is not None else None

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """The ASGI interface."""
        kind = scope["type"]
        if kind == "http":
            if self._serve is None:
                await self.start()  # A server without lifespan: the first request starts us.
            downstream = AsgiDownstream(scope, receive, send)
            try:
                await self.direct(downstream)
            finally:
                downstream.close()
        elif kind == "lifespan":
            await self._lifespan(scope, receive, send)
        elif kind == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1003, "reason": "not supported"})

    def direct(self, downstream: Downstream) -> Coroutine[Any, Any, None]:
        """Serves one request of a started gateway: what our own server calls, without ASGI between us."""
        assert self._serve is not None
        return self._serve(downstream)

    async def start(self) -> None:
        """Loads the configuration unless that has been done, and begins to serve it; ConfigError."""
        control = self.control
        if not control.generation:
            control.load_first()
        await control.start()
        self.telemetry.certificates, self.telemetry.gently = control.tls.certificates, considerate
        self.telemetry.start(control.snapshot, asyncio.get_running_loop())
        self._generation = control.generation
        self.telemetry.security = control.security
        self.telemetry.policies = lambda: control.security.counts
        spine = self._spine = Spine(self._snapshot, self.telemetry.record)
        spine.context = self.telemetry.context
        self._serve = self.telemetry.around(spine.serve, control.snapshot.config.settings.spec)
        await self._start_admin()

    async def stop(self) -> None:
        """Ends what `start` began."""
        if self._admin is not None:
            await self._admin.stop()
            self._admin = None
        if self._spine is not None:
            await self._spine.close()
            self._spine = None
        await self.control.stop()
        self._control = self._given  # a stopped one cannot start again
        self.telemetry.close()
        self._serve = None

    def _snapshot(self) -> Any:
        snapshot = self._control.snapshot  # type: ignore[union-attr] # start() made it
        if snapshot.generation != self._generation:
            self._generation = snapshot.generation
            self.telemetry.follow(snapshot)
        return snapshot

    async def _start_admin(self) -> None:
        self._admin = AdminListener(
            metrics=self.telemetry.exposition, recorder=self.recorder, edge=self._edge
        )
        await self._admin.start(self.control)

    async def _lifespan(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if "state" in scope:
            state = scope["state"]
            state[SETTINGS] = lambda: self.control.snapshot.config.settings
            self._edge = self.telemetry.edge = lambda: state.get("gateway.edge")
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                if self._adopt is not None and (why := self._adopt(receive)) is not None:
                    logger.warning("%s", why)
                try:
                    await self.start()
                except ConfigError as error:
                    text = render(error.findings, error.sources)
                    print(text, file=sys.stderr)  # noqa: T201 - uvicorn's logger may be off
                    await send({"type": "lifespan.startup.failed", "message": "the configuration has errors"})
                    return
                except Exception as error:
                    logger.exception("could not start")
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    return
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return
