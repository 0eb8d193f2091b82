"""`gateway run` as a user runs it: a real process, real signals."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.process import DidNotStart, GatewayServer, Process, free_port, gateway
from support.raw import CutOff, Raw, talk
from support.stage import Backend, Call
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SETTINGS = """
apiVersion: gateway.asgi/v1
kind: GatewaySettings
metadata: {name: settings}
spec: {accessLog: {encoding: "OFF"}, timeouts: {drain: 1s}}
"""
ROUTES = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: all}
spec:
  hosts: [gw.test]
  http:
UP
  - directResponse: {status: 200, body: {string: BODY}}
"""
GET = b"GET / HTTP/1.1\r\nHost: gw.test\r\n\r\n"
UP = b"GET /up HTTP/1.1\r\nHost: gw.test\r\n\r\n"


TO_UP = """\
  - match: [{uri: {exact: /up}}]
    route: [{destination: {host: up.test}}]"""


def documents(tmp_path: Path, *texts: str, body: str = "hello", up: str = "") -> Path:
    """The configuration; `up`: the ServiceEntry of the backend behind /up."""
    path = tmp_path / "routes.yaml"
    routes = ROUTES.replace("BODY", body).replace("UP\n", TO_UP + "\n" if up else "")
    path.write_text("---".join([SETTINGS, routes, *texts, up]))
    return path


def server(port: int, protocol: str = "HTTP", bind: str = "127.0.0.1") -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: gate-{port}}}
spec:
  servers:
  - port: {{number: {port}, name: p, protocol: {protocol}}}
    bind: {bind}
    hosts: ["*"]
"""


def upstream(port: int) -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: up}}
spec:
  hosts: [up.test]
  ports: [{{number: 80, name: http, protocol: HTTP, targetPort: {port}}}]
  resolution: STATIC
  endpoints: [{{address: 127.0.0.1}}]
"""


