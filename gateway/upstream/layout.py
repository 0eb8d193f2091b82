"""What the names of a response's headers decide, whatever their values are; remembered.

Lifetime: process (the memory); bounded, since backends choose what they send.

Theory. A backend sends the same header names in the same order nearly always, while their values change.
Which headers are passed on, which one is the length and which the connection's own is therefore found out
once for each sequence of names; after that a head costs a few look-ups instead of a pass over its lines.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Final

from gateway.http.headers import HOP_BY_HOP

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.http.headers import Headers

DROP, DATE, GRPC, CONNECTION, LENGTH, ENCODING = range(6)
KINDS: Final = {
    **dict.fromkeys(HOP_BY_HOP, DROP),
    # The gateway's own, whatever the upstream says of them.
    **dict.fromkeys((b"server", b"x-envoy-decorator-operation", b"x-envoy-upstream-service-time"), DROP),
    b"date": DATE,
    b"grpc-status": GRPC,
    b"connection": CONNECTION,
    b"content-length": LENGTH,
    b"transfer-encoding": ENCODING,
}
"""What becomes of a header; one that is not here is passed on and means nothing to us."""
MOST_REMEMBERED: Final = 512
"""Layouts; at this number all are forgotten, and those in use come back at once."""
_PASSED = frozenset({DATE, GRPC, LENGTH})
_name = itemgetter(0)


class Layout:
    """Where in a head what stands."""

    __slots__ = ("connection_at", "dated", "encoding_at", "grpc", "keep", "length_at")

    def __init__(self, kinds: Sequence[int | None]) -> None:
        self.keep: Callable[[Headers], Sequence[tuple[bytes, bytes]]] = chosen(
            [at for at, kind in enumerate(kinds) if kind is None or kind in _PASSED]
        )
        """The headers that are passed on."""
        self.dated = DATE in kinds
        self.grpc = GRPC in kinds
        self.connection_at = _at(kinds, CONNECTION)
        """Index of Connection; -1: there is none. Likewise:"""
        self.length_at = _at(kinds, LENGTH)
        self.encoding_at = _at(kinds, ENCODING)


class Layouts:
    """A memory of layouts."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, ...], Layout | None] = {}

    def __len__(self) -> int:
        return len(self._known)

    def of(self, fields: Headers) -> Layout | None:
        """The layout of a head; None when its framing has to be looked at line by line."""
        names = tuple(map(_name, fields))
        layout = self._known.get(names)
        return layout if layout is not None else self._learn(names)

    def _learn(self, names: tuple[bytes, ...]) -> Layout | None:
        kinds = [KINDS.get(name) for name in names]
        if kinds.count(CONNECTION) > 1 or kinds.count(LENGTH) + kinds.count(ENCODING) > 1:
            return None
        if len(self._known) >= MOST_REMEMBERED:
            self._known.clear()
        layout = self._known[names] = Layout(kinds)
        return layout


def chosen(places: Sequence[int]) -> Callable[[Headers], Sequence[tuple[bytes, bytes]]]:
    """Takes the headers at these places out of a head."""
    if len(places) > 1:
        return itemgetter(*places)
    if places:
        only = places[0]
        return lambda fields: (fields[only],)
    return lambda _: ()


def _at(kinds: Sequence[int | None], kind: int) -> int:
    return kinds.index(kind) if kind in kinds else -1
