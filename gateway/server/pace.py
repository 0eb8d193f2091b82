"""How fast a request body has to come, and how long it may pause.

Lifetime: process (one connection; begun anew with each request that has a body).

Theory. The rate is the mean over the time in which more was wanted: not while reading is paused, because the
backend takes nothing, and not before a client that waits for `100 Continue` has it. So a read only adds its
bytes up; when the sweeper comes, the least time in which the body can have fallen behind is computed from the
sum, and nobody looks before that. The rule is Kestrel's (`MinRequestBodyDataRate`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.server.sweeper import INTERVAL, NEVER

if TYPE_CHECKING:
    from gateway.server.limits import Limits
    from gateway.server.sweeper import Sweeper


class Pace:
    """What has come of one request's body, and until when more has to come."""

    __slots__ = ("_began", "_grace", "_held", "_idle", "_seconds_per_byte", "_sweeper", "got", "moved")

    def __init__(self, sweeper: Sweeper, limits: Limits) -> None:
        rate = limits.request_body_rate
        self._sweeper = sweeper
        self._idle = limits.request_body_idle + INTERVAL
        self._grace = limits.request_body_grace if rate else NEVER
        self._seconds_per_byte = 1 / rate if rate else 0.0
        self.begin()

    def __repr__(self) -> str:
        return (
            f"<Pace {self.got} bytes, {'held' if self._held is not None else f'{self._left():.1f} s left'}>"
        )

    def begin(self) -> None:
        """A body is to come."""
        self.got = 0
        """Bytes that have come of it, framing included."""
        self.moved = self._sweeper.now
        """When the last ones came, on the sweeper's clock."""
        self._began = self._sweeper.awake + INTERVAL
        """As if it had begun so much later as was not wanted. INTERVAL, since `awake` is of the past."""
        self._held: float | None = None
        """Since when nothing is wanted."""

    def held(self) -> float:
        """Nothing is wanted from now on. Returns the deadline."""
        if self._held is None:
            self._held = self._sweeper.awake
        return NEVER

    def wanted(self) -> float:
        """More is wanted from now on. Returns the deadline."""
        if self._held is not None:
            self._began += self._sweeper.awake - self._held
            self._held = None
        self.moved = self._sweeper.now
        return self.deadline

    @property
    def deadline(self) -> float:
        """When, if nothing more comes, it has paused for too long or is too slow, whichever is first."""
        return min(self.moved + self._idle, self._sweeper.now + self._left())

    @property
    def too_slow(self) -> bool:
        """Less has come than the rate demands, and the grace is over."""
        return self._held is None and self._left() <= 0

    def _left(self) -> float:
        """Seconds for which what has come is enough."""
        return self._began + max(self._grace, self.got * self._seconds_per_byte) - self._sweeper.awake