class Slow:
    """A backend that answers when it is told to."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.answer = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            self.asked.set()
            await self.answer.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow")
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def slow_backend() -> AsyncIterator[tuple[int, Slow]]:
    slow = Slow()
    listener = await asyncio.start_server(slow.serve, "127.0.0.1", 0)
    yield listener.sockets[0].getsockname()[1], slow
    slow.answer.set()
    listener.close()
    await listener.wait_closed()


async def started(*arguments: Any, **options: Any) -> GatewayServer:
    """Starts a gateway without stopping the loop, on which its backend may live."""
    return await asyncio.to_thread(gateway, *arguments, **options)


def ask(process: GatewayServer, port: int | None = None, data: bytes = GET) -> Any:
    (response,) = asyncio.run(talk(port or process.port, data, count=1))
    return response


def test_it_says_what_it_does_serves_and_ends_with_0(tmp_path: Path) -> None:
    """One line each: generation, listeners, admin, trust, remarks."""
    path = documents(tmp_path)
    with gateway(path, admin="127.0.0.1:0") as process:
        response = ask(process)
        assert (response.status, response.body, response.header("server")) == (200, b"hello", "asgi-gateway")
        assert ask(process, data=b"GET / HTTP/1.0\r\n\r\n").status == 426
        assert process.admin_port
        assert (
            ask(process, process.admin_port, b"GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n").status == 200
        )
        assert process.stop(signal.SIGINT) == 0
        said = process.output
    assert f"generation 1, 1 virtual host, 1 route, 0 clusters from {path}" in said
    assert f"listening on http://127.0.0.1:{process.port}" in said
    assert "believes x-forwarded-* headers of nobody" in said
    assert "Traceback" not in said


def test_a_request_under_way_is_finished_before_the_end(tmp_path: Path) -> None:
    """SIGTERM: readiness and listeners go, the response comes, then the process ends with 0."""

    async def main() -> None:
        async with slow_backend() as (port, slow):
            process = await started(documents(tmp_path, up=upstream(port)), admin="127.0.0.1:0")
            with process:
                async with Raw(process.port) as raw, Raw(process.port) as idle:
                    await idle.send(GET)
                    await idle.response()
                    await raw.send(UP)
                    await slow.asked.wait()
                    process.send(signal.SIGTERM)
                    ready = b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                    while (await talk(process.admin_port or 0, ready))[0].status == 200:
                        await asyncio.sleep(0.01)
                    # Still open for those who have not noticed, but no longer for long.
                    assert (await talk(process.port, GET))[0].header("connection") == "close"
                    await idle.closed()
                    with pytest.raises(ConnectionError):
                        await talk(process.port, GET)
                    slow.answer.set()
                    response = await raw.response()
                    assert (response.body, response.header("connection")) == (b"slow", "close")
                    assert await raw.closed() == b""
                assert await asyncio.to_thread(process.wait) == 0

    asyncio.run(main())


@pytest.mark.parametrize("signals", [1, 2], ids=["after the drain timeout", "at once by a second signal"])
def test_a_request_that_does_not_end_does_not_keep_the_process(tmp_path: Path, signals: int) -> None:
    """503 when patience ends by itself, nothing when it is taken."""

    async def main() -> None:
        async with slow_backend() as (port, slow):
            process = await started(documents(tmp_path, up=upstream(port)))
            with process:
                async with Raw(process.port) as raw:
                    await raw.send(UP)
                    await slow.asked.wait()
                    process.send(signal.SIGTERM)
                    if signals == 2:
                        await asyncio.sleep(0.2)  # two at once are one
                        process.send(signal.SIGTERM)
                    code = await asyncio.to_thread(process.wait)
                    assert code == (0 if signals == 1 else 128 + signal.SIGTERM)
                    if signals == 1:
                        response = await raw.response()
                        assert (response.status, response.header("connection")) == (503, "close")
                    else:
                        with pytest.raises(CutOff):
                            await raw.response()

    asyncio.run(main())


def test_one_that_no_task_runs_does_not_either(tmp_path: Path) -> None:
    """On a warm connection a request is stepped by hand; it is cancelled like any other."""

    async def main() -> None:
        asked = asyncio.Event()

        async def once(call: Call) -> None:
            await call.head()
            await call.send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            await call.head()
            asked.set()
            await call.reader.read()

        async with Backend(once).running() as backend:
            process = await started(documents(tmp_path, up=upstream(backend.port)))
            with process:
                async with Raw(process.port) as raw:
                    await raw.send(UP)
                    assert (await raw.response()).status == 200
                    await raw.send(UP)
                    await asked.wait()
                    process.send(signal.SIGTERM)
                    assert (await raw.response()).status == 503
                    assert await asyncio.to_thread(process.wait) == 0
                    assert "Traceback" not in process.output

    asyncio.run(main())


def test_a_bad_first_file_ends_it_with_3_and_the_words_of_check(tmp_path: Path) -> None:
    """file:line:col, the line, a caret."""
    path = tmp_path / "routes.yaml"
    path.write_text(SETTINGS + "---" + ROUTES.replace("UP\n", "").replace("hosts:", "hostz:"))
    with pytest.raises(DidNotStart) as failed:
        gateway(path)
    assert failed.value.code == 3
    assert f"{path}:" in str(failed.value)
    assert "^" in str(failed.value)
    assert "nothing is served" in str(failed.value)
    with pytest.raises(DidNotStart) as failed:
        gateway(tmp_path / "absent.yaml", arguments=["--workers", "2"])
    assert failed.value.code == 3


def test_a_taken_port_is_one_sentence_and_3(tmp_path: Path) -> None:
    """It names the address and who has it."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(DidNotStart) as failed:
            gateway(documents(tmp_path), port=port)
    assert failed.value.code == 3
    lines = str(failed.value).splitlines()[1:]
    name = Path("/proc/self/comm").read_text().strip()
    taken = f"Cannot listen on 127.0.0.1:{port}: the port is taken, by {name} (pid {os.getpid()})."
    assert lines == [f"{taken} Stop that, or choose another with --port."]


