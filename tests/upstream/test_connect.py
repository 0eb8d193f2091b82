"""Opening connections: what fails and how it is told, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tempfile
from pathlib import Path

import pytest
from support.backend import RecordingBackend, SilentPort, dead_port
from support.clock import FakeClock
from support.upstreams import GET, HELLO, LOOPS, Run, ask, cluster_of, failure, only
from support.waiting import until

from gateway.http.flags import Flag
from gateway.upstream.cluster_config import ClusterConfig, Keepalive
from gateway.upstream.connect import open_connection
from gateway.upstream.pool import Pool


def descriptors() -> set[str]:
    """Open sockets of this process."""
    found = set()
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the directory's own descriptor is gone by now
            found.add(str(path.readlink()))
    return {target for target in found if target.startswith("socket:")}


@LOOPS
def test_a_refused_connection_is_told_as_envoy_tells_it(run: Run) -> None:
    """The strings are those Envoy 1.40 logs for the same port."""

    async def main() -> None:
        cluster = cluster_of(dead_port())
        error = await failure(cluster.connect(only(cluster)))
        assert (error.flag, error.status, error.sent) == (Flag.UPSTREAM_CONNECT_FAILURE, 503, False)
        assert error.transport_failure == "delayed_connect_error:_Connection_refused"
        assert error.details() == (
            "upstream_reset_before_response_started"
            "{remote_connection_failure|delayed_connect_error:_Connection_refused}"
        )
        assert error.body == (
            b"upstream connect error or disconnect/reset before headers."
            b" reset reason: remote connection failure"
        )
        assert (only(cluster).active, only(cluster).connections, cluster.pool.connections) == (0, 0, 0)

    run(main())


@LOOPS
def test_a_silent_address_times_out(run: Run) -> None:
    async def main() -> None:
        with SilentPort() as port:
            cluster = cluster_of(port, connect_timeout=0.05)
            error = await failure(cluster.connect(only(cluster)))
            assert (error.flag, error.reason) == (Flag.UPSTREAM_CONNECT_FAILURE, "connection timeout")
            assert error.details() == "upstream_reset_before_response_started{connection_timeout}"
            assert (only(cluster).active, only(cluster).connections, cluster.pool.connections) == (0, 0, 0)

    run(main())


@LOOPS
def test_a_cancelled_connect_closes_its_socket_and_gives_its_slot_back(run: Run) -> None:
    """Every client that leaves while we connect is such a cancellation (security.md F11)."""

    async def main() -> None:
        with SilentPort() as port:
            cluster = cluster_of(port, max_connections=3)
            endpoint = only(cluster)
            before = descriptors()
            for _ in range(5):
                tasks = [asyncio.ensure_future(cluster.connect(endpoint)) for _ in range(5)]
                await until(lambda: cluster.pool.connections == 3 and cluster.pool.pending == 5)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                counts = endpoint.active, endpoint.connections, cluster.pool.connections, cluster.pool.pending
                assert counts == (0, 0, 0, 0)
            await until(lambda: len(descriptors() - before) <= 1)  # uvloop keeps one of its own

    run(main())


@LOOPS
def test_a_unix_socket_is_an_endpoint(run: Run) -> None:
    async def main() -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "app.sock")
            async with RecordingBackend(HELLO, path=path):
                pool = Pool("unix", FakeClock())
                endpoint = pool.endpoint(path, 0)
                assert endpoint.address == path
                connection = await pool.connect(endpoint, ClusterConfig(name="unix", host="unix", port=80))
                assert await ask(connection) == (200, b"hello")
                connection.release()
                assert pool.lease(endpoint, connection._config) is connection
                connection.abort()

    run(main())


@LOOPS
def test_a_missing_unix_socket_is_a_connect_failure(run: Run) -> None:
    async def main() -> None:
        pool = Pool("unix", FakeClock())
        endpoint = pool.endpoint("/nowhere/app.sock", 0)
        error = await failure(pool.connect(endpoint, ClusterConfig(name="unix", host="unix", port=80)))
        assert error.transport_failure == "delayed_connect_error:_No_such_file_or_directory"
        assert pool.connections == 0

    run(main())


@LOOPS
def test_keepalive_probes_are_set_within_what_the_system_takes(run: Run) -> None:
    async def main() -> None:
        async with RecordingBackend() as backend:
            cluster = cluster_of(backend.port, keepalive=Keepalive(probes=3, time=7.0, interval=1e9))
            connection = await cluster.connect(only(cluster))
            option = connection.socket.getsockopt
            assert option(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert option(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 3
            assert option(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 7
            assert option(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 32767
            connection.abort()

    run(main())


@LOOPS
def test_small_writes_are_not_delayed_and_keepalive_is_off_by_default(run: Run) -> None:
    async def main() -> None:
        async with RecordingBackend() as backend:
            cluster = cluster_of(backend.port)
            connection = await cluster.connect(only(cluster))
            option = connection.socket.getsockopt
            assert option(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
            connection.abort()

    run(main())


@pytest.mark.parametrize("run", [asyncio.run])
def test_an_ipv6_endpoint_is_written_in_brackets(run: Run) -> None:
    async def main() -> None:
        try:
            server = await asyncio.start_server(lambda _, writer: writer.close(), "::1", 0)
        except OSError:
            pytest.skip("no IPv6 here")
        async with server:
            port = server.sockets[0].getsockname()[1]
            pool = Pool("six", FakeClock())
            endpoint = pool.endpoint("::1", port)
            config = ClusterConfig(name="six", host="six", port=80)
            connection = await open_connection(endpoint, config)
            assert endpoint.address == f"[::1]:{port}"
            assert connection.local_address.startswith("[::1]:")
            connection.close()
            await asyncio.sleep(0)

    run(main())


@LOOPS
def test_a_connection_that_is_dropped_on_arrival_takes_no_slot(run: Run) -> None:
    """Accepted and closed before the request is sent: the request fails, the counts do not."""

    async def main() -> None:
        async with RecordingBackend() as backend:
            cluster = cluster_of(backend.port)
            connecting = asyncio.ensure_future(cluster.connect(only(cluster)))
            (await backend.link()).reset()
            connection = await connecting
            await until(lambda: connection.closed)
            connection.release()
            assert (only(cluster).active, only(cluster).connections, cluster.pool.connections) == (0, 0, 0)

    run(main())


def test_asking_a_backend_once_costs_one_connection() -> None:
    async def main() -> None:
        async with RecordingBackend(HELLO) as backend:
            cluster = cluster_of(backend.port)
            connection = await cluster.acquire(only(cluster))
            await ask(connection, GET)
            connection.release()
            assert len(backend.links) == 1

    asyncio.run(main())
