"""Credentials change on disk while connections stand."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
from support.certificates import SLEEP, Certs, authority, leaf
from support.tls import MUTUAL, TlsListener, tls_listener
from support.upstreams import LOOPS, Run
from support.waiting import until

from gateway.control import Control
from gateway.tls import mint
from gateway.tls.contexts import ClientContext


def renew(it: TlsListener) -> list[str]:
    """Reads the files again, and gives the codes of what there is to say."""
    secured = it.store.refresh()
    if secured is None:
        return ["unchanged"]
    it.store.commit(secured, changed=True)
    return [finding.code for finding in secured.findings]


def serial(writer: asyncio.StreamWriter) -> int:
    return int(writer.get_extra_info("ssl_object").getpeercert()["serialNumber"], 16)


@LOOPS
def test_new_handshakes_have_the_new_certificate(run: Run, tmp_path: Path, certs: Certs) -> None:
    """And connections that stand go on."""

    async def main() -> None:
        async with tls_listener(tmp_path, MUTUAL % "") as it:
            context = certs.client(leaf(principal=SLEEP))
            reader, old = await it.open(context)
            renewed = leaf(dns_names=("shop.test",))
            assert renew(it) == ["unchanged"]
            certs.put("shop", renewed, authority())
            assert renew(it) == []
            assert it.store.changes == 1
            _, new = await it.open(context)
            assert serial(new) == renewed.certificate.serial_number != serial(old)
            old.write(b"ping")
            assert await reader.readexactly(4) == b"ping"
            for writer in (old, new):
                writer.transport.abort()

    run(main())


def test_half_a_pair_keeps_the_old_one(tmp_path: Path, certs: Certs) -> None:
    """Whichever half comes first, and until the other is there; the finding says which file."""

    async def main() -> None:
        async with tls_listener(tmp_path, MUTUAL % "") as it:
            context, renewed = certs.client(leaf(principal=SLEEP)), leaf(dns_names=("shop.test",))
            before = it.store.table(8443).servers[0].context  # type: ignore[union-attr]
            mint.write(certs.folder / "shop/tls.key", renewed.key_pem)
            assert renew(it) == ["GW282"]
            assert "shop/tls.key: not the key of the certificate" in it.store.secured.findings[0].message  # type: ignore[union-attr]
            assert it.store.table(8443).servers[0].context is before  # type: ignore[union-attr]
            assert renew(it) == ["unchanged"], "what was said once is not said again"
            assert await it.call(context) == b"ping"
            mint.write(certs.folder / "shop/tls.crt", renewed.pem)
            assert renew(it) == []
            _, writer = await it.open(context)
            assert serial(writer) == renewed.certificate.serial_number
            writer.transport.abort()

    asyncio.run(main())


BROKEN = {
    "cut off": lambda file: file.write_bytes(file.read_bytes()[:200]),
    "empty": lambda file: file.write_bytes(b""),
    "gone": lambda file: file.unlink(),
}


@pytest.mark.parametrize("name", ["tls.crt", "tls.key", "ca.crt"])
@pytest.mark.parametrize("how", BROKEN)
def test_what_cannot_be_read_stays_as_it_was(tmp_path: Path, certs: Certs, name: str, how: str) -> None:
    """A file in the middle of being written is no reason to stop serving."""

    async def main() -> None:
        async with tls_listener(tmp_path, MUTUAL % "") as it:
            BROKEN[how](certs.folder / "shop" / name)
            assert renew(it) == ["GW282"]
            assert await it.call(certs.client(leaf(principal=SLEEP))) == b"ping"

    asyncio.run(main())


def rememberer(certs: Certs, pair: mint.Pair, version: ssl.TLSVersion) -> ClientContext:
    """A client that offers its last session."""
    place = certs.put(".client", pair)
    context = ClientContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sessions = {}
    context.load_verify_locations(cadata=authority().pem.decode())
    context.load_cert_chain(place / "tls.crt", place / "tls.key")
    context.minimum_version = context.maximum_version = version
    return context


@LOOPS
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_removed_trust_is_not_resumed_past(
    run: Run, tmp_path: Path, certs: Certs, version: ssl.TLSVersion
) -> None:
    """A session made under an authority ends with it (T11, T12)."""

    async def main() -> None:
        async with tls_listener(tmp_path, MUTUAL % "") as it:
            context = rememberer(certs, leaf(principal=SLEEP), version)
            reader, writer = await it.open(context)
            writer.write(b"ping")
            assert await reader.readexactly(4) == b"ping"
            context.remember(writer.get_extra_info("ssl_object"), "shop.test")
            writer.transport.abort()
            assert await it.call(context) == b"ping"
            assert [peer.principal for peer in it.peers] == [SLEEP, SLEEP]
            # Only 1.2's own memory resumes: without tickets, 1.3 has nothing to.
            resumes = version is ssl.TLSVersion.TLSv1_2
            assert it.connections[1].session_reused is resumes
            mint.write(certs.folder / "shop/ca.crt", authority("new").pem)
            assert renew(it) == []
            assert await it.call(context) == b""
            await it.settled(3)
            assert it.failures == {"certificate_verify_failed": 1}

    run(main())


def test_a_new_revocation_counts_at_once(tmp_path: Path, certs: Certs) -> None:
    """And only for who is on the list."""
    revoked, other = leaf(principal=SLEEP), leaf(principal=SLEEP)

    async def main() -> None:
        async with tls_listener(tmp_path, MUTUAL % "") as it:
            assert await it.call(certs.client(revoked)) == b"ping"
            crl = mint.revoke(authority(), [revoked.certificate])
            mint.write(certs.folder / "shop/ca.crl", crl)
            assert renew(it) == []
            assert await it.call(certs.client(revoked)) == b""
            assert await it.call(certs.client(other)) == b"ping"

    asyncio.run(main())


def test_authorities_overlap_while_they_change(tmp_path: Path, certs: Certs) -> None:
    """Old and new beside each other let both in; what goes takes only its own along."""
    old, new = leaf(principal=SLEEP), leaf(authority("new"), principal=SLEEP)

    async def main() -> None:
        async with tls_listener(tmp_path, MUTUAL % "") as it:
            for bundle, expected in (
                (authority().pem, [b"ping", b""]),
                (authority().pem + authority("new").pem, [b"ping", b"ping"]),
                (authority("new").pem, [b"", b"ping"]),
            ):
                mint.write(certs.folder / "shop/ca.crt", bundle)
                renew(it)
                assert [await it.call(certs.client(old)), await it.call(certs.client(new))] == expected

    asyncio.run(main())


ROUTES = """\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  servers:
  - {port: {number: 8443, name: https, protocol: HTTPS}, hosts: ['*'], tls: {mode: SIMPLE, credentialName: %s}}
