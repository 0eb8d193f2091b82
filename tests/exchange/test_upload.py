"""One body, several tries: every try gets every byte once and in order, however the two sides interleave."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.backend import Link, RecordingBackend
from support.upstreams import cluster_of, only
from support.waiting import until

from gateway.exchange.replay import Replay
from gateway.exchange.upload import Upload
from gateway.http.reply import ClientLeft
from gateway.upstream import CHUNKED, Cluster, Connection, sized

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n\r\n"


class Client:
    """The client's side, as a test writes it: `receive` gives what was sent."""

    def __init__(self) -> None:
        self.taken = 0
        """Messages given out."""
        self._messages: list[tuple[bytes, bool] | None] = []
        self._sent = asyncio.Event()

    async def receive(self) -> tuple[bytes, bool]:
        while self.taken == len(self._messages):
            self._sent.clear()
            await self._sent.wait()
        self.taken += 1
        message = self._messages[self.taken - 1]
        if message is None:
            raise ClientLeft
        return message

    def send(self, body: bytes, *, more: bool = True) -> None:
        self._say((body, more))

    def leave(self) -> None:
        self._say(None)

    def _say(self, message: tuple[bytes, bool] | None) -> None:
        self._messages.append(message)
        self._sent.set()


class Told:
    """An exchange that remembers what it is told."""

    def __init__(self) -> None:
        self.bytes_received = 0
        self.events: list[str] = []

    def client_gone(self) -> None:
        self.events.append("gone")

    def upload_complete(self) -> None:
        self.events.append("complete")

    def upload_stuck(self) -> None:
        self.events.append("stuck")


class Scene:
    """A client, an upload, and a backend whose connections a test reads."""

    def __init__(self, backend: RecordingBackend, replay: Replay | None) -> None:
        self.backend = backend
        self.cluster: Cluster = cluster_of(backend.port)
        self.client, self.told = Client(), Told()
        self.upload = Upload(self.told, self.client.receive, replay)

    async def attempt(self, length: int | None = None) -> tuple[Connection, Link]:
        """A try: its connection, and the backend's end of it."""
        number = len(self.backend.links)
        connection = await self.cluster.connect(only(self.cluster))
        link = await self.backend.link(number)
        connection.start(HEAD, method="POST", body=CHUNKED if length is None else sized(length))
        self.upload.attach(connection)
        return connection, link


def body(link: Link) -> bytes:
    """What of a chunked body has arrived."""
    found, rest = b"", link.received.partition(b"\r\n\r\n")[2]
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        count = int(size, 16)
        found, rest = found + rest[:count], rest[count + 2 :]
    return found


def played(scene: Callable[[Scene], Awaitable[None]], *, replay: Replay | None) -> None:
    async def main() -> None:
        async with RecordingBackend() as backend:
            on_stage = Scene(backend, replay)
            try:
                await scene(on_stage)
            finally:
                on_stage.upload.close()
                for endpoint in on_stage.cluster.endpoints:
                    for connection in tuple(endpoint.idle):
                        connection.close()

    asyncio.run(main())


def test_a_first_try_gets_the_body_as_it_comes() -> None:
    async def scene(s: Scene) -> None:
        connection, link = await s.attempt(5)
        assert s.upload.untouched
        s.client.send(b"ab")
        await link.receive(b"ab")
        assert not s.upload.untouched
        s.client.send(b"cde", more=False)
        await link.receive(b"abcde")
        assert link.received == HEAD + b"abcde"
        await until(lambda: s.told.events == ["complete"])
        assert (s.upload.complete, s.told.bytes_received) == (True, 5)
        connection.abort()

    played(scene, replay=None)


