"""A scripted outage: for each way to fail, `gateway why` names cause, culprit and remedy."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from remembering import Remembering, remembering
from support.backend import SilentPort, dead_port
from support.certificates import Certs, authority, leaf
from support.stage import Backend, Call, answering, route, service
from support.waiting import until

Play = Callable[[Remembering], Awaitable[Any]]

REVIEWS = """
  - route: [{destination: {host: reviews}}]"""
IMPATIENT = """
  - route: [{destination: {host: reviews}}]
    timeout: 50ms"""


def connecting(timeout: str) -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: reviews}}
spec:
  host: reviews
  trafficPolicy: {{connectionPool: {{tcp: {{connectTimeout: {timeout}}}}}}}
---"""


async def failing(call: Call) -> None:
    await call.head()
    await call.send(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")


async def hanging_up(call: Call) -> None:
    await call.head()


async def babbling(call: Call) -> None:
    await call.head()
    await call.send(b"220 mail.example ready\r\n\r\n")


async def breaking_off(call: Call) -> None:
    await call.head()
    await call.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")


async def breaking_off_late(call: Call) -> None:
    await call.head()
    await call.send(b"HTTP/1.1 200 OK\r\ncontent-length: 16385\r\n\r\nhalf")


async def silent(call: Call) -> None:
    await call.head()
    await call.body(1)


def run(folder: Path, handler: Any, http: str, play: Play, *, more: str = "") -> None:
    async def main() -> None:
        async with Backend(handler).running() as backend:
            config = service("reviews", backend.port) + route("reviews", http) + more
            async with remembering(folder, config) as gateway:
                gateway.port = backend.port  # type: ignore[attr-defined]
                await play(gateway)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("handler", "http", "status", "flags", "words"),
    [
        (failing, REVIEWS, 503, [], "answered 503 itself"),
        (hanging_up, REVIEWS, 503, ["UC"], "closed the connection before it answered"),
        (babbling, REVIEWS, 502, ["UPE"], "is no valid HTTP response"),
        (breaking_off, REVIEWS, 502, ["UPE"], "ended its response in the middle of the body;"),
        (silent, IMPATIENT, 504, ["UT"], "no complete answer within 0.05 s"),
    ],
)
def test_a_backend_that_fails_is_named(
    tmp_path: Path, handler: Any, http: str, status: int, flags: list[str], words: str
) -> None:
    """Cause, culprit and remedy, by the request id of the answer."""

    async def play(gateway: Remembering) -> None:
        answer = await gateway.running.get("/x")
        await gateway.ended()
        found = re.search(rb"x-request-id: (\S+)", answer)
        wanted = found[1].decode() if found else gateway.recorder.recent[-1][0].request_id
        told = await gateway.told("why", wanted)

        assert (told["status"], [flag for flag in told["flags"] if flag != "URX"]) == (status, flags)
        assert words in told["cause"]
        assert f"127.0.0.1:{gateway.port}" in told["culprit"]  # type: ignore[attr-defined]
        assert told["remedy"]
        page = (await gateway.run("why", wanted)).output
        assert words in page
        assert "what to do" in page

    run(tmp_path, handler, http, play)


def test_a_response_that_breaks_off_is_told(tmp_path: Path) -> None:
    """The client got a status of 200 and half a body: it was too long to be held until it is whole."""

    async def play(gateway: Remembering) -> None:
        await gateway.running.get("/x")
        await gateway.ended()
        told = await gateway.told("why", "last")

        assert (told["status"], told["flags"]) == (200, ["UPE"])
        assert "in the middle of the body, after 4 bytes" in told["cause"]

    run(tmp_path, breaking_off_late, REVIEWS, play)


def test_a_port_where_nobody_listens(tmp_path: Path) -> None:
    """Refused: the backend is down, or the address is wrong."""

    async def main() -> None:
        config = service("reviews", port := dead_port()) + route("reviews", REVIEWS)
        async with remembering(tmp_path, config) as gateway:
            await gateway.running.get("/x")
            await gateway.ended()
            told = await gateway.told("why", "last")
            assert "UF" in told["flags"]
            assert told["cause"] == f"127.0.0.1:{port} refused the connection: nobody listens on that port"

    asyncio.run(main())


