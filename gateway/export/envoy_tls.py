"""TLS in both directions as Envoy's transport sockets (extensions.transport_sockets.tls.v3).

Lifetime: config. Certificates and keys are named, not copied: a bootstrap holds no secrets. Envoy reads what
they name when it starts.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.config.marks import NOWHERE
from gateway.config.names import is_ip
from gateway.export.envoy_policies import typed
from gateway.tls.contexts import MESH_PROTOCOLS, PROTOCOLS, REQUIRING_MODES, VERIFIED_MODES, suites
from gateway.tls.credentials import Domains, folders_beside
from gateway.tls.material import CredentialError
from gateway.tls.origination import client_sources
from gateway.tls.servers import server_sources
from gateway.tls.store import place_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.config import Config
    from gateway.config.tls import ServerTLSSettings
    from gateway.tls import Destination
    from gateway.tls.credentials import Source
    from gateway.tls.servers import Place

SOCKET = "envoy.transport_sockets.tls"
KNOWN_SUITES = frozenset(
    f"{exchange}{cipher}"
    for exchange in ("ECDHE-ECDSA-", "ECDHE-RSA-", "")
    for cipher in (
        "AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305", "AES128-SHA", "AES256-SHA",
    )
) - {"CHACHA20-POLY1305"}  # fmt: skip
"""Of TLS 1.2, those that Envoy's library has."""
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""Where systems keep the authorities that everybody believes."""


class Sockets:
    """Transport sockets of one configuration; what cannot be said in them is told in `notes`."""

    def __init__(self, config: Config, paths: Iterable[Path], notes: list[str]) -> None:
        """`paths`: the files or directories of the configuration, `certs/` stands beside them."""
        self._config = config
        self._notes = notes
        self._folders = folders_beside(paths or sorted(_files(config)))

    def server(self, place: Place) -> dict[str, Any]:
        """What terminates TLS for a server of a Gateway. Raises CredentialError."""
        tls = place.tls
        base = Path(self._config.origin(place.gateway).position("spec", "servers", place.index, "tls").path)
        trust = _Trust(server_sources(tls, base.parent, self._folders))
        verifies = tls.mode in VERIFIED_MODES
        if verifies and Domains(self._folders).read():
            self._notes.append(f"{place.gateway.title}: the bundles of certs/trust-domains are not exported")
        common: dict[str, Any] = {
            "tls_params": self._parameters(tls, place.gateway.title),
            "tls_certificates": trust.pairs(),
            "alpn_protocols": list(PROTOCOLS),
        }
        if verifies:
            common["validation_context"] = {
                **trust.authorities(),
                **_pins(tls),
                **_names(tls.subject_alt_names),
            }
        context = typed(
            "transport_sockets.tls.v3.DownstreamTlsContext",
            common_tls_context=common,
            require_client_certificate=tls.mode in REQUIRING_MODES,
        )
        if verifies:
            # A resumed session would skip the certificate.
            context["disable_stateless_session_resumption"] = True
            context["disable_stateful_session_resumption"] = True
        return {"name": SOCKET, "typed_config": context}

    def client(self, destination: Destination) -> dict[str, Any]:
        """What speaks TLS to the endpoints of a cluster. Raises CredentialError."""
        tls = destination.settings
        resource, *path = place_of(self._config, tls)
        base = Path(self._config.origin(resource or self._config.settings).position(*path).path)
        trust = _Trust(client_sources(tls, base.parent, self._folders))
        common: dict[str, Any] = {
            "tls_params": _versions("TLSV1_2", "TLSV1_3") | {"cipher_suites": _known(suites(()))},
            "alpn_protocols": list(MESH_PROTOCOLS if tls.mode == "ISTIO_MUTUAL" else PROTOCOLS),
        }
        if pairs := trust.pairs():
            common["tls_certificates"] = pairs
        if not tls.insecure_skip_verify:
            common["validation_context"] = {**trust.authorities(), **_names(destination.names)}
        context = typed("transport_sockets.tls.v3.UpstreamTlsContext", common_tls_context=common)
        if destination.sni and not is_ip(destination.sni):
            context["sni"] = destination.sni
        return {"name": SOCKET, "typed_config": context}

    def _parameters(self, tls: ServerTLSSettings, title: str) -> dict[str, Any]:
        low, high = tls.min_protocol_version, tls.max_protocol_version
        if high in {"TLSV1_0", "TLSV1_1"}:
            raise CredentialError(f"maxProtocolVersion {high}: TLS 1.2 is the oldest version spoken here")
        asked = suites(tls.cipher_suites)
        known = _known(asked)
        if not known:
            raise CredentialError(f"cipherSuites: Envoy knows none of {', '.join(asked)}")
        if missing := [name for name in asked if name not in known]:
            self._notes.append(f"{title}: Envoy does not know the cipher suite {', '.join(missing)}")
        least = low if low == "TLSV1_3" else "TLSV1_2"
        return _versions(least, "TLSV1_2" if high == "TLSV1_2" else "TLSV1_3") | {"cipher_suites": known}


def outside(host: str) -> dict[str, Any]:
    """What speaks TLS to a host that the system's authorities vouch for."""
    common = {
        "tls_params": _versions("TLSV1_2", "TLSV1_3"),
        "alpn_protocols": list(PROTOCOLS),
        "validation_context": {**_system(), **_names([host])},
    }
    context = typed("transport_sockets.tls.v3.UpstreamTlsContext", common_tls_context=common)
    if not is_ip(host):
        context["sni"] = host
    return {"name": SOCKET, "typed_config": context}


