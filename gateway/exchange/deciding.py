"""Steps 3 and 4: which route a request takes, and whether it may.

Lifetime: process (a part of `Spine`).
"""

from __future__ import annotations

import asyncio
import random
from functools import partial
from typing import TYPE_CHECKING

from gateway.exchange import fault
from gateway.exchange.patience import patient
from gateway.http.reply import NO_CLUSTER, Reply
from gateway.security.jwt_failure import Undecided

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.exchange.downstream import Downstream
    from gateway.exchange.exchange import Exchange
    from gateway.http.request import Request
    from gateway.routing.listener import Listener
    from gateway.routing.policies import Fault
    from gateway.routing.route import Destination, Route

    Check = Callable[[Request, random.Random], Reply | None]


class Deciding:
    """Finds a request's destination, or the reply that it gets instead."""

    def __init__(self, rng: random.Random | None = None) -> None:
        self._rng = rng or random.SystemRandom()
        self._dice = random.Random(self._rng.getrandbits(64))  # noqa: S311 - dice, not secrets
        self._draw = self._dice.getrandbits

    def _decide(self, exchange: Exchange, listener: Listener) -> Reply | None:
        """Steps 3 and 4 for every request: a reply, or None when there is a destination to forward to."""
        request = exchange.request
        for check in listener.checks:
            reply = check(request, self._rng)
            if reply is not None:
                return reply
        if listener.https_redirect is not None and (reply := listener.https_redirect(request)) is not None:
            return reply
        route = exchange.route = listener.match(request)  # 3
        if route is None:
            return listener.unrouted(request)
        if route.answer is not None:
            if route.gate is None:
                return route.answer(request)
            exchange.waits = True
            return None
        draw = exchange.draw = self._draw(32)
        destination = exchange.destination = route.choose(draw)
        if destination.gate is not None or route.fault is not None:
            exchange.waits = True
            return None
        return self._permit(request, destination.checks) or self._enter(request, route, destination)

    async def _decide_later(
        self, exchange: Exchange, downstream: Downstream, listener: Listener, reply: Reply | None
    ) -> Reply | None:
        """The rest of step 4 where something has to be waited for: keys, another's verdict, a delay."""
        if isinstance(reply, Undecided) and reply.settled is not None:
            # The issuer's keys are on their way: whoever shows a token of a new one waits for them.
            if not await patient(exchange, downstream, reply.settled):
                return reply
            reply = self._decide(exchange, listener)
            if not exchange.waits:
                return reply
        request, route, destination = exchange.request, exchange.route, exchange.destination
        assert route is not None
        if route.answer is not None:
            assert route.gate is not None
            return await patient(exchange, downstream, partial(route.gate, request)) or route.answer(request)
        assert destination is not None
        if destination.gate is not None:
            reply = await patient(exchange, downstream, partial(destination.gate, request))
        reply = reply or self._permit(request, destination.checks)
        if reply is None and route.fault is not None:
            reply = await self._inject(exchange, downstream, route.fault)
        return reply or self._enter(request, route, destination)

    def _permit(self, request: Request, checks: Sequence[Check]) -> Reply | None:
        for check in checks:
            reply = check(request, self._rng)
            if reply is not None:
                return reply
        return None

    def _enter(self, request: Request, route: Route, destination: Destination) -> Reply | None:
        """The route's own checks, CORS last; then there must be a cluster."""
        for check in route.checks:
            reply = check(request, self._rng)
            if reply is not None:
                return reply
        return NO_CLUSTER if destination.cluster is None else None

    async def _inject(self, exchange: Exchange, downstream: Downstream, wanted: Fault) -> Reply | None:
        seconds = fault.delay(wanted, self._dice)
        if seconds:
            exchange.flags = (*exchange.flags, fault.DELAYED)
            exchange.delayed = seconds
            await patient(exchange, downstream, lambda: asyncio.sleep(seconds))
        return fault.abort(wanted, exchange.request, self._dice)
