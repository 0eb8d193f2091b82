"""Fetching key sets: from where configuration says, and from nowhere else."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import json
import ssl
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID
from support.documents import config_of
from support.jwks import IssuerServer, moved, page
from support.tokens import jwk, jwks, private_key

from gateway.security.jwks_fetch import DISCOVERY, Fetcher, FetchError
from gateway.security.state import SecurityState

if TYPE_CHECKING:
    from pathlib import Path

KEYS = jwks(jwk(private_key()))


def run(main: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(main())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ("[]", "not a JSON object"),
        ({}, "another issuer's"),
        ({"issuer": "https://evil.test", "jwks_uri": "{url}/keys"}, "another issuer's"),
        ({"issuer": "{url}"}, "names no jwks_uri"),
        ({"issuer": "{url}", "jwks_uri": "file:///etc/passwd"}, "not a URL"),
        ({"issuer": "{url}", "jwks_uri": "ftp://127.0.0.1/k"}, "not a URL"),
        ({"issuer": "{url}", "jwks_uri": "http://10.255.255.1/k"}, "plain HTTP"),
        ({"issuer": "{url}", "jwks_uri": "http://user@127.0.0.1/k"}, "a user"),
    ],
)
def test_discovery_documents_that_are_not_followed(document: Any, says: str) -> None:
    """They are another's, or lead where configuration may not lead either."""

    async def main() -> None:
        async with IssuerServer() as server:
            text = document if isinstance(document, str) else json.dumps(document)
            server.answers[DISCOVERY] = page(text.replace("{url}", server.url))
            fetcher = Fetcher()
            with pytest.raises(FetchError, match=says):
                await fetcher.discovered(server.url, 5.0)
            await fetcher.close()
            assert server.asked == [DISCOVERY]

    run(main)


def self_signed(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and a client's context; the client trusts this server alone."""
    key = private_key("P-256", "tls")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "server.pem").write_bytes(pem + secret)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "server.pem")
    return server, ssl.create_default_context(cadata=pem.decode())


def test_keys_over_https(tmp_path: Path) -> None:
    """A server that we trust is believed; it does not lead us away from https."""
    tls, trusting = self_signed(tmp_path)

    async def main() -> None:
        async with (
            IssuerServer({"/keys": page(KEYS), "/same": moved("/keys")}, tls=tls) as server,
            IssuerServer({"/keys": page(KEYS)}) as plain,
        ):
            server.answers["/away"] = moved(f"{plain.url}/keys")
            fetcher = Fetcher(verify=trusting)
            assert (await fetcher.keys(f"{server.url}/keys", 5.0)).body == KEYS.encode()
            assert (await fetcher.keys(f"{server.url}/same", 5.0)).body == KEYS.encode()
            with pytest.raises(FetchError, match="away from https"):
                await fetcher.keys(f"{server.url}/away", 5.0)
            assert plain.asked == []
            await fetcher.close()

    run(main)


def test_a_server_nobody_vouches_for_is_not_believed(tmp_path: Path) -> None:
    """The system does not know this certificate."""
    tls, _ = self_signed(tmp_path)

    async def main() -> None:
        async with IssuerServer({"/keys": page(KEYS)}, tls=tls) as server:
            fetcher = Fetcher()
            with pytest.raises(FetchError, match="CERTIFICATE_VERIFY_FAILED"):
                await fetcher.keys(f"{server.url}/keys", 5.0)
            await fetcher.close()
            assert server.asked == []

    run(main)


@pytest.mark.parametrize(
    ("uri", "came_from", "allowed"),
    [
        ("https://issuer.test/k", "", True),
        ("http://issuer.test/k", "", False),
        ("http://localhost:8000/k", "", True),
        ("http://[::1]/k", "", True),
        ("http://localhost.evil.test/k", "", False),
        ("http://127.0.0.1.evil.test/k", "", False),
        ("https://127.0.0.1/k", "https://issuer.test/k", False),
        ("https://127.0.0.1/k", "https://127.0.0.1/j", True),
        ("https://localhost/k", "https://issuer.test/k", False),
        ("http://127.0.0.1/k", "https://127.0.0.1/j", False),
        ("https://other.test/k", "https://issuer.test/k", True),
        ("https://u@issuer.test/k", "", False),
    ],
)
def test_where_keys_may_come_from(uri: str, came_from: str, allowed: bool) -> None:
    """https; plain HTTP only from this machine, and other machines do not send us there."""
    fetcher = Fetcher()
    try:
        fetcher._allow(uri, came_from)
    except FetchError:
        assert not allowed
    else:
        assert allowed


def test_a_server_that_does_not_answer_is_given_up() -> None:
    """After the rule's timeout, whatever it was that took so long."""

    async def main() -> None:
        async def never() -> bytes:
            await asyncio.Event().wait()
            return b""

        async with IssuerServer({"/keys": never}) as server:
            fetcher = Fetcher()
            with pytest.raises(FetchError, match=r"no answer within 0\.05 s"):
                await fetcher.keys(f"{server.url}/keys", 0.05)
            await fetcher.close()

    run(main)


def test_plain_http_may_be_allowed() -> None:
    """A setting for networks that are trusted; it follows reloads."""

    async def main() -> None:
        fetcher = Fetcher()
        state = SecurityState(fetcher=fetcher)
        text = "apiVersion: gateway.asgi/v1\nkind: GatewaySettings\nmetadata: {name: s}\nspec: {jwks: {allowHttp: %s}}"
        await state.start(config_of(text % "true"))
        fetcher._allow("http://issuer.test/k", "")
        await state.follow(config_of(text % "false"))
        with pytest.raises(FetchError, match="allowHttp"):
            fetcher._allow("http://issuer.test/k", "")
        await state.stop()

    run(main)
