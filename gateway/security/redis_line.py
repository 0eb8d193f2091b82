"""One connection to Redis, and the circuit in front of it.

Lifetime: process. Use from one event loop.

Questions go out in rounds: what comes up while one is under way goes out together in the next.
Whatever goes wrong (no connection, no answer in time, an error for an answer) ends the connection and opens
the circuit. From then on questions fail at once, and nobody but this task tries, until the script has
answered a probe in time. So a dead Redis costs the requests of one round its timeout, and later ones nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from bisect import bisect_left
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gateway.config.address import host_port
from gateway.security.rate_bucket import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path
    from random import Random

    from redis.asyncio import Connection

    from gateway.config.rate_store import RedisStore, RedisTLS

logger = logging.getLogger(__name__)

BOUNDS: Final = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5)
"""Upper bounds of the seconds a round takes."""
CONNECT_WITHIN = 1.0
"""Seconds for connection, handshake and login."""
IDLE = 1.0
"""Seconds without questions after which Redis is asked whether it is there."""
MOST_WAITING = 1024
"""Questions that wait for a round; more fail at once."""
MOST_IN_ROUND = 64
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
"""Seconds between two attempts to connect; the pause doubles."""

SCRIPT: Final = """\
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local interval, tolerance = tonumber(ARGV[1]), tonumber(ARGV[2])
local ahead, back = 0, false
local kept = redis.call('GET', KEYS[1])
if kept then
  local at, was = string.match(kept, '^(%d+) (%S+)$')
  at, was = tonumber(at), tonumber(was)
  if at and was then
    back = at > now
    ahead = back and was or math.max(0, was - (now - at))
  end
end
local wait = 0
if ahead > tolerance then wait = math.ceil(ahead - tolerance) else ahead = ahead + interval end
if wait == 0 or back then
  redis.call('SET', KEYS[1], string.format('%.0f %.17g', now, ahead), 'PX', math.ceil(ahead / 1000))
end
return wait
"""
"""`rate_bucket.Buckets.take` in microseconds of the server's clock: how far a bucket is ahead of it, and when
that was so. Two small numbers, because one large would lose the fractions. Time that goes back passes for
standing still. A refusal writes nothing; the key goes when its bucket is full."""


class Question(NamedTuple):
    """One bucket that is asked for a token."""

    at: float
    """When it came up, by the loop's clock."""
    key: bytes
    interval: bytes
    """Microseconds."""
    tolerance: bytes
    answer: asyncio.Future[int]


