"""TLS and PeerAuthentication in the bootstrap: what the documents say, and that nothing is less than they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from support import envoy
from support.certificates import SLEEP, Certs, authority, leaf
from support.tls import gateway_document

from gateway.config import load
from gateway.export import Export, export_envoy
from gateway.tls import mint

SERVICE = """
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec:
  hosts: [a.test]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: %s
  endpoints: [{address: 127.0.0.1, labels: {app: a}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a}
spec: {hosts: [a.test], http: [{mirror: {host: a.test}, route: [{destination: {host: %s}}]}]}
"""
RULE = """
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: a}
spec: {host: a.test, trafficPolicy: {tls: {%s}}}
"""


@pytest.fixture
def certs(tmp_path: Path) -> Certs:
    made = Certs(tmp_path / "certs")
    made.put("shop", leaf(dns_names=("shop.test",)), authority())
    made.put("other", leaf(dns_names=("other.test",)), authority("other"))
    return made


def exported(folder: Path, text: str) -> Export:
    """The export of a file in `folder`, which real Envoy accepts."""
    path = folder / "routes.yaml"
    path.write_text(text)
    made = export_envoy(load([path]).require())
    if envoy.unavailable() is None:
        assert envoy.validate(made.dumps(), folder) == ""
    return made


def servers(*items: str) -> str:
    return gateway_document(*items) + SERVICE % ("STATIC", "a.test")


def chains(made: Export) -> list[dict[str, Any]]:
    """The ways in at the only listener."""
    (listener,) = made.bootstrap["static_resources"]["listeners"]
    found: list[dict[str, Any]] = listener["filter_chains"]
    return found


def context(chain: dict[str, Any]) -> Any:
    return chain["transport_socket"]["typed_config"]


def cluster(made: Export) -> Any:
    (found,) = made.bootstrap["static_resources"]["clusters"]
    return found


def test_certificates_are_named_and_not_copied(tmp_path: Path, certs: Certs) -> None:
    """By absolute paths; the bootstrap holds no secret."""
    made = exported(tmp_path, servers("hosts: [shop.test], tls: {mode: MUTUAL, credentialName: shop}"))
    common = context(chains(made)[0])["common_tls_context"]

    folder = certs.folder / "shop"
    assert common["tls_certificates"] == [
        {
            "certificate_chain": {"filename": str(folder / "tls.crt")},
            "private_key": {"filename": str(folder / "tls.key")},
        }
    ]
    assert common["validation_context"] == {"trusted_ca": {"filename": str(folder / "ca.crt")}}
    assert common["alpn_protocols"] == ["http/1.1"]
    assert "PRIVATE" not in made.dumps()


def test_a_session_does_not_get_past_a_certificate(tmp_path: Path, certs: Certs) -> None:
    """Where one is asked for nothing is resumed; elsewhere it may be."""
    made = exported(
        tmp_path,
        servers(
            "hosts: [a.test], tls: {mode: OPTIONAL_MUTUAL, credentialName: shop}",
            "hosts: [b.test], tls: {mode: SIMPLE, credentialName: shop}",
        ),
    )
    optional, simple = map(context, chains(made))

    assert optional["disable_stateless_session_resumption"] is True
    assert optional["disable_stateful_session_resumption"] is True
    assert (optional["require_client_certificate"], simple["require_client_certificate"]) == (False, False)
    assert "disable_stateful_session_resumption" not in simple
    assert "validation_context" not in simple["common_tls_context"]


def test_a_server_is_found_by_its_names(tmp_path: Path, certs: Certs) -> None:
    """`*` takes everybody else; of two servers for one name the first has it."""
    tls = "tls: {mode: SIMPLE, credentialName: shop}"
    made = exported(
        tmp_path, servers(f'hosts: ["*", one.test], {tls}', f'hosts: ["ns/*.Wild.test", one.test], {tls}')
    )

    assert [chain.get("filter_chain_match") for chain in chains(made)] == [
        {"server_names": ["one.test"]},
        None,
        {"server_names": ["*.wild.test"]},
    ]
    (listener,) = made.bootstrap["static_resources"]["listeners"]
    assert [item["name"] for item in listener["listener_filters"]] == ["envoy.filters.listener.tls_inspector"]
    assert listener["listener_filters_timeout"] == "10s"
    assert {chain["transport_socket_connect_timeout"] for chain in chains(made)} == {"10s"}


def test_trusted_peers_have_their_chain_at_each_server(tmp_path: Path, certs: Certs) -> None:
    """Forwarded headers are believed behind TLS as without."""
    settings = (
        "\n---\napiVersion: gateway.asgi/v1\nkind: GatewaySettings\nmetadata: {name: s}\n"
        "spec: {trustedProxies: [192.0.2.0/24]}\n"
    )
    text = servers("hosts: [a.test], tls: {mode: SIMPLE, credentialName: shop}") + settings
    first, second = chains(exported(tmp_path, text))

    assert first["filter_chain_match"]["server_names"] == ["a.test"]
    assert first["filter_chain_match"]["direct_source_prefix_ranges"]
    assert second["filter_chain_match"] == {"server_names": ["a.test"]}


def test_versions_suites_and_pins(tmp_path: Path, certs: Certs) -> None:
    """Nothing below TLS 1.2, and no suite that Envoy does not know, which would refuse the whole bootstrap."""
    key, fingerprint = "A" * 43 + "=", "ab" * 32
    made = exported(
        tmp_path,
        servers(
            "hosts: [a.test], tls: {mode: MUTUAL, credentialName: shop, minProtocolVersion: TLSV1_0,"
            " cipherSuites: [ECDHE-ECDSA-AES128-GCM-SHA256, ECDHE-ECDSA-AES256-CCM, NONSENSE],"
            f" subjectAltNames: [a.test, 'spiffe://{SLEEP}', 192.0.2.1, me@a.test],"
            f" verifyCertificateSpki: ['{key}'], verifyCertificateHash: ['{fingerprint}']}}",
            "hosts: [b.test], tls: {mode: SIMPLE, credentialName: shop, maxProtocolVersion: TLSV1_2}",
        ),
    )
    first, second = (context(chain)["common_tls_context"] for chain in chains(made))

    assert first["tls_params"] == {
        "tls_minimum_protocol_version": "TLSv1_2",
        "tls_maximum_protocol_version": "TLSv1_3",
        "cipher_suites": ["ECDHE-ECDSA-AES128-GCM-SHA256"],
    }
    assert made.notes == (
        "Gateway default/edge: Envoy does not know the cipher suite ECDHE-ECDSA-AES256-CCM",
    )
    assert second["tls_params"]["tls_maximum_protocol_version"] == "TLSv1_2"
    validation = first["validation_context"]
    assert [item["san_type"] for item in validation["match_typed_subject_alt_names"]] == [
        "DNS", "URI", "IP_ADDRESS", "EMAIL",
    ]  # fmt: skip
    assert (validation["verify_certificate_spki"], validation["verify_certificate_hash"]) == (
        [key],
        [fingerprint],
    )


def test_authorities_of_several_credentials_stand_together(tmp_path: Path, certs: Certs) -> None:
    """Envoy takes one file."""
    made = exported(tmp_path, servers("hosts: [a.test], tls: {mode: MUTUAL, credentialNames: [shop, other]}"))
    common = context(chains(made)[0])["common_tls_context"]

    assert len(common["tls_certificates"]) == 2
    bundle = common["validation_context"]["trusted_ca"]["inline_string"]
    assert bundle.count("BEGIN CERTIFICATE") == 2


def test_a_der_revocation_list_is_written_down_as_pem(tmp_path: Path, certs: Certs) -> None:
    """The gateway reads both forms, Envoy PEM."""
    lists = mint.revoke(authority(), [])
    (tmp_path / "list.crl").write_bytes(x509.load_pem_x509_crl(lists).public_bytes(Encoding.DER))
    place = "certs/shop"
    files = f"serverCertificate: {place}/tls.crt, privateKey: {place}/tls.key, caCertificates: {place}/ca.crt"
    made = exported(tmp_path, servers(f"hosts: [a.test], tls: {{mode: MUTUAL, {files}, caCrl: list.crl}}"))

    found = context(chains(made)[0])["common_tls_context"]["validation_context"]["crl"]
    assert found == {"inline_string": lists.decode()}


def test_a_server_without_its_credential_is_left_out(tmp_path: Path, certs: Certs) -> None:
    """And told; the others are there."""
    made = exported(
        tmp_path,
        servers(
            "hosts: [a.test], tls: {mode: SIMPLE, credentialName: gone}",
            "hosts: [b.test], tls: {mode: SIMPLE, credentialName: shop}",
            "hosts: [c.test], tls: {mode: SIMPLE, credentialName: shop, maxProtocolVersion: TLSV1_1}",
        ),
    )

    assert [chain["filter_chain_match"] for chain in chains(made)] == [{"server_names": ["b.test"]}]
    gone, old = made.notes
    assert gone.startswith('Gateway default/edge: port 8443 (p0) is left out: credential "gone" is not there')
    assert old.endswith("maxProtocolVersion TLSV1_1: TLS 1.2 is the oldest version spoken here")


def test_bundles_of_trust_domains_are_told(tmp_path: Path, certs: Certs) -> None:
    """Envoy would believe every authority about every domain."""
    mint.write(certs.folder / "trust-domains" / "a.pem", authority().pem)
    made = exported(tmp_path, servers("hosts: [a.test], tls: {mode: MUTUAL, credentialName: shop}"))

    assert made.notes == ("Gateway default/edge: the bundles of certs/trust-domains are not exported",)


@pytest.mark.parametrize("resolution", ["STATIC", "DNS_ROUND_ROBIN"])
def test_a_backend_without_its_credential_gets_nothing(tmp_path: Path, resolution: str) -> None:
    """In plain text least of all."""
    rule = RULE % "mode: MUTUAL, credentialName: gone"
    made = exported(tmp_path, SERVICE % (resolution, "a.test") + rule)

    assert cluster(made)["load_assignment"]["endpoints"] == []
    (note,) = made.notes
    assert note.startswith('a.test: no requests are sent to it: credential "gone" is not there')


def test_a_backend_is_found_by_name_and_authority(tmp_path: Path, certs: Certs) -> None:
    """Without others by the system's; the host is the name, and is asked for."""
    made = exported(tmp_path, SERVICE % ("STATIC", "a.test") + RULE % "mode: SIMPLE")
    tls = cluster(made)["transport_socket"]["typed_config"]
    validation = tls["common_tls_context"]["validation_context"]

    assert tls["sni"] == "a.test"
    assert validation["match_typed_subject_alt_names"] == [
        {"san_type": "DNS", "matcher": {"exact": "a.test"}}
    ]
    assert validation.keys() & {"trusted_ca", "system_root_certs"}
    assert tls["common_tls_context"]["tls_params"]["tls_maximum_protocol_version"] == "TLSv1_3"