def test_a_black_hole(tmp_path: Path) -> None:
    """Packets vanish: the connection attempt times out."""

    async def main() -> None:
        with SilentPort() as port:
            config = service("reviews", port) + route("reviews", REVIEWS) + connecting("20ms")
            async with remembering(tmp_path, config) as gateway:
                await gateway.running.get("/x")
                await gateway.ended()
                told = await gateway.told("why", "last")
                assert "UF" in told["flags"]
                assert "did not answer the connection attempt in time" in told["cause"]

    asyncio.run(main())


SECURED = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: reviews}}
spec:
  host: reviews
  trafficPolicy: {{tls: {{mode: SIMPLE, caCertificates: {authorities}, subjectAltNames: [{name}]}}}}
---"""


@pytest.mark.parametrize(
    ("days", "name", "words"),
    [
        (-1, "reviews", "because a certificate has expired"),
        (1, "ratings", "a certificate of another name than the one we expect"),
    ],
)
def test_a_backend_s_certificate_is_no_good(tmp_path: Path, days: int, name: str, words: str) -> None:
    """It ran out, or it is somebody else's: the backend and the DestinationRule are named."""
    certs = Certs(tmp_path)
    shown = leaf(valid=(timedelta(days=-2), timedelta(days=days)), dns_names=("reviews",))
    authorities = tmp_path / "authority.crt"
    authorities.write_bytes(authority().pem)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=certs.server(shown))
        port = server.sockets[0].getsockname()[1]
        config = service("reviews", port) + route("reviews", REVIEWS)
        async with (
            server,
            remembering(tmp_path, config + SECURED.format(authorities=authorities, name=name)) as gateway,
        ):
            await gateway.running.get("/x")
            await gateway.ended()
            told = await gateway.told("why", "last")
            assert "UF" in told["flags"]
            assert words in told["cause"]
            assert f"127.0.0.1:{port}" in told["culprit"]
            assert told["transport_failure"].startswith("TLS_error:")

    asyncio.run(main())


def test_no_route_names_the_near_misses(tmp_path: Path) -> None:
    """What the request lacked."""
    http = """
  - name: jason
    match: [{headers: {end-user: {exact: jason}}}]
    route: [{destination: {host: reviews}}]"""

    async def play(gateway: Remembering) -> None:
        await gateway.running.get("/x", headers="end-user: bob\r\n")
        await gateway.ended()
        wanted = gateway.recorder.refused[-1][0].request_id
        told = await gateway.told("why", wanted)
        assert (told["status"], told["flags"]) == (404, ["NR"])
        assert told["decision"]["nearest"][0]["because"] == "header end-user is 'bob', wanted exact 'jason'"
        page = (await gateway.run("why", wanted)).output
        assert "jason: header end-user is 'bob', wanted exact 'jason'" in page

    run(tmp_path, answering, http, play)


def test_nowhere_to_go(tmp_path: Path) -> None:
    """A subset that nobody defines; a service without endpoints."""
    http = """
  - match: [{uri: {prefix: /subset}}]
    route: [{destination: {host: reviews, subset: v9}}]
  - route: [{destination: {host: empty}}]"""

    async def play(gateway: Remembering) -> None:
        for path, flag, words in (("/subset", "NC", "no document describes"), ("/x", "UH", "no endpoint")):
            await gateway.running.get(path)
            told = await gateway.told("why", "last")
            assert told["flags"] == [flag]
            assert words in told["cause"]

    run(tmp_path, answering, http, play, more=service("empty"))


