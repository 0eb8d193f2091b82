"""The memory of what happened lately: finished exchanges, and how much of what there was.

Lifetime: process.

Three rings, so that nobody can push out what matters: all kinds of exchanges, failures (5xx, clients that
left, cut responses), and requests that we turned away. Of successes so many a second are kept, of the others
all. Recording keeps the exchange itself and lets go of what would
hold sockets, buffers or tasks; nothing is formatted, hidden or counted twice before somebody looks.
Rates and durations are kept by route and destination for a minute, and altogether for a quarter of an hour.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter, deque
from http import HTTPStatus
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from gateway.http.flags import Flag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway.exchange.exchange import Exchange
    from gateway.exchange.mirror import Copied
    from gateway.routing import Destination, Route
    from gateway.upstream import UpstreamError

KEPT = 1000
"""Exchanges of each ring."""
A_SECOND = 250
"""Successes that are kept each second: more would push each other out within moments, and every one that is
kept displaces what the next request needs from the processor's caches."""
LARGE = 8192
"""Bytes of a request's head beyond which it is cut before it is kept: clients choose what they send."""
CUT = 256
"""Bytes of each header that are kept then, and eight times as many of the path."""

SLOT = 1.0
"""Seconds of the finest sample."""
SLOTS = 60
POINT = 10.0
"""Seconds of a point of the history."""
POINTS = 90
MOST_LINES = 1000
"""Routes and destinations of one sample that are told apart; the busiest are."""

BOUNDS = tuple(0.0001 * 1.12**step for step in range(120))
"""Seconds: 0.1 ms to 80 s, each 12 % above the one before, so a quantile is right within that."""


class Entry(NamedTuple):
    """A finished exchange."""

    exchange: Exchange
    ended_at: float
    """Seconds of the monotonic clock."""


class Key(NamedTuple):
    """What is told apart."""

    route: str
    """Name, or else where it is written; empty: no route."""
    source: str
    """Where it is written."""
    cluster: str
    """Empty: the gateway answered by itself."""


class Counts:
    """What happened in some time."""

    __slots__ = ("buckets", "failures", "requests")

    def __init__(self) -> None:
        self.requests = 0
        self.failures = 0
        """Of them, those that ended with 5xx."""
        self.buckets: Counter[int] = Counter()
        """Durations: index in `BOUNDS` -> requests."""

    def add(self, other: Counts) -> None:
        """Counts those as well."""
        self.requests += other.requests
        self.failures += other.failures
        self.buckets.update(other.buckets)

    def quantile(self, share: float) -> float:
        """Seconds that `share` of the requests took at most; 0 without requests."""
        wanted, passed = share * self.requests, 0
        for index in sorted(self.buckets):
            count = self.buckets[index]
            if passed + count >= wanted:
                upper = BOUNDS[min(index, len(BOUNDS) - 1)]
                lower = BOUNDS[index - 1] if index else 0.0
                return float(lower + (upper - lower) * (wanted - passed) / count)
            passed += count
        return 0.0


class Point(NamedTuple):
    """All requests of ten seconds."""

    at: float
    """Seconds of the monotonic clock: the end."""
    counts: Counts


class Past:
    """What is left of a snapshot: its number."""

    __slots__ = ("generation",)

    def __init__(self, generation: int) -> None:
        self.generation = generation


class Line:
    """What one route and destination did in the current second."""

    __slots__ = ("buckets", "failures")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS) + 1)
        """Requests by duration, as in `BOUNDS`."""
        self.failures = 0


