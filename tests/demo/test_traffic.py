from __future__ import annotations

import asyncio
import random

import httpx

from gateway.demo import traffic
from gateway.demo.traffic import CHROME, CURL, RECENT, Ask, Split

PLAIN = Ask(1, "reviews", "/reviews/0", CURL)
BROWSER = Ask(1, "reviews", "/reviews/0", CHROME)
RATINGS = Ask(1, "ratings", "/ratings/0", CURL)


def test_the_split_tells_chrome_from_everybody_else():
    """The two rules of the canary are reported apart."""
    split = Split()
    for version in ["v1"] * 9 + ["v2"]:
        split.record(PLAIN, version)
    split.record(BROWSER, "v2")
    assert str(split) == ("reviews: Chrome v2 100 % · others v1 90 %, v2 10 % (last 100) | 11 answered")


def test_other_services_are_only_counted():
    """Ratings has no versions to split over."""
    split = Split()
    split.record(RATINGS, "v1")
    assert split.as_dict() == {"chrome": {}, "others": {}, "answered": 1, "meant_to_fail": 0, "failed": 0}


def test_a_changed_weight_replaces_what_was_seen_before():
    """Only the most recent answers count, so an edit shows."""
    split = Split()
    for version in ["v1"] * RECENT + ["v2"] * RECENT:
        split.record(PLAIN, version)
    assert split.as_dict()["others"] == {"v2": RECENT}


def test_failures_are_named():
    """A status of 500 and more is no answer, and neither is silence."""
    split = Split()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            await traffic.ask_once(client, PLAIN, split, random.Random(1))
            server.close()
            await server.wait_closed()
            await traffic.ask_once(client, PLAIN, split, random.Random(1))

    asyncio.run(main())
    assert dict(split.failures) == {"503": 1, "ConnectError": 1}
    assert str(split).endswith("failed: 1 503, 1 ConnectError")


def test_traffic_sends_the_mix_until_it_is_cancelled():
    """Both kinds of user agent arrive at a real socket, with the hosts of the mix."""

    async def main() -> set[tuple[str, bool]]:
        seen: set[tuple[str, bool]] = set()
        enough = asyncio.Event()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while head := await reader.readuntil(b"\r\n\r\n"):
                    lines = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:-2])
                    seen.add((lines["host"], "Chrome" in lines["user-agent"]))
                    if len(seen) == 5:
                        enough.set()
                    writer.write(b"HTTP/1.1 200 OK\r\nx-served-by: reviews-v2\r\ncontent-length: 0\r\n\r\n")
            except asyncio.IncompleteReadError:
                writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        split = Split()
        sending = asyncio.create_task(
            traffic.run(f"http://127.0.0.1:{port}", split, random.Random(1), rate=10_000)
        )
        await enough.wait()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        server.close()
        await server.wait_closed()
        assert split.answered > 0
        return seen

    assert asyncio.run(main()) == {
        ("reviews", False),
        ("reviews", True),
        ("ratings", False),
        ("httpbin", False),
        ("localhost", False),
    }
