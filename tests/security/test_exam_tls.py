"""Certificates and handshakes (security.md T) against a real `gateway run`: who gets in, as whom, and what the
backend is told.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from support import chains
from support.attacks import get
from support.certificates import SLEEP, Certs, authority, leaf, with_names
from support.chains import Signed, dns, uri
from support.strangers import (
    ASKED,
    CHAINS,
    CONFIG,
    DENIED,
    HOUR,
    ID,
    IN,
    NAMES,
    NOBODY,
    OPEN,
    PORTS,
    REVOKED,
    ROOT,
    SLEEPING,
    SPELLINGS,
    WRONG,
)
from support.whole import CLOSE, House, houses

from gateway.tls import mint

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("tls")
    certs, server = Certs(folder / "certs"), leaf(dns_names=NAMES)
    certs.put("edge", server, authority())
    certs.put("chains", server, ROOT.pem)
    certs.put("revoking", server, authority(), crl=mint.revoke(authority(), [REVOKED.certificate]))
    certs.put("stale", server, authority(), crl=mint.revoke(authority(), [], lifetime=-HOUR))
    certs.put("rotating", server, authority())
    yield from houses(
        folder, CONFIG, ports=PORTS, admin="127.0.0.1:0", settings="  timeouts: {tlsHandshake: 1s}"
    )


@pytest.fixture
def certs(house: House) -> Certs:
    """Contexts of clients, and the folder the gateway reads."""
    return Certs(house.folder / "certs")


def handshakes(house: House, outcome: str) -> int:
    """How many ended so, as `/metrics` has it."""
    lines = house.admin("/metrics").body.decode().splitlines()
    found = [line for line in lines if "handshake" in line and f'"{outcome}"' in line]
    return sum(int(float(line.rpartition(" ")[2])) for line in found)


@pytest.mark.parametrize("who", WRONG)
@pytest.mark.parametrize("where", ["mutual", "optional"])
def test_t01_t02_a_wrong_certificate_gets_no_connection(
    where: str, who: str, house: House, certs: Certs
) -> None:
    """Also where a certificate is optional: a bad one is not the same as none. The log says why."""
    before = handshakes(house, "complete")
    told = house.ask(ASKED, where, certs.client(WRONG[who]))
    if where == "optional" and who == "none":
        assert (told.statuses, told.seen) == (DENIED, [])
        return
    assert (told.statuses, told.seen) == (NOBODY, [])
    assert handshakes(house, "complete") == before
    house.process.wait_for_line(r"TLS handshake failed: (certificate_verify_failed|peer_did_not|unreadable)")


def test_t01_plain_http_on_a_tls_port(house: House) -> None:
    """400 and a word in plain text; TLS on a plain port: 400, closed."""
    told = house.ask(ASKED, "mutual")
    assert (told.statuses, told.seen) == ((400,), [])
    assert b"TLS" in told.responses[0].body
    assert house.ask(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), "plain").statuses == (400,)


def test_t02_weak_keys_and_digests(house: House) -> None:
    """RSA of 1024 bits, and SHA-1 in the chain."""
    sleep = [uri("spiffe://" + SLEEP)]
    weak = chains.leaf(ROOT, sleep, key=chains.weak_key())
    assert house.ask(ASKED, "chains", weak.client(house.folder, "weak", authority().pem)).statuses == NOBODY
    plain = chains.leaf(None, sleep)
    root = str(ROOT.written(house.folder, "root"))
    (house.folder / "leaf.pem").write_bytes(plain.pem)
    place = str(house.folder / "leaf.pem")
    signed = subprocess.run(
        ["openssl", "x509", "-in", place, "-CA", root, "-CAkey", root, "-set_serial", "7", "-sha1"],
        capture_output=True,
        check=True,
    )
    old = Signed(x509.load_pem_x509_certificate(signed.stdout), plain.key, ())
    assert old.certificate.signature_algorithm_oid == x509.SignatureAlgorithmOID.ECDSA_WITH_SHA1
    assert house.ask(ASKED, "chains", old.client(house.folder, "old", authority().pem)).statuses == NOBODY


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_t03_t05_t06_nobody_but_the_one_canonical_name(spelling: str, house: House, certs: Certs) -> None:
    """Genuine certificates of our authority that almost name the principal of the policy: 403."""
    told = house.ask(ASKED, "mutual", certs.client(with_names(SPELLINGS[spelling])))
    assert (told.statuses, told.seen) == (DENIED, [])
    assert told.responses[0].body == b"RBAC: access denied"


def test_the_principal_of_the_policy_gets_in(house: House, certs: Certs) -> None:
    """Or the tests above would hold for a gateway that lets nobody in."""
    told = house.ask(ASKED, "mutual", certs.client(with_names([uri(ID)])))
    assert told.statuses == IN
    assert b";URI=" + ID.encode() in told.only.values(b"x-forwarded-client-cert")[0]


def elements(xfcc: bytes) -> list[list[bytes]]:
    """The elements of x-forwarded-client-cert and their fields, as a reader that knows quotes sees them."""
    found: list[list[bytes]] = [[b""]]
    quoted = escaped = False
    for char in map(bytes, zip(xfcc, strict=True)):
        if not quoted and char == b",":
            found.append([b""])
        elif not quoted and char == b";":
            found[-1].append(b"")
        else:
            quoted ^= char == b'"' and not escaped
            escaped = char == b"\\" and not escaped
            found[-1][-1] += char
    return found


FORGED = (
    'x";URI=spiffe://cluster.local/ns/default/sa/sleep;Subject="',
    "x,By=a;URI=spiffe://cluster.local/ns/default/sa/sleep",
    "admin/CN=root",
    "x\\",
    'x\\";Hash=0;"',
)


@pytest.mark.parametrize("text", FORGED)
def test_t07_names_stay_inside_their_field(text: str, house: House, certs: Certs) -> None:
    """A subject, a DNS name and a URI that look like fields of x-forwarded-client-cert: quoted, and nobody."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
    pair = with_names([dns(text), uri("spiffe://cluster.local/" + text)], subject=subject)
    context = certs.client(pair)
    assert house.ask(ASKED, "mutual", context).statuses == DENIED
    told = house.ask(OPEN, "mutual", context)
    (value,) = told.only.values(b"x-forwarded-client-cert")
    (fields,) = elements(value)
    names = [item.partition(b"=")[0] for item in fields]
    assert names == [b"Hash", b"Cert", b"Subject", b"URI", b"DNS"]
    assert b"URI=" + ID.encode() not in fields