class _Trust:
    """The files of some credentials, all of them read and found to be usable."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._places = [source.places() for source in sources]
        self._materials = [
            places.read(str(source)) for places, source in zip(self._places, sources, strict=True)
        ]

    def pairs(self) -> list[dict[str, Any]]:
        """Certificates with their keys."""
        return [
            {"certificate_chain": _file(places.certificate), "private_key": _file(places.key)}
            for places in self._places
            if places.certificate is not None and places.key is not None
        ]

    def authorities(self) -> dict[str, Any]:
        """Who is believed, and what they took back; without any of their own, the system's authorities."""
        found = self._together("authorities")
        fields: dict[str, Any] = _system() if found is None else {"trusted_ca": found}
        if (lists := self._together("revocations")) is not None:
            fields["crl"] = lists
        return fields

    def _together(self, part: str) -> dict[str, str] | None:
        """Envoy takes one file: of several, their content is written down, as is what is not PEM."""
        files: dict[Path, bytes] = {}
        for places, material in zip(self._places, self._materials, strict=True):
            path = getattr(places, part)
            if path is not None:
                files[path] = getattr(material, part)
        if not files:
            return None
        (path, content), *others = files.items()
        if not others and path.read_bytes() == content:
            return _file(path)
        return {"inline_string": "\n".join(text.decode("ascii", "replace") for text in files.values())}


def _file(path: Path) -> dict[str, str]:
    return {"filename": str(path.absolute())}


def _files(config: Config) -> set[Path]:
    """The files in which the documents stand."""
    origins = (config.origin(item) for item in (*config.resources(), config.settings))
    return {Path(origin.position().path) for origin in origins if origin is not NOWHERE}


def _system() -> dict[str, Any]:
    own = ssl.get_default_verify_paths().cafile
    found = next((path for path in (own, *_BUNDLES) if path and Path(path).is_file()), None)
    return {"system_root_certs": {}} if found is None else {"trusted_ca": {"filename": found}}


def _versions(low: str, high: str) -> dict[str, Any]:
    words = {"TLSV1_2": "TLSv1_2", "TLSV1_3": "TLSv1_3"}
    return {"tls_minimum_protocol_version": words[low], "tls_maximum_protocol_version": words[high]}


def _known(names: Iterable[str]) -> list[str]:
    return [name for name in names if name in KNOWN_SUITES]


def _pins(tls: ServerTLSSettings) -> dict[str, Any]:
    pins = {
        "verify_certificate_spki": list(tls.verify_certificate_spki),
        "verify_certificate_hash": list(tls.verify_certificate_hash),
    }
    return {name: values for name, values in pins.items() if values}


def _names(wanted: Iterable[str]) -> dict[str, Any]:
    """Names of which the other side's certificate carries one, each looked for among those of its kind."""
    found = [{"san_type": _kind(name), "matcher": {"exact": name}} for name in wanted]
    return {"match_typed_subject_alt_names": found} if found else {}


def _kind(name: str) -> str:
    if is_ip(name):
        return "IP_ADDRESS"
    if ":" in name or "/" in name:
        return "URI"
    return "EMAIL" if "@" in name else "DNS"