def test_a_second_try_gets_what_was_kept_and_then_what_comes() -> None:
    async def scene(s: Scene) -> None:
        first, one = await s.attempt()
        s.client.send(b"abc")
        await one.receive(b"abc\r\n")
        s.upload.pause()
        first.abort()
        s.client.send(b"def")
        await until(lambda: s.told.bytes_received == 6)
        assert s.upload.replayable
        second, two = await s.attempt()
        await until(lambda: body(two) == b"abcdef")
        s.client.send(b"ghi", more=False)
        await two.receive(b"0\r\n\r\n")
        assert body(two) == b"abcdefghi"
        assert b"".join(s.upload.replay.chunks()) == b"abcdefghi"  # type: ignore[union-attr]
        second.abort()

    played(scene, replay=Replay())


def test_a_complete_body_is_sent_again_and_ended() -> None:
    async def scene(s: Scene) -> None:
        first, one = await s.attempt()
        s.client.send(b"all of it", more=False)
        await one.receive(b"0\r\n\r\n")
        for number in (1, 2):
            s.upload.pause()
            first.abort()
            first, link = await s.attempt()
            await link.receive(b"0\r\n\r\n")
            assert body(link) == b"all of it", number
        assert s.told.events == ["complete"]
        first.abort()

    played(scene, replay=Replay())


@pytest.mark.parametrize("replay", [None, Replay()])
def test_an_empty_body_is_sent_again_too(replay: Replay | None) -> None:
    async def scene(s: Scene) -> None:
        first, one = await s.attempt()
        s.client.send(b"", more=False)
        await one.receive(b"0\r\n\r\n")
        assert s.upload.replayable
        s.upload.pause()
        first.abort()
        second, two = await s.attempt()
        assert await two.receive(b"0\r\n\r\n") == HEAD + b"0\r\n\r\n"
        second.abort()

    played(scene, replay=replay)


def test_a_body_that_was_not_begun_is_kept_from_its_first_byte() -> None:
    """The first try failed before the client sent anything: a second one is possible without a buffer so far."""

    async def scene(s: Scene) -> None:
        first, _ = await s.attempt()
        assert s.upload.replayable
        s.upload.pause()
        first.abort()
        s.client.send(b"late")
        await until(lambda: s.told.bytes_received == 4)
        second, two = await s.attempt()
        s.client.send(b"r", more=False)
        await two.receive(b"0\r\n\r\n")
        assert body(two) == b"later"
        second.abort()

    played(scene, replay=None)


def test_a_body_beyond_the_limit_streams_on_and_cannot_be_repeated() -> None:
    async def scene(s: Scene) -> None:
        connection, link = await s.attempt()
        s.client.send(b"abcd")
        await link.receive(b"abcd")
        assert s.upload.replayable
        s.client.send(b"e")
        await link.receive(b"e\r\n")
        assert not s.upload.replayable
        assert s.upload.replay is None
        s.client.send(b"fg", more=False)
        await link.receive(b"0\r\n\r\n")
        assert body(link) == b"abcdefg"
        assert s.told.events == ["complete"]
        connection.abort()

    played(scene, replay=Replay(4))


def test_without_a_buffer_a_begun_body_cannot_be_repeated() -> None:
    async def scene(s: Scene) -> None:
        connection, link = await s.attempt()
        s.client.send(b"a")
        await link.receive(b"a\r\n")
        assert not s.upload.replayable
        connection.abort()

    played(scene, replay=None)


def test_a_body_that_outgrows_the_buffer_between_tries_is_stuck() -> None:
    async def scene(s: Scene) -> None:
        first, one = await s.attempt()
        s.client.send(b"abc")
        await one.receive(b"abc")
        s.upload.pause()
        first.abort()
        s.client.send(b"de")
        await until(lambda: s.told.events == ["stuck"])
        s.client.send(b"never read")
        await asyncio.sleep(0)
        assert s.client.taken == 2

    played(scene, replay=Replay(4))


