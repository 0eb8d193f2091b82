"""`Transport`: the gateway's routing and resilience for calls that a program makes itself, through httpx.

Lifetime: process.

    async with httpx.AsyncClient(transport=gateway.Transport(config="routes.yaml")) as client:
        await client.get("http://reviews:9080/1")
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, Self

import httpx

from gateway.admin import AdminListener
from gateway.admin.metrics import control_families
from gateway.asgi import configured_paths
from gateway.calls import Call
from gateway.control.outbound import OutboundControl
from gateway.exchange.egress import EgressSpine
from gateway.http.host import split
from gateway.http.place import Place
from gateway.telemetry.access_log import Silent
from gateway.telemetry.record import Telemetry
from gateway.telemetry.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from pathlib import Path
    from types import TracebackType

_PORTS = {"http": 80, "https": 443}


class Transport(httpx.AsyncBaseTransport):
    """Sends the requests of an `httpx.AsyncClient` as the configuration says.

    `config`: paths of files or directories; default: `GATEWAY_CONFIG`, else `routes.yaml`. It is loaded at
    once (ConfigError) and followed from the first request on. `passthrough`: what becomes of hosts that no
    document names: False (Istio's REGISTRY_ONLY) answers 502; True (ALLOW_ANY) sends them as httpx itself
    would; a transport of your own takes them. `access_log`: write the log that the settings describe.
    `admin`: address of an admin listener, as `127.0.0.1:15001`; None: there is none.

    One event loop, that of the first request. Several clients may share it; closing one closes it.
    """

    def __init__(
        self,
        config: Sequence[Path | str] | Path | str | None = None,
        *,
        passthrough: bool | httpx.AsyncBaseTransport = False,
        access_log: bool = False,
        admin: str | None = None,
        watch: bool = True,
    ) -> None:
        self.control = OutboundControl(configured_paths() if config is None else config, watch=watch)
        """The writer of this transport's state."""
        self.control.load_first()
        self.telemetry = Telemetry()
        self.telemetry.control = partial(control_families, self.control)
        self.recorder = Recorder()
        """The last calls, and the last that failed."""
        self.telemetry.observe(self.recorder.record, self.recorder.copied)
        if not access_log:
            self.telemetry.log = Silent()
        if passthrough is True:
            passthrough = httpx.AsyncHTTPTransport(trust_env=False)
        self._elsewhere = passthrough or None
        self._admin = AdminListener(
            address=admin or "off", metrics=self.telemetry.exposition, recorder=self.recorder
        )
        self._places: dict[tuple[str, int], Place] = {}
        self._calls: dict[asyncio.Task[None], Call] = {}
        self._serve: Callable[[Any], Coroutine[Any, Any, None]] | None = None
        self._spine: EgressSpine | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting: asyncio.Task[None] | None = None
        self._generation = 0
        self._closed = False

    def __repr__(self) -> str:
        return f"<Transport generation {self.control.generation}, calls {len(self._calls)}>"

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """As httpx asks for it. What the gateway answers itself is a response, with its status and flag in
        `response.extensions["gateway"]`; only a response that is cut off, and httpx's own time limits, raise.
        """
        await self._ready()
        assert self._spine is not None
        assert self._serve is not None
        scheme = request.url.scheme
        port = request.url.port or _PORTS.get(scheme)
        if port is None:
            raise httpx.UnsupportedProtocol(f"the scheme is {scheme!r}, not http or https", request=request)
        if self._elsewhere is not None and not self._known(request, port):
            return await self._elsewhere.handle_async_request(request)
        call = Call(request, self._place(scheme, port))
        task = asyncio.get_running_loop().create_task(call.run(self._serve))
        self._calls[task] = call
        task.add_done_callback(self._ended)
        try:
            return await call.response(request.extensions.get("timeout", {}).get("read"))
        except BaseException:
            call.leave()
            raise

    def _known(self, request: httpx.Request, port: int) -> bool:
        assert self._spine is not None
        authority = split(request.headers.get("host", "").encode("latin-1"))
        return authority is not None and self._spine.knows(authority.host, authority.port or port)

    def metrics(self, *, openmetrics: bool = False) -> bytes:
        """Istio's metrics of the calls in Prometheus' text format; takes milliseconds."""
        return self.telemetry.exposition(openmetrics=openmetrics)

    # -- life ----------------------------------------------------------------------------------

    async def _ready(self) -> None:
        if self._closed:
            raise RuntimeError("the gateway.Transport is closed")
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError("gateway.Transport needs asyncio's event loop") from None
        if self._loop is None:
            self._loop = loop
            self._starting = loop.create_task(self._start(), name="gateway-transport-start")
        elif self._loop is not loop:
            raise RuntimeError(
                "this gateway.Transport belongs to the event loop it was first used in: make one for each"
            )
        if self._starting is not None:
            await asyncio.shield(self._starting)

    async def _start(self) -> None:
        control, telemetry = self.control, self.telemetry
        await control.start()
        telemetry.certificates = control.tls.certificates
        telemetry.start(control.snapshot, asyncio.get_running_loop())
        self._generation = control.generation
        spine = self._spine = EgressSpine(self._snapshot, telemetry.record)
        spine.context = telemetry.context
        spine.shadows.tell = telemetry.copied
        self._serve = telemetry.around(spine.serve, control.snapshot.config.settings.spec)
        await self._admin.start(control)
        self._starting = None

    def _snapshot(self) -> Any:
        snapshot = self.control.snapshot
        if snapshot.generation != self._generation:
            self._generation = snapshot.generation
            self.telemetry.follow(snapshot)
        return snapshot

    def _place(self, scheme: str, port: int) -> Place:
        place = self._places.get((scheme, port))
        if place is None:
            # Not our own server's: traces continue what the program has begun.
            place = Place(None, ("", port), scheme=scheme, stock=True)
            place.forwarding = ()
            if len(self._places) < 1024:
                self._places[scheme, port] = place
        return place

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._calls[task]

    async def aclose(self) -> None:
        """Ends the calls under way and every connection."""
        if self._closed:
            return
        self._closed = True
        if self._elsewhere is not None:
            await self._elsewhere.aclose()
        if self._loop is None:
            return
        if self._starting is not None:
            await asyncio.wait({self._starting})
        for call in tuple(self._calls.values()):
            call.leave()
        if self._calls:
            await asyncio.wait(tuple(self._calls))
        await self._admin.stop()
        if self._spine is not None:
            await self._spine.close()
        await self.control.stop()
        self.telemetry.close()

    async def __aenter__(self) -> Self:
        await self._ready()
        if self._elsewhere is not None:
            await self._elsewhere.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.aclose()

    # -- what httpx.Client would call ----------------------------------------------------------

    def handle_request(self, request: httpx.Request) -> NoReturn:  # noqa: ARG002 - httpx's signature
        """Refuses."""
        raise TypeError("gateway.Transport is for httpx.AsyncClient; httpx.Client cannot use it")

    def __enter__(self) -> NoReturn:
        raise TypeError("gateway.Transport is for httpx.AsyncClient; httpx.Client cannot use it")

    def __exit__(self, *_: object) -> None:
        """Never entered."""

    def close(self) -> None:
        """What `httpx.Client.close` calls: there is nothing to close."""
