"""Where credentials are found, and what is said when they are not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from support.certificates import Certs, authority, leaf

from gateway.tls import mint
from gateway.tls.credentials import Domains, Files, Named, folders_beside
from gateway.tls.material import CredentialError, Material, read_revocations

PAIR = leaf(dns_names=("shop.test",))
CA = authority().pem
CRL = mint.revoke(authority(), [])

SHAPES = {
    "a Kubernetes secret": ["shop/tls.crt", "shop/tls.key", "shop/ca.crt", "shop/ca.crl"],
    "a generic secret": ["shop/cert", "shop/key", "shop/cacert", "shop/crl"],
    "files side by side": ["shop.crt", "shop.key", "shop-ca.crt", "shop-ca.crl"],
    "authorities apart": ["shop/tls.crt", "shop/tls.key", "shop-cacert/ca.crt", "shop-cacert/ca.crl"],
}


def lay(
    folder: Path, names: list[str], contents: tuple[bytes, ...] = (PAIR.pem, PAIR.key_pem, CA, CRL)
) -> None:
    for name, content in zip(names, contents, strict=False):
        mint.write(folder / name, content)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_found(tmp_path: Path, shape: str) -> None:
    """By its name, whole."""
    lay(tmp_path, SHAPES[shape])
    for name in ("shop", "kubernetes://shop", "kubernetes-gateway://ns/shop"):
        (found,) = Named(name, (tmp_path / "nothing", tmp_path), trust=True).read()
        assert found == Material(name, PAIR.pem, PAIR.key_pem, CA, CRL)


def test_authorities_apart_come_first(tmp_path: Path) -> None:
    """As in Istio: `shop-cacert` before the `ca.crt` of `shop`; a plain file will do."""
    lay(tmp_path, SHAPES["a Kubernetes secret"])
    mint.write(tmp_path / "shop-cacert", authority("apart").pem)
    (found,) = Named("shop", (tmp_path,), trust=True).read()
    assert (found.authorities, found.revocations) == (authority("apart").pem, b"")


def test_what_is_not_needed_is_not_read(tmp_path: Path) -> None:
    """A listener in mode SIMPLE does not mind a broken bundle, nor trust a key."""
    lay(tmp_path, SHAPES["a Kubernetes secret"], (PAIR.pem, PAIR.key_pem, b"broken"))
    (found,) = Named("shop", (tmp_path,)).read()
    assert found.authorities == b""
    lay(tmp_path, ["roots/ca.crt"], (CA,))
    (found,) = Named("roots", (tmp_path,), pair=False, trust=True).read()
    assert (found.certificate, found.authorities) == (b"", CA)


ENCRYPTED = PAIR.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
BROKEN = {
    "not the key": (
        (PAIR.pem, leaf(dns_names=("a",)).key_pem, CA),
        "tls.key: not the key of the certificate in",
    ),
    "no certificate": ((b"-----BEGIN", PAIR.key_pem, CA), "tls.crt: not a certificate in PEM"),
    "cut off": ((PAIR.pem + PAIR.pem[:99], PAIR.key_pem, CA), "tls.crt: cut off in the middle"),
    "no key": ((PAIR.pem, b"", CA), "tls.key: not a private key in PEM"),
    "encrypted": ((PAIR.pem, ENCRYPTED, CA), "tls.key: the key is encrypted"),
    "no bundle": ((PAIR.pem, PAIR.key_pem, b""), "ca.crt: not a certificate in PEM"),
    "no list": (
        (PAIR.pem, PAIR.key_pem, CA, b"-----BEGIN X509 CRL-----\n"),
        "ca.crl: no complete revocation list",
    ),
    "bad list": ((PAIR.pem, PAIR.key_pem, CA, b"\x30\x00"), "ca.crl: not a revocation list"),
    "too large": ((b"#" * (4 * 1024 * 1024 + 1), PAIR.key_pem, CA), "tls.crt: larger than 4096 KiB"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_the_file_and_the_reason_are_named(tmp_path: Path, what: str) -> None:
    """So that nobody has to guess which of four files it was."""
    contents, message = BROKEN[what]
    lay(tmp_path, SHAPES["a Kubernetes secret"], contents)
    with pytest.raises(CredentialError) as caught:
        Named("shop", (tmp_path,), trust=True).read()
    assert message in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_missing_credential_says_where_was_looked(tmp_path: Path) -> None:
    """The credential, its key, or only its authorities."""
    with pytest.raises(
        CredentialError, match=r'"shop" is not there: neither shop/tls.crt nor shop.crt is in'
    ):
        Named("shop", (tmp_path,)).read()
    lay(tmp_path, SHAPES["a Kubernetes secret"][:1])
    with pytest.raises(CredentialError, match=r"shop/tls.key: no such file or directory"):
        Named("shop", (tmp_path,)).read()
    lay(tmp_path, SHAPES["a Kubernetes secret"][:2])
    with pytest.raises(
        CredentialError, match=r'"shop" has no authorities: neither shop/ca.crt nor shop-cacert'
    ):
        Named("shop", (tmp_path,), trust=True).read()


@pytest.mark.parametrize(
    "name", ["../shop", "a/b", "/etc/passwd", ".", "", ".hidden", "kubernetes://../a/..", "a\\b"]
)
def test_a_name_stays_in_its_folder(tmp_path: Path, name: str) -> None:
    """It is the name of a credential and not a path."""
    with pytest.raises(CredentialError, match="is not the name of a credential"):
        Named(name, (tmp_path,)).read()


def test_files_start_where_the_document_is(tmp_path: Path) -> None:
    """Unless their paths are absolute."""
    lay(tmp_path, ["a.pem", "b.pem", "c.pem", "d.pem"])
    (found,) = Files(tmp_path, "a.pem", str(tmp_path / "b.pem"), "c.pem", "d.pem").read()
    assert found == Material("a.pem", PAIR.pem, PAIR.key_pem, CA, CRL)


def test_a_der_list_is_taken(tmp_path: Path) -> None:
    """Authorities publish their lists in DER."""
    (tmp_path / "a.crl").write_bytes(Material("", revocations=CRL).lists[0].public_bytes(Encoding.DER))
    assert read_revocations(tmp_path / "a.crl") == CRL


def test_folders_are_beside_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`certs/` next to a file; in and next to a folder; or where GATEWAY_CERTS says."""
    monkeypatch.delenv("GATEWAY_CERTS", raising=False)
    file = tmp_path / "routes.yaml"
    assert folders_beside([file]) == (tmp_path / "certs",)
    assert folders_beside([tmp_path, file]) == (tmp_path / "certs", tmp_path.parent / "certs")
    monkeypatch.setenv("GATEWAY_CERTS", f"/a{os.pathsep}/b")
    assert folders_beside([file]) == (Path("/a"), Path("/b"))


