"""Answers for many consoles: made once, shared, kept for a moment; and how they are encoded."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import FakeClock

from gateway.admin.console.answers import FRESH, KEPT, Answers, encode

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inside: (
        st.lists(inside, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inside, max_size=4)
    ),
    max_leaves=20,
)


@settings(max_examples=200)
@given(VALUES)
def test_pieces_join_to_the_same_json(value) -> None:
    """Encoding item by item changes nothing but how long others wait."""
    assert json.loads(encode(value)) == value


def test_those_who_ask_together_share_one_answer() -> None:
    """It is made once, in a thread, from what was read on the loop."""
    made: list[int] = []

    async def main() -> None:
        clock = FakeClock()
        answers = Answers(clock)
        loop_thread = threading.get_ident()

        def prepare():
            assert threading.get_ident() == loop_thread
            return make

        def make():
            assert threading.get_ident() != loop_thread
            made.append(1)
            return {"number": len(made)}

        together = await asyncio.gather(*(answers.give("a", prepare) for _ in range(5)))
        assert set(together) == {b'{"number":1}'}
        assert await answers.give("a", prepare) == b'{"number":1}'
        clock.advance(FRESH + 0.01)
        assert await answers.give("a", prepare) == b'{"number":2}'
        assert await answers.give("b", prepare) == b'{"number":3}'

    asyncio.run(main())


def test_a_failure_is_told_to_all_and_not_kept() -> None:
    """The next one who asks gets a new try."""

    async def main() -> None:
        answers = Answers()
        failing = (answers.give("a", lambda: lambda: 1 / 0) for _ in range(2))
        assert [type(item) for item in await asyncio.gather(*failing, return_exceptions=True)] == [
            ZeroDivisionError
        ] * 2
        assert await answers.give("a", lambda: lambda: 1) == b"1"

    asyncio.run(main())


def test_a_reader_who_leaves_takes_nothing_away() -> None:
    """The others still get the answer."""

    async def main() -> None:
        answers, gate = Answers(), threading.Event()
        first = asyncio.ensure_future(answers.give("a", lambda: lambda: gate.wait(10)))
        await asyncio.sleep(0)
        second = asyncio.ensure_future(answers.give("a", lambda: pytest.fail))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        gate.set()
        assert await second == b"true"

    asyncio.run(main())


def test_only_so_many_are_kept() -> None:
    """Names come from addresses: what clients ask for must not fill the memory."""

    async def main() -> None:
        answers = Answers(FakeClock())
        for number in range(KEPT + 20):
            await answers.give(str(number), lambda: lambda: 1)
        assert repr(answers) == f"<Answers kept {KEPT}, under way 0>"

    asyncio.run(main())
