"""Every mode of a Gateway's TLS server, on real sockets with real certificates."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography import x509
from support.certificates import HOUR, SLEEP, Certs, authority, der, leaf, with_names
from support.tls import MUTUAL, OPTIONAL, SIMPLE, tls_listener
from support.upstreams import LOOPS, Run

from gateway.tls import mint
from gateway.tls.certificate import parsed


@LOOPS
def test_simple_needs_no_client_certificate(run: Run, tmp_path: Path, certs: Certs) -> None:
    """And has none to identify anybody by, even if the client has one."""

    async def main() -> None:
        async with tls_listener(tmp_path, SIMPLE) as it:
            assert await it.call(certs.client(leaf(principal=SLEEP))) == b"ping"
            (peer,) = it.peers
            assert (peer.verified, peer.principal, peer.sni) == (False, "", "shop.test")
            assert peer.version == "TLSv1.3"
            assert peer.server == "default/edge/p0"
            assert it.store.handshakes.counts == {"complete": 1}

    run(main())


@LOOPS
def test_mutual_identifies_the_client(run: Run, tmp_path: Path, certs: Certs) -> None:
    """By the one SPIFFE URI of its certificate."""

    async def main() -> None:
        async with tls_listener(tmp_path, MUTUAL % "") as it:
            pair = leaf(principal=SLEEP, dns_names=("sleep.test",))
            assert await it.call(certs.client(pair)) == b"ping"
            (peer,) = it.peers
            assert peer.verified
            assert peer.principal == SLEEP
            assert peer.uris == (f"spiffe://{SLEEP}",)
            assert peer.dns_names == ("sleep.test",)
            assert peer.digest == sha256(der(pair)).hexdigest()
            assert peer.pem == pair.pem.decode()

    run(main())


REVOKED = leaf(principal=SLEEP)
STRANGERS = {
    "no certificate": (None, "peer_did_not_return_a_certificate"),
    "another authority": (leaf(authority("stranger"), principal=SLEEP), "certificate_verify_failed"),
    "expired": (leaf(principal=SLEEP, valid=(-2 * HOUR, -HOUR)), "certificate_verify_failed"),
    "not yet valid": (leaf(principal=SLEEP, valid=(HOUR, 2 * HOUR)), "certificate_verify_failed"),
    "for servers only": (leaf(principal=SLEEP, client=False), "certificate_verify_failed"),
    "its own authority": (mint.make_authority("self"), "certificate_verify_failed"),
    "revoked": (REVOKED, "certificate_verify_failed"),
}


@LOOPS
@pytest.mark.parametrize("who", STRANGERS)
def test_mutual_refuses(run: Run, tmp_path: Path, certs: Certs, who: str) -> None:
    """In the handshake, before a byte reaches the protocol; the reason is counted."""
    pair, reason = STRANGERS[who]
    crl = mint.revoke(authority(), [REVOKED.certificate])
    certs.put("shop", leaf(dns_names=("shop.test",)), authority(), crl=crl)

    async def main() -> None:
        async with tls_listener(tmp_path, MUTUAL % "") as it:
            assert await it.call(certs.client(pair)) == b""
            await it.settled()
            assert it.failures == {reason: 1}
            assert it.peers == []
            assert await it.call(certs.client(leaf(principal=SLEEP))) == b"ping", "others still get in"

    run(main())


def test_an_expired_revocation_list_refuses_everybody(tmp_path: Path, certs: Certs) -> None:
    """Whoever asked for revocations is not served without."""
    crl = mint.revoke(authority(), [], lifetime=-HOUR)
    certs.put("shop", leaf(dns_names=("shop.test",)), authority(), crl=crl)

    async def main() -> None:
        async with tls_listener(tmp_path, MUTUAL % "") as it:
            assert await it.call(certs.client(leaf(principal=SLEEP))) == b""
            await it.settled()
            assert it.failures == {"certificate_verify_failed": 1}

    asyncio.run(main())


@LOOPS
def test_optional_mutual_takes_both(run: Run, tmp_path: Path, certs: Certs) -> None:
    """Without a certificate nobody is identified; with a bad one there is no connection."""

    async def main() -> None:
        async with tls_listener(tmp_path, OPTIONAL) as it:
            assert await it.call(certs.client()) == b"ping"
            assert await it.call(certs.client(leaf(principal=SLEEP))) == b"ping"
            assert await it.call(certs.client(leaf(authority("stranger"), principal=SLEEP))) == b""
            await it.settled(3)
            assert [(peer.verified, peer.principal) for peer in it.peers] == [(False, ""), (True, SLEEP)]
            assert it.failures == {"certificate_verify_failed": 1}

    run(main())


def test_istio_mutual_has_the_workload_s_own_certificate(tmp_path: Path) -> None:
    """The credential `default`, or Istio's own file names."""
    certs = Certs(tmp_path / "certs")
    pair = leaf(principal="cluster.local/ns/default/sa/gateway", dns_names=("shop.test",))
    mint.write(certs.folder / "cert-chain.pem", pair.pem)
    mint.write(certs.folder / "key.pem", pair.key_pem)
    mint.write(certs.folder / "root-cert.pem", authority().pem)

    async def main() -> None:
        async with tls_listener(tmp_path, "hosts: ['*'], tls: {mode: ISTIO_MUTUAL}") as it:
            assert await it.call(certs.client()) == b""
            assert await it.call(certs.client(leaf(principal=SLEEP))) == b"ping"
            (peer,) = it.peers
            assert peer.principal == SLEEP
            assert peer.local_uris == ("spiffe://cluster.local/ns/default/sa/gateway",)

    asyncio.run(main())


