"""The backends behind every subject: nginx with answers made in memory, and a sink for uploads.

Lifetime: process.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.processes import LOAD_CORE, LOOPBACK, Child, free_port, tool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ANSWER = 150
"""Bytes of an answer."""

_NGINX = """
daemon off; master_process off; worker_processes 1; pid {directory}/nginx.pid;
error_log {directory}/nginx-error.log warn;
worker_rlimit_nofile 20000;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; sendfile on; tcp_nopush on;
  client_body_temp_path {directory}/b; proxy_temp_path {directory}/p; fastcgi_temp_path {directory}/f;
  uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
  {servers}
}}
"""
_SERVER = """
  server {{
    listen {host}:{port} backlog=4096; root {directory}/files; default_type application/octet-stream;
    location /download {{ }}
    location / {{ add_header x-version {version}; default_type text/plain; return 200 "{body}"; }}
  }}
"""


@dataclass(frozen=True, slots=True)
class Backends:
    """Ports of what runs."""

    v1: int
    v2: int
    sink: int
    nginx: Child


@contextmanager
def backends(directory: Path, *, file_size: int = 0) -> Iterator[Backends]:
    """Starts them on the load's core; `/download` is a file of `file_size` bytes without content."""
    files = directory / "files"
    files.mkdir(exist_ok=True)
    with (files / "download").open("w+b", buffering=0) as file:
        file.truncate(file_size)
        while file.read(1 << 20):  # into the page cache: whoever is measured first would pay for it
            pass
    ports = {"v1": free_port(), "v2": free_port()}
    servers = "".join(
        _SERVER.format(host=LOOPBACK, port=port, version=name, body="x" * ANSWER, directory=directory)
        for name, port in ports.items()
    )
    conf = directory / "nginx.conf"
    conf.write_text(_NGINX.format(directory=directory, servers=servers))
    sink_port = free_port()
    with ExitStack() as stack:
        command = [tool("nginx", "nginx-light"), "-e", directory / "nginx-start.log", "-c", conf]
        nginx = stack.enter_context(Child("nginx", command, directory, core=LOAD_CORE))
        command = [sys.executable, "-m", "bench.sink", str(sink_port)]
        sink = stack.enter_context(Child("sink", command, directory, core=LOAD_CORE))
        for port in ports.values():
            nginx.await_port(port)
        sink.await_port(sink_port)
        yield Backends(**ports, sink=sink_port, nginx=nginx)
