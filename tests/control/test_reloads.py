"""Reloads that meet: with each other, with a signal, with a stop, with the interpreter's own affairs."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st
from support.controlled import BAD, answer, answering, serve, write
from support.waiting import until

from gateway.control import Control, Outcome


def test_reloads_asked_for_together_are_one(file: Path) -> None:
    """Of any number of questions during a reload one more answers all, with what was written before them."""

    async def play(control: Control) -> None:
        write(file, answering("two"))
        first = asyncio.ensure_future(control.reload())
        await asyncio.sleep(0)  # The first has its turn.
        write(file, answering("three"))
        rest = await asyncio.gather(*(control.reload() for _ in range(20)))
        assert (await first).generation == 2
        assert len({id(result) for result in rest}) == 1
        assert answer(control) == b"three"
        assert control.generation <= 3

    serve(file, play)


def test_who_stops_waiting_does_not_stop_the_reload(file: Path) -> None:
    """An operator's connection that breaks leaves the reload running."""

    async def play(control: Control) -> None:
        write(file, answering("two"))
        asking = asyncio.ensure_future(control.reload())
        await asyncio.sleep(0)
        asking.cancel()
        await until(lambda: control.generation == 2)

    serve(file, play)


def test_stopping_waits_for_the_reload_under_way(file: Path) -> None:
    """Nothing is left running in a thread."""

    async def main() -> None:
        control = Control(file, watch=False)
        control.load_first()
        await control.start()
        write(file, answering("two"))
        asking = asyncio.ensure_future(control.reload())
        await asyncio.sleep(0)
        await control.stop()
        assert asking.done() or control.generation == 2
        await asking

    asyncio.run(main())


def test_a_written_file_is_served_without_asking(file: Path) -> None:
    """The whole way: write, notice, read, serve; then a bad one, noticed and refused."""

    async def play(control: Control) -> None:
        write(file, answering("two"))
        await until(lambda: answer(control) == b"two")
        write(file, BAD)
        await until(lambda: control.refused)
        assert (answer(control), control.last.reason) == (b"two", "watch")

    serve(file, play, watch=True)


def test_hangup_reloads(file: Path) -> None:
    """SIGHUP does what POST /reload does; afterwards the signal is as it was."""
    usual = signal.getsignal(signal.SIGHUP)

    async def play(control: Control) -> None:
        write(file, answering("two"))
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: control.generation == 2)
        assert control.last.reason == "SIGHUP"

    serve(file, play)
    assert signal.getsignal(signal.SIGHUP) == usual


def test_a_program_that_uses_hangup_keeps_it(file: Path) -> None:
    """In front of somebody's application the signal may be theirs."""
    heard = []
    usual = signal.signal(signal.SIGHUP, lambda *_: heard.append("theirs"))

    async def play(control: Control) -> None:
        write(file, answering("two"))
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: bool(heard))
        assert (heard, control.generation) == (["theirs"], 1)

    try:
        serve(file, play)
    finally:
        signal.signal(signal.SIGHUP, usual)


def test_a_reload_leaves_the_interpreter_as_it_was(file: Path) -> None:
    """Switch interval and collection are given back, after a good reload and after a bad one."""
    usual = sys.getswitchinterval()

    async def play(control: Control) -> None:
        for text in (answering("two"), BAD):
            write(file, text)
            await control.reload()
            # The old generation is still being freed.
            await until(lambda: (sys.getswitchinterval(), gc.isenabled()) == (usual, True))

    serve(file, play)


def test_old_generations_are_freed_without_a_collection(file: Path) -> None:
    """Nothing in a generation refers back to its owner: frozen objects are freed by their counts or never."""

    def alive() -> dict[str, int]:
        kinds = ("Snapshot", "Listener", "VirtualHost", "Route", "Cluster", "VirtualService", "Loaded")
        names = [type(item).__name__ for item in gc.get_objects()]
        return {kind: names.count(kind) for kind in kinds}

    async def play(control: Control) -> None:
        before = alive()
        for word in ("two", "three", "four"):
            write(file, answering(word))
            await control.reload()
        await until(lambda: alive() == before)

    gc.collect()
    gc.disable()
    try:
        serve(file, play)
    finally:
        gc.enable()


@given(st.lists(st.sampled_from(["one", "two", "three", "bad", "worse", "gone"]), max_size=8))
@settings(max_examples=25)
def test_the_last_good_files_serve(story: list[str]) -> None:
    """Any sequence of good, bad and missing files: the last good one serves, the last finding is visible."""
    texts = {"bad": BAD, "worse": "a: [\n", **{word: answering(word) for word in ("one", "two", "three")}}

    with TemporaryDirectory() as root:
        file = Path(root) / "routes.yaml"
        file.write_text(answering("one"))

        async def play(control: Control) -> None:
            serving, generation = "one", 1
            for word in story:
                if word == "gone":
                    file.unlink(missing_ok=True)
                else:
                    write(file, texts[word])
                good = word in {"one", "two", "three"}
                held = control.snapshot
                result = await control.reload()
                generation += good and word != serving
                serving = word if good else serving
                assert answer(control) == serving.encode()
                assert (result.generation, control.generation) == (generation, generation)
                assert control.refused is not good
                assert any(finding.fatal for finding in control.findings) is not good
                assert (control.snapshot is held) is (result.outcome is not Outcome.APPLIED)

        serve(file, play)