class Recorder:
    """Keeps the last exchanges. `record` is the last that happens to an exchange."""

    def __init__(
        self,
        *,
        size: int = KEPT,
        rate: int = A_SECOND,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.recent: deque[tuple[Exchange, float]] = deque(maxlen=size)
        """Exchanges, with when they ended: every failure, and `rate` successes a second."""
        self.failed: deque[tuple[Exchange, float]] = deque(maxlen=size)
        """Those that went wrong."""
        self.refused: deque[tuple[Exchange, float]] = deque(maxlen=size)
        """Those that we answered with 4xx."""
        self.copies: deque[Copied] = deque(maxlen=size)
        """Copies for mirrors."""
        self.clock = clock
        self._wall = wall
        self._lines: dict[tuple[Route | None, Destination | None], Line] = {}
        self._past = Past(0)
        self._began = clock()
        self._next = self._began + SLOT
        self._rate = self._room = rate
        self._slots: deque[tuple[float, dict[Key, Counts]]] = deque(maxlen=SLOTS)
        self._points: deque[Point] = deque(maxlen=POINTS)

    def __repr__(self) -> str:
        return f"<Recorder recent {len(self.recent)}, failed {len(self.failed)}, refused {len(self.refused)}>"

    def record(self, exchange: Exchange, ended_at: float) -> None:
        """Counts `exchange`, which is over, and keeps it if it failed or there is room."""
        if ended_at >= self._next:
            self._close(ended_at)
        key = (exchange.route, exchange.destination)
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = Line()
        line.buckets[bisect_left(BOUNDS, ended_at - exchange.started_at)] += 1
        status = exchange.status
        if status >= 500:
            line.failures += 1
        elif 0 < status < 400 and not exchange.flags:
            if self._room:
                self._room -= 1
                self.recent.append((self._slim(exchange), ended_at))
            return
        entry = (self._slim(exchange), ended_at)
        self.recent.append(entry)
        _forget(exchange.failure)
        _forget(exchange.ended)
        if status >= 500 or (status < 400 and not _left_tunnel(exchange)):
            self.failed.append(entry)
        elif exchange.details != "via_upstream":
            self.refused.append(entry)

    def copied(self, copied: Copied) -> None:
        """Remembers a copy that is over."""
        self.copies.append(copied)

    def _slim(self, exchange: Exchange) -> Exchange:
        """Lets go of connection, tasks, snapshot and response headers."""
        exchange.connection = exchange.response_headers = None
        if exchange.carried:
            exchange.carried = b""
        if exchange.upload is not None:
            exchange.upload = exchange.uploaded = None
        if exchange.trial is not None:
            exchange.trial = None
        generation = exchange.snapshot.generation
        if generation != self._past.generation:
            self._past = Past(generation)
        exchange.snapshot = self._past  # type: ignore[assignment] # a generation is not kept for its requests
        request = exchange.request
        size = exchange.request_head or sum(map(len, chain.from_iterable(request.headers)))
        if size + len(request.path) + len(request.query) > LARGE:
            _cut(exchange)
        return exchange

    def entries(self) -> Iterator[Entry]:
        """Every exchange that is kept, once, the newest first."""
        kept: dict[int, tuple[Exchange, float]] = {}
        for ring in (self.recent, self.failed, self.refused):
            kept.update((id(entry[0]), entry) for entry in tuple(ring))
        for entry in sorted(kept.values(), key=lambda item: item[1], reverse=True):
            yield Entry(*entry)

    def failures(self) -> Iterator[Entry]:
        """Every exchange that went wrong and is kept, the newest first."""
        for entry in reversed(tuple(self.failed)):
            yield Entry(*entry)

    def find(self, request_id: str) -> Entry | None:
        """The newest exchange of this id; a client may repeat one when it is trusted."""
        for ring in (self.recent, self.failed, self.refused):
            for exchange, ended_at in reversed(ring):
                if exchange.request_id == request_id:
                    return Entry(exchange, ended_at)
        return None

    def moment(self, at: float) -> float:
        """An instant of the monotonic clock as seconds since the epoch."""
        return self._wall() - (self.clock() - at)

    def window(self, seconds: float = POINT) -> tuple[float, dict[Key, Counts]]:
        """What happened by route and destination in the last seconds, and how many those really are."""
        now = self.clock()
        if now >= self._next:
            self._close(now)
        end = self._next - SLOT
        total: dict[Key, Counts] = {}
        for at, slot in self._slots:
            if at > end - seconds:
                for key, counts in slot.items():
                    total.setdefault(key, Counts()).add(counts)
        return max(SLOT, min(seconds, end - self._began)), total

    def history(self) -> list[Point]:
        """All requests, ten seconds a point, the oldest first; seconds without any request have none."""
        now = self.clock()
        if now >= self._next:
            self._close(now)
        return list(self._points)

    def _close(self, now: float) -> None:
        """Ends the current second; any number may have passed since."""
        end, lines = self._next, self._lines
        self._next = end + SLOT * (int((now - end) / SLOT) + 1)
        self._room = self._rate
        if not lines:
            return
        self._lines = {}
        busiest = sorted(lines.items(), key=lambda item: sum(item[1].buckets), reverse=True)
        slot: dict[Key, Counts] = {}
        whole = Counts()
        for number, ((route, destination), line) in enumerate(busiest):
            key = _key(route, destination) if number < MOST_LINES else _OTHERS
            counts = slot.setdefault(key, Counts())
            durations = Counter({index: count for index, count in enumerate(line.buckets) if count})
            requests = durations.total()
            for total in (counts, whole):
                total.requests += requests
                total.failures += line.failures
                total.buckets.update(durations)
        self._slots.append((end, slot))
        point = end - end % POINT + POINT
        if self._points and self._points[-1].at == point:
            self._points[-1].counts.add(whole)
        else:
            self._points.append(Point(point, whole))


_OTHERS = Key("(others)", "", "")


def _key(route: Route | None, destination: Destination | None) -> Key:
    if route is None:
        return Key("", "", "")
    source = str(route.source)
    return Key(route.name or source, source, "" if destination is None else destination.cluster_name)


def _left_tunnel(exchange: Exchange) -> bool:
    """Whether a client closed its WebSocket, as they all do some day."""
    return exchange.status == HTTPStatus.SWITCHING_PROTOCOLS and Flag.CLIENT_GONE in exchange.flags


def _forget(error: UpstreamError | None) -> None:
    """A traceback holds the frames it went through, and all they knew."""
    if error is not None:
        error.__traceback__ = error.__context__ = error.__cause__ = None


def _cut(exchange: Exchange) -> None:
    """Makes a large head small; one with repeated lines may be ordinary."""
    request = exchange.request
    size = sum(len(name) + len(value) for name, value in request.headers)
    if size + len(request.path) + len(request.query) <= LARGE:
        return
    request.headers = [(name[:CUT], value[:CUT]) for name, value in request.headers[: LARGE // CUT]]
    request.header_map = dict(request.headers)
    request.repeated = len(request.header_map) != len(request.headers)
    request.path, request.query = request.path[: 8 * CUT], request.query[: 8 * CUT]
    exchange.parts = (request.path, request.authority, request.headers)
