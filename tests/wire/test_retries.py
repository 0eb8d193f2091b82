"""Retries through a whole gateway: what is repeated, how often, and what the client and the log see of it."""

from __future__ import annotations

import asyncio
import gzip
import os
from collections import Counter
from pathlib import Path

import pytest
from support.backend import dead_port
from support.scripted import (
    RESET,
    Asked,
    Cut,
    Play,
    Scripted,
    cluster,
    forwards,
    line,
    lines,
    many,
    reply,
    rule,
    scripted,
    status,
    told,
)
from support.stage import Backend, Call, route, service, stage
from support.upstreams import settled

SEED = Path(__file__).parent.parent / "config" / "seed"


def retrying(fields: str, more: str = "") -> str:
    """The route of `reviews` with these retries."""
    return route("reviews", forwards(f", retries: {{{fields}}}{more}"))


def test_a_503_is_repeated_and_each_try_says_which_it_is(tmp_path: Path) -> None:
    async def main() -> None:
        backend = scripted(reply(503), reply(200, b"hello"))
        async with backend.running():
            config = service("reviews", backend.port) + retrying("attempts: 2, retryOn: 5xx, backoff: 1ms")
            async with stage(tmp_path, config) as gateway:
                answer = await gateway.get()
                assert answer.startswith(b"HTTP/1.1 200 ")
                assert answer.endswith(b"hello")
                assert [asked.number for asked in backend.asked] == ["1", "2"]
                assert told(gateway) == (200, "-", "via_upstream")

    asyncio.run(main())


