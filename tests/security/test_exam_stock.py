"""The corpus on stock uvicorn, whose own parsers stand before us: what holds there, and what does not."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest
from support.exam import ALL, CONFIG
from support.field import fields
from support.stock import DIFFERENCES
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.attacks import Case
    from support.field import Field

PARSERS = {"httptools": HttpToolsProtocol, "h11": H11Protocol}
PLAYED = [
    (parser, case)
    for parser in sorted(PARSERS)
    for case in ALL
    if DIFFERENCES[parser].get(case.id, ()) is not None
]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Field]]:
    with ExitStack() as stack:
        yield {
            parser: stack.enter_context(
                contextmanager(fields)(tmp_path_factory.mktemp(parser), CONFIG, http=protocol)
            )
            for parser, protocol in PARSERS.items()
        }


@pytest.mark.parametrize(("parser", "case"), PLAYED, ids=lambda item: getattr(item, "id", item))
def test_a_stock_parser_differs_where_it_is_known_to(
    parser: str, case: Case, played: dict[str, Field]
) -> None:
    """Answers and what the backend sees are ours, but for the table; and never a request that is ambiguous."""
    answer = played[parser].play(case.sent)
    statuses, seen = DIFFERENCES[parser].get(case.id) or (case.statuses, case.seen)
    assert answer.statuses == statuses
    assert tuple(request.target.partition(b"?")[0] for request in answer.seen) == seen


def test_the_table_names_cases_that_there_are() -> None:
    """Else a difference would be told of nobody."""
    known = {case.id for case in ALL}
    assert [name for table in DIFFERENCES.values() for name in table if name not in known] == []


def test_both_parsers_refuse_what_smuggles() -> None:
    """Two lengths, a length and an encoding, broken chunks: no difference is one of framing."""
    framing = (
        "S01",
        "S02",
        "S04",
        "S10",
        "S12",
        "S19",
        "S20",
        "S23",
        "S27",
        "S31",
        "S32",
        "S33",
        "S38",
        "S43",
    )
    tables = [name for table in DIFFERENCES.values() for name in table]
    assert [name for name in tables if name.startswith(framing)] == []
