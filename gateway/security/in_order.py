"""Gates and checks that are asked one after the other, where one of the later ones waits.

Lifetime: config. Where none does, checks run without any of this.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import TYPE_CHECKING

from gateway.http.reply import Reply
from gateway.http.request import Request
from gateway.security.jwt_failure import Undecided

if TYPE_CHECKING:
    from collections.abc import Sequence

Check = Callable[[Request, Random], Reply | None]
Gate = Callable[[Request], Awaitable[Reply | None]]

NO_DICE = Random(0)  # noqa: S311 - for checks that throw none
"""What policies get where there are no dice at hand: none of them throws any."""


class InOrder:
    """What is asked first, the checks, and the gate that is to come after them."""

    __slots__ = ("_first", "_last", "checks")

    def __init__(self, first: Gate | None, checks: tuple[Check, ...], last: Gate) -> None:
        self._first = first
        self.checks = checks
        """The ones in the middle, for whoever explains."""
        self._last = last

    def with_check(self, check: Check) -> InOrder:
        """The same with one more check, before the others."""
        return InOrder(self._first, (check, *self.checks), self._last)

    async def __call__(self, request: Request) -> Reply | None:
        """The first refusal, or None."""
        if self._first is not None and (reply := await self._first(request)) is not None:
            return reply
        reply = self._judge(request)
        if isinstance(reply, Undecided) and reply.settled is not None and await reply.settled():
            reply = self._judge(request)  # The issuer's keys have come, as in the spine.
        return await self._last(request) if reply is None else reply

    def _judge(self, request: Request) -> Reply | None:
        for check in self.checks:
            reply = check(request, NO_DICE)
            if reply is not None:
                return reply
        return None


def checks_behind(gate: Gate | None, checks: tuple[Check, ...]) -> tuple[Check, ...]:
    """The checks of a place, wherever they run: by themselves, or inside its gate."""
    return gate.checks if isinstance(gate, InOrder) else checks


def at_once(check: Check) -> Gate:
    """A check among gates."""

    async def gate(request: Request) -> Reply | None:
        return check(request, NO_DICE)

    return gate


def one_after_another(gates: Sequence[Gate]) -> Gate:
    """Until one refuses."""

    async def gate(request: Request) -> Reply | None:
        for one in gates:
            reply = await one(request)
            if reply is not None:
                return reply
        return None

    return gate
