"""The memory of past attempts: what it keeps, and that it stays small."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.control import Control, history
from gateway.control.history import KEPT

GOOD = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec: {hosts: [a], http: [{directResponse: {status: 204}}]}\n"
BAD = GOOD.replace("hosts", "hots")


@pytest.fixture
def control(tmp_path: Path) -> Control:
    path = tmp_path / "routes.yaml"
    path.write_text(GOOD)
    return Control(path, watch=False)


def play(control: Control, *texts: str) -> None:
    """Starts, then reloads once for each text."""

    async def main() -> None:
        control.load_first()
        await control.start()
        for text in texts:
            control.paths[0].write_text(text)
            await control.reload()
        await control.stop()

    asyncio.run(main())


def test_every_generation_keeps_its_files(control: Control) -> None:
    """So that two of them can be compared, and each attempt in between is told."""
    play(control, BAD, GOOD + "# more\n", GOOD + "# more\n")

    told = [(str(each.result.outcome), each.result.generation) for each in control.history.attempts]
    assert told == [("applied", 1), ("refused", 1), ("applied", 2)]
    first, second = control.history.generation(1), control.history.generation(2)
    assert first is not None
    assert second is not None
    assert list((first.sources or {}).values()) == [GOOD]
    assert list((second.sources or {}).values()) == [GOOD + "# more\n"]
    assert control.history.generation(3) is None


def test_old_texts_are_dropped_first(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    """The generation that serves keeps its text even if it is too long alone."""
    monkeypatch.setattr(history, "TEXT_CHARACTERS", 2 * len(GOOD) + 20)
    play(control, GOOD + "# two\n", GOOD + "# three\n")

    assert [each.sources is None for each in control.history.attempts] == [True, False, False]
    monkeypatch.setattr(history, "TEXT_CHARACTERS", 0)
    control.history._forget()
    assert [each.sources is None for each in control.history.attempts] == [True, True, False]


def test_only_the_last_attempts_are_kept(control: Control) -> None:
    """However often a file is saved."""
    play(control, *(GOOD + f"# {number}\n" for number in range(KEPT + 2)))

    assert len(control.history.attempts) == KEPT
    assert control.history.generation(1) is None
