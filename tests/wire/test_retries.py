"""Retries through a whole gateway: what is repeated, how often, and what the client and the log see of it."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from pathlib import Path

import pytest
from support.backend import dead_port
from support.scripted import (
    HALF,
    RESET,
    Asked,
    Cut,
    Play,
    Scripted,
    cluster,
    forwards,
    line,
    many,
    reply,
    retrying,
    rule,
    scripted,
    status,
    told,
)
from support.stage import Backend, Call, route, service, stage
from support.waiting import until

SEED = Path(__file__).parent.parent / "config" / "seed"


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


def test_a_client_that_leaves_ends_the_wait_for_a_retry(tmp_path: Path) -> None:
    async def main() -> None:
        backend = scripted(reply(503))
        async with backend.running():
            config = service("reviews", backend.port) + retrying("attempts: 3, retryOn: 5xx, backoff: 1h")
            async with stage(tmp_path, config) as gateway:
                _, writer = await gateway.connect()
                writer.write(b"GET / HTTP/1.1\r\nHost: reviews\r\n\r\n")
                budget = cluster(gateway).pool.retries
                await until(lambda: budget.in_flight == 1)
                writer.close()
                await until(lambda: budget.in_flight == 0)
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
