"""Requests through a whole gateway: what a raw backend receives and what a raw client gets back."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest
from support.stage import Backend, Call, answering, route, service, stage
from support.waiting import until

TO_REVIEWS = """
  - route: [{destination: {host: reviews}}]"""


def reviews(port: int, http: str = TO_REVIEWS) -> str:
    return service("reviews", port) + route("reviews", http)


def test_the_backend_receives_exactly_what_the_rules_allow(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            Backend(answering).running() as backend,
            stage(tmp_path, reviews(backend.port)) as gateway,
        ):
            answer = await gateway.raw(
                b"GET /a/../b?x=%41 HTTP/1.1\r\nHost: Reviews:1\r\nUser-Agent: caf\xe9\r\nX-Envoy-Retry-On: 5xx\r\n"
                b"X-Forwarded-Client-Cert: By=x\r\nTE: trailers\r\nConnection: close\r\nX-A: 1\r\nX-A: 2\r\n\r\n"
            )
            seen = backend.calls[0].seen
            request_id = re.search(rb"x-request-id: ([0-9a-f-]{36})\r\n", seen)
            assert request_id is not None
            assert seen == (
                b"GET /b?x=%41 HTTP/1.1\r\nhost: Reviews:1\r\nuser-agent: caf\xe9\r\nx-a: 1\r\nx-a: 2\r\n"
                b"x-forwarded-for: 127.0.0.1\r\nx-forwarded-proto: http\r\nx-envoy-external-address: 127.0.0.1\r\n"
                b"x-request-id: " + request_id[1] + b"\r\nx-envoy-attempt-count: 1\r\n\r\n"
            )
            head, _, body = answer.partition(b"\r\n\r\n")
            lines = head.split(b"\r\n")
            assert lines[0] == b"HTTP/1.1 200 OK"
            assert body == b"hello"
            names = sorted(line.split(b":")[0] for line in lines[1:])
            assert names == [
                b"connection",
                b"content-length",
                b"date",
                b"server",
                b"x-envoy-upstream-service-time",
            ]
            line = json.loads(gateway.logged())
            assert (line["response_code"], line["path"], line["response_flags"]) == (200, "/b?x=%41", "-")
            assert line["upstream_cluster"] == "outbound|80||reviews.default.svc.cluster.local"
            assert line["request_id"] == request_id[1].decode()

    asyncio.run(main())


def test_no_route_is_404_with_the_request_id(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            Backend(answering).running() as backend,
            stage(tmp_path, reviews(backend.port)) as gateway,
        ):
            answer = await gateway.get(host="nobody")
            assert answer.startswith(b"HTTP/1.1 404 Not Found\r\n")
            assert b"x-request-id: " in answer
            assert json.loads(gateway.logged())["response_flags"] == "NR"

    asyncio.run(main())


def test_an_unknown_cluster_is_503_nc(tmp_path: Path) -> None:
    async def main() -> None:
        config = route("reviews", "\n  - route: [{destination: {host: missing}}]")
        async with stage(tmp_path, config) as gateway:
            answer = await gateway.get()
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert answer.endswith(b"\r\n\r\n")
            assert json.loads(gateway.logged())["response_flags"] == "NC"

    asyncio.run(main())


def test_no_endpoint_is_503_no_healthy_upstream(tmp_path: Path) -> None:
    async def main() -> None:
        async with stage(tmp_path, service("reviews") + route("reviews", TO_REVIEWS)) as gateway:
            answer = await gateway.get()
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert answer.endswith(b"\r\n\r\nno healthy upstream")

    asyncio.run(main())


def test_an_unreachable_backend_is_503_at_once_with_envoys_words(tmp_path: Path) -> None:
    async def main() -> None:
        async with Backend(answering).running() as backend:
            port = backend.port
        async with stage(tmp_path, reviews(port)) as gateway:
            answer = await gateway.get()
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b"disconnect/reset before headers. retried and the latest reset reason: " in answer
            assert json.loads(gateway.logged())["response_flags"] == "URX,UF"

    asyncio.run(main())


@pytest.mark.parametrize(
    ("played", "status", "flag"),
    [
        (b"", b"503", "UC"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n", b"502", "UPE"),
        (b"garbage\r\n\r\n", b"502", "UPE"),
        (b"HTTP/1.1 999 Odd\r\ncontent-length: 0\r\n\r\n", b"502", "UPE"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello", b"502", "UPE"),
    ],
)
def test_a_backend_without_a_proper_answer(tmp_path: Path, played: bytes, status: bytes, flag: str) -> None:
    async def play(call: Call) -> None:
        await call.head()
        await call.send(played)

    async def main() -> None:
        async with Backend(play).running() as backend, stage(tmp_path, reviews(backend.port)) as gateway:
            answer = await gateway.get(method="POST", headers="Content-Length: 0\r\n")
            assert answer.startswith(b"HTTP/1.1 " + status)
            assert json.loads(gateway.logged())["response_flags"] == flag

    asyncio.run(main())


@pytest.mark.parametrize(
    "played",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 16385\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\n",
    ],
)
def test_a_truncated_body_never_ends_cleanly(tmp_path: Path, played: bytes) -> None:
    """The client sees a closed connection in the middle: neither a last chunk nor the promised length."""

    async def play(call: Call) -> None:
        await call.head()
        await call.send(played)

    async def main() -> None:
        async with Backend(play).running() as backend, stage(tmp_path, reviews(backend.port)) as gateway:
            reader, writer = await gateway.connect()
            writer.write(b"GET / HTTP/1.1\r\nHost: reviews\r\n\r\n")
            try:
                answer = await reader.read()
            except ConnectionResetError:
                answer = b""
            writer.close()
            assert not answer.endswith(b"0\r\n\r\n")
            line = json.loads(gateway.logged())
            assert line["response_flags"] == "UPE"
            assert line["response_code_details"] == "upstream_reset_after_response_started{protocol_error}"

    asyncio.run(main())


def test_left_over_bytes_never_reach_the_next_client(tmp_path: Path) -> None:
    """Response-queue poisoning: a second response after the first one condemns the connection."""

    async def play(call: Call) -> None:
        await call.head()
        await call.send(
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nEVIL!"
        )
        await call.head()

    async def main() -> None:
        async with Backend(play).running() as backend, stage(tmp_path, reviews(backend.port)) as gateway:
            answers = [await gateway.get() for _ in range(4)]
            assert [answer.rpartition(b"\r\n\r\n")[2] for answer in answers] == [b"ok"] * 4
            assert len(backend.calls) == 4

    asyncio.run(main())


def test_the_deadline_of_a_route_answers_504(tmp_path: Path) -> None:
    async def play(call: Call) -> None:
        await call.head()
        await call.reader.readexactly(1)

    async def main() -> None:
        http = TO_REVIEWS + "\n    timeout: 0.05s"
        async with (
            Backend(play).running() as backend,
            stage(tmp_path, reviews(backend.port, http)) as gateway,
        ):
            answer = await gateway.get()
            assert answer.startswith(b"HTTP/1.1 504 ")
            assert answer.endswith(b"upstream request timeout")
            line = json.loads(gateway.logged())
            assert (line["response_flags"], line["response_code_details"]) == ("UT", "response_timeout")
            await asyncio.wait_for(backend.closed.wait(), 5)

    asyncio.run(main())


def test_a_body_is_streamed_up_and_down_at_once(tmp_path: Path) -> None:
    """The backend answers each piece before the next one is sent: neither side is held back."""

    async def play(call: Call) -> None:
        await call.head()
        await call.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(3):
            await call.body(len(b"4\r\nping\r\n"))
            await call.send(b"4\r\npong\r\n")
        await call.body(len(b"0\r\n\r\n"))
        await call.send(b"0\r\n\r\n")

    async def main() -> None:
        async with Backend(play).running() as backend, stage(tmp_path, reviews(backend.port)) as gateway:
            reader, writer = await gateway.connect()
            writer.write(b"POST /talk HTTP/1.1\r\nHost: reviews\r\nTransfer-Encoding: chunked\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            for _ in range(3):
                writer.write(b"4\r\nping\r\n")
                assert await reader.readexactly(9) == b"4\r\npong\r\n"
            writer.write(b"0\r\n\r\n")
            assert await reader.readexactly(5) == b"0\r\n\r\n"
            writer.close()
            assert json.loads(gateway.logged())["bytes_received"] == 12

    asyncio.run(main())


def test_a_sized_body_arrives_as_it_was_sent(tmp_path: Path) -> None:
    body = bytes(range(256)) * 2000

    async def play(call: Call) -> None:
        head = await call.head()
        assert b"\r\ncontent-length: %d\r\n" % len(body) in head
        received = await call.body(len(body))
        await call.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(received) + received)

    async def main() -> None:
        async with Backend(play).running() as backend, stage(tmp_path, reviews(backend.port)) as gateway:
            head = (
                b"PUT / HTTP/1.1\r\nHost: reviews\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
                % len(body)
            )
            answer = await gateway.raw(head + body)
            assert answer.partition(b"\r\n\r\n")[2] == body

    asyncio.run(main())


@pytest.mark.parametrize("when", ["before the head", "in a held body", "in the body"])
def test_a_client_that_leaves_ends_its_upstream_and_leaks_nothing(tmp_path: Path, when: str) -> None:
    async def play(call: Call) -> None:
        await call.head()
        if when != "before the head":
            size = 16384 if when == "in a held body" else 16385
            await call.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\nsome" % size)
        await call.reader.readexactly(1)

    async def main() -> None:
        async with Backend(play).running() as backend, stage(tmp_path, reviews(backend.port)) as gateway:
            reader, writer = await gateway.connect()
            writer.write(b"GET / HTTP/1.1\r\nHost: reviews\r\n\r\n")
            if when == "in the body":
                await reader.readuntil(b"some")
            else:
                while not backend.calls or not backend.calls[0].seen:
                    await asyncio.sleep(0)
            (cluster,) = gateway.gateway.control.registry.clusters.values()
            if when == "in a held body":
                await until(lambda: [item.response_started for item in cluster.pool.open] == [True])
            writer.close()
            await asyncio.wait_for(backend.closed.wait(), 5)
            assert [endpoint.active for endpoint in cluster.endpoints] == [0]
            line = json.loads(gateway.logged())
            assert (line["response_flags"], line["response_code"]) == ("DC", 0)

    asyncio.run(main())


def test_a_stock_server_serves_as_well(tmp_path: Path) -> None:
    """uvicorn's own protocol class: date and server once, a 304 with a length, a body each way, a lost client."""

    async def play(call: Call) -> None:
        while True:
            head = await call.head()
            if head.startswith(b"POST"):
                await call.body(5)
                await call.send(b"HTTP/1.1 200 OK\r\ndate: now\r\ncontent-length: 2\r\n\r\nok")
            elif head.startswith(b"GET /cached"):
                await call.send(b"HTTP/1.1 304 Not Modified\r\ncontent-length: 100\r\n\r\n")

    async def main() -> None:
        async with (
            Backend(play).running() as backend,
            stage(tmp_path, reviews(backend.port), http="httptools") as gateway,
        ):
            answer = await gateway.get(method="POST", headers="Content-Length: 5\r\n\r\nhello")
            assert answer.count(b"\r\ndate: ") == 1
            assert answer.count(b"\r\nserver: ") == 1
            assert answer.endswith(b"\r\n\r\nok")
            assert (await gateway.get("/cached")).startswith(b"HTTP/1.1 304 ")
            _, writer = await gateway.connect()
            writer.write(b"GET /hang HTTP/1.1\r\nHost: reviews\r\n\r\n")
            while not any(b"/hang" in call.seen for call in backend.calls):
                await asyncio.sleep(0)
            writer.close()
            await asyncio.wait_for(backend.closed.wait(), 5)
            assert '"response_flags":"DC"' in gateway.logged()

    asyncio.run(main())


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_idle_connection_that_closes_under_a_request_costs_it_nothing(tmp_path: Path, method: str) -> None:
    """The backend closes its connection on the second request, without a byte: it is sent once more."""

    async def play(call: Call) -> None:
        await call.head()
        await call.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        await call.head()

    async def main() -> None:
        async with Backend(play).running() as backend, stage(tmp_path, reviews(backend.port)) as gateway:
            await gateway.get()
            answer = await gateway.get(method=method)
            assert answer.startswith(b"HTTP/1.1 200")
            assert len(backend.calls) == 2
            assert backend.calls[0].seen.count(b" HTTP/1.1\r\n") == 2
            assert backend.calls[1].seen.count(b"x-envoy-attempt-count: 2\r\n") == 1

    asyncio.run(main())


