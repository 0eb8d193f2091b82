"""EdgeProtocol under a plain uvicorn command line."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from support.process import uvicorn
from support.raw import talk

if TYPE_CHECKING:
    from pathlib import Path

APP = """
import sys
from gateway.server import hook

if {install}:
    hook.install()

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        if {adopt}:
            print("adopted:", hook.adopt(receive), file=sys.stderr, flush=True)
        await send({{"type": "lifespan.startup.complete"}})
        await receive()
        await send({{"type": "lifespan.shutdown.complete"}})
        return
    body = f"{{scope['client'][0]}} {{'gateway' in scope.get('extensions', ())}}".encode()
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    await send({{"type": "http.response.body", "body": body}})
"""
SPOOFED = b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("install", "adopt", "arguments", "expected", "said"),
    [
        (True, False, [], b"6.6.6.6 True", None),
        (True, True, [], b"127.0.0.1 True", "adopted: None"),
        (True, True, ["--workers", "2"], b"127.0.0.1 True", "adopted: None"),
        (False, True, ["--http", "httptools"], b"127.0.0.1 True", "adopted: None"),
        (True, True, ["--http", "h11"], b"127.0.0.1 False", "adopted: uvicorn was told to use --http h11"),
    ],
    ids=["install", "install and adopt", "workers", "httptools", "h11"],
)
def test_uvicorn_uses_our_protocol_or_says_why_not(
    tmp_path: Path, install: bool, adopt: bool, arguments: list[str], expected: bytes, said: str | None
) -> None:
    """No flag is needed, workers included; nobody on loopback chooses its own address."""
    (tmp_path / "sample.py").write_text(APP.format(install=install, adopt=adopt))
    with uvicorn(*arguments, "--app-dir", str(tmp_path), app="sample:app") as process:
        (response,) = asyncio.run(talk(process.port, SPOOFED))
        assert response.body == expected
        if said:
            process.wait_for_line(said)


def test_a_server_that_is_not_uvicorn_is_told_of() -> None:
    """Its limits are its own."""
    from gateway.server.hook import adopt

    async def receive() -> None: ...

    assert "not uvicorn" in (adopt(receive) or "")