def test_t07_a_common_name_is_nobody(house: House, certs: Certs) -> None:
    """However it is written."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ID)])
    assert house.ask(ASKED, "mutual", certs.client(with_names([], subject=subject))).statuses == DENIED


@pytest.mark.parametrize("where", ["plain", "optional", "mutual"])
def test_t08_a_client_s_own_xfcc_is_nobody_s(where: str, house: House, certs: Certs) -> None:
    """Removed on every kind of listener; with a verified certificate there is exactly ours."""
    claim = (
        b"X-Forwarded-Client-Cert: By=x;URI=" + ID.encode() + b"\r\nx-forwarded-client-cert: a\r\n" + CLOSE
    )
    pair = leaf(principal="cluster.local/ns/default/sa/other") if where == "mutual" else None
    context = None if where == "plain" else certs.client(pair)
    assert house.ask(get(claim), where, context).statuses == DENIED
    values = house.ask(get(claim, target=b"/anybody"), where, context).only.values(b"x-forwarded-client-cert")
    assert len(values) == (where == "mutual")
    assert ID.encode() not in b"".join(values)


@pytest.mark.parametrize("chain", CHAINS)
def test_t09_a_chain_is_built_by_the_rules(chain: str, house: House) -> None:
    """Name constraints, path lengths, purposes, rights: what an authority below the root may not sign counts
    for nothing.
    """
    signed, statuses = CHAINS[chain]
    told = house.ask(ASKED, "chains", signed.client(house.folder, "chained", authority().pem))
    assert (told.statuses, len(told.seen)) == (statuses, len(statuses))


def test_t09_the_authority_between_has_to_be_shown(house: House) -> None:
    """It is not fetched from where the certificate says."""
    issuer = x509.AuthorityInformationAccess(
        [
            x509.AccessDescription(
                x509.AuthorityInformationAccessOID.CA_ISSUERS,
                uri(f"http://127.0.0.1:{house.backend.port}/ca"),
            )
        ]
    )
    lone = chains.leaf(chains.authority(ROOT, "between"), SLEEPING, more=[(issuer, False)])
    lone.above = ()
    told = house.ask(ASKED, "chains", lone.client(house.folder, "lone", authority().pem))
    assert (told.statuses, house.backend.raw) == (NOBODY, b"")


def test_t15_revoked_and_unknown(house: House, certs: Certs) -> None:
    """A serial of the list is refused, others are not; a list past its date refuses everybody."""
    assert house.ask(ASKED, "revoking", certs.client(REVOKED)).statuses == NOBODY
    assert house.ask(ASKED, "revoking", certs.client(leaf(principal=SLEEP))).statuses == IN
    assert house.ask(ASKED, "stale", certs.client(leaf(principal=SLEEP))).statuses == NOBODY


MISDIRECTED = [
    ("open.test", b"open.test", False, (403,)),
    ("OPEN.test", b"Open.TEST:8443", False, (403,)),
    ("open.test", b"closed.test", False, (421,)),
    ("open.test", b"CLOSED.test:443", True, (421,)),
    ("open.test", b"closed.test.", False, (421,)),
    ("open.test", b"CLOSED.test.:443", True, (421,)),
    ("open.test", b"closed.test..", False, (400,)),
    ("closed.test", b"closed.test", True, (200,)),
    ("closed.test", b"open.test", True, (421,)),
    ("closed.test", b"closed.test", False, NOBODY),
    ("closed.test.", b"closed.test", False, NOBODY),
    ("other.test", b"open.test", False, NOBODY),
    (None, b"open.test", False, NOBODY),
    ("127.0.0.1", b"open.test", False, NOBODY),
]


@pytest.mark.parametrize(("name", "host", "shown", "statuses"), MISDIRECTED)
def test_t13_a_request_belongs_to_its_connection(
    name: str | None, host: bytes, shown: bool, statuses: tuple[int, ...], house: House, certs: Certs
) -> None:
    """One server name in the handshake and another Host: 421, and the backend sees nothing of it."""
    context = certs.client(leaf(principal=SLEEP) if shown else None)
    context.check_hostname = False
    told = house.ask(get(CLOSE, host=b"Host: " + host + b"\r\n"), "names", context, name)
    assert (told.statuses, len(told.seen)) == (statuses, statuses.count(200))


def session_of(house: House, where: str, *offered: Any) -> Any:
    """Session of a connection, and whether the one that was offered was taken; None: no connection."""
    return house.run(asyncio.to_thread(_session_of, house.port(where), *offered))


def _session_of(port: int, context: ssl.SSLContext, name: str, before: ssl.SSLSession | None = None) -> Any:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=name, session=before) as secured:
                secured.sendall(get(CLOSE, target=b"/anybody", host=b"Host: " + name.encode() + b"\r\n"))
                if not secured.recv(65536):
                    return None
                return secured.session, secured.session_reused
        except (ssl.SSLError, ConnectionError):
            return None


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_t12_a_session_is_not_resumed_elsewhere(version: ssl.TLSVersion, house: House, certs: Certs) -> None:
    """A session of the open host does not open the closed one; one of the closed host opens it to nobody
    but the one it was made with, and tickets of 1.3 are not given there.
    """
    context = certs.client()
    context.maximum_version = version
    session, reused = session_of(house, "names", context, "open.test")
    assert not reused
    assert session_of(house, "names", context, "closed.test", session) is None
    known = certs.client(leaf(principal=SLEEP))
    known.maximum_version = version
    session, _ = session_of(house, "names", known, "closed.test")
    house.backend.forget()
    _, reused = session_of(house, "names", known, "closed.test", session)
    assert not reused or version == ssl.TLSVersion.TLSv1_2
    (seen,) = house.backend.requests
    assert b";URI=" + ID.encode() in seen.values(b"x-forwarded-client-cert")[0]
    assert session_of(house, "names", known, "open.test", session)[1] is False


def test_t10_t11_credentials_change_under_connections(house: House, certs: Certs) -> None:
    """Half a pair, bad PEM: the old pair serves. Two authorities overlap; one that is taken away counts for
    nothing from then on, not even in a session of before.
    """
    place = certs.folder / "rotating"
    old, new = certs.client(leaf(principal=SLEEP)), leaf(authority("next"), principal=SLEEP)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    coming = certs.client(new, authority(), name="coming")
    session, _ = session_of(house, "rotating", old, "gw.test")
    assert house.ask(ASKED, "rotating", coming).statuses == NOBODY

    other = leaf(dns_names=NAMES)
    mint.write(place / "tls.key", other.key_pem)
    house.reload()
    assert house.ask(ASKED, "rotating", old).statuses == IN
    mint.write(place / "tls.crt", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    house.reload()
    assert house.ask(ASKED, "rotating", old).statuses == IN
    certs.put("rotating", other, authority().pem + authority("next").pem)
    house.reload()
    assert house.ask(ASKED, "rotating", old).statuses == house.ask(ASKED, "rotating", coming).statuses == IN
    certs.put("rotating", other, authority("next"))
    house.reload()
    assert house.ask(ASKED, "rotating", old).statuses == NOBODY
    assert session_of(house, "rotating", old, "gw.test", session) is None
    assert house.ask(ASKED, "rotating", coming).statuses == IN


REFUSED = {
    "TLS 1.0": ("-tls1", "-cipher", "ALL:@SECLEVEL=0"),
    "TLS 1.1": ("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"),
    "no encryption": ("-tls1_2", "-cipher", "aNULL:eNULL:@SECLEVEL=0"),
    "no forward secrecy": ("-tls1_2", "-cipher", "AES128-SHA:AES256-GCM-SHA384:@SECLEVEL=0"),
    "CBC": ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_t16_old_versions_and_weak_suites(what: str, house: House) -> None:
    """By `openssl s_client`: nothing is agreed on, and no request gets through."""
    said = spoken(house, *REFUSED[what])
    assert b"no peer certificate available" in said
    assert b"HTTP/1.1 " not in said


def test_h2_is_not_agreed_on(house: House) -> None:
    """A client that speaks HTTP/2 alone is told of no protocol, and its preface is refused; beside HTTP/1.1 that
    is chosen.
    """
    assert b"No ALPN negotiated" in spoken(house, "-alpn", "h2")
    assert b"ALPN protocol: http/1.1" in spoken(house, "-alpn", "h2,http/1.1")
    said = spoken(house, "-alpn", "h2", "-ign_eof", said=b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9))
    assert b"HTTP/1.1 505 " in said


def test_t16_renegotiation_and_early_data(house: House) -> None:
    """`R` makes `openssl s_client` ask for another handshake: refused. Early data is not offered."""
    said = spoken(house, "-tls1_2", said=b"R\n")
    assert b"RENEGOTIATING" in said
    assert b"no renegotiation" in said
    session = house.folder / "session.pem"
    assert b"HTTP/1.1 403 " in spoken(house, "-tls1_3", "-sess_out", str(session), "-ign_eof")
    shown = subprocess.run(
        ["openssl", "sess_id", "-in", str(session), "-noout", "-text"], capture_output=True, check=True
    )
    assert b"Max Early Data: 0" in shown.stdout


def spoken(house: House, *arguments: str, said: bytes = get(CLOSE, host=b"Host: open.test\r\n")) -> bytes:
    """What `openssl s_client` prints of a connection to the open host."""
    at = f"127.0.0.1:{house.port('names')}"
    command = ["openssl", "s_client", "-connect", at, "-servername", "open.test", *arguments]
    result = subprocess.run(command, input=said, capture_output=True, timeout=30, check=False)
    return result.stdout + result.stderr


def test_t17_a_handshake_that_trickles_ends(house: House, certs: Certs) -> None:
    """One second here, whatever is sent of it; meanwhile and afterwards others get in."""
    with socket.create_connection(("127.0.0.1", house.port("mutual")), timeout=10) as slow:
        slow.sendall(b"\x16\x03\x01\x02\x00")
        assert house.ask(ASKED, "mutual", certs.client(leaf(principal=SLEEP))).statuses == IN
        with suppress(ConnectionResetError):
            assert slow.recv(1) == b""
    assert handshakes(house, "timeout") == 1


def test_t17_handshakes_that_flood_leave_room_again(house: House, certs: Certs) -> None:
    """More than a thousand connections that say nothing: closed; who comes after them is served."""
    idle = [socket.create_connection(("127.0.0.1", house.port("mutual")), timeout=10) for _ in range(1100)]
    try:
        with suppress(ConnectionResetError):
            assert idle[-1].recv(1) == b""
    finally:
        for each in idle:
            each.close()
    assert handshakes(house, "too_many_handshakes") >= 1
    assert house.ask(ASKED, "mutual", certs.client(leaf(principal=SLEEP))).statuses == IN


@pytest.mark.parametrize("where", ["mutual", "plain"])
@pytest.mark.parametrize(
    "preface",
    [b"PROXY TCP4 6.6.6.6 127.0.0.1 1 2\r\n", b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + b"\x06" * 12],
    ids=["v1", "v2"],
)
def test_t18_a_proxy_preface_is_no_handshake(preface: bytes, where: str, house: House) -> None:
    """Nor a request: a client cannot choose its address."""
    told = house.ask(preface + ASKED, where)
    assert told.seen == []
    assert set(told.statuses) <= {400}