class Line:
    """Asks. `start` before the first question; `stop` ends it."""

    def __init__(
        self,
        settings: RedisStore,
        base: Path,
        *,
        rng: Random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`base`: where relative paths start."""
        self.settings = settings
        self.up = False
        """Whether questions are asked: the circuit is closed."""
        self.reason = "not connected yet"
        """Why the circuit is open, or what opened it last; for people."""
        self.openings = 0
        """How often an answer was missing, or a connection, since the circuit was closed last."""
        self.counts = [0] * (len(BOUNDS) + 1)
        """Rounds by what they took; the last place is for those beyond `BOUNDS`."""
        self.seconds = 0.0
        self._base, self._rng, self._sleep = base, rng, sleep
        self._timeout = settings.timeout
        self._waiting: list[Question] = []
        self._round: list[Question] = []
        self._stir = asyncio.Event()
        self._tried = asyncio.Event()
        self._digest = b""
        self._failures = 0
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        state = "up" if self.up else f"down: {self.reason}"
        return f"<Line {self.settings.address} {state}>"

    # -- life ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Connects, and goes on doing so."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._live(), name="gateway-rate-limit-store")

    async def tried(self, patience: float) -> None:
        """Waits until the first attempt to connect is over, at most `patience` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._tried.wait()

    async def stop(self) -> None:
        """Ends the connection; questions fail from here on."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    # -- questions -----------------------------------------------------------------------------

    def ask(self, key: bytes, interval: float, tolerance: float) -> asyncio.Future[int]:
        """Microseconds until there is a token for `key`; 0: one was taken. Seconds go in.

        StoreError, at once or as the outcome, when Redis cannot say.
        """
        if not self.up:
            raise StoreError(self.reason)
        if len(self._waiting) >= MOST_WAITING:
            raise StoreError("too many questions wait")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[int] = loop.create_future()
        self._waiting.append(
            Question(loop.time(), key, b"%.17g" % (interval * 1e6), b"%.17g" % (tolerance * 1e6), answer)
        )
        self._stir.set()
        return answer

    # -- the task ------------------------------------------------------------------------------

    async def _live(self) -> None:
        while True:
            connection: Connection | None = None
            try:
                connection = await self._connect()
                await self._open(connection)
                await self._serve(connection)
            except asyncio.CancelledError:
                self._fail("the store is closed")
                raise
            except Exception as error:  # noqa: BLE001 - redis-py, OpenSSL, the system, the password file
                self._down(_told(error))
            finally:
                self.up = False
                if connection is not None:
                    with contextlib.suppress(Exception):
                        await connection.disconnect(nowait=True)
            await self._sleep(self._pause())

    def _pause(self) -> float:
        """The first attempt after a time that went well is made at once."""
        self._failures += 1
        if self._failures == 1:
            return 0.0
        longest: float = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._failures - 2, 10))
        return longest * (0.5 + self._rng.random() / 2)

    async def _connect(self) -> Connection:
        from redis.asyncio import Connection, SSLConnection  # noqa: PLC0415 - an extra

        settings, tls = self.settings, self.settings.tls
        host, port = host_port(settings.address)
        password = None
        if settings.password_file is not None:
            password = await asyncio.to_thread((self._base / settings.password_file).read_text)
        common: dict[str, Any] = {
            "host": host,
            "port": port,
            "db": settings.database,
            "username": settings.username,
            "password": None if password is None else password.rstrip("\r\n"),
            "protocol": 2,
            "socket_timeout": None,
            "socket_connect_timeout": CONNECT_WITHIN,
        }
        if tls is None:
            connection = Connection(**common)
        else:
            connection = SSLConnection(**common)
            # Its own would trust the system's authorities beside those that are named.
            connection.ssl_context.context = await asyncio.to_thread(_context, tls, self._base)
        try:
            async with asyncio.timeout(CONNECT_WITHIN):
                await connection.connect()  # type: ignore[no-untyped-call]
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection

    async def _open(self, connection: Connection) -> None:
        """Closes the circuit, if the script answers in time: whoever cannot write must not be asked."""
        async with asyncio.timeout(CONNECT_WITHIN):
            await connection.send_command("SCRIPT", "LOAD", SCRIPT, check_health=False)
            self._digest = await connection.read_response()
        await self._probe(connection)
        self.up = True
        self.openings = 0
        self._tried.set()
        logger.info("rate limit store %s answers", self.settings.address)

    async def _probe(self, connection: Connection) -> None:
        async with asyncio.timeout(self._timeout):
            key = f"{self.settings.prefix}:probe"
            await connection.send_command("EVALSHA", self._digest, 1, key, b"1", b"1e6", check_health=False)
            await connection.read_response()

    async def _serve(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if not self._waiting:
                self._stir.clear()
                try:
                    async with asyncio.timeout(IDLE):
                        await self._stir.wait()
                except TimeoutError:
                    await self._probe(connection)
                    continue
            began = loop.time()
            self._choose(began)
            if self._round:
                await self._ask(connection)
                self._failures = 0
                took = loop.time() - began
                self.seconds += took
                self.counts[bisect_left(BOUNDS, took)] += 1

    def _choose(self, now: float) -> None:
        """The next round. Who has gone meanwhile needs no token; who has waited for half of the timeout gets
        none: that more comes up than can be asked, or that the loop was busy, is no fault of Redis.
        """
        asked, self._waiting = self._waiting[:MOST_IN_ROUND], self._waiting[MOST_IN_ROUND:]
        self._round = []
        for question in asked:
            if question.answer.done():
                continue
            if now - question.at < self._timeout / 2:
                self._round.append(question)
            else:
                question.answer.set_exception(StoreError("too many questions wait"))

    async def _ask(self, connection: Connection) -> None:
        """One round. Who has waited for it longest says how long it may take."""
        async with asyncio.timeout_at(self._round[0].at + self._timeout):
            commands = [
                (b"EVALSHA", self._digest, b"1", question.key, question.interval, question.tolerance)
                for question in self._round
            ]
            await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
            for question in self._round:
                wait = await connection.read_response()
                if not question.answer.done():
                    question.answer.set_result(int(wait))
        self._round = []

    def _down(self, reason: str) -> None:
        """Opens the circuit. Once, not at every attempt, it is written to the log."""
        if self.openings == 0:
            logger.warning("rate limit store %s does not answer: %s", self.settings.address, reason)
        self.openings += 1
        self.up = False
        self.reason = reason
        self._fail(reason)
        self._tried.set()

    def _fail(self, reason: str) -> None:
        left, self._round, self._waiting = [*self._round, *self._waiting], [], []
        self.up = False
        for question in left:
            if not question.answer.done():
                question.answer.set_exception(StoreError(reason))


def _context(tls: RedisTLS, base: Path) -> ssl.SSLContext:
    """Verifies the certificate and its name, unless told not to."""
    own = tls.ca_certificates
    context = ssl.create_default_context(cafile=None if own is None else base / own)
    if tls.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.client_certificate is not None:
        context.load_cert_chain(base / tls.client_certificate, base / (tls.private_key or ""))
    return context


def _told(error: Exception) -> str:
    """An error for people. What Redis says of a wrong password does not repeat it."""
    if isinstance(error, TimeoutError) and not str(error):
        return "no answer in time"
    return f"{type(error).__name__}: {error}"
