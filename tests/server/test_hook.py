"""EdgeProtocol under a plain uvicorn command line."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

import pytest
from support.process import uvicorn
from support.raw import talk
from uvicorn import Config

from gateway.server import EdgeProtocol

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


@pytest.mark.parametrize(
    ("asks", "tickets"), [(ssl.CERT_NONE, 2), (ssl.CERT_OPTIONAL, 0), (ssl.CERT_REQUIRED, 0)]
)
def test_no_session_is_resumed_where_clients_show_certificates(asks: ssl.VerifyMode, tickets: int) -> None:
    """A resumed one would skip them; elsewhere it saves a handshake."""
    from gateway.server.hook import adopt

    class Lifespan:
        def __init__(self) -> None:
            self.config = Config("a:b", http="auto", log_config=None)
            self.config.ssl = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.config.ssl.verify_mode = asks
            self.config.http_protocol_class = EdgeProtocol
            self.config.loaded_app = None

        async def receive(self) -> None: ...

    lifespan = Lifespan()
    assert adopt(lifespan.receive) is None
    context = lifespan.config.ssl
    assert context is not None
    assert context.num_tickets == tickets
    assert bool(context.options & ssl.OP_NO_TICKET) is (tickets == 0)
