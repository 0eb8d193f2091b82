"""The gateway as an ASGI application, alone or in front of another one.

Lifetime: process.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from gateway.admin import AdminListener
from gateway.admin.metrics import control_families
from gateway.config import ConfigError, render
from gateway.control import Control
from gateway.control.pauses import considerate
from gateway.exchange.downstream import AsgiDownstream
from gateway.exchange.spine import Spine
from gateway.exchange.wrapped import AppDownstream, WrappedSpine
from gateway.http.turn import Turn
from gateway.inner_lifespan import InnerLifespan
from gateway.telemetry.record import Telemetry
from gateway.telemetry.recorder import Recorder
from gateway.upstream.app import VISIT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence
    from pathlib import Path

    from gateway.admin import Siblings
    from gateway.exchange.downstream import Downstream
    from gateway.upstream.app import Application

    Paths = Sequence[Path | str] | Path | str

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

    `Gateway(config)` stands alone, `Gateway(app, config=...)` in front of another ASGI application: that gets
    the requests which no route takes, and those of routes to `host: app.local` (docs/embedding.md).

    `config`: paths of files or directories; default: `GATEWAY_CONFIG`, else `routes.yaml`. The configuration
    is loaded by the lifespan's start-up; a bad one fails it with every finding in the message. `adopt` is
    given the lifespan's `receive`: it may fit the server behind it to us, or say in a sentence why it cannot.
    """

    def __init__(
        self,
        app: Application | Paths | None = None,
        config: Paths | None = None,
        *,
        control: Control | None = None,
        own_process: bool = False,
        adopt: Callable[[Receive], str | None] | None = None,
        siblings: Siblings | None = None,
    ) -> None:
        self._app: Application | None = None
        self.direct: Callable[[Downstream], Coroutine[Any, Any, None]] | None = self._direct
        """Serves one request of a started gateway: what our own server calls, without ASGI between us. None
        in front of an application, which is to be called the ASGI way."""
        if callable(app):
            self._app, self.direct = app, None
        elif app is not None and config is not None:
            raise TypeError(f"Gateway(app, config=...) takes an ASGI application first, not {app!r}")
        else:
            config = config if app is None else app
        self._config = config
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting: asyncio.Task[None] | None = None
        self._own_process = own_process
        self._control = self._given = control
        self._adopt = adopt
        self._siblings = siblings
        """The other workers, when several processes are one gateway."""
        self.telemetry = Telemetry()
        self.recorder = Recorder()
        """The last requests, and the last that failed."""
        self.telemetry.observe(self.recorder.record, self.recorder.copied)
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
            self._control.registry.app = self._app
        return self._control

    @property
    def admin_address(self) -> str | None:
        """Where the admin listener is; None when it is off."""
        return self._admin.address if self._admin is not None else None

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """The ASGI interface."""
        kind = scope["type"]
        if kind == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        if self._loop is not asyncio.get_running_loop():
            await self._started()
        if kind == "http" and self._app is not None:
            await self._in_front(scope, receive, send)
        elif kind == "http":
            downstream = AsgiDownstream(scope, receive, send)
            try:
                await self._direct(downstream)
            finally:
                downstream.close()
        elif kind == "websocket" and isinstance(self._spine, WrappedSpine):
            await self._spine.greet(scope, receive, send)
        elif kind == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1003, "reason": "not supported"})

    async def _in_front(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """A request that may be the application's. Its call ends when the application's calls have ended."""
        downstream = AppDownstream(scope, receive, send)
        token = VISIT.set(downstream.visit)
        try:
            await self._direct(downstream)
            await downstream.visit.settle()
        finally:
            downstream.close()
            downstream.visit.cancel()
            VISIT.reset(token)

    def _direct(self, downstream: Downstream) -> Coroutine[Any, Any, None]:
        assert self._serve is not None
        return self._serve(downstream)

    async def _started(self) -> None:
        """For a server without lifespan: the first request starts us, those that come meanwhile wait."""
        if self._serve is not None:
            raise RuntimeError(
                "the gateway serves in another event loop; a test client has one loop for all its requests"
                " when it is used with its `with` statement"
            )
        if self._starting is None:
            self._starting = asyncio.get_running_loop().create_task(self.start(), name="gateway-start")
        try:
            await asyncio.shield(self._starting)
        finally:
            if self._starting is not None and self._starting.done():
                self._starting = None

    async def start(self) -> None:
        """Loads the configuration unless that has been done, and begins to serve it; ConfigError."""
        control = self.control
        if not control.generation:
            control.load_first()
        await control.start()
        self.telemetry.certificates, self.telemetry.gently = control.tls.certificates, considerate
        self.telemetry.handshakes = control.tls.handshakes
        self.telemetry.control = partial(control_families, control)
        self.telemetry.start(control.snapshot, asyncio.get_running_loop())
        self._generation = control.generation
        self.telemetry.security = control.security
        self.telemetry.policies = lambda: control.security.counts
        record = self.telemetry.record
        spine = self._spine = (
            Spine(self._snapshot, record)
            if self._app is None
            else WrappedSpine(self._app, self._snapshot, record)
        )
        spine.context = self.telemetry.context
        spine.shadows.tell = self.telemetry.copied
        self.telemetry.tunnels = lambda: spine.tunnels.open
        self._serve = self.telemetry.around(spine.serve, control.snapshot.config.settings.spec)
        await self._start_admin()
        self._loop = asyncio.get_running_loop()

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
        Turn.of(asyncio.get_running_loop()).flush()
        self.telemetry.close()
        if self._siblings is not None:
            self._siblings.leave()
        self._serve = self._loop = None

    def _snapshot(self) -> Any:
        snapshot = self._control.snapshot  # type: ignore[union-attr] # start() made it
        if snapshot.generation != self._generation:
            self._generation = snapshot.generation
            self.telemetry.follow(snapshot)
        return snapshot

    async def _start_admin(self) -> None:
        self._admin = AdminListener(
            metrics=self.telemetry.exposition,
            recorder=self.recorder,
            edge=self._edge,
            siblings=self._siblings,
        )
        await self._admin.start(self.control)
        if self._siblings is not None and self._admin.joined:
            self.telemetry.share(self._siblings.folder)

    async def _lifespan(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if "state" in scope:
            state = scope["state"]
            state[SETTINGS] = lambda: self.control.snapshot.config.settings
            self._edge = self.telemetry.edge = lambda: state.get("gateway.edge")
        inner = InnerLifespan(self._app) if self._app is not None else None
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                if self._adopt is not None and (why := self._adopt(receive)) is not None:
                    logger.warning("%s", why)
                failure = await inner.startup(scope) if inner is not None else ""
                if not failure and (failure := await self._start_up()) and inner is not None:
                    await inner.shutdown()
                if failure:
                    await send({"type": "lifespan.startup.failed", "message": failure})
                    return
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self.stop()
                if inner is not None and (failure := await inner.shutdown()):
                    await send({"type": "lifespan.shutdown.failed", "message": failure})
                else:
                    await send({"type": "lifespan.shutdown.complete"})
                return

    async def _start_up(self) -> str:
        """`start`; why it could not, empty when it has."""
        try:
            await self.start()
        except ConfigError as error:
            text = render(error.findings, error.sources)
            print(text, file=sys.stderr)  # noqa: T201 - uvicorn's logger may be off
            return "the configuration has errors"
        except Exception as error:
            logger.exception("could not start")
            return str(error) or type(error).__name__
        return ""


class GatewayMiddleware(Gateway):
    """`Gateway` in front of an application, for `app.add_middleware(GatewayMiddleware, config=...)`."""

    def __init__(self, app: Application, config: Paths | None = None) -> None:
        if not callable(app):
            raise TypeError(f"GatewayMiddleware is for an ASGI application, not {app!r}")
        super().__init__(app, config)
