"""Who a connection's peer is, under any server's context, and what applications learn."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from support.certificates import SLEEP, Certs, authority, der, leaf, with_names
from support.tls import tls_listener
from support.upstreams import LOOPS, Run

from gateway.http.peer import Peer
from gateway.tls import identify, tls_extension
from gateway.tls.certificate import Unreadable, parsed


async def stock(context: ssl.SSLContext, client: ssl.SSLContext) -> ssl.SSLObject:
    """The server's side of a connection under a context that is not ours, as uvicorn makes one."""
    seen: asyncio.Future[ssl.SSLObject] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.set_result(writer.get_extra_info("ssl_object"))
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client, server_hostname="shop.test")
    connection = await seen
    writer.transport.abort()
    server.close()
    await server.wait_closed()
    await asyncio.sleep(0)
    return connection


@LOOPS
def test_another_server_s_connection_has_an_identity(run: Run, certs: Certs) -> None:
    """`uvicorn --ssl-ca-certs`: verified by its context, so believed; the Gateway server is none."""

    async def main() -> None:
        context = certs.server(leaf(dns_names=("shop.test",)), authority())
        connection = await stock(context, certs.client(leaf(principal=SLEEP)))
        peer = identify(connection)
        assert (peer.verified, peer.principal, peer.server, peer.sni) == (True, SLEEP, "", "")
        assert identify(connection, wall=lambda: 0.0) == Peer(version=peer.version, cipher=peer.cipher)

    run(main())


def test_a_certificate_that_nobody_checked_is_none(certs: Certs) -> None:
    """Without a demand for certificates there is nobody, whatever the client would show."""

    async def main() -> None:
        connection = await stock(
            certs.server(leaf(dns_names=("shop.test",))), certs.client(leaf(principal=SLEEP))
        )
        assert not identify(connection).verified

    asyncio.run(main())


def test_applications_get_the_tls_extension(tmp_path: Path, certs: Certs) -> None:
    """Of ASGI's specification, with IANA's numbers."""

    async def main() -> None:
        servers = "hosts: ['*'], tls: {mode: OPTIONAL_MUTUAL, credentialName: shop}"
        async with tls_listener(tmp_path, servers) as it:
            pair = leaf(principal=SLEEP, common_name="sleep")
            assert await it.call(certs.client(pair)) == b"ping"
            assert await it.call(certs.client()) == b"ping"
            known, unknown = (
                tls_extension(peer, connection)
                for peer, connection in zip(it.peers, it.connections, strict=True)
            )
            assert known == {
                "server_cert": (certs.folder / "shop/tls.crt").read_text(),
                "client_cert_chain": (pair.pem.decode(),),
                "client_cert_name": "CN=sleep",
                "client_cert_error": None,
                "tls_version": 0x0304,
                "cipher_suite": 0x1302,
            }
            assert (unknown["client_cert_chain"], unknown["client_cert_name"]) == ((), None)
            assert tls_extension(Peer()) == dict.fromkeys(known) | {"client_cert_chain": ()}

    asyncio.run(main())


def test_a_context_that_openssl_s_name_does_not_belong_to_is_left(tmp_path: Path, certs: Certs) -> None:
    """If the two readings of a hello ever differed, the handshake would end there."""

    async def main() -> None:
        async with tls_listener(tmp_path, "hosts: ['*'], tls: {mode: SIMPLE, credentialName: shop}") as it:
            table = it.store.table(8443)
            assert table is not None
            table.servers[0].context.serves = lambda name: name == "other.test"
            assert await it.call(certs.client()) == b""
            assert it.peers == []

    asyncio.run(main())


MAIL = x509.RFC822Name
NAMES = with_names(
    [
        x509.DNSName("*.shop.test"),
        x509.DNSName("Plain.test"),
        x509.UniformResourceIdentifier(f"spiffe://{SLEEP}"),
        MAIL("a@shop.test"),
    ]
)


@pytest.mark.parametrize(
    ("wanted", "carried"),
    [
        (f"spiffe://{SLEEP}", True),
        (f"spiffe://{SLEEP}/", False),
        (SLEEP, False),
        ("a.shop.test", True),
        ("A.SHOP.TEST", True),
        ("*.shop.test", True),
        ("a.b.shop.test", False),
        ("shop.test", False),
        (".shop.test", False),
        ("plain.test", True),
        ("a.plain.test", False),
        ("a@shop.test", True),
    ],
)
def test_names_are_compared_as_envoy_does(wanted: str, carried: bool) -> None:
    """A `*.` of the certificate is one label; nothing else is a pattern."""
    assert parsed(der(NAMES)).carries([wanted]) is carried
    assert not parsed(der(NAMES)).carries([])


@pytest.mark.parametrize("data", [b"", b"\x30\x03\x02\x01\x00", der(NAMES)[:-1]])
def test_bytes_that_are_no_certificate_identify_nobody(data: bytes) -> None:
    """With one exception of our own, whatever the parser found."""
    with pytest.raises(Unreadable):
        parsed(data)