def test_what_does_not_fit_waits_until_the_kept_part_is_sent() -> None:
    """The second try is slow: nothing is let go, and the client is read no further, before it has caught up."""

    async def main() -> None:
        async with RecordingBackend() as fast, RecordingBackend(deaf=True) as slow:
            big = bytes(14 * 1024 * 1024)  # More than the kernel takes.
            client, told = Client(), Told()
            upload = Upload(told, client.receive, Replay(len(big)))
            first = await cluster_of(fast.port).connect(only(cluster_of(fast.port)))
            first.start(HEAD, method="POST", body=CHUNKED)
            upload.attach(first)
            client.send(big[: len(big) // 2])
            client.send(big[len(big) // 2 :])
            await until(lambda: told.bytes_received == len(big))
            upload.pause()
            first.abort()
            cluster = cluster_of(slow.port)
            second = await cluster.connect(only(cluster))
            second.start(HEAD, method="POST", body=CHUNKED)
            upload.attach(second)
            client.send(b"too much")
            client.send(b" and more", more=False)
            await until(lambda: client.taken == 3)
            assert upload.replayable
            link = await slow.link()
            link.listen()
            await link.receive(b"0\r\n\r\n")
            assert body(link) == big + b"too much and more"
            assert not upload.replayable
            upload.close()
            second.abort()

    asyncio.run(main())


def test_a_client_that_leaves_between_tries_is_noticed() -> None:
    async def scene(s: Scene) -> None:
        first, _ = await s.attempt()
        s.client.send(b"a")
        await until(lambda: s.told.bytes_received == 1)
        s.upload.pause()
        first.abort()
        s.client.leave()
        await until(lambda: s.told.events == ["gone"])

    played(scene, replay=Replay())


def test_a_connection_that_dies_does_not_end_the_reading() -> None:
    """Whoever reads the response decides what the failure means; until then the body is kept."""

    async def scene(s: Scene) -> None:
        first, one = await s.attempt()
        s.client.send(b"a")
        await one.receive(b"a\r\n")
        one.reset()
        await until(lambda: first.closed)
        s.client.send(b"b")
        s.client.send(b"c", more=False)
        await until(lambda: s.told.events == ["complete"])
        s.upload.pause()
        first.abort()
        second, two = await s.attempt()
        await two.receive(b"0\r\n\r\n")
        assert body(two) == b"abc"
        second.abort()

    played(scene, replay=Replay())


def test_a_try_that_fails_while_it_catches_up_is_followed_by_another() -> None:
    async def scene(s: Scene) -> None:
        first, one = await s.attempt()
        s.client.send(b"kept")
        await one.receive(b"kept")
        s.upload.pause()
        first.abort()
        second, _ = await s.attempt()
        s.upload.pause()
        second.abort()
        third, three = await s.attempt()
        s.client.send(b"!", more=False)
        await three.receive(b"0\r\n\r\n")
        assert body(three) == b"kept!"
        third.abort()

    played(scene, replay=Replay())


def test_what_nobody_will_ask_for_again_is_let_go() -> None:
    async def scene(s: Scene) -> None:
        connection, link = await s.attempt()
        s.client.send(b"a")
        await link.receive(b"a\r\n")
        s.upload.forget()
        assert s.upload.replay is None
        s.client.send(b"b", more=False)
        await link.receive(b"0\r\n\r\n")
        assert body(link) == b"ab"
        connection.abort()

    played(scene, replay=Replay())


@settings(max_examples=40)
@given(
    st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=8),
    st.lists(st.integers(0, 8), max_size=4),
    st.randoms(use_true_random=False),
)
def test_the_last_try_gets_the_whole_body_whenever_the_others_failed(
    chunks: list[bytes], failures: list[int], dice: Random
) -> None:
    """Tries fail after any number of chunks, between any two turns of the loop."""

    async def scene(s: Scene) -> None:
        left = list(chunks)
        connection, link = await s.attempt()
        for count in failures:
            for _ in range(min(count, len(left))):
                chunk = left.pop(0)
                s.client.send(chunk, more=bool(left))
                for _ in range(dice.randrange(3)):
                    await asyncio.sleep(0)
            s.upload.pause()
            connection.abort()
            connection, link = await s.attempt()
        while left:
            chunk = left.pop(0)
            s.client.send(chunk, more=bool(left))
        await link.receive(b"0\r\n\r\n")
        assert body(link) == b"".join(chunks)
        connection.abort()

    played(scene, replay=Replay())
