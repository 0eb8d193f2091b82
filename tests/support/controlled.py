"""A Control over one file, and what it answers.

Lifetime: process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

from gateway.control import Control
from gateway.http.request import Request

SERVICE = """\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: reviews}
spec:
  hosts: [reviews]
  ports: [{number: 9080, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1, ports: {http: 9080}}]
---
"""
BAD = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec: {hots: [a]}\n"


def answering(word: str) -> str:
    """A configuration whose answer to `/` is `word`, and which forwards the rest."""
    return f"""\
{SERVICE}apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: reviews}}
spec:
  hosts: [reviews]
  http:
  - match: [{{uri: {{exact: /}}}}]
    directResponse: {{status: 200, body: {{string: "{word}"}}}}
  - route: [{{destination: {{host: reviews}}}}]
"""


def answer(control: Control) -> bytes:
    """What `/` is answered now."""
    return ask(control.snapshot)


def ask(snapshot) -> bytes:
    route = snapshot.default.match(Request("GET", "http", b"reviews", "reviews", b"/", b"", []))
    return route.answer(Request("GET", "http", b"reviews", "reviews", b"/", b"", [])).body


def write(path: Path, text: str) -> None:
    """As careful writers do."""
    fresh = path.with_name("fresh")
    fresh.write_text(text)
    fresh.replace(path)


def serve(file: Path, play: Callable[[Control], Awaitable[None]], *, watch: bool = False) -> None:
    """Runs `play` with a started control over `file`."""

    async def main() -> None:
        control = Control([file], watch=watch, rng=Random(1))
        control.load_first()
        await control.start()
        try:
            await play(control)
        finally:
            await control.stop()

    asyncio.run(main())
