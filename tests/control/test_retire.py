"""Old generations go away: whole, by reference counts alone, and not before the last request is done."""

from __future__ import annotations

import asyncio
import gc
import weakref

from gateway.control.retire import dismantle, retire


class Node:
    """Something with parts."""

    def __init__(self, *parts: object) -> None:
        self.parts = parts


def tree(depth: int) -> Node:
    return Node(*(tree(depth - 1) for _ in range(3))) if depth else Node({"leaf": [Node()]})


def nodes() -> int:
    return sum(1 for item in gc.get_objects() if type(item) is Node)


def without_collection(play) -> None:
    gc.collect()
    gc.disable()
    try:
        play()
    finally:
        gc.enable()


def test_everything_owned_is_freed() -> None:
    """To any depth, though only the upper levels are taken apart."""

    def play() -> None:
        objects: list[object] = [tree(8), [tree(1)], "text", 7, None]
        dismantle(objects)
        assert (objects, nodes()) == ([], 0)

    without_collection(play)


def test_what_others_own_is_left_whole() -> None:
    """A cluster that both generations use, and everything below it."""

    def play() -> None:
        shared = tree(3)
        before = nodes()
        dismantle([Node(Node(shared), {"again": shared})])
        assert nodes() == before
        assert len(shared.parts) == 3

    without_collection(play)


def test_parts_go_one_by_one() -> None:
    """The owner goes alone; then each part, while the others still wait for their turn."""
    waiting: list[int] = []
    parts = [Node() for _ in range(3)]
    objects: list[object] = [Node(*parts)]
    for part in parts:
        weakref.finalize(part, lambda: waiting.append(len(objects)))
    del part, parts
    dismantle(objects)

    assert waiting == [2, 1, 0]


def test_a_generation_waits_for_its_last_request() -> None:
    """A long stream keeps what it began with; the wait is not busy."""

    async def main() -> None:
        snapshot = Node()
        gone = weakref.ref(snapshot)
        requests = [snapshot, snapshot]
        naps: list[float] = []

        async def sleep(seconds: float) -> None:
            naps.append(seconds)
            requests.pop()

        generation: list[object] = [Node(), snapshot]
        del snapshot
        await retire(generation, sleep=sleep)
        assert (generation, gone(), naps) == ([], None, [1.0, 1.0])

    asyncio.run(main())
