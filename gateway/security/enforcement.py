"""What policies do to a request: refuse it, let it pass, or only say what they would do.

Lifetime: config. Each class is a filter of Envoy's chain; its `check` runs per request, and allocates
nothing while the request passes.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gateway.security.policies import NOT_ALLOWED

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from gateway.http.reply import Reply
    from gateway.http.request import Request
    from gateway.security.counts import PolicyCounts
    from gateway.security.index import Find

    Check = Callable[[Request, Random], Reply | None]
    Note = Callable[[str, Request], None]

logger = logging.getLogger(__name__)


def note(what: str, request: Request) -> None:
    """Writes to the log what a policy that does not enforce has seen; no query and no header, for secrets."""
    peer = request.peer
    who = peer.principal if peer is not None and peer.verified else ""
    logger.info(
        "%s: %s %s from %s %s",
        what,
        request.method,
        request.path.decode("latin-1"),
        request.client_ip,
        who or "-",
    )


class Deny:
    """Refuses what a DENY rule takes."""

    __slots__ = ("_counts", "_find")

    def __init__(self, find: Find, counts: PolicyCounts) -> None:
        self._find = find
        self._counts = counts

    def check(self, request: Request, _: Random) -> Reply | None:
        """The refusal, or None."""
        try:
            taker = self._find(request)
        except Exception:  # noqa: BLE001 - whatever went wrong, nobody said that this request may pass
            return _failed(self._counts)
        if taker is None:
            return None
        taker.tally.taken += 1
        self._counts.denied += 1
        return taker.reply


class Allow:
    """Refuses what no ALLOW rule takes."""

    __slots__ = ("_counts", "_find", "_reply")

    def __init__(self, find: Find, counts: PolicyCounts, reply: Reply = NOT_ALLOWED) -> None:
        self._find = find
        self._counts = counts
        self._reply = reply

    def check(self, request: Request, _: Random) -> Reply | None:
        """The refusal, or None."""
        try:
            taker = self._find(request)
        except Exception:  # noqa: BLE001 - as above
            return _failed(self._counts)
        if taker is None:
            self._counts.denied += 1
            return self._reply
        taker.tally.taken += 1
        self._counts.allowed += 1
        return None


class Audit:
    """Marks what an AUDIT rule takes."""

    __slots__ = ("_counts", "_find", "_note")

    def __init__(self, find: Find, counts: PolicyCounts, note: Note) -> None:
        self._find = find
        self._counts = counts
        self._note = note

    def check(self, request: Request, _: Random) -> None:
        """Always None."""
        try:
            taker = self._find(request)
        except Exception:
            logger.exception("an AUDIT policy could not be evaluated")
            return
        if taker is not None:
            taker.tally.taken += 1
            self._counts.audited += 1
            self._note(f"audit {taker.identifier}", request)


class Shadow:
    """Says what dry-run policies would do, DENY before ALLOW, and does nothing."""

    __slots__ = ("_allows", "_counts", "_denies", "_note")

    def __init__(self, denies: Find, allows: Find | None, counts: PolicyCounts, note: Note) -> None:
        """`allows`: None when there is no such policy, so that everything is allowed."""
        self._denies = denies
        self._allows = allows
        self._counts = counts
        self._note = note

    def check(self, request: Request, _: Random) -> None:
        """Always None."""
        try:
            denies = self._denies(request)
            allows = None if self._allows is None or denies is not None else self._allows(request)
        except Exception:
            logger.exception("a dry-run policy could not be evaluated")
            return
        for taker in (denies, allows):
            if taker is not None:
                taker.tally.taken += 1
        if denies is not None or (allows is None and self._allows is not None):
            self._counts.shadow_denied += 1
            self._note(
                f"dry run would deny by {denies.identifier if denies is not None else 'none'}", request
            )
        elif allows is not None:
            self._counts.shadow_allowed += 1


def _failed(counts: PolicyCounts) -> Reply:
    if not counts.errors:
        # Once: clients may be able to repeat it.
        logger.exception("a policy could not be evaluated; the request was refused")  # noqa: LOG004 - as called
    counts.errors += 1
    return NOT_ALLOWED