TWO = with_names(
    [x509.UniformResourceIdentifier(f"spiffe://{SLEEP}"), x509.UniformResourceIdentifier("spiffe://a/b")]
)
NAMELESS = with_names([], subject=x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, SLEEP)]))


@pytest.mark.parametrize("pair", [TWO, NAMELESS, leaf(dns_names=("sleep.test",))])
def test_whoever_has_not_one_spiffe_uri_is_nobody(tmp_path: Path, certs: Certs, pair: mint.Pair) -> None:
    """Two URIs are no identity and not the first of them (T03), and a common name never is (T07)."""

    async def main() -> None:
        async with tls_listener(tmp_path, MUTUAL % "") as it:
            assert await it.call(certs.client(pair)) == b"ping"
            (peer,) = it.peers
            assert (peer.verified, peer.principal) == (True, "")

    asyncio.run(main())


ODD = [
    x509.UniformResourceIdentifier(f"spiffe://{SLEEP}\0.evil"),
    x509.DNSName("a\nb"),
]


@pytest.mark.parametrize("name", ODD)
def test_a_name_with_control_characters_ends_the_connection(
    tmp_path: Path, certs: Certs, name: x509.GeneralName
) -> None:
    """NUL once cut names short in comparisons (T04), and a line end would start a header."""

    async def main() -> None:
        async with tls_listener(tmp_path, MUTUAL % "") as it:
            assert await it.call(certs.client(with_names([name]))) == b""
            await it.settled()
            assert it.failures == {"unreadable_certificate": 1}
            assert it.peers == []

    asyncio.run(main())


PINNED = leaf(principal=SLEEP)


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        (f"subjectAltNames: ['spiffe://{SLEEP}']", "subject_alt_name"),
        (f"verifyCertificateSpki: ['{parsed(der(PINNED)).spki}']", "certificate_pin"),
        (f"verifyCertificateHash: ['{parsed(der(PINNED)).digest.upper()}']", "certificate_pin"),
    ],
)
@LOOPS
def test_names_and_pins_of_clients(run: Run, tmp_path: Path, certs: Certs, field: str, reason: str) -> None:
    """The right authority is not enough where names, keys or certificates are pinned."""

    async def main() -> None:
        async with tls_listener(tmp_path, MUTUAL % f", {field}") as it:
            assert await it.call(certs.client(PINNED)) == b"ping"
            other = leaf(principal="cluster.local/ns/default/sa/other")
            assert await it.call(certs.client(other)) == b""
            assert it.failures == {reason: 1}

    run(main())


def test_an_authority_speaks_for_its_own_trust_domain_only(tmp_path: Path, certs: Certs) -> None:
    """Of two authorities in one bundle, neither can mint the other's names."""
    other = authority("other.domain")
    certs.put("shop", leaf(dns_names=("shop.test",)), authority().pem + other.pem)
    mint.write(certs.folder / "trust-domains" / "cluster.local.pem", authority().pem)
    mint.write(certs.folder / "trust-domains" / "other.domain.pem", other.pem)

    async def main() -> None:
        async with tls_listener(tmp_path, MUTUAL % "") as it:
            assert await it.call(certs.client(leaf(principal=SLEEP))) == b"ping"
            assert await it.call(certs.client(leaf(other, principal="other.domain/ns/a/sa/b"))) == b"ping"
            assert await it.call(certs.client(leaf(other, principal=SLEEP))) == b""
            assert await it.call(certs.client(leaf(principal="third.domain/ns/a/sa/b"))) == b""
            assert [peer.principal for peer in it.peers] == [SLEEP, "other.domain/ns/a/sa/b"]
            assert it.failures == {"trust_domain": 2}

    asyncio.run(main())


