"""Broken upstreams, told by us and by real Envoy in the same words: status, flag, details, body."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest
from support import envoy
from support.backend import RecordingBackend, dead_port
from support.raw import CutOff, Raw
from support.upstreams import GET, cluster_of, only, rest

from gateway.upstream import NO_BODY, UpstreamError

OK = b"HTTP/1.1 200 OK\r\n"
ANSWERS: dict[str, tuple[bytes, str]] = {
    "nothing, then FIN": (b"", "finish"),
    "nothing, then RST": (b"", "reset"),
    "half a head, then FIN": (OK + b"X: 1", "finish"),
    "half a head, then RST": (OK + b"X: 1", "reset"),
    "half a body, then FIN": (OK + b"Content-Length: 10\r\n\r\nabc", "finish"),
    "half a body, then RST": (OK + b"Content-Length: 10\r\n\r\nabc", "reset"),
    "half a chunk, then FIN": (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab", "finish"),
    "a body up to FIN": (OK + b"\r\nabc", "finish"),
    "another protocol": (b"SSH-2.0-OpenSSH\r\n", "wait"),
    "two lengths": (OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi", "wait"),
    "length and chunks": (OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "wait"),
    "another coding": (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "wait"),
    "nobody listens": (b"", "dead"),
}

Told = tuple[int, str, str, str]
"""Status, flag, details, transport failure."""


def _bootstrap(port: int, dead: int, log: Path) -> dict[str, Any]:
    types = "type.googleapis.com/envoy.extensions"
    line = "%RESPONSE_CODE%\t%RESPONSE_FLAGS%\t%RESPONSE_CODE_DETAILS%\t%UPSTREAM_TRANSPORT_FAILURE_REASON%\n"
    manager = {
        "@type": f"{types}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "test",
        "delayed_close_timeout": "0.01s",
        "access_log": [
            {
                "name": "file",
                "typed_config": {
                    "@type": f"{types}.access_loggers.file.v3.FileAccessLog",
                    "path": str(log),
                    "log_format": {"text_format_source": {"inline_string": line}},
                },
            }
        ],
        "http_filters": [
            {"name": "router", "typed_config": {"@type": f"{types}.filters.http.router.v3.Router"}}
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [
                        {"match": {"prefix": "/dead"}, "route": {"cluster": "dead"}},
                        {"match": {"prefix": "/"}, "route": {"cluster": "upstream"}},
                    ],
                }
            ]
        },
    }
    loopback = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    listener = {
        "name": "test",
        "address": loopback,
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    clusters = [_cluster("upstream", port), _cluster("dead", dead)]
    return {
        "admin": {"address": loopback},
        "static_resources": {"listeners": [listener], "clusters": clusters},
    }


def _cluster(name: str, port: int) -> dict[str, Any]:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    return {"name": name, "load_assignment": {"cluster_name": name, "endpoints": endpoints}}


async def _ours(port: int) -> Any:
    cluster = cluster_of(port)
    status = 0
    connection = None
    try:
        connection = await cluster.connect(only(cluster))
        connection.start(GET, method="GET", body=NO_BODY)
        status = (await connection.response()).status
        return (status, "-", "via_upstream", "-"), await rest(connection)
    except UpstreamError as error:
        details = error.details(started=bool(status))
        told = status or error.status, str(error.flag), details, error.transport_failure or "-"
        return told, b"" if status else error.body
    finally:
        if connection is not None:
            connection.release()


async def _envoys(port: int, *, dead: bool) -> bytes:
    async with Raw(port) as raw:
        await raw.send(GET.replace(b"/", b"/dead", 1) if dead else GET)
        with contextlib.suppress(CutOff):
            return (await raw.response()).body
    return b""


async def _play(backend: RecordingBackend, number: int, data: bytes, how: str) -> None:
    link = await backend.link(number)
    await link.receive(b"\r\n\r\n")
    await link.send(data)
    if how == "reset" and data:
        await asyncio.sleep(0.1)  # An RST may overtake the bytes before it, which is another case.
    if how != "wait":
        link.finish() if how == "finish" else link.reset()


@pytest.mark.skipif(envoy.unavailable() is not None, reason=str(envoy.unavailable()))
def test_broken_upstreams_are_told_as_envoy_tells_them(tmp_path: Path) -> None:
    async def main() -> list[tuple[Told, bytes, bytes]]:
        nobody, log = dead_port(), tmp_path / "access.log"
        asked = []
        async with RecordingBackend() as backend:
            process = await asyncio.to_thread(envoy.Envoy, _bootstrap(backend.port, nobody, log), tmp_path)
            try:
                for data, how in ANSWERS.values():
                    dead = how == "dead"
                    bodies = []
                    for ask in (_ours(nobody if dead else backend.port), _envoys(process.port, dead=dead)):
                        script = None if dead else _play(backend, len(backend.links), data, how)
                        playing = asyncio.ensure_future(script) if script is not None else None
                        bodies.append(await ask)
                        if playing is not None:
                            await playing
                    (told, ours), theirs = bodies
                    asked.append((told, ours, theirs))
            finally:
                await asyncio.to_thread(process.stop)
        return asked

    asked = asyncio.run(main())
    lines = (tmp_path / "access.log").read_text().splitlines()
    for name, (told, ours, theirs), line in zip(ANSWERS, asked, lines, strict=True):
        status, *words = line.split("\t")
        assert told == (int(status), *words), name
        assert ours == theirs, name
