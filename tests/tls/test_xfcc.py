"""x-forwarded-client-cert, byte for byte as real Envoy writes it."""

from __future__ import annotations

import http.client
import ssl
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from support import envoy
from support.certificates import SLEEP, Certs, authority, der, leaf, with_names
from support.tls import TlsListener, tls_listener

from gateway.http.peer import Peer
from gateway.tls import xfcc
from gateway.tls.certificate import parsed
from gateway.tls.mint import Pair


def name(**parts: str) -> x509.Name:
    oids = {"cn": NameOID.COMMON_NAME, "o": NameOID.ORGANIZATION_NAME, "c": NameOID.COUNTRY_NAME}
    return x509.Name([x509.NameAttribute(oids[key], value) for key, value in parts.items()])


URI, DNS = x509.UniformResourceIdentifier, x509.DNSName
PAIRS = {
    "a workload": leaf(principal=SLEEP),
    "a workload with a DNS name": leaf(principal=SLEEP, dns_names=("sleep.test", "b.test")),
    "DNS alone": leaf(dns_names=("sleep.test",)),
    "two URIs": with_names([URI(f"spiffe://{SLEEP}"), URI("https://a/b")]),
    "nothing but a subject": with_names([], subject=name(c="DE", o="Acme", cn="sleep")),
    "a subject with signs": with_names([DNS("a.test")], subject=name(o='Acme, "Inc"; a=b+c', cn="x\\y<z>")),
    "a subject with a line end": with_names([DNS("a.test")], subject=name(cn="a\r\nURI=spiffe://b")),
    "a subject in two scripts": with_names([DNS("a.test")], subject=name(cn="Zoë ✓")),
}
OWN = leaf(principal="cluster.local/ns/default/sa/gateway", dns_names=("shop.test",))


def peer_of(pair: Pair) -> Peer:
    known = parsed(der(pair))
    return Peer(
        verified=True,
        uris=known.uris,
        dns_names=known.dns_names,
        subject=known.subject,
        digest=known.digest,
        pem=known.pem,
        local_uris=parsed(der(OWN)).uris,
    )


def bootstrap(folder: Path) -> dict[str, Any]:
    """An Envoy that shows what it would forward, as the body of its answer."""
    details = {"subject": True, "cert": True, "uri": True, "dns": True}
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "a",
        "forward_client_cert_details": "SANITIZE_SET",
        "set_current_client_cert_details": details,
        "http_filters": [
            {
                "name": "router",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
                },
            }
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "a",
                    "domains": ["*"],
                    "routes": [
                        {
                            "match": {"prefix": "/"},
                            "direct_response": {"status": 200},
                            "response_headers_to_add": [
                                {"header": {"key": "seen", "value": "%REQ(x-forwarded-client-cert)%"}}
                            ],
                        }
                    ],
                }
            ]
        },
    }
    tls = {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": True,
        "common_tls_context": {
            "tls_certificates": [
                {
                    "certificate_chain": {"filename": str(folder / "tls.crt")},
                    "private_key": {"filename": str(folder / "tls.key")},
                }
            ],
            "validation_context": {"trusted_ca": {"filename": str(folder / "ca.crt")}},
        },
    }
    return {
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "static_resources": {
            "listeners": [
                {
                    "name": "a",
                    "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
                    "filter_chains": [
                        {
                            "filters": [{"name": "http", "typed_config": manager}],
                            "transport_socket": {"name": "tls", "typed_config": tls},
                        }
                    ],
                }
            ]
        },
    }


@pytest.mark.skipif(envoy.unavailable() is not None, reason=str(envoy.unavailable()))
def test_elements_are_envoy_s(tmp_path: Path) -> None:
    """For certificates of every kind."""
    certs = Certs(tmp_path / "certs")
    place = certs.put("envoy", OWN, authority())
    seen: dict[str, str | None] = {}
    with envoy.Envoy(bootstrap(place), tmp_path) as real:
        for kind, pair in PAIRS.items():
            context = certs.client(pair)
            connection = http.client.HTTPSConnection(
                "127.0.0.1", real.port, context=hostless(context), timeout=10
            )
            try:
                connection.request("GET", "/")
                seen[kind] = connection.getresponse().getheader("seen")
            finally:
                connection.close()
    assert seen == {kind: xfcc(peer_of(pair)).decode() for kind, pair in PAIRS.items()}


def hostless(context: ssl.SSLContext) -> ssl.SSLContext:
    context.check_hostname = False
    return context


def test_without_a_verified_certificate_there_is_no_element() -> None:
    """Whatever else is known."""
    assert xfcc(Peer(local_uris=("spiffe://a/b",), sni="a")) == b""


@settings(max_examples=150)
@given(st.lists(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1), max_size=3))
def test_a_uri_cannot_pass_for_another_value(uris: list[str]) -> None:
    """Signs that separate values stand in quotes only, where nothing ends them early."""
    element = xfcc(replace(peer_of(PAIRS["a workload"]), uris=tuple(uris), subject="", pem="", local_uris=()))
    values = element.decode().split(";", 3)[3]
    assert split(values) == [("URI", uri) for uri in uris or [""]]


def split(element: str) -> list[tuple[str, str]]:
    """Reads an element as a careful receiver does."""
    found, at = [], 0
    while at < len(element):
        equals = element.index("=", at)
        key, at, value = element[at:equals], equals + 1, ""
        if element[at : at + 1] == '"':
            at += 1
            while element[at] != '"':
                at += element[at] == "\\"
                value += element[at]
                at += 1
            at += 1
        else:
            end = element.find(";", at)
            value = element[at:] if end < 0 else element[at:end]
            assert not set(value) & set(',="')
            at += len(value)
        found.append((key, value))
        assert at == len(element) or element[at] == ";"
        at += 1
    return found


def test_it_is_of_the_connection_s_own_server(tmp_path: Path) -> None:
    """`By` is the certificate that was shown to this client."""
    certs = Certs(tmp_path / "certs")
    certs.put("shop", OWN, authority())

    async def main() -> None:
        it: TlsListener
        async with tls_listener(tmp_path, "hosts: ['*'], tls: {mode: MUTUAL, credentialName: shop}") as it:
            assert await it.call(certs.client(PAIRS["a workload"])) == b"ping"
            (peer,) = it.peers
            assert xfcc(peer) == xfcc(peer_of(PAIRS["a workload"]))
            assert xfcc(peer).startswith(b"By=spiffe://cluster.local/ns/default/sa/gateway;Hash=")

    import asyncio

    asyncio.run(main())