def test_a_bundle_a_trust_domain(tmp_path: Path) -> None:
    """Named like the domain; nothing without the folder."""
    domains = Domains((tmp_path / "none", tmp_path))
    assert domains.read() == ()
    lay(tmp_path / "trust-domains", ["cluster.local.pem", "other.domain.crt", "README"], (CA, CA, b"?"))
    assert [material.name for material in domains.read()] == ["cluster.local", "other.domain"]


def test_the_store_lists_what_expires(tmp_path: Path) -> None:
    """The first to expire first; certificates, authorities and lists."""
    from support.tls import gateway_document, secure

    from gateway.tls import Store

    certs = Certs(tmp_path / "certs")
    certs.put("shop", leaf(principal="cluster.local/ns/default/sa/shop"), authority(), crl=CRL)
    routes = tmp_path / "routes.yaml"
    routes.write_text(gateway_document("hosts: ['*'], tls: {mode: MUTUAL, credentialName: shop}"))
    store = Store([routes])
    assert store.certificates() == ()
    secure(store, routes)
    held = store.certificates()
    assert [item.role for item in held] == ["certificate", "revocations", "authority"]
    assert {item.name for item in held} == {"shop"}
    assert held[0].principal == "cluster.local/ns/default/sa/shop"
    assert held[2].subject == "CN=test authority"
    assert held[2].not_after == authority().certificate.not_valid_after_utc.timestamp()
    assert held[2].serial == f"{authority().certificate.serial_number:x}"
