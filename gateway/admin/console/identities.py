"""Who we are and who calls: certificates that the configuration names, and peers that were seen.

Lifetime: request (pure functions). Only certificates are read here, never a key.
"""

from __future__ import annotations

import time
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.admin.console.sources import Sources
    from gateway.config import Config
    from gateway.telemetry.recorder import Recorder

MOST_BYTES: Final = 1024 * 1024
MOST_CALLERS: Final = 200
MOST_IN_FILE: Final = 20
"""Certificates shown of one file; a system's bundle has hundreds."""
_KINDS: Final = {
    x509.DNSName: "DNS",
    x509.UniformResourceIdentifier: "URI",
    x509.IPAddress: "IP",
    x509.RFC822Name: "email",
}


class Use(NamedTuple):
    """A file of certificates, and what it is for."""

    path: str
    role: str
    of: str


def identities(sources: Sources) -> dict[str, Any]:
    """Certificates, the policies about who may call, and who did."""
    config = sources.control.snapshot.config
    return {
        "now": time.time(),
        "certificates": certificates(config),
        "policies": list(_policies(config)),
        "callers": callers(sources.recorder),
    }


def certificates(config: Config) -> list[dict[str, Any]]:
    """Every certificate that a document names a file of, the one that ends first before the others."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for use in _uses(config):
        for shown in _certificates(use.path):
            entry = found.setdefault(
                (use.path, shown["fingerprint"]), {**shown, "path": use.path, "used": []}
            )
            text = f"{use.role} of {use.of}"
            if text not in entry["used"]:
                entry["used"].append(text)
    return sorted(found.values(), key=lambda item: item["not_after"])


def callers(recorder: Recorder | None) -> list[dict[str, Any]]:
    """Who was verified among the last requests, by certificate or token, the busiest first."""
    counts: Counter[tuple[str, str]] = Counter()
    refused: Counter[tuple[str, str]] = Counter()
    for exchange, _ in list(recorder.recent) if recorder is not None else ():
        request = exchange.request
        who = []
        if request.peer is not None and request.peer.verified:
            who.append(("certificate", request.peer.principal or request.peer.subject))
        if request.request_principal:
            who.append(("token", request.request_principal))
        counts.update(who)
        if exchange.status in {401, 403}:
            refused.update(who)
    return [
        {"kind": who[0], "principal": who[1], "requests": count, "refused": refused[who]}
        for who, count in counts.most_common(MOST_CALLERS)
    ]


def _uses(config: Config) -> Iterator[Use]:
    for gateway in config.gateways:
        for server in gateway.spec.servers:
            tls = server.tls
            if tls is None:
                continue
            of = f"listener {server.port.number}"
            for path in (tls.server_certificate, *(each.server_certificate for each in tls.tls_certificates)):
                yield from _files(path, "certificate", of)
            for path in (tls.ca_certificates, *(each.ca_certificates for each in tls.tls_certificates)):
                yield from _files(path, "authority for clients", of)
    for rule in config.destination_rules:
        policies = (rule.spec.traffic_policy, *(subset.traffic_policy for subset in rule.spec.subsets))
        for policy in policies:
            client = policy.tls if policy is not None else None
            if client is not None:
                yield from _files(
                    client.client_certificate, "client certificate", f"calls to {rule.spec.host}"
                )
                yield from _files(
                    client.ca_certificates, "authority for servers", f"calls to {rule.spec.host}"
                )


def _files(path: str | None, role: str, of: str) -> Iterator[Use]:
    if path:
        yield Use(path, role, of)


def _certificates(path: str) -> tuple[dict[str, Any], ...]:
    """What the file says; an entry with `error` when it cannot be read."""
    try:
        stat = Path(path).stat()
        return _read(path, stat.st_mtime_ns, stat.st_size)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        return ({"fingerprint": "", "error": reason, "not_after": 0.0},)


@lru_cache(maxsize=256)
def _read(path: str, _mtime: int, _size: int) -> tuple[dict[str, Any], ...]:
    with Path(path).open("rb") as stream:
        content = stream.read(MOST_BYTES)
    return tuple(_told(each) for each in x509.load_pem_x509_certificates(content)[:MOST_IN_FILE])


def _told(certificate: x509.Certificate) -> dict[str, Any]:
    return {
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "names": _names(certificate),
        "not_before": certificate.not_valid_before_utc.timestamp(),
        "not_after": certificate.not_valid_after_utc.timestamp(),
        "fingerprint": certificate.fingerprint(hashes.SHA256()).hex(),
    }


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return []
    names = []
    for name in extension.value:
        kind = (
            "IP"
            if isinstance(name, x509.IPAddress)
            else "URI"
            if isinstance(name, x509.UniformResourceIdentifier)
            else "DNS"
        )
        names.append(f"{kind} {name.value}")
    return names


def _policies(config: Config) -> Iterator[dict[str, str]]:
    for peer in config.peer_authentications:
        yield _policy(peer, str(getattr(peer.spec.mtls, "mode", None) or "inherits"))
    for request in config.request_authentications:
        yield _policy(request, ", ".join(rule.issuer or "any issuer" for rule in request.spec.jwt_rules))
    for authorization in config.authorization_policies:
        yield _policy(authorization, str(authorization.spec.action))


def _policy(resource: Any, says: str) -> dict[str, str]:
    selector = resource.spec.selector
    labels = selector.match_labels if selector is not None else {}
    return {
        "kind": resource.kind,
        "name": f"{resource.metadata.namespace}/{resource.metadata.name}",
        "says": says,
        "applies": ", ".join(f"{key}={value}" for key, value in labels.items()) or "everything",
    }