def test_connections_are_reused(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            Backend(answering).running() as backend,
            stage(tmp_path, reviews(backend.port)) as gateway,
        ):
            for _ in range(5):
                assert (await gateway.get()).endswith(b"hello")
            assert len(backend.calls) == 1

    asyncio.run(main())


def test_request_trailers_never_become_headers(tmp_path: Path) -> None:
    async def play(call: Call) -> None:
        await call.head()
        await call.reader.readuntil(b"0\r\n\r\n")
        await call.send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    async def main() -> None:
        async with Backend(play).running() as backend, stage(tmp_path, reviews(backend.port)) as gateway:
            answer = await gateway.raw(
                b"POST / HTTP/1.1\r\nHost: reviews\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"2\r\nhi\r\n0\r\nAuthorization: Bearer admin\r\n\r\n"
            )
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert b"admin" not in backend.calls[0].seen

    asyncio.run(main())


def test_head_and_not_modified_have_no_body(tmp_path: Path) -> None:
    async def play(call: Call) -> None:
        while True:
            head = await call.head()
            status = b"200 OK" if head.startswith(b"HEAD") else b"304 Not Modified"
            await call.send(b"HTTP/1.1 " + status + b"\r\ncontent-length: 100\r\n\r\n")

    async def main() -> None:
        async with Backend(play).running() as backend, stage(tmp_path, reviews(backend.port)) as gateway:
            for method in ("HEAD", "GET"):
                answer = await gateway.get(method=method)
                assert b"\r\ncontent-length: 100\r\n" in answer
                assert answer.endswith(b"\r\n\r\n")

    asyncio.run(main())


