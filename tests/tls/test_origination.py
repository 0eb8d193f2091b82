"""TLS to backends: who is believed, under which name, and what happens when it changes."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
from support.certificates import HOUR, Certs, authority, leaf
from support.upstreams import LOOPS, Run, ask

from gateway.config import load
from gateway.http.flags import Flag
from gateway.tls import Store, mint
from gateway.upstream import Cluster, Registry, UpstreamError, destinations, plan

REVIEWS = "cluster.local/ns/default/sa/reviews"
SERVICE = """\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: reviews}
spec:
  hosts: [reviews.test]
  ports: [{number: 443, name: https, protocol: HTTPS}]
  resolution: STATIC
  %s
  endpoints: [{address: 127.0.0.1, ports: {https: %d}%s}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews.test
  trafficPolicy:
    tls: {%s}
"""


class Backend:
    """Answers 200 over TLS; `seen` are its connections, as it saw them."""

    def __init__(self) -> None:
        self.port = 0
        self.seen: list[ssl.SSLObject] = []
        self.names: list[str | None] = []

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.seen.append(writer.get_extra_info("ssl_object"))
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()


@asynccontextmanager
async def backend(context: ssl.SSLContext) -> AsyncIterator[Backend]:
    it = Backend()

    def note(_: Any, name: str | None, __: Any) -> None:
        it.names.append(name)

    context.sni_callback = note
    server = await asyncio.start_server(it.answer, "127.0.0.1", 0, ssl=context)
    it.port = server.sockets[0].getsockname()[1]
    try:
        yield it
    finally:
        server.close()
        for connection in asyncio.all_tasks() - {asyncio.current_task()}:
            if "answer" in repr(connection):
                connection.cancel()
        await server.wait_closed()
        await asyncio.sleep(0)


class Origin:
    """A cluster with TLS, as control would have made it."""

    def __init__(self, folder: Path, port: int, tls: str, *, entry: str = "", endpoint: str = "") -> None:
        self.routes = folder / "routes.yaml"
        self.text = SERVICE % (entry, port, endpoint, "%s")
        self.store = Store([self.routes])
        self.registry = Registry(rng=Random(1))
        self.load(tls)

    def load(self, tls: str) -> None:
        """Follows a document whose rule has this `tls`."""
        self.routes.write_text(self.text % tls)
        loaded = load([self.routes])
        assert loaded.config is not None, loaded.findings
        planned = plan(loaded.config)
        secured = self.store.prepare(loaded.config, destinations(planned))
        assert not secured.fatal, secured.findings
        self.store.commit(secured)
        self.registry.commit(self.registry.prepare(planned))
        self.registry.secure(secured.originations)

    def renew(self) -> None:
        """Follows the files of the credentials."""
        secured = self.store.refresh()
        assert secured is not None
        self.store.commit(secured)
        self.registry.secure(secured.originations)

    @property
    def cluster(self) -> Cluster:
        return self.registry.clusters["outbound|443||reviews.test"]

    async def get(self) -> bytes:
        """One request; the connection goes back to the pool."""
        cluster = self.cluster
        (endpoint,) = cluster.endpoints
        connection = await cluster.acquire(endpoint)
        status, body = await ask(connection)
        connection.release()
        assert status == 200
        return body

    async def refused(self) -> str:
        """The transport failure of a connection that does not come about."""
        cluster = self.cluster
        (endpoint,) = cluster.endpoints
        with pytest.raises(UpstreamError) as caught:
            await cluster.acquire(endpoint)
        assert caught.value.flag is Flag.UPSTREAM_CONNECT_FAILURE
        assert caught.value.reason == "remote connection failure"
        assert (cluster.pool.connections, endpoint.active) == (0, 0)
        return caught.value.transport_failure


@asynccontextmanager
async def origin(folder: Path, port: int, tls: str, **more: str) -> AsyncIterator[Origin]:
    it = Origin(folder, port, tls, **more)
    try:
        yield it
    finally:
        await it.registry.close()
        await asyncio.sleep(0.01)  # close_notify of both sides


@pytest.fixture
def certs(tmp_path: Path) -> Certs:
    """The authority in certs/ca.crt, the gateway's own identity as `default`."""
    made = Certs(tmp_path / "certs")
    mint.write(made.folder / "ca.crt", authority().pem)
    made.put("default", leaf(principal="cluster.local/ns/default/sa/gateway"), authority())
    return made


SIMPLE = "mode: SIMPLE, caCertificates: certs/ca.crt"


@LOOPS
def test_simple_verifies_the_host_and_asks_for_it(run: Run, tmp_path: Path, certs: Certs) -> None:
    """By default its name is what is asked for and what must be found; connections are reused."""

    async def main() -> None:
        async with (
            backend(certs.server(leaf(dns_names=("reviews.test",)))) as it,
            origin(tmp_path, it.port, SIMPLE) as side,
        ):
            assert [await side.get(), await side.get()] == [b"ok", b"ok"]
            assert it.names == ["reviews.test"]
            assert it.seen[0].selected_alpn_protocol() is None

    run(main())


STRANGERS = {
    "another authority": (
        leaf(authority("stranger"), dns_names=("reviews.test",)),
        "certificate_verify_failed",
    ),
    "expired": (leaf(dns_names=("reviews.test",), valid=(-2 * HOUR, -HOUR)), "has_expired"),
    "not yet valid": (leaf(dns_names=("reviews.test",), valid=(HOUR, 2 * HOUR)), "not_yet_valid"),
    "another name": (leaf(dns_names=("ratings.test",)), "verify_san_list"),
    "for clients only": (leaf(dns_names=("reviews.test",), server=False), "certificate_purpose"),
}


@LOOPS
@pytest.mark.parametrize("who", STRANGERS)
def test_a_stranger_gets_no_request(run: Run, tmp_path: Path, certs: Certs, who: str) -> None:
    """503 UF, and the transport failure says why (T14)."""
    pair, reason = STRANGERS[who]

    async def main() -> None:
        async with backend(certs.server(pair)) as it, origin(tmp_path, it.port, SIMPLE) as side:
            failure = await side.refused()
            assert failure.startswith("TLS_error:_")
            assert reason in failure.lower()

    run(main())


def test_a_revoked_backend_is_refused(tmp_path: Path, certs: Certs) -> None:
    """`caCrl`."""
    pair = leaf(dns_names=("reviews.test",))
    mint.write(certs.folder / "ca.crl", mint.revoke(authority(), [pair.certificate]))

    async def main() -> None:
        async with (
            backend(certs.server(pair)) as it,
            origin(tmp_path, it.port, f"{SIMPLE}, caCrl: certs/ca.crl") as side,
        ):
            assert "revoked" in await side.refused()

    asyncio.run(main())


NAMES = {
    "the rule's own": (f"{SIMPLE}, subjectAltNames: ['spiffe://{REVIEWS}']", "", "", True),
    "another": (f"{SIMPLE}, subjectAltNames: ['spiffe://{REVIEWS}x']", "", "", False),
    "the entry's": (SIMPLE, f"subjectAltNames: ['spiffe://{REVIEWS}']", "", True),
    "another entry's": (SIMPLE, "subjectAltNames: [a.test]", "", False),
    "the workload's": ("mode: ISTIO_MUTUAL", "", ", serviceAccount: reviews", True),
    "another workload's": ("mode: ISTIO_MUTUAL", "", ", serviceAccount: ratings", False),
    "anyone of the mesh": ("mode: ISTIO_MUTUAL", "", "", True),
    "the name asked for": (f"{SIMPLE}, sni: other.test", "", "", False),
    "nobody verified": ("mode: SIMPLE, insecureSkipVerify: true", "", "", True),
}


@pytest.mark.parametrize("which", NAMES)
def test_who_may_answer(tmp_path: Path, certs: Certs, which: str) -> None:
    """A backend that has only its SPIFFE identity to show."""
    tls, entry, endpoint, fine = NAMES[which]

    async def main() -> None:
        async with (
            backend(certs.server(leaf(principal=REVIEWS))) as it,
            origin(tmp_path, it.port, tls, entry=entry, endpoint=endpoint) as side,
        ):
            if fine:
                assert await side.get() == b"ok"
            else:
                assert "verify_SAN_list" in await side.refused()

    asyncio.run(main())


@LOOPS
def test_mutual_shows_our_certificate(run: Run, tmp_path: Path, certs: Certs) -> None:
    """Of files, of a credential, or the workload's own in the mesh, with its form of the server name."""
    certs.put("mine", leaf(principal="cluster.local/ns/default/sa/mine"), authority())
    ways = {
        "mode: MUTUAL, credentialName: mine": ("mine", "reviews.test"),
        "mode: MUTUAL, clientCertificate: certs/mine/tls.crt, privateKey: certs/mine/tls.key,"
        " caCertificates: certs/ca.crt, sni: reviews.test": ("mine", "reviews.test"),
        "mode: ISTIO_MUTUAL": ("gateway", "outbound_.443_._.reviews.test"),
        "mode: ISTIO_MUTUAL, sni: a.test": ("gateway", "a.test"),
    }

    async def main() -> None:
        context = certs.server(leaf(dns_names=("reviews.test",)), authority())
        context.set_alpn_protocols(["istio", "http/1.1"])
        for tls, (account, name) in ways.items():
            async with backend(context) as it, origin(tmp_path, it.port, tls) as side:
                assert await side.get() == b"ok"
                names = it.seen[0].getpeercert()["subjectAltName"]  # type: ignore[index]
                assert names == (("URI", f"spiffe://cluster.local/ns/default/sa/{account}"),)
                assert it.names == [name]
                mesh = "ISTIO" in tls
                assert it.seen[0].selected_alpn_protocol() == ("istio" if mesh else "http/1.1")

    run(main())


@LOOPS
def test_a_new_connection_resumes_the_session(run: Run, tmp_path: Path, certs: Certs) -> None:
    """The cluster's last one; not past a change of credentials."""

    async def main() -> None:
        async with (
            backend(certs.server(leaf(dns_names=("reviews.test",)))) as it,
            origin(tmp_path, it.port, SIMPLE) as side,
        ):
            for _ in range(3):
                assert await side.get() == b"ok"
                (endpoint,) = side.cluster.endpoints
                for connection in tuple(endpoint.idle):
                    connection.close()
            assert [connection.session_reused for connection in it.seen] == [False, True, True]
            mint.write(certs.folder / "ca.crt", authority().pem + authority("new").pem)
            side.renew()
            assert await side.get() == b"ok"
            assert it.seen[-1].session_reused is False

    run(main())


@LOOPS
def test_many_connections_open_at_once(run: Run, tmp_path: Path, certs: Certs) -> None:
    """Each may offer the session of another that has just been made, or is still being made."""

    async def main() -> None:
        context = certs.server(leaf(dns_names=("reviews.test",)), authority())
        async with (
            backend(context) as it,
            origin(
                tmp_path,
                it.port,
                "mode: MUTUAL, sni: reviews.test, "
                "clientCertificate: certs/default/tls.crt, privateKey: certs/default/tls.key,"
                " caCertificates: certs/ca.crt",
            ) as side,
        ):
            for _ in range(3):
                assert await asyncio.gather(*(side.get() for _ in range(20))) == [b"ok"] * 20
                (endpoint,) = side.cluster.endpoints
                for connection in tuple(endpoint.idle):
                    connection.close()
            assert sum(connection.session_reused for connection in it.seen) > 20

    run(main())


@LOOPS
def test_changed_credentials_use_no_old_connection(run: Run, tmp_path: Path, certs: Certs) -> None:
    """Idle ones close at once, busy ones when they are released; nothing under way is cut off."""
    certs.put("mine", leaf(principal="cluster.local/ns/default/sa/mine"), authority())

    async def main() -> None:
        async with (
            backend(certs.server(leaf(dns_names=("reviews.test",)), authority())) as it,
            origin(tmp_path, it.port, "mode: MUTUAL, credentialName: mine") as side,
        ):
            cluster = side.cluster
            (endpoint,) = cluster.endpoints
            busy = await cluster.acquire(endpoint)
            assert await side.get() == b"ok"
            assert len(endpoint.idle) == 1
            certs.put("mine", leaf(principal="cluster.local/ns/default/sa/next"), authority())
            side.renew()
            assert len(endpoint.idle) == 0
            assert await ask(busy) == (200, b"ok")
            busy.release()
            assert (len(endpoint.idle), cluster.pool.connections) == (0, 0)
            assert await side.get() == b"ok"
            names = it.seen[-1].getpeercert()["subjectAltName"]  # type: ignore[index]
            assert names == (("URI", "spiffe://cluster.local/ns/default/sa/next"),)

    run(main())


def test_a_reload_to_tls_leaves_plain_connections(tmp_path: Path, certs: Certs) -> None:
    """The endpoint stays the same object, with its counters."""

    async def main() -> None:
        plain = await asyncio.start_server(Backend().answer, "127.0.0.1", 0)
        async with origin(tmp_path, plain.sockets[0].getsockname()[1], "mode: DISABLE") as side:
            assert await side.get() == b"ok"
            (endpoint,) = side.cluster.endpoints
            side.load("mode: DISABLE, sni: other.test")
            assert len(endpoint.idle) == 1, "the same kind of connection"
            side.load(SIMPLE)
            assert len(endpoint.idle) == 0
            assert side.cluster.endpoints[0] is endpoint
            assert side.cluster.pool.connections == 0
        plain.close()
        await plain.wait_closed()

    asyncio.run(main())


def test_a_backend_that_speaks_plain_text_is_refused(tmp_path: Path, certs: Certs) -> None:
    """As a failed handshake, within the connect timeout."""

    async def main() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        plain = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with origin(tmp_path, plain.sockets[0].getsockname()[1], SIMPLE) as side:
            assert "WRONG_VERSION_NUMBER" in await side.refused()
        plain.close()
        await plain.wait_closed()

    asyncio.run(main())
