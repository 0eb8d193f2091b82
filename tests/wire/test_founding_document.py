"""The founding document's canary on real traffic, and reloads under it."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from support.stage import Backend, Call, Stage, stage

CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/120.0 Safari/537.36"
SEED = Path(__file__).parent.parent / "config" / "seed"


def version(name: bytes):
    """A backend that says which one it is."""

    async def play(call: Call) -> None:
        while True:
            await call.head()
            await call.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n" + name)

    return play


def endpoints(v1: int, v2: int) -> str:
    return f"""
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: reviews}}
spec:
  hosts: [reviews.default.svc.cluster.local]
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  resolution: STATIC
  location: MESH_INTERNAL
  endpoints:
  - {{address: 127.0.0.1, ports: {{http: {v1}}}, labels: {{version: v1}}}}
  - {{address: 127.0.0.1, ports: {{http: {v2}}}, labels: {{version: v2}}}}
---
"""


async def bodies(gateway: Stage, count: int, agent: str, connections: int = 8) -> list[bytes]:
    """Sends `count` requests over a few keep-alive connections; the two-byte bodies."""

    async def client(share: int) -> list[bytes]:
        reader, writer = await gateway.connect()
        found = []
        for _ in range(share):
            writer.write(f"GET / HTTP/1.1\r\nHost: reviews\r\nUser-Agent: {agent}\r\n\r\n".encode())
            await reader.readuntil(b"\r\n\r\n")
            found.append(await reader.readexactly(2))
        writer.close()
        return found

    parts = await asyncio.gather(*(client(count // connections) for _ in range(connections)))
    return [body for part in parts for body in part]


def test_the_canary_splits_by_weight_and_sends_chrome_to_v2(tmp_path: Path) -> None:
    """10 000 plain requests: 10 % within 4 sigma (30 each way around 1000); every Chrome goes to v2."""
    canary = (SEED / "canary.yaml").read_text()

    async def main() -> None:
        async with (
            Backend(version(b"v1")).running() as v1,
            Backend(version(b"v2")).running() as v2,
            stage(tmp_path, canary + endpoints(v1.port, v2.port)) as gateway,
        ):
            chrome = await bodies(gateway, 400, CHROME)
            plain = await bodies(gateway, 10_000, "curl/8")
            assert set(chrome) == {b"v2"}
            assert abs(plain.count(b"v2") - 1000) <= 4 * 30
            assert len(plain) == 10_000

    asyncio.run(main())


def test_a_reload_never_mixes_generations_and_loses_no_request(tmp_path: Path) -> None:
    """Each generation names its version in a header; header and backend always agree, whatever is reloaded."""

    def generation(number: int, v1: int, v2: int) -> str:
        subset = f"v{number % 2 + 1}"
        return f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: reviews}}
spec:
  hosts: [reviews]
  http:
  - headers: {{response: {{set: {{x-generation: {subset}}}}}}}
    route: [{{destination: {{host: reviews, subset: {subset}}}}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: reviews}}
spec:
  host: reviews
  subsets: [{{name: v1, labels: {{version: v1}}}}, {{name: v2, labels: {{version: v2}}}}]
# {number}
""" + endpoints(v1, v2)

    async def main() -> None:
        async with Backend(version(b"v1")).running() as v1, Backend(version(b"v2")).running() as v2:
            ports = v1.port, v2.port
            async with stage(tmp_path, generation(0, *ports)) as gateway:
                settings = gateway.config.read_text().partition("apiVersion: networking")[0]
                stop = asyncio.Event()
                answers: list[tuple[bytes, bytes]] = []

                async def client() -> None:
                    reader, writer = await gateway.connect()
                    while not stop.is_set():
                        writer.write(b"GET / HTTP/1.1\r\nHost: reviews\r\n\r\n")
                        head = await reader.readuntil(b"\r\n\r\n")
                        named = re.search(rb"\r\nx-generation: (v.)\r\n", head)
                        assert named is not None
                        answers.append((named[1], await reader.readexactly(2)))
                    writer.close()

                clients = [asyncio.create_task(client()) for _ in range(4)]
                for number in range(1, 13):
                    gateway.config.write_text(settings + generation(number, *ports))
                    result = await gateway.gateway.control.reload()
                    assert result.generation == number + 1
                stop.set()
                await asyncio.gather(*clients)
                assert {named for named, _ in answers} == {b"v1", b"v2"}
                assert [pair for pair in answers if pair[0] != pair[1]] == []

    asyncio.run(main())