def test_rewrites_and_header_operations_reach_the_backend(tmp_path: Path) -> None:
    http = """
  - match: [{uri: {prefix: /old/}}]
    rewrite: {uri: /new/, authority: elsewhere}
    headers:
      request: {set: {x-set: "%REQ(:PATH)%"}, remove: [x-gone]}
      response: {add: {x-more: "%REQ(x-set)% %REQ(:PATH)% %REQ(:AUTHORITY)%"}}
    route: [{destination: {host: reviews}}]"""

    async def main() -> None:
        async with (
            Backend(answering).running() as backend,
            stage(tmp_path, reviews(backend.port, http)) as gateway,
        ):
            answer = await gateway.get("/old/x?q=1", headers="X-Gone: 1\r\n")
            seen = backend.calls[0].seen
            assert seen.startswith(b"GET /new/x?q=1 HTTP/1.1\r\nhost: elsewhere\r\n")
            assert b"\r\nx-envoy-original-path: /old/x?q=1\r\n" in seen
            assert b"\r\nx-set: /old/x?q=1\r\n" in seen
            assert b"x-gone" not in seen
            assert b"\r\nx-envoy-original-host: reviews\r\n" in seen
            assert b"\r\nx-more: /old/x?q=1 /new/x?q=1 elsewhere\r\n" in answer

    asyncio.run(main())


def test_an_edited_file_is_obeyed_by_the_next_request(tmp_path: Path) -> None:
    direct = "\n  - directResponse: {status: 200, body: {string: %s}}"

    async def main() -> None:
        async with stage(tmp_path, route("reviews", direct % "old")) as gateway:
            assert (await gateway.get()).endswith(b"old")
            text = gateway.config.read_text()
            gateway.config.write_text(text.replace("old", "new"))
            await gateway.gateway.control.reload()
            assert (await gateway.get()).endswith(b"new")
            gateway.config.write_text(text.replace("status: 200", "status: twohundred"))
            result = await gateway.gateway.control.reload()
            assert result.findings
            assert (await gateway.get()).endswith(b"new")

    asyncio.run(main())