def test_the_listeners_of_gateway_documents_are_opened(tmp_path: Path) -> None:
    """All plain HTTP ones; `--port` adds one; what is not opened is said."""
    first, second = free_port(), free_port()
    path = documents(tmp_path, server(first), server(second, "HTTP2"), server(6443, "TCP"))
    with gateway(path, port=None) as process:
        assert process.ports == [first, second]
        assert ask(process, second).body == b"hello"
        assert "gate-6443 port 6443 (TCP): only HTTP and HTTPS listeners are opened" in process.output
    with socket.create_server(("127.0.0.1", second)), gateway(path, port=0) as process:
        assert process.ports[1:] == [first]
        assert ask(process).body == b"hello"
        assert f"Cannot listen on 127.0.0.1:{second}" in process.output


def workers_of(process: GatewayServer) -> set[int]:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return {int(pid) for pid in children.split()}


def replace(path: Path, text: str) -> None:
    """As careful writers do."""
    fresh = path.with_name("fresh")
    fresh.write_text(text)
    fresh.replace(path)


def test_a_port_that_a_reload_adds_is_opened_at_once(tmp_path: Path) -> None:
    """One that cannot be is said, and the rest serves; a drain closes them all."""
    first, second = free_port(), free_port()
    path = documents(tmp_path, server(first))
    with socket.create_server(("127.0.0.1", 0)) as taken, gateway(path, port=None) as process:
        number = taken.getsockname()[1]
        assert ask(process, first).body == b"hello"
        replace(path, "---".join([path.read_text() + server(number), server(second)]))
        process.wait_for_line(f"listening on http://127.0.0.1:{second} too")
        assert (ask(process, first).body, ask(process, second).body) == (b"hello", b"hello")
        process.wait_for_line(f"Cannot listen on 127.0.0.1:{number}: the port is taken")
        assert process.stop() == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", second))


def test_workers_share_the_port_are_replaced_reloaded_and_ended(tmp_path: Path) -> None:
    """A worker that dies costs its own connections and nobody else's."""
    path = documents(tmp_path)

    async def bodies(process: GatewayServer) -> set[bytes]:
        return {(await talk(process.port, GET, count=1))[0].body for _ in range(20)}

    async def main() -> None:
        process = await started(path, arguments=["--workers", "2"])
        with process:
            assert "2 workers" in process.output
            before = workers_of(process)
            assert len(before) == 2
            victim = min(before)
            os.kill(victim, signal.SIGKILL)
            await until(lambda: len(workers_of(process)) == 2 and victim not in workers_of(process))
            assert await bodies(process) == {b"hello"}
            assert f"worker {victim} ended by signal 9" in process.output
            documents(tmp_path, body="changed")
            process.send(signal.SIGHUP)
            async with asyncio.timeout(20):
                while await bodies(process) != {b"changed"}:
                    await asyncio.sleep(0.02)
            children = workers_of(process)
            process.send(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait) == 0
            assert not any(alive(pid) for pid in children)
            assert "Traceback" not in process.output

    asyncio.run(main())


def test_workers_do_not_outlive_their_parent(tmp_path: Path) -> None:
    """However it ends: nobody holds the port behind its back."""

    async def main() -> None:
        process = await started(documents(tmp_path), arguments=["--workers", "2"])
        with process:
            children = workers_of(process)
            process.send(signal.SIGKILL)
            await asyncio.to_thread(process.process.wait)
            await until(lambda: not any(alive(pid) for pid in children))

    asyncio.run(main())


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_usage_errors_end_with_2() -> None:
    """As every command's."""
    import sys

    with Process([sys.executable, "-m", "gateway", "run", "--workers", "0"]) as process:
        assert process.wait() == 2
