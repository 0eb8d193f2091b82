"""What is asked before a limit that waits, and in which order."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from support.routing import request

from gateway.http.reply import Reply
from gateway.http.request import Request
from gateway.security.guard import Checks, with_limits
from gateway.security.in_order import InOrder, checks_behind
from gateway.security.jwt_failure import Undecided
from gateway.security.rate_limit import NO_LIMITS, Limits

NAMES = ("first", "check", "other", "last")


class Play:
    """Gates and checks that write down that they were asked; one of them refuses."""

    def __init__(self, refusing: str = "") -> None:
        self.asked: list[str] = []
        self._refusing = refusing

    def _say(self, name: str) -> Reply | None:
        self.asked.append(name)
        return Reply(403, name.encode(), None, name) if name == self._refusing else None

    def check(self, name: str):  # type: ignore[no-untyped-def]
        def check(_: Request, __: Random) -> Reply | None:
            return self._say(name)

        return check

    def gate(self, name: str):  # type: ignore[no-untyped-def]
        async def gate(_: Request) -> Reply | None:
            return self._say(name)

        return gate


@pytest.mark.parametrize("refusing", ["", *NAMES])
def test_the_first_refusal_ends_it(refusing: str) -> None:
    """A gate, the checks, and only then the limits: what is refused is not counted."""
    play = Play(refusing)
    whole = InOrder(play.gate("first"), (play.check("other"),), play.gate("last")).with_check(
        play.check("check")
    )

    reply = asyncio.run(whole(request()))

    assert (reply.body.decode() if reply is not None else "") == refusing
    assert tuple(play.asked) == NAMES[: NAMES.index(refusing) + 1 if refusing else None]


@pytest.mark.parametrize(("come", "asked"), [(True, ["last"]), (False, [])])
def test_a_token_waits_for_its_keys(come: bool, asked: list[str]) -> None:
    """When they have come the checks are asked again; when not, the refusal stands."""
    play, looks = Play(), []

    async def settled() -> bool:
        return come

    def token(_: Request, __: Random) -> Reply | None:
        looks.append(1)
        return Undecided(401, b"", None, "keys", settled=settled) if len(looks) == 1 else None

    reply = asyncio.run(InOrder(None, (token,), play.gate("last"))(request()))

    assert (reply is None) is come
    assert len(looks) == (2 if come else 1)
    assert play.asked == asked


def test_places_without_such_a_limit_are_left_alone() -> None:
    """Checks stay a tuple; whoever explains finds them in either place."""
    play = Play()
    check, limit = play.check("check"), play.check("last")
    plain = Checks((check,), None, ("DENY a/b",))

    assert with_limits(plain, NO_LIMITS) is plain
    assert with_limits(plain, Limits(check=limit)) == ((check, limit), None, ("DENY a/b",))
    waiting = with_limits(plain, Limits(gate=play.gate("last")))
    assert (waiting.checks, waiting.policies) == ((), plain.policies)
    assert checks_behind(waiting.gate, waiting.checks) == (check,) == checks_behind(None, plain.checks)
