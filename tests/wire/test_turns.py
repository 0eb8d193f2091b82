"""Any order of events on many connections, several of them in one turn of the loop."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.parties import EVIL, HIGH_WATER, HUGE
from support.turns import PATHS, VirtualLoop, World, run

from gateway.http.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

METHODS = ("GET", "GET", "POST", "HEAD", "POST", "PUT")
SIZES = (0, 7, 300, 70000)
Event = tuple[int, int, int, int]


def _ask(world: World, who: int, what: int, how: int) -> None:
    client = world.clients[who % len(world.clients)]
    if client.closing or client.gone or client.eof:
        return
    method = METHODS[what % len(METHODS)]
    size = SIZES[how % len(SIZES)] if method in {"POST", "PUT"} else 0
    client.ask(
        method, PATHS[(what // 6) % len(PATHS)], size, close=how % 11 == 10, chunked=size > 0 and how % 5 == 4
    )


def _ask_at_once(world: World, who: int, what: int, how: int) -> None:
    _ask(world, who, what, how)
    world.clients[who % len(world.clients)].deliver()


def _deliver(world: World, who: int, most: int, _: int) -> None:
    world.clients[who % len(world.clients)].deliver(most + 1)


def _leave(world: World, who: int, how: int, _: int) -> None:
    world.clients[who % len(world.clients)].leave(politely=how % 2 == 0)


def _stick(world: World, who: int, how: int, _: int) -> None:
    client = world.clients[who % len(world.clients)]
    if how % 2:
        client.stuck = True
    else:
        client.flow()


def _answer(world: World, who: int, style: int, cut: int) -> None:
    waiting = [link for link in world.links if link.requests]
    if waiting:
        link = waiting[who % len(waiting)]
        link.answer(style, cut * 7)
        link.deliver()


def _read(world: World, who: int, _: int, __: int) -> None:
    waiting = [link for link in world.links if link.inbox and not link.lost]
    if waiting:
        waiting[who % len(waiting)].deliver()


def _unasked(world: World, who: int, what: int, _: int) -> None:
    idle = [link for link in world.links if not link.requests and not link.lost and not link.inbox]
    if idle:
        link = idle[who % len(idle)]
        link.inbox.append((EVIL, "eof", "rst")[what % 3])
        # Unread bytes are noticed when an idle connection is leased; nobody can tell later ones from an answer.
        if what % 2 or link.protocol not in link.protocol.endpoint.idle:
            link.deliver()


def _reload(world: World, *_: int) -> None:
    world.reload()


def _flush(world: World, *_: int) -> None:
    Turn.of(world.loop).flush()


def _join(world: World, *_: int) -> None:
    if len(world.clients) < 5:
        world.client()


def _refuse(world: World, *_: int) -> None:
    world.refusing = 1


def _stop(world: World, who: int, what: int, how: int) -> None:
    if how % 4:
        return
    if what % 3 == 0:
        world.clients[who % len(world.clients)].protocol.shutdown()
    elif what % 3 == 1:
        world.edge.draining = not world.edge.draining
    else:
        for task in tuple(world.server_state.tasks):
            task.cancel()


EVENTS: tuple[Callable[[World, int, int, int], None], ...] = (
    _ask_at_once, _ask_at_once, _ask_at_once, _ask, _deliver, _answer, _answer, _answer, _answer, _read, _read,
    _unasked, _leave, _stick, _reload, _flush, _join, _refuse, _stop,
)  # fmt: skip
event = st.tuples(st.integers(0, len(EVENTS) - 1), st.integers(0, 4), st.integers(0, 60), st.integers(0, 400))
turn = st.tuples(st.lists(event, min_size=1, max_size=5), st.sampled_from([0, 0, 0, 1, 3, -1, -2]))


async def play(loop: VirtualLoop, turns: list[tuple[list[Event], int]]) -> None:
    """Plays the turns, then lets everything come to an end."""
    world = World(loop)
    world.client()
    world.client()
    for events, rest in turns:
        for kind, *how in events:
            EVENTS[kind](world, *how)
        if rest >= 0:
            await world.turn(1 + rest)
        else:
            await asyncio.sleep((0.03, 2.5)[-1 - rest])
        for client in world.clients:
            client.check(finished=False)
    await world.quiet()
    await world.over()


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(st.lists(turn, max_size=30))
def test_everybody_gets_their_own_answers_whatever_comes_when(turns: list[tuple[list[Event], int]]) -> None:
    """In order, whole or cut off; every request is told of once, and nothing is left behind."""
    errors: list[logging.LogRecord] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = errors.append  # type: ignore[method-assign]
    logger = logging.getLogger("gateway")
    logger.addHandler(handler)
    try:
        run(lambda loop: play(loop, turns))
    finally:
        logger.removeHandler(handler)
    assert [record.getMessage() for record in errors] == []


def _played(main: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    """Runs `main` with two clients; at the end all are gone, and nothing is left behind."""

    async def whole(loop: VirtualLoop) -> None:
        world = World(loop)
        world.client()
        world.client()
        await main(world)
        await world.quiet()
        await world.over()

    run(whole)


def test_a_task_that_has_not_begun_is_cancelled_all_the_same() -> None:
    """The drain may end in the very turn in which a request needs a task."""

    async def main(world: World) -> None:
        client = world.clients[0]
        client.ask("GET", "/delayed", 0)
        client.deliver()
        for task in tuple(world.server_state.tasks):
            task.cancel("the server stops")
        await world.turn(4)
        assert bytes(client.taken).startswith(b"HTTP/1.1 503 ")
        assert world.edge.active == 0

    _played(main)


def test_a_request_that_needs_a_task_just_when_it_is_cancelled_is_cancelled() -> None:
    """It was parked when the drain ended; before it was told, what it waited for has come."""

    async def main(world: World) -> None:
        await _warm(world)
        client = world.clients[0]
        client.ask("GET", "/", 0)
        client.deliver()
        await world.turn()
        for task in tuple(world.server_state.tasks):
            task.cancel("the server stops")
        for link in sorted(world.links, key=lambda link: len(link.requests)):
            link.inbox.append("eof")
            link.deliver()  # the last one has the request, which has to go over a new connection then
        assert client.protocol._cycle.task is not None
        await world.turn(5)
        assert world.edge.active == 0

    _played(main)


def test_an_answer_that_is_under_way_is_cut_off_once_when_the_drain_ends() -> None:
    """To cut the client off is to end the request; nothing else is left to be cancelled."""

    async def main(world: World) -> None:
        await _warm(world)
        client = world.clients[0]
        client.ask("GET", "/", 0)
        client.deliver()
        await world.turn()
        link = next(link for link in world.links if link.requests)
        link.answer(HUGE, 1000)
        link.deliver()
        (stream,) = world.server_state.tasks
        assert stream.committed
        for task in tuple(world.server_state.tasks):
            task.cancel("the server stops")
        await world.turn(4)
        assert client.closing
        assert world.edge.active == 0

    _played(main)


def test_an_answer_that_came_in_time_is_not_cut_off_by_its_timeout() -> None:
    """The backend has done its part; that the client is slow to take it is between the client and us."""

    async def main(world: World) -> None:
        client = world.clients[0]
        client.stuck = True
        client.ask("GET", "/operated", 0)
        client.deliver()
        await world.turn(6)
        client.buffer += b"x" * HIGH_WATER
        link = next(link for link in world.links if link.requests)
        link.answer(4, 20000)
        link.deliver()
        await world.turn(2)
        link.deliver()
        assert client.paused
        await asyncio.sleep(6)
        client.buffer = client.buffer.replace(b"x" * HIGH_WATER, b"")
        client.flow()
        await world.turn(2)
        assert not client.closing
        assert len(client.taken.partition(b"\r\n\r\n")[2]) == 40000

    _played(main)


def test_a_tunnel_to_a_client_that_was_full_already_holds_the_backend_back() -> None:
    """The 101 itself may be what fills it, before the tunnel has the transport."""

    async def main(world: World) -> None:
        client = world.clients[0]
        client.ask("GET", "/", 0)
        offer = b"upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n"
        key = b"sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        client.outbox = client.outbox[:-2] + offer + key + b"\r\n"
        client.deliver()
        await world.turn(6)
        client.stuck = True
        client.buffer = b"x" * (HIGH_WATER - 10)
        (link,) = world.links
        link.requests.clear()
        link.inbox.append(b"HTTP/1.1 101 Go\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n")
        link.deliver()
        await world.turn(3)
        assert client.paused
        assert not link.reading
        client.flow()
        assert link.reading
        assert not client.protocol.owner.write_paused
        link.inbox.append(b"hello")
        link.deliver()
        assert client.taken.endswith(b"\r\n\r\nhello")
        client.taken.clear()
        client.asked.clear()
        client.reset()
        await world.turn(3)

    _played(main)


async def _warm(world: World) -> None:
    """Leaves idle connections to all backends, so that no request needs a task."""
    (cluster,) = world.registry.clusters.values()
    while not all(endpoint.idle for endpoint in cluster.endpoints):
        for client in world.clients:
            client.ask("GET", "/", 0)
            client.deliver()
        await world.turn(6)
        await world.quiet()