NAMED: list[tuple[str, Play, int]] = [
    ("429", reply(429), 2),
    ("418", reply(429), 1),
    ("gateway-error", reply(502), 2),
    ("gateway-error", reply(500), 1),
    ("retriable-4xx", reply(409), 2),
    ("reset", RESET, 2),
    ("reset", Cut(), 2),
    ("reset-before-request", Cut(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"), 1),
    ("connect-failure", RESET, 1),
    ("unavailable", reply(200, headers="grpc-status: 14\r\n"), 2),
    ("5xx", reply(503, headers="x-envoy-ratelimited: true\r\n"), 1),
    ("5xx,envoy-ratelimited", reply(429, headers="x-envoy-ratelimited: true\r\n"), 2),
    ("5xx", reply(503, headers="x-envoy-overloaded: true\r\n"), 1),
]
"""retryOn, the first answer, and how many tries there are."""
FRESH = rule("reviews", "{connectionPool: {http: {maxRequestsPerConnection: 1}}}")
"""Each request has a connection of its own: a reset is then never taken for a stale connection."""


def by_case(firsts: list[Play]) -> Scripted:
    """The first try of `/N` gets answer N, others 200."""

    def play(asked: Asked) -> Play:
        return firsts[int(asked.target.strip("/"))] if asked.number == "1" else reply(200)

    return Scripted(play)


def cases(fields: list[str]) -> str:
    """Route N for `/N`, with these retries."""
    return route(
        "reviews",
        "".join(
            f"\n  - {{match: [{{uri: {{exact: /{number}}}}}], route: [{{destination: {{host: reviews}}}}],"
            f" retries: {{{field}}}}}"
            for number, field in enumerate(fields)
        ),
    )


def test_what_is_repeated_is_what_is_named(tmp_path: Path) -> None:
    async def main() -> None:
        backend = by_case([first for _, first, _ in NAMED])
        fields = [f'attempts: 2, retryOn: "{retry_on}", backoff: 1ms' for retry_on, _, _ in NAMED]
        async with (
            backend.running(),
            stage(tmp_path, service("reviews", backend.port) + cases(fields) + FRESH) as gateway,
        ):
            for number in range(len(NAMED)):
                await gateway.get(f"/{number}")
            tries = Counter(asked.target for asked in backend.asked)
            assert [tries[f"/{number}"] for number in range(len(NAMED))] == [tries for _, _, tries in NAMED]

    asyncio.run(main())


def test_when_the_tries_are_used_up_the_last_answer_is_passed_on(tmp_path: Path) -> None:
    async def main() -> None:
        backend = scripted(reply(503, b"one"), reply(500, b"two"), reply(502, b"three"), reply(200))
        async with backend.running():
            config = service("reviews", backend.port) + retrying("attempts: 2, retryOn: 5xx, backoff: 1ms")
            async with stage(tmp_path, config) as gateway:
                answer = await gateway.get()
                assert answer.startswith(b"HTTP/1.1 502 ")
                assert answer.endswith(b"three")
                assert told(gateway) == (502, "URX", "via_upstream")

    asyncio.run(main())


def test_without_retries_written_a_503_is_final(tmp_path: Path) -> None:
    """Istio's default list names connections, not statuses."""

    async def main() -> None:
        backend = scripted(reply(503), reply(200))
        async with backend.running():
            config = service("reviews", backend.port) + route("reviews", forwards())
            async with stage(tmp_path, config) as gateway:
                assert status(await gateway.get()) == 503
                assert len(backend.asked) == 1

    asyncio.run(main())


@pytest.mark.parametrize("framing", ["content-length", "chunked"])
def test_the_body_of_a_repeated_post_is_the_same_to_the_byte(tmp_path: Path, framing: str) -> None:
    body = os.urandom(300_000)

    async def main() -> None:
        backend = scripted(reply(503), RESET, reply(200))
        async with backend.running():
            config = service("reviews", backend.port) + retrying(
                'attempts: 3, retryOn: "5xx,reset", backoff: 1ms'
            )
            async with stage(tmp_path, config) as gateway:
                if framing == "chunked":
                    head, sent = "Transfer-Encoding: chunked", b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
                else:
                    head, sent = f"Content-Length: {len(body)}", body
                request = f"POST / HTTP/1.1\r\nHost: reviews\r\nConnection: close\r\n{head}\r\n\r\n"
                answer = await gateway.raw(request.encode() + sent)
                assert answer.startswith(b"HTTP/1.1 200 ")
                assert [asked.body == body for asked in backend.asked] == [True, True, True]
                assert line(gateway)["bytes_received"] == len(body)

    asyncio.run(main())


def test_a_body_that_is_too_long_to_keep_is_sent_once_and_the_log_says_so(tmp_path: Path) -> None:
    body = os.urandom(1024 * 1024 + 1)

    async def main() -> None:
        backend = scripted(reply(503, b"first"), reply(200))
        async with backend.running():
            config = service("reviews", backend.port) + retrying("attempts: 2, retryOn: 5xx, backoff: 1ms")
            async with stage(tmp_path, config) as gateway:
                head = f"POST / HTTP/1.1\r\nHost: reviews\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
                answer = await gateway.raw(head.encode() + body)
                assert answer.startswith(b"HTTP/1.1 503 ")
                assert answer.endswith(b"first")
                assert [asked.body == body for asked in backend.asked] == [True]
                assert told(gateway) == (503, "-", "via_upstream,retry_denied{body}")

    asyncio.run(main())


HALF = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"
"""Short enough to be held until it is whole."""


def test_nothing_is_repeated_once_a_byte_went_downstream(tmp_path: Path) -> None:
    async def main() -> None:
        backend = scripted(Cut(b"HTTP/1.1 200 OK\r\ncontent-length: 16385\r\n\r\nhalf"), reply(200))
        async with backend.running():
            config = service("reviews", backend.port) + retrying(
                'attempts: 3, retryOn: "5xx,reset,gateway-error", backoff: 1ms'
            )
            async with stage(tmp_path, config) as gateway:
                answer = await gateway.get()
                assert answer.endswith(b"\r\n\r\nhalf")
                assert len(backend.asked) == 1
                assert told(gateway)[1:] == ("UPE", "upstream_reset_after_response_started{protocol_error}")

    asyncio.run(main())


def test_an_answer_held_until_it_is_whole_is_repeated_when_it_breaks_off(tmp_path: Path) -> None:
    """Nothing of it went downstream, so the client sees a whole one, or an error."""

    async def main() -> None:
        cut = Cut(HALF, reset=True)
        backend = scripted(cut, reply(200, b"the whole"), cut)
        async with backend.running():
            config = service("reviews", backend.port) + retrying("attempts: 1, retryOn: reset, backoff: 1ms")
            async with stage(tmp_path, config) as gateway:
                assert (await gateway.get()).endswith(b"\r\n\r\nthe whole")
                assert [asked.number for asked in backend.asked] == ["1", "2"]
                answer = await gateway.get()
                assert answer.startswith(b"HTTP/1.1 502 ")
                assert answer.endswith(b"retried and the latest reset reason: protocol error")
                last = lines(gateway)[-1]
                assert set(last["response_flags"].split(",")) == {"UPE", "URX"}
                assert (
                    last["response_code_details"]
                    == "upstream_reset_before_response_started{protocol_error|body_cut_off}"
                )

    asyncio.run(main())


def test_holding_can_be_turned_off(tmp_path: Path) -> None:
    async def main() -> None:
        backend = scripted(Cut(HALF), reply(200))
        async with backend.running():
            config = service("reviews", backend.port) + retrying("attempts: 3, retryOn: reset, backoff: 1ms")
            async with stage(tmp_path, config, settings="  limits: {responseHoldBytes: 0}") as gateway:
                assert (await gateway.get()).endswith(b"\r\n\r\nhalf")
                assert len(backend.asked) == 1

    asyncio.run(main())


def test_a_held_answer_comes_back_byte_for_byte(tmp_path: Path) -> None:
    """Compressed, in two pieces, with a header that only matters to the client."""
    body = gzip.compress(os.urandom(4096), mtime=0)

    async def play(call: Call) -> None:
        await call.head()
        whole = reply(200, body, "content-encoding: gzip\r\nvary: accept-encoding\r\n")
        await call.send(whole[:-1])
        cut.set()
        await seen.wait()
        await call.send(whole[-1:])
        await call.head()

    async def main() -> None:
        async with Backend(play).running() as backend:
            config = service("reviews", backend.port) + route("reviews", forwards())
            async with stage(tmp_path, config) as gateway:
                asked = asyncio.ensure_future(gateway.get())
                await cut.wait()
                await settled(lambda: any(item.response_started for item in cluster(gateway).pool.open))
                assert not asked.done()
                seen.set()
                head, _, got = (await asked).partition(b"\r\n\r\n")
                assert got == body
                assert b"\r\ncontent-encoding: gzip\r\n" in head
                assert b"\r\nvary: accept-encoding\r\n" in head

    cut, seen = asyncio.Event(), asyncio.Event()
    asyncio.run(main())


@pytest.mark.parametrize(
    ("method", "head"),
    [
        ("GET", b"HTTP/1.1 200 OK\r\ncontent-length: 16385\r\n\r\n"),
        ("GET", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
        ("GET", b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\ncontent-length: 9\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"),
    ],
)
def test_what_is_long_or_endless_or_has_no_body_is_passed_on_at_once(
    tmp_path: Path, method: str, head: bytes
) -> None:
    """The backend sends no more than this head until the client has it."""

    async def play(call: Call) -> None:
        await call.head()
        await call.send(head)
        await call.reader.read()

    async def main() -> None:
        async with Backend(play).running() as backend:
            config = service("reviews", backend.port) + route("reviews", forwards())
            async with stage(tmp_path, config) as gateway:
                reader, writer = await gateway.connect()
                writer.write(f"{method} / HTTP/1.1\r\nHost: reviews\r\n\r\n".encode())
                got = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
                assert got.startswith(head[:12])
                writer.close()

    asyncio.run(main())


def test_a_client_that_leaves_ends_the_wait_for_a_retry(tmp_path: Path) -> None:
    async def main() -> None:
        backend = scripted(reply(503))
        async with backend.running():
            config = service("reviews", backend.port) + retrying("attempts: 3, retryOn: 5xx, backoff: 1h")
            async with stage(tmp_path, config) as gateway:
                _, writer = await gateway.connect()
                writer.write(b"GET / HTTP/1.1\r\nHost: reviews\r\n\r\n")
                budget = cluster(gateway).pool.retries
                await settled(lambda: budget.in_flight == 1)
                writer.close()
                await settled(lambda: budget.in_flight == 0)
                assert len(backend.asked) == 1
                assert told(gateway) == (0, "DC", "downstream_remote_disconnect")
                assert cluster(gateway).pool.active() == 0

    asyncio.run(main())


def test_the_timeout_of_the_route_ends_the_wait_for_a_retry(tmp_path: Path) -> None:
    async def main() -> None:
        backend = scripted(reply(503))
        async with backend.running():
            config = service("reviews", backend.port) + retrying(
                "attempts: 3, retryOn: 5xx, backoff: 1h", ", timeout: 150ms"
            )
            async with stage(tmp_path, config) as gateway:
                answer = await gateway.get()
                assert answer.startswith(b"HTTP/1.1 504 ")
                assert answer.endswith(b"\r\n\r\nupstream request timeout")
                assert len(backend.asked) == 1
                assert told(gateway) == (504, "UT", "response_timeout")
                assert cluster(gateway).pool.retries.in_flight == 0

    asyncio.run(main())


def test_another_endpoint_is_preferred(tmp_path: Path) -> None:
    """One of two always fails; with one retry, every request succeeds."""

    async def main() -> None:
        bad, good = scripted(reply(503)), scripted(reply(200))
        async with bad.running(), good.running():
            config = service("reviews", bad.port, good.port) + retrying(
                "attempts: 1, retryOn: 5xx, backoff: 1ms"
            )
            async with stage(tmp_path, config, settings="  retryBudget: {enabled: false}") as gateway:
                assert set(await many(gateway, 200)) == {200}
                assert bad.asked
                assert len(good.asked) == 200

    asyncio.run(main())


def test_a_post_that_a_backend_may_have_seen_is_repeated_only_when_named(tmp_path: Path) -> None:
    named = [
        ("", RESET, 1),
        ("", Cut(), 1),
        ("", Cut(HALF), 1),
        ("retryOn: connect-failure,", RESET, 1),
        ("retryOn: reset-before-request,", Cut(HALF), 1),
        ("retryOn: reset,", Cut(), 2),
        ("retryOn: reset,", Cut(HALF), 2),
    ]

    async def main() -> None:
        backend = by_case([first for _, first, _ in named])
        fields = [f"attempts: 2, {retry_on} backoff: 1ms" for retry_on, _, _ in named]
        async with (
            backend.running(),
            stage(tmp_path, service("reviews", backend.port) + cases(fields) + FRESH) as gateway,
        ):
            for number in range(len(named)):
                await gateway.get(f"/{number}", method="POST", headers="Content-Length: 0\r\n")
            tries = Counter(asked.target for asked in backend.asked)
            assert [tries[f"/{number}"] for number in range(len(named))] == [tries for _, _, tries in named]

    asyncio.run(main())


def test_a_post_that_no_backend_saw_is_sent_elsewhere(tmp_path: Path) -> None:
    """Nobody listens on one of two ports: Istio's default policy hides that, for every method."""

    async def main() -> None:
        backend = scripted(reply(200))
        async with backend.running():
            config = service("reviews", dead_port(), backend.port) + route("reviews", forwards())
            async with stage(tmp_path, config) as gateway:
                answers = [
                    await gateway.raw(
                        b"POST / HTTP/1.1\r\nHost: reviews\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi"
                    )
                    for _ in range(40)
                ]
                assert {status(answer) for answer in answers} == {200}
                assert [asked.body for asked in backend.asked] == [b"hi"] * 40

    asyncio.run(main())


@pytest.mark.parametrize(("connections", "count"), [(1, 260), (2, 260), (4, 260), (16, 400), (64, 600)])
def test_while_everything_fails_retries_are_a_fifth(tmp_path: Path, connections: int, count: int) -> None:
    """The budget that is on by default: 20 % of the requests, what the reserve has paid for included.

    It holds whatever the machine makes of the concurrency. The share of what is in flight does not: it lets
    three retries pass beside any number of requests, so a few of these that are slow to come get more.
    """

    async def main() -> None:
        backends = [scripted(reply(503)) for _ in range(2)]
        async with backends[0].running(), backends[1].running():
            config = service("reviews", *(backend.port for backend in backends)) + retrying(
                "attempts: 3, retryOn: 5xx, backoff: 1ms"
            )
            async with stage(tmp_path, config) as gateway:
                statuses = await many(gateway, count, connections=connections)
                assert statuses == [503] * count
                tries = Counter(asked.number for backend in backends for asked in backend.asked)
                assert tries["1"] == count
                assert count < tries.total() <= 1.2 * count
                assert tries.keys() <= {"1", "2", "3", "4"}
                if connections == 1:
                    assert tries.total() >= 1.17 * count

    asyncio.run(main())


def test_the_limit_over_time_can_be_turned_off_alone(tmp_path: Path) -> None:
    """Then one request at a time has all its retries, as under Envoy's budget."""

    async def main() -> None:
        backend = scripted(reply(503))
        async with backend.running():
            config = service("reviews", backend.port) + retrying("attempts: 3, retryOn: 5xx, backoff: 1ms")
            off = "  retryBudget: {overTime: {enabled: false}}"
            async with stage(tmp_path, config, settings=off) as gateway:
                await many(gateway, 20, connections=1)
                assert len(backend.asked) == 20 * 4

    asyncio.run(main())


def test_a_retry_budget_of_a_rule_is_istios_alone(tmp_path: Path) -> None:
    async def main() -> None:
        backend = scripted(reply(503))
        async with backend.running():
            config = (
                service("reviews", backend.port)
                + retrying("attempts: 3, retryOn: 5xx, backoff: 1ms")
                + rule("reviews", "{retryBudget: {}}")
            )
            async with stage(tmp_path, config) as gateway:
                await many(gateway, 20, connections=1)
                assert len(backend.asked) == 20 * 4
                assert cluster(gateway).pool.retries_left(0) is None

    asyncio.run(main())


def test_an_occasional_failure_is_repeated_until_it_is_none(tmp_path: Path) -> None:
    """One request in fifteen needs three retries; few requests, one at a time."""

    async def main() -> None:
        backend = Scripted(
            lambda asked: reply(503 if asked.target == "/bad" and asked.number != "4" else 200)
        )
        async with backend.running():
            config = service("reviews", backend.port) + retrying("attempts: 3, retryOn: 5xx, backoff: 1ms")
            async with stage(tmp_path, config) as gateway:
                for number in range(60):
                    assert status(await gateway.get("/good" if number % 15 else "/bad")) == 200
                assert len(backend.asked) == 60 + 4 * 3

    asyncio.run(main())


def test_a_retry_that_the_requests_have_not_earned_is_refused_and_said_so(tmp_path: Path) -> None:
    async def main() -> None:
        backend = scripted(reply(503))
        async with backend.running():
            config = service("reviews", backend.port) + retrying("attempts: 1, retryOn: 5xx, backoff: 1ms")
            reserve = "  retryBudget: {overTime: {reserve: 1}}"
            async with stage(tmp_path, config, settings=reserve) as gateway:
                assert cluster(gateway).pool.retries_left(0) == 1
                assert [status(await gateway.get()) for _ in range(2)] == [503, 503]
                assert [told["response_flags"] for told in lines(gateway)] == ["URX", "UO"]
                assert len(backend.asked) == 3
                assert cluster(gateway).pool.retries_left(0) == 0

    asyncio.run(main())


def test_a_refused_retry_passes_the_failure_on_and_is_flagged(tmp_path: Path) -> None:
    """`maxRetries: 1`: the second of two that fail together is not repeated."""

    async def main() -> None:
        backend = scripted(reply(503), reply(503), reply(200))
        async with backend.running():
            config = (
                service("reviews", backend.port)
                + retrying("attempts: 2, retryOn: 5xx, backoff: 100ms")
                + rule("reviews", "{connectionPool: {http: {maxRetries: 1}}}")
            )
            async with stage(tmp_path, config) as gateway:
                backend.gate.clear()
                both = asyncio.gather(gateway.get(), gateway.get())
                await settled(lambda: backend.under_way == 2)
                backend.gate.set()
                assert sorted(map(status, await both)) == [200, 503]
                flags = {json_line["response_flags"] for json_line in lines(gateway)}
                assert flags == {"-", "UO"}

    asyncio.run(main())


def test_every_second_retry_leaves_the_localities_that_were_tried(tmp_path: Path) -> None:
    """`retryRemoteLocalities`: two tries near, then one far away; without it the far one stays spared."""
    places = ("west/a", "west/a", "east/b")

    def located(ports: list[int]) -> str:
        endpoints = "".join(
            f"\n  - {{address: 127.0.0.1, ports: {{http: {port}}}, locality: {place}}}"
            for port, place in zip(ports, places, strict=True)
        )
        return f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: reviews}}
spec:
  hosts: [reviews]
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  resolution: STATIC
  endpoints:{endpoints}
---""" + rule("reviews", "{outlierDetection: {consecutive5xxErrors: 0}}")

    async def main(remote: str) -> list[int]:
        near, also_near, far = scripted(reply(503)), scripted(reply(503)), scripted(reply(200))
        async with near.running(), also_near.running(), far.running():
            config = located([near.port, also_near.port, far.port]) + retrying(
                f"attempts: 2, retryOn: 5xx, backoff: 1ms, retryRemoteLocalities: {remote}"
            )
            extra = "  locality: west/a\n  retryBudget: {overTime: {enabled: false}}"
            async with stage(tmp_path, config, settings=extra) as gateway:
                answers = [status(await gateway.get()) for _ in range(5)]
                assert len(near.asked) + len(also_near.asked) == 5 * (2 if remote == "true" else 3)
                return answers

    assert asyncio.run(main("true")) == [200] * 5
    assert asyncio.run(main("false")) == [503] * 5


def test_the_retry_block_of_the_founding_document(tmp_path: Path) -> None:
    """Three retries for 5xx, resets, refused and slow connections; each try has two seconds."""
    seed = (SEED / "retry.yaml").read_text() + "\n---"

    async def main() -> None:
        backend = scripted(reply(500), RESET, reply(504), reply(200, b"stars"))
        async with backend.running():
            config = seed + service("ratings", backend.port) + FRESH.replace("reviews", "ratings")
            async with stage(tmp_path, config) as gateway:
                answer = await gateway.get(host="ratings")
                assert answer.endswith(b"stars")
                assert [asked.number for asked in backend.asked] == ["1", "2", "3", "4"]
                assert backend.asked[0].header("x-envoy-expected-rq-timeout-ms") == "2000"

    asyncio.run(main())


def test_an_interim_answer_is_no_answer(tmp_path: Path) -> None:
    """A 103 is swallowed, so the attempt behind it can still be repeated."""

    async def play(call: Call) -> None:
        await call.head()
        await call.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")

    async def main() -> None:
        async with Backend(play).running() as backend:
            config = service("reviews", backend.port) + retrying("attempts: 1, retryOn: reset, backoff: 1ms")
            async with stage(tmp_path, config) as gateway:
                assert status(await gateway.get()) == 502
                assert len(backend.calls) == 2

    asyncio.run(main())
