"""Mirroring: copies of requests, sent beside them to other clusters; nobody waits for what becomes of them.

Lifetime: process (`Shadows`, which owns the tasks); a copy lives as long as its own small exchange.
Source: Istio `mirror`, `mirrors`; Envoy's shadow requests. Unlike Envoy's the copy carries no credentials in
its headers, unless the settings keep them: who gets copies for testing is seldom who may act for the user.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, NamedTuple

from gateway.http.flags import Flag
from gateway.http.secrets import is_secret, without_credentials
from gateway.routing.policies import MILLION
from gateway.upstream.connection import NO_BODY, sized
from gateway.upstream.errors import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.routing.policies import Mirror
    from gateway.upstream import Cluster, Endpoint

MOST_COPIES = 1024
"""Copies on their way to one cluster; more are declined."""
MOST_BYTES = 16 * 1024 * 1024
"""Body bytes of all copies on their way; what would go beyond is declined."""
LONGEST = 60.0
"""Seconds a copy may take when its route has no timeout: or a silent mirror would fill all places."""
DRAINED_BYTES = 1024 * 1024
"""So much of an answer is read and thrown away to keep its connection; a longer one costs the connection."""

MOST_REMEMBERED = 2048
_secret = {b"idempotency-key": False, b"x-idempotency-key": False}
"""Header names that were looked at; these two only sound as if they were credentials."""


class Copy(NamedTuple):
    """A request as mirrors get it."""

    method: str
    head: bytes
    body: Sequence[bytes]
    timeout: float
    """Seconds from the offer to the end of the answer."""


class Copied(NamedTuple):
    """What became of a copy."""

    mirror: Mirror
    ended_at: float
    """Seconds of the monotonic clock."""
    endpoint: Endpoint | None = None
    status: int = 0
    """0: there was no answer."""
    flag: Flag | None = None
    """Why there was none; None beside status 0: it was declined, for too many were on their way."""


class Shadows:
    """The copies under way. `offer` never waits: it starts a task or declines."""

    __slots__ = (
        "_bytes", "_clock", "_copies", "_running", "declined", "failed", "most_bytes", "most_copies",
        "offered", "sent", "tell",
    )  # fmt: skip

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        most_copies: int = MOST_COPIES,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self.most_copies = most_copies
        self.most_bytes = most_bytes
        self.offered = 0
        """Copies that a route's shares asked for."""
        self.declined = 0
        """Of these: not sent, because too many were on their way."""
        self.sent = 0
        """Of these: a mirror answered, whatever it said."""
        self.failed = 0
        """Of these: no endpoint, no connection, no answer in time."""
        self.tell: Callable[[Copied], None] = _forget
        """Learns of each copy when it is over."""
        self._clock = clock
        self._running: dict[asyncio.Task[None], tuple[str, int]] = {}
        self._copies: dict[str, int] = {}
        self._bytes = 0

    def __repr__(self) -> str:
        return f"<Shadows under way {len(self._running)}, sent {self.sent}, declined {self.declined}>"

    @property
    def under_way(self) -> int:
        """Copies that are being sent now."""
        return len(self._running)

    def offer(  # noqa: PLR0913 - a request, and what holds for its copies
        self,
        mirrors: Sequence[Mirror],
        draw: int,
        head: bytes,
        body: Sequence[bytes] = (),
        *,
        method: str,
        timeout: float | None = None,
        credentials: bool = False,
    ) -> int:
        """Starts a copy for each mirror that `draw` selects; how many were started.

        `head` is the request head as the upstream gets it, `body` all of its body. `draw` is the request's
        one random number: mirrors with smaller shares get a part of what those with larger ones get.
        """
        copy: Copy | None = None
        started, size = 0, sum(map(len, body))
        for mirror in mirrors:
            if mirror.cluster is None or draw % MILLION >= mirror.share:
                continue
            self.offered += 1
            if not self._takes(mirror.cluster.name, size):
                self.declined += 1
                self.tell(Copied(mirror, self._clock()))
                continue
            if copy is None:
                text = shadow_head(head, size if body else None, credentials=credentials, timeout=timeout)
                copy = Copy(method, text, body, LONGEST if timeout is None else timeout)
            self._start(mirror, mirror.cluster, copy, size)
            started += 1
        return started

    def decline(self, mirrors: Sequence[Mirror], draw: int) -> None:
        """Counts the copies of a request whose body was too long to be kept for them."""
        for mirror in mirrors:
            if mirror.cluster is not None and draw % MILLION < mirror.share:
                self.offered += 1
                self.declined += 1
                self.tell(Copied(mirror, self._clock()))

    async def close(self, grace: float = 0.0) -> None:
        """Lets copies finish for `grace` seconds, then ends them."""
        if self._running and grace > 0.0:
            await asyncio.wait(self._running, timeout=grace)
        running = tuple(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _takes(self, name: str, size: int) -> bool:
        return self._copies.get(name, 0) < self.most_copies and self._bytes + size <= self.most_bytes

    def _start(self, mirror: Mirror, cluster: Cluster, copy: Copy, size: int) -> None:
        self._copies[cluster.name] = self._copies.get(cluster.name, 0) + 1
        self._bytes += size
        task = asyncio.get_running_loop().create_task(self._carry(mirror, cluster, copy))
        self._running[task] = cluster.name, size
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        name, size = self._running.pop(task)
        self._bytes -= size
        self._copies[name] -= 1
        if not self._copies[name]:
            del self._copies[name]

    async def _carry(self, mirror: Mirror, cluster: Cluster, copy: Copy) -> None:
        """One copy, from its connection to the end of the answer."""
        endpoint = cluster.pick()
        if endpoint is None:
            self.failed += 1
            self.tell(Copied(mirror, self._clock(), flag=Flag.NO_HEALTHY_UPSTREAM))
            return
        status, failure = 0, None
        try:
            async with asyncio.timeout(copy.timeout):
                status = await _exchange(cluster, endpoint, copy)
        except TimeoutError:
            failure = UpstreamError(Flag.UPSTREAM_TIMEOUT, "response timeout", sent=True)
        except UpstreamError as error:
            failure = error
        if failure is None:
            self.sent += 1
        else:
            self.failed += 1
        now = self._clock()
        if cluster.outlier is not None:
            cluster.outlier.record(endpoint, status, failure, now)
        self.tell(Copied(mirror, now, endpoint, status, None if failure is None else failure.flag))


def _forget(_: Copied) -> None:
    """For whom nobody asks."""


async def _exchange(cluster: Cluster, endpoint: Endpoint, copy: Copy) -> int:
    """Sends a copy and throws the answer away; its status. The connection is kept only if that was cheap."""
    connection = await cluster.acquire(endpoint)
    try:
        length = sum(map(len, copy.body))
        connection.start(copy.head, method=copy.method, body=sized(length) if length else NO_BODY)
        for chunk in copy.body:
            await connection.write(chunk)
        connection.finish()
        response = await connection.response()
        drained = 0
        while drained <= DRAINED_BYTES and (piece := await connection.read()):
            drained += len(piece)
        return response.status
    finally:
        connection.release()


def wanted(mirrors: Sequence[Mirror], draw: int, cluster: Cluster | None) -> bool:
    """Whether any mirror gets a copy of the request: then its body must be kept.

    As in Envoy there is none of a request that no endpoint can get.
    """
    if cluster is None or not cluster.balancer.endpoints:
        return False
    return any(mirror.cluster is not None and draw % MILLION < mirror.share for mirror in mirrors)


def shadow_head(
    head: bytes, length: int | None, *, credentials: bool = False, timeout: float | None = None
) -> bytes:
    """A request head as mirrors get it, made of the one the upstream gets.

    The host has its suffix, the trace is not sampled, credentials are gone unless `credentials`; a body is
    framed by its `length` in bytes, which is known by now (None: there is no body). It is told the route's
    `timeout` in seconds, for nobody tries it twice.
    """
    request_line, *lines = head[:-4].split(b"\r\n")
    if not credentials and b"?" in request_line:
        method, target, version = request_line.split(b" ")
        request_line = b" ".join((method, without_credentials(target), version))
    kept = [request_line]
    for line in lines:
        name, _, value = line.partition(b": ")
        if name == b"host":
            kept.append(b"host: " + shadow_authority(value))
        elif name == b"traceparent":
            kept.append(line[:-2] + b"00" if len(value) == _TRACEPARENT else line)
        elif name == b"x-envoy-expected-rq-timeout-ms" and timeout is not None:
            kept.append(b"%b: %d" % (name, timeout * 1000.0))
        elif name == b"transfer-encoding" or (name == b"content-length" and length is not None):
            continue
        elif credentials:
            kept.append(line)
        elif name in _TARGETS:
            kept.append(b"%b: %b" % (name, without_credentials(value)))
        elif not _is_secret(name):
            kept.append(line)
    if length is not None:
        kept.append(b"content-length: %d" % length)
    kept.append(b"\r\n")
    return b"\r\n".join(kept)


_TARGETS = frozenset({b"referer", b"x-envoy-original-path"})
"""Headers with a query."""
_TRACEPARENT = 55
"""Length of a W3C `traceparent` of version 00; its last two digits are the flags."""


def shadow_authority(authority: bytes) -> bytes:
    """`reviews:9080` as `reviews-shadow:9080` (Envoy)."""
    host, colon, port = authority.rpartition(b":")
    if not colon or not port.isdigit() or (b":" in host and not host.endswith(b"]")):
        return authority + b"-shadow"
    return host + b"-shadow:" + port


def _is_secret(name: bytes) -> bool:
    found = _secret.get(name)
    if found is None:
        found = is_secret(name.decode("latin-1"))
        if len(_secret) < MOST_REMEMBERED:
            _secret[name] = found
    return found
