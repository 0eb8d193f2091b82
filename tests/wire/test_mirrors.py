"""Copies of requests through a whole gateway: what mirrors get, and that nobody waits for them."""

from __future__ import annotations

import asyncio
import os
from math import sqrt
from pathlib import Path

from support.scripted import SILENCE, cluster, many, reply, scripted, status
from support.stage import route, service, stage
from support.waiting import until

SEED = Path(__file__).parent.parent / "config" / "seed"


def mirrored(fields: str) -> str:
    return route("reviews", f"\n  - {{route: [{{destination: {{host: reviews}}}}], {fields}}}")


def test_a_mirror_gets_the_whole_request_without_its_credentials(tmp_path: Path) -> None:
    """It is rewritten and operated on as the original is; the body is the same to the byte."""
    body = os.urandom(200_000)
    fields = (
        "mirror: {host: copies}, rewrite: {uri: /new, authority: 'svc:8080'},"
        " headers: {request: {set: {x-set: '1'}}}"
    )

    async def main() -> None:
        backend, mirror = scripted(reply(200)), scripted(reply(500))
        async with backend.running(), mirror.running():
            config = service("reviews", backend.port) + service("copies", mirror.port) + mirrored(fields)
            async with stage(tmp_path, config) as gateway:
                head = (
                    "POST / HTTP/1.1\r\nHost: reviews\r\nConnection: close\r\nAuthorization: Bearer t\r\n"
                    f"Cookie: a=1\r\nX-Api-Key: k\r\nX-Plain: p\r\nContent-Length: {len(body)}\r\n\r\n"
                )
                assert status(await gateway.raw(head.encode() + body)) == 200
                await until(lambda: bool(mirror.asked))
                (original,), (copy,) = backend.asked, mirror.asked
                assert original.body == copy.body == body
                assert original.target == copy.target == "/new"
                assert (original.header("host"), copy.header("host")) == ("svc:8080", "svc-shadow:8080")
                for name, value in (("x-plain", "p"), ("x-set", "1"), ("content-length", "200000")):
                    assert original.header(name) == copy.header(name) == value
                assert original.header("x-request-id") == copy.header("x-request-id")
                for name in ("authorization", "cookie", "x-api-key"):
                    assert original.header(name) is not None
                    assert copy.header(name) is None

    asyncio.run(main())


def test_a_setting_keeps_credentials_in_copies(tmp_path: Path) -> None:
    async def main() -> None:
        backend = scripted(reply(200))
        async with backend.running():
            config = service("reviews", backend.port) + mirrored("mirror: {host: reviews}")
            async with stage(tmp_path, config, settings="  mirrorCredentials: true") as gateway:
                await gateway.get(headers="Authorization: Bearer t\r\n")
                await until(lambda: len(backend.asked) == 2)
                assert [asked.header("authorization") for asked in backend.asked] == ["Bearer t"] * 2

    asyncio.run(main())


def test_a_slow_mirror_holds_nobody_up_and_gets_a_bounded_number(tmp_path: Path) -> None:
    """It never answers: every client is served, and beyond the limit copies are not made."""

    async def main() -> None:
        backend, mirror = scripted(reply(200)), scripted(SILENCE)
        async with backend.running(), mirror.running():
            config = (
                service("reviews", backend.port)
                + service("copies", mirror.port)
                + mirrored("mirror: {host: copies}")
            )
            async with stage(tmp_path, config, settings="  limits: {mirrorCopies: 5}") as gateway:
                assert await many(gateway, 50) == [200] * 50
                spine = gateway.gateway._spine
                assert spine is not None
                assert (spine.shadows.under_way, spine.shadows.declined) == (5, 45)
                await until(lambda: mirror.under_way == 5)

    asyncio.run(main())


def test_a_dead_mirror_is_nobodys_error(tmp_path: Path) -> None:
    async def main() -> None:
        backend = scripted(reply(200))
        async with backend.running():
            config = (
                service("reviews", backend.port)
                + service("copies")
                + mirrored("mirrors: [{destination: {host: copies}}, {destination: {host: missing}}]")
            )
            async with stage(tmp_path, config) as gateway:
                assert await many(gateway, 10) == [200] * 10
                assert cluster(gateway).pool.active() == 0

    asyncio.run(main())


def test_shares_of_mirrors_come_true(tmp_path: Path) -> None:
    """Of 600 requests a half and a fifth, within 4 sigma; who is in the fifth is in the half."""
    count = 600

    async def main() -> None:
        backend, half, fifth = scripted(reply(200)), scripted(reply(200)), scripted(reply(200))
        async with backend.running(), half.running(), fifth.running():
            config = (
                service("reviews", backend.port)
                + service("half", half.port)
                + service("fifth", fifth.port)
                + mirrored(
                    "mirrors: [{destination: {host: half}, percentage: {value: 50}},"
                    " {destination: {host: fifth}, percentage: {value: 20}}]"
                )
            )
            async with stage(tmp_path, config) as gateway:
                assert await many(gateway, count) == [200] * count
                shadows = gateway.gateway._spine.shadows  # type: ignore[union-attr]
                await until(lambda: not shadows.under_way)
                for mirror, share in ((half, 0.5), (fifth, 0.2)):
                    sigma = sqrt(count * share * (1 - share))
                    assert abs(len(mirror.asked) - count * share) <= 4 * sigma
                ids = {asked.header("x-request-id") for asked in half.asked}
                assert {asked.header("x-request-id") for asked in fifth.asked} <= ids

    asyncio.run(main())


def test_the_mirroring_block_of_the_founding_document(tmp_path: Path) -> None:
    """Everything goes to v1; v2 gets a copy of it."""
    seed = (SEED / "mirroring.yaml").read_text() + "\n---"
    subsets = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: httpbin}
spec:
  host: httpbin
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]
---"""

    async def main() -> None:
        one, two = scripted(reply(200, b"v1")), scripted(reply(200, b"v2"))
        async with one.running(), two.running():
            config = (
                seed
                + subsets
                + service("httpbin", one.port, labels="{version: v1}")
                + service("httpbin", two.port, labels="{version: v2}")
            )
            async with stage(tmp_path, config) as gateway:
                assert (await gateway.get("/get", host="httpbin")).endswith(b"v1")
                await until(lambda: bool(two.asked))
                assert [asked.header("host") for asked in (*one.asked, *two.asked)] == [
                    "httpbin",
                    "httpbin-shadow",
                ]

    asyncio.run(main())