"""


def names(control: Control) -> set[str]:
    return {item.serial for item in control.tls.certificates()}


def test_the_watch_follows_credentials(tmp_path: Path, certs: Certs) -> None:
    """Also after a reload named another one, and through a mounted secret's link."""
    routes = tmp_path / "routes.yaml"
    routes.write_text(ROUTES % "shop")

    async def main() -> None:
        control = Control([routes])
        control.load_first()
        await control.start()
        try:
            first = leaf(dns_names=("a",))
            certs.put("shop", first)
            await until(lambda: control.tls.changes >= 1)
            assert names(control) == {f"{first.certificate.serial_number:x}"}
            generation = control.generation
            mounted(certs, "one")
            routes.write_text(ROUTES % "mounted")
            result = await control.reload()
            assert result.generation == generation + 1, "a credential is no generation, a document is"
            second = mounted(certs, "two")
            await until(lambda: control.tls.changes >= 2)
            assert names(control) == {f"{second.certificate.serial_number:x}"}
        finally:
            await control.stop()

    asyncio.run(main())


def mounted(certs: Certs, version: str) -> mint.Pair:
    """A secret as Kubernetes mounts it: files are links into `..data`, which is swapped."""
    pair = leaf(dns_names=("a",))
    place = certs.folder / "mounted"
    mint.write_credential(place / f"..{version}", pair)
    link = place / "..data_tmp"
    link.symlink_to(f"..{version}")
    link.rename(place / "..data")
    for name in ("tls.crt", "tls.key"):
        if not (place / name).is_symlink():
            (place / name).symlink_to(f"..data/{name}")
    return pair


def test_a_reload_whose_credential_is_missing_is_refused(tmp_path: Path, certs: Certs) -> None:
    """At the place that names it; what serves goes on."""
    routes = tmp_path / "routes.yaml"
    routes.write_text(ROUTES % "shop")

    async def main() -> None:
        control = Control([routes], watch=False)
        control.load_first()
        await control.start()
        try:
            table = control.tls.table(8443)
            routes.write_text(ROUTES % "missing")
            result = await control.reload()
            (finding,) = [item for item in result.findings if item.fatal]
            assert (finding.code, finding.line) == ("GW281", 6)
            assert 'credential "missing" is not there' in finding.message
            assert control.tls.table(8443) is table
        finally:
            await control.stop()

    asyncio.run(main())


def test_a_reload_keeps_contexts_that_did_not_change(tmp_path: Path, certs: Certs) -> None:
    """With them sessions and verdicts."""
    routes = tmp_path / "routes.yaml"
    routes.write_text(ROUTES % "shop")

    async def main() -> None:
        control = Control([routes], watch=False)
        control.load_first()
        await control.start()
        try:
            before = control.tls.table(8443)
            routes.write_text(ROUTES % "shop" + "# a remark\n")
            await control.reload()
            after = control.tls.table(8443)
            assert before is not None
            assert after is not None
            assert after is not before
            assert after.servers[0].context is before.servers[0].context
            assert after.servers[0].context.serves("any")
        finally:
            await control.stop()

    asyncio.run(main())


def test_a_plain_port_cannot_begin_to_speak_tls(tmp_path: Path, certs: Certs) -> None:
    """Nor the other way round: the reload is refused rather than served in plain text."""
    routes = tmp_path / "routes.yaml"
    plain = ROUTES.replace("HTTPS", "HTTP").replace(", tls: {mode: SIMPLE, credentialName: %s}", "")
    for first, second in ((plain, ROUTES % "shop"), (ROUTES % "shop", plain)):
        routes.write_text(first)

        async def main(second: str = second) -> None:
            control = Control([routes], watch=False)
            control.load_first()
            await control.start()
            try:
                routes.write_text(second)
                result = await control.reload()
                assert [item.code for item in result.findings if item.fatal] == ["GW197"]
            finally:
                await control.stop()

        asyncio.run(main())
