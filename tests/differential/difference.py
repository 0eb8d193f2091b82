"""What a deliberate difference is, and the comparison that knows nothing beyond those it is given."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from differential.play import Ask, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Settle = Callable[[Ask, Outcome, Outcome], tuple[Outcome, Outcome]]

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Something the gateway does otherwise on purpose."""

    when: str
    """Which requests, in words."""
    gateway: str
    envoy: str
    why: str
    example: Ask
    settings: Mapping[str, str] = field(default_factory=dict)
    """GatewaySettings the example needs."""
    concerns: Callable[[Ask], bool] = lambda _: True
    refuses: tuple[int, ...] = ()
    """The gateway answers one of these by itself, and nothing else is compared."""
    copies: int = 0
    """How many copies of the example go to mirrors."""
    settle: Settle | None = None
    """Makes equal what may differ, and no more."""


def compare(ask: Ask, ours: Outcome, theirs: Outcome, table: Iterable[Difference]) -> list[str]:
    """What differs beyond `table`; nothing when all is well."""
    for difference in table:
        if not difference.concerns(ask):
            continue
        if difference.refuses and ours.status in difference.refuses and not ours.arrivals:
            return []
        if difference.settle is not None:
            ours, theirs = difference.settle(ask, ours, theirs)
    ours, theirs = _plain(ours), _plain(theirs)
    return [
        f"{field}: gateway {mine!r}, envoy {other!r}"
        for field in ("status", "interim", "headers", "body", "arrivals")
        if (mine := getattr(ours, field)) != (other := getattr(theirs, field))
    ]


def _plain(outcome: Outcome) -> Outcome:
    """Without what differs from one run to the next: times, random ids, the order of headers of different names."""
    arrivals = tuple(replace(arrival, headers=_headers(arrival.headers)) for arrival in outcome.arrivals)
    return replace(outcome, headers=_headers(outcome.headers), arrivals=arrivals)


def _headers(headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    # The sort is stable: lines of one name keep their order.
    return tuple(sorted(map(_header, headers), key=lambda pair: pair[0]))


def _header(pair: tuple[str, str]) -> tuple[str, str]:
    name, value = pair
    if name == "date" and value.endswith(" GMT"):
        return name, "a date"
    if name == "x-request-id" and UUID.match(value):
        return name, "a UUID"
    if name == "x-envoy-upstream-service-time" and value.isdigit():
        return name, "a time"
    return pair