@LOOPS
def test_the_server_name_chooses_everything(run: Run, tmp_path: Path, certs: Certs) -> None:
    """Certificate, whether a client must have one, and versions; exact names before patterns."""
    certs.put("other", leaf(dns_names=("other.test",)), authority("others"))
    servers = (
        "hosts: [shop.test], tls: {mode: SIMPLE, credentialName: shop, maxProtocolVersion: TLSV1_2}",
        "hosts: ['*.shop.test'], tls: {mode: MUTUAL, credentialName: shop}",
        "hosts: [Other.test], tls: {mode: MUTUAL, credentialName: other}",
    )

    async def main() -> None:
        async with tls_listener(tmp_path, *servers) as it:
            mine, theirs = leaf(principal=SLEEP), leaf(authority("others"), principal="others/ns/a/sa/b")
            assert await it.call(certs.client(), "shop.test") == b"ping"
            assert await it.call(certs.client(), "a.shop.test") == b""
            assert await it.call(certs.client(mine), "A.shop.TEST") == b"ping"
            assert await it.call(certs.client(mine), "other.test") == b"", "another server's authority"
            assert await it.call(certs.client(theirs), "other.test") == b"ping"
            assert [(peer.server[-1], peer.version, peer.sni) for peer in it.peers] == [
                ("0", "TLSv1.2", "shop.test"),
                ("1", "TLSv1.3", "a.shop.test"),
                ("2", "TLSv1.3", "other.test"),
            ]

    run(main())


@LOOPS
@pytest.mark.parametrize("name", ["nobody.test", "xshop.test", None])
def test_a_name_that_nobody_serves_is_refused(
    run: Run, tmp_path: Path, certs: Certs, name: str | None
) -> None:
    """So is none at all, without a server for `*`."""

    async def main() -> None:
        async with tls_listener(
            tmp_path, "hosts: [shop.test], tls: {mode: SIMPLE, credentialName: shop}"
        ) as it:
            context = certs.client()
            context.check_hostname = False
            assert await it.call(context, name) == b""
            assert it.failures == {"unknown_server_name": 1}

    run(main())


def test_an_rsa_and_an_ecdsa_certificate_stand_side_by_side(tmp_path: Path, certs: Certs) -> None:
    """`tlsCertificates`: paths start at the document's folder."""
    place = certs.put("files", leaf(dns_names=("shop.test",)))
    assert place.is_dir()
    server = (
        "hosts: ['*'], tls: {mode: MUTUAL, caCertificates: certs/shop/ca.crt, tlsCertificates:"
        " [{serverCertificate: certs/files/tls.crt, privateKey: certs/files/tls.key}]}"
    )

    async def main() -> None:
        async with tls_listener(tmp_path, server) as it:
            assert await it.call(certs.client(leaf(principal=SLEEP))) == b"ping"

    asyncio.run(main())


def raised(context: ssl.SSLContext, version: ssl.TLSVersion) -> ssl.SSLContext:
    context.minimum_version = context.maximum_version = version
    return context


SUITES = (
    "hosts: [%s], tls: {mode: SIMPLE, credentialName: shop, minProtocolVersion: TLSV1_0, cipherSuites: [%s]}"
)


def test_versions_and_ciphers_are_limited(tmp_path: Path, certs: Certs) -> None:
    """As asked for; and never below TLS 1.2."""
    servers = (
        "hosts: [new.shop.test], tls: {mode: SIMPLE, credentialName: shop, minProtocolVersion: TLSV1_3}",
        SUITES % ("shop.test", "ECDHE-ECDSA-AES256-GCM-SHA384, NULL-SHA256, ALL, UNKNOWN"),
        SUITES % ("old.shop.test", "ECDHE-ECDSA-AES128-GCM-SHA256"),
    )

    async def main() -> None:
        async with tls_listener(tmp_path, *servers) as it:
            old = raised(certs.client(), ssl.TLSVersion.TLSv1_2)
            assert await it.call(old, "new.shop.test") == b""
            assert await it.call(old, "shop.test") == b"ping"
            assert it.peers[-1].cipher == "ECDHE-ECDSA-AES256-GCM-SHA384"
            old.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
            assert await it.call(old, "shop.test") == b""
            assert await it.call(old, "old.shop.test") == b"ping"
            await it.settled(4)
            assert it.failures == {"unsupported_protocol": 1, "no_shared_cipher": 1}
            table = it.store.table(8443)
            assert table is not None
            lowest = {server.context.minimum_version for server in table.servers}
            assert lowest == {ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3}
            for server in table.servers:
                assert server.context.options & ssl.OP_NO_RENEGOTIATION
                assert server.context.options & ssl.OP_NO_COMPRESSION

    asyncio.run(main())


def test_http_1_1_is_agreed_on(tmp_path: Path, certs: Certs) -> None:
    """The only protocol there is behind it (ALPN)."""

    async def main() -> None:
        async with tls_listener(tmp_path, SIMPLE) as it:
            context = certs.client()
            context.set_alpn_protocols(["h2", "http/1.1"])
            _, writer = await it.open(context)
            assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
            writer.transport.abort()

    asyncio.run(main())


@LOOPS
def test_plain_http_on_a_tls_port_is_told_so(run: Run, tmp_path: Path, certs: Certs) -> None:
    """400 and closed: nothing of the request is read as one."""

    async def main() -> None:
        async with tls_listener(tmp_path, SIMPLE) as it:
            reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 400 ")
            assert answer.endswith(b"\r\n\r\nThis port speaks TLS. Use https://\n")
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
            writer.write(b"\x00\x01\x02")
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()
            assert it.failures == {"not_tls": 2}

    run(main())