def test_a_policy_that_denies_is_named(tmp_path: Path) -> None:
    """The operator learns which rule it was; the client does not."""
    denying = """
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-secrets}
spec:
  action: DENY
  rules: [{to: [{operation: {paths: [/secret]}}]}]
"""

    async def play(gateway: Remembering) -> None:
        answer = await gateway.running.get("/secret")
        await gateway.ended()
        assert answer.endswith(b"RBAC: access denied")
        assert b"no-secrets" not in answer
        told = await gateway.told("why", "last")
        assert told["status"] == 403
        assert "no-secrets" in told["cause"] + told["culprit"]
        assert told["remedy"]

    run(tmp_path, answering, REVIEWS, play, more=denying)


STRICT = """
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default}
spec: {mtls: {mode: STRICT}}
"""


def test_a_certificate_that_is_demanded_twice_is_told_once(tmp_path: Path) -> None:
    """The gateway and the destination are under the same PeerAuthentication."""

    async def play(gateway: Remembering) -> None:
        assert b" 403 " in await gateway.running.get()
        await gateway.ended()
        page = " ".join((await gateway.run("why", "last")).output.split())
        assert page.count("STRICT default/default") == 1
        assert "STRICT default/default, for the gateway and the destination: the connection has" in page

    run(tmp_path, answering, REVIEWS, play, more=STRICT)


def test_a_client_that_leaves(tmp_path: Path) -> None:
    """Nobody upstream is blamed."""

    async def play(gateway: Remembering) -> None:
        reader, writer = await gateway.running.connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: reviews\r\n\r\n")
        clusters = gateway.running.gateway.control.snapshot.clusters
        await until(lambda: any(item.active for cluster in clusters.values() for item in cluster.endpoints))
        writer.close()
        del reader
        await gateway.ended()
        told = await gateway.told("why", "last")
        assert (told["status"], "DC" in told["flags"]) == (0, True)
        assert "closed its connection" in told["cause"]
        assert told["culprit"].startswith("the client 127.0.0.1:")

    run(tmp_path, silent, REVIEWS, play)


def test_a_request_that_went_well(tmp_path: Path) -> None:
    """That is told as well."""

    async def play(gateway: Remembering) -> None:
        await gateway.running.get("/x?token=verysecretvalue", headers="Cookie: a=verysecretvalue\r\n")
        await gateway.ended()
        wanted = gateway.recorder.recent[-1][0].request_id
        result = await gateway.run("why", wanted)
        assert result.exit_code == 0
        assert "Nothing went wrong" in result.output
        assert "verysecretvalue" not in result.output + str(await gateway.told("why", wanted))

    run(tmp_path, answering, REVIEWS, play)


def test_an_id_that_nobody_knows(tmp_path: Path) -> None:
    """Exit code 1, and a sentence; 3 when there is no gateway at all."""

    async def play(gateway: Remembering) -> None:
        result = await gateway.run("why", "a/b?c")
        assert result.exit_code == 1
        assert "no such request" in result.output
        assert (await gateway.run("why", "last")).exit_code == 1
        gateway.admin = f"127.0.0.1:{dead_port()}"
        assert (await gateway.run("why", "x")).exit_code == 3

    run(tmp_path, answering, REVIEWS, play)


def test_the_oldest_of_many_is_found(tmp_path: Path) -> None:
    """With full rings and a few hundred routes (measured: 20 ms)."""
    http = "".join(
        f"""
  - match: [{{headers: {{end-user: {{exact: u{number}}}}}}}]
    route: [{{destination: {{host: reviews}}}}]"""
        for number in range(300)
    )

    async def play(gateway: Remembering) -> None:
        for _ in range(3):
            await gateway.running.get("/x")
        await gateway.ended(3)
        entry = gateway.recorder.recent[-1]
        for ring in (gateway.recorder.recent, gateway.recorder.failed, gateway.recorder.refused):
            while len(ring) < (ring.maxlen or 0):
                ring.append(entry)
        told = await gateway.told("why", gateway.recorder.recent[0][0].request_id)
        assert told["decision"]["routes"] == 300

    run(tmp_path, answering, http, play)