def test_a_backends_certificate_may_be_revoked(tmp_path: Path, certs: Certs) -> None:
    """`caCrl` stands beside the authorities."""
    mint.write(tmp_path / "list.crl", mint.revoke(authority(), []))
    rule = RULE % "mode: SIMPLE, caCertificates: certs/shop/ca.crt, caCrl: list.crl"
    made = exported(tmp_path, SERVICE % ("STATIC", "a.test") + rule)
    validation = cluster(made)["transport_socket"]["typed_config"]["common_tls_context"]["validation_context"]

    assert validation["trusted_ca"] == {"filename": str(certs.folder / "shop" / "ca.crt")}
    assert validation["crl"] == {"filename": str(tmp_path / "list.crl")}


def test_any_backend_will_do_when_told_so(tmp_path: Path) -> None:
    """`insecureSkipVerify`: nothing is compared."""
    made = exported(
        tmp_path,
        SERVICE % ("STATIC", "a.test") + RULE % "mode: SIMPLE, insecureSkipVerify: true, sni: b.test",
    )
    tls = cluster(made)["transport_socket"]["typed_config"]

    assert tls["sni"] == "b.test"
    assert "validation_context" not in tls["common_tls_context"]


def test_the_mesh_asks_in_its_own_form(tmp_path: Path, certs: Certs) -> None:
    """ISTIO_MUTUAL: Istio's server name and protocols, the credential `default`; any workload may answer."""
    certs.put("default", leaf(principal=SLEEP), authority())
    made = exported(tmp_path, SERVICE % ("STATIC", "a.test") + RULE % "mode: ISTIO_MUTUAL")
    tls = cluster(made)["transport_socket"]["typed_config"]

    assert tls["sni"] == "outbound_.80_._.a.test"
    assert tls["common_tls_context"]["alpn_protocols"] == ["istio-http/1.1", "istio", "http/1.1"]
    assert "match_typed_subject_alt_names" not in tls["common_tls_context"]["validation_context"]


STRICT = """
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict}
spec: {selector: {matchLabels: {app: a}}, mtls: {mode: STRICT}}
"""


def test_nothing_is_copied_past_a_demand(tmp_path: Path) -> None:
    """A mirror that demands certificates gets no copies of requests that need none."""
    open_to_all = (
        (SERVICE % ("STATIC", "b.test")).replace("a.test]", "b.test]").replace("name: a}", "name: b}")
    )
    open_to_all = open_to_all.replace("app: a}", "app: b}")
    made = exported(tmp_path, SERVICE % ("STATIC", "a.test") + open_to_all + STRICT)
    (listener,) = made.bootstrap["static_resources"]["listeners"]
    hosts = listener["filter_chains"][0]["filters"][0]["typed_config"]["route_config"]["virtual_hosts"]
    mirrors = {host["name"]: host["routes"][0]["route"]["request_mirror_policies"] for host in hosts}

    assert [len(mirrors["a.test"]), len(mirrors["b.test"])] == [1, 0]
    assert made.notes == ("no copies for outbound|80||a.test: it has policies of its own",)
