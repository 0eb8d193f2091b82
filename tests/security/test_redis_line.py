"""One connection to a real Redis, that is killed, stopped, slow, locked and read-only."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from hypothesis import given, settings
from hypothesis import strategies as st
from support.certificates import Certs, authority, leaf
from support.redis import Redis
from support.waiting import until

from gateway.config.rate_store import RedisStore
from gateway.security.rate_bucket import Buckets, Quota, StoreError
from gateway.security.redis_line import MOST_WAITING, SCRIPT, Line

PATIENCE = 10.0


@asynccontextmanager
async def line(address: str, folder: Path, **more: Any) -> AsyncIterator[Line]:
    spec = RedisStore.model_validate({"address": address, "timeout": "1s", **more})
    found = Line(spec, folder, rng=random.Random(1))
    found.start()
    await found.tried(PATIENCE)
    try:
        yield found
    finally:
        await found.stop()


async def fails(found: Line) -> str:
    with pytest.raises(StoreError) as caught:
        await found.ask(b"t:k", 1.0, 0.0)
    return str(caught.value)


class Valve:
    """A proxy in front of Redis: while it is shut, connections are accepted and nothing passes."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.open = asyncio.Event()
        self.open.set()
        self.accepted = 0

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        there, back = await asyncio.open_connection("127.0.0.1", self._to)
        with contextlib.suppress(OSError):
            await asyncio.gather(self._pass(reader, back), self._pass(there, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                await self.open.wait()
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()


@settings(max_examples=60)
@given(
    st.integers(1, 20),
    st.sampled_from([60.0, 3600.0]),
    st.integers(1, 30) | st.none(),
    st.lists(st.tuples(st.integers(0, 90_000_000), st.sampled_from([b"a", b"b"])), max_size=40),
)
def test_a_shared_bucket_is_a_local_one(
    server: Redis, requests: int, per: float, burst: int | None, asked: list[tuple[int, bytes]]
) -> None:
    """The script gives and refuses what `Buckets` does, and says the same wait, at any times."""
    quota, local, now = Quota("q", requests, per, burst), Buckets(), 1_000_000
    script = SCRIPT.replace("redis.call('TIME')", "{0, ARGV[3]}")
    with redis_py.Redis(port=server.port) as client:
        client.flushall()
        for pause, key in asked:
            now += pause
            numbers = (repr(quota.interval * 1e6), repr(quota.tolerance * 1e6), now)
            wait = client.eval(script, 1, key, *numbers)
            assert abs(local.take(quota, key, now / 1e6) - int(wait) / 1e6) < 3e-6


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with Redis(tmp_path_factory.mktemp("redis")) as found:
        yield found


def test_a_clock_that_goes_back_stands_still(server: Redis) -> None:
    """After a change to another server nobody waits for the time that is behind."""
    script = SCRIPT.replace("redis.call('TIME')", "{ARGV[3], 0}")
    with redis_py.Redis(port=server.port) as client:
        client.flushall()

        def take(now: int) -> int:
            return int(client.eval(script, 1, "k", 10e6, 0, now))

        assert [take(5000), take(5001)] == [0, 9_000_000]
        assert [take(100), take(101)] == [10_000_000, 9_000_000]
        assert [take(110), take(110)] == [0, 10_000_000]


def test_a_key_that_is_something_else_counts_as_none(server: Redis) -> None:
    """A text nobody here wrote is replaced; keys go when their bucket is full."""
    with redis_py.Redis(port=server.port) as client:
        client.flushall()
        client.set("k", "not ours")

        assert client.eval(SCRIPT, 1, "k", 10e6, 0) == 0
        assert 9000 < int(client.pttl("k")) <= 10_000


def test_several_lines_give_what_there_is(server: Redis, tmp_path: Path) -> None:
    """Two processes that ask at once share one bucket, to the token."""

    async def main() -> None:
        async with line(server.address, tmp_path) as one, line(server.address, tmp_path) as two:
            quota = Quota("q", 30, 3600.0)
            waits = await asyncio.gather(
                *(
                    each.ask(b"t:several", quota.interval, quota.tolerance)
                    for each in (one, two)
                    for _ in range(40)
                )
            )
            assert waits.count(0) == 30
            assert sum(one.counts) < 40  # Questions go out together.

    asyncio.run(main())


def test_a_killed_redis_opens_the_circuit_and_a_new_one_closes_it(tmp_path: Path) -> None:
    """Questions under way fail, later ones at once; nobody has to ask for it to come back."""

    async def main() -> None:
        with Redis(tmp_path) as server:
            async with line(server.address, tmp_path) as found:
                assert await found.ask(b"t:k", 1.0, 0.0) == 0
                server.kill()
                await fails(found)
                assert not found.up
                with pytest.raises(StoreError, match=r"Error 111|closed|reset"):
                    found.ask(b"t:k", 1.0, 0.0)  # Not even a future.
                server.start()
                await until(lambda: found.up)
                assert await found.ask(b"t:k", 1.0, 0.0) == 0

    asyncio.run(main())


def test_a_redis_that_goes_unasked_is_missed(tmp_path: Path) -> None:
    """Without questions it is looked after once a second."""

    async def main() -> None:
        with Redis(tmp_path) as server:
            async with line(server.address, tmp_path) as found:
                server.kill()
                await until(lambda: not found.up)

    asyncio.run(main())


def test_a_stopped_redis_costs_one_timeout(tmp_path: Path) -> None:
    """It accepts connections and answers nothing: only the first questions wait for it."""

    async def main() -> None:
        with Redis(tmp_path) as server:
            async with line(server.address, tmp_path, timeout="50ms") as found:
                server.stall()
                assert await fails(found) == "no answer in time"
                openings = found.openings
                await until(lambda: found.openings > openings + 1)  # It is tried, by the line alone.
                assert not found.up
                server.resume()
                await until(lambda: found.up)

    asyncio.run(main())


def test_a_slow_redis_stays_shut_out(server: Redis, tmp_path: Path) -> None:
    """A proxy holds everything back: the circuit is closed only by an answer in time."""

    async def main() -> None:
        valve = Valve(server.port)
        async with valve.listening() as address, line(address, tmp_path, timeout="100ms") as found:
            assert await found.ask(b"t:slow", 1.0, 10.0) == 0
            valve.open.clear()
            assert await fails(found) == "no answer in time"
            before = valve.accepted
            await until(lambda: valve.accepted > before)
            assert not found.up
            valve.open.set()
            await until(lambda: found.up)
            assert await found.ask(b"t:slow", 1.0, 10.0) == 0

    asyncio.run(main())


def test_the_password_is_read_anew_and_never_told(tmp_path: Path) -> None:
    """A wrong one keeps the circuit open; the right one closes it, without a restart."""

    async def main() -> None:
        (tmp_path / "secret").write_text("not-it-4711\n")
        with Redis(tmp_path, "--requirepass", "planted-0815") as server:
            async with line(server.address, tmp_path, passwordFile="secret") as found:
                assert "WRONGPASS" in found.reason or "invalid" in found.reason
                assert "4711" not in repr(found)
                (tmp_path / "secret").write_text("planted-0815\n")
                await until(lambda: found.up)
                assert "0815" not in f"{found!r}{found.settings!r}"

    asyncio.run(main())


def test_a_missing_password_file_is_told(server: Redis, tmp_path: Path) -> None:
    """The circuit stays open until it is there."""

    async def main() -> None:
        async with line(server.address, tmp_path, passwordFile="nowhere") as found:
            assert "nowhere" in found.reason

    asyncio.run(main())


def test_tls_and_its_verification(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate of an authority that is not the one named is refused, though the system knows it; so is one
    with another name. A server may want a certificate from us."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "redis" / "ca.crt"))
    certs = Certs(tmp_path)
    certs.put("redis", leaf(addresses=("127.0.0.1",)), authority())
    certs.put("other", leaf(authority("another"), dns_names=("a",)), authority("another"))
    options = [
        f"--tls-{name}={tmp_path}/redis/{file}"
        for name, file in (("cert-file", "tls.crt"), ("key-file", "tls.key"), ("ca-cert-file", "ca.crt"))
    ]
    options = [part for option in options for part in option.split("=")]

    async def main() -> None:
        with Redis(tmp_path, *options, "--tls-auth-clients", "no", tls=True) as server:
            async with line(server.address, tmp_path, tls={"caCertificates": "redis/ca.crt"}) as found:
                assert found.up
            async with line(server.address, tmp_path, tls={"caCertificates": "other/ca.crt"}) as found:
                assert "certificate verify failed" in found.reason
            async with line(server.address, tmp_path, tls={"insecureSkipVerify": True}) as found:
                assert found.up
            async with line(f"localhost:{server.port}", tmp_path, tls={}) as found:
                assert "certificate is not valid for 'localhost'" in found.reason
            async with line(server.address, tmp_path, tls={}) as found:
                assert found.up
        own = {"clientCertificate": "redis/tls.crt", "privateKey": "redis/tls.key"}
        with Redis(tmp_path, *options, "--tls-auth-clients", "yes", tls=True) as server:
            async with line(server.address, tmp_path, tls={}) as found:
                assert not found.up
            async with line(server.address, tmp_path, tls=own) as found:
                assert found.up

    asyncio.run(main())


def test_one_that_cannot_write_is_not_asked(tmp_path: Path) -> None:
    """A replica answers PING and takes no tokens; the circuit is closed when it is a master again."""

    async def main() -> None:
        with Redis(tmp_path) as server:
            async with line(server.address, tmp_path) as found:
                server.tell("REPLICAOF 127.0.0.1 1")
                assert "READONLY" in await fails(found) or not found.up
                await until(lambda: found.openings > 1)
                server.tell("REPLICAOF NO ONE")
                await until(lambda: found.up)

    asyncio.run(main())


def test_a_script_that_was_forgotten_is_loaded_again(server: Redis, tmp_path: Path) -> None:
    """One question fails, later ones do not."""

    async def main() -> None:
        async with line(server.address, tmp_path) as found:
            server.tell("SCRIPT FLUSH")
            assert "No matching script" in await fails(found)
            await until(lambda: found.up)
            assert await found.ask(b"t:again", 1.0, 0.0) == 0

    asyncio.run(main())


def test_who_has_gone_takes_no_token(server: Redis, tmp_path: Path) -> None:
    """A question whose asker left before its round is not sent."""

    async def main() -> None:
        async with line(server.address, tmp_path) as found:
            found.ask(b"t:gone", 3600.0, 0.0).cancel()
            assert await found.ask(b"t:gone", 3600.0, 0.0) == 0

    asyncio.run(main())


def test_questions_are_bounded(server: Redis, tmp_path: Path) -> None:
    """More than can wait fail at once, and Redis is not to blame."""

    async def main() -> None:
        async with line(server.address, tmp_path, timeout="10s") as found:
            asked = [found.ask(b"t:many", 1e-6, 10.0) for _ in range(MOST_WAITING)]
            with pytest.raises(StoreError, match="too many"):
                found.ask(b"t:many", 1e-6, 10.0)
            assert set(await asyncio.gather(*asked)) == {0}
            assert found.up

    asyncio.run(main())


def test_a_busy_loop_is_no_fault_of_redis(server: Redis, tmp_path: Path) -> None:
    """What waited too long before it could be asked is counted here; the circuit stays closed."""

    async def main() -> None:
        async with line(server.address, tmp_path, timeout="200ms") as found:
            late = found.ask(b"t:late", 1.0, 0.0)
            time.sleep(0.15)  # noqa: ASYNC251 - the loop is to be busy
            with pytest.raises(StoreError, match="too many"):
                await late
            assert found.up

    asyncio.run(main())
