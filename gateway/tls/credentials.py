"""Where credentials are: names looked up in the `certs/` folders, and files named by their paths.

Lifetime: config (values that are compared; reading one gives `Material`).

A credential `shop` is a folder with the files of a mounted Kubernetes secret, or files beside each other:

    certs/shop/tls.crt  tls.key  ca.crt  ca.crl     (or: cert key cacert crl, as in Istio's generic secrets)
    certs/shop.crt  shop.key  shop-ca.crt  shop-ca.crl
    certs/shop-cacert/ca.crt  or  certs/shop-cacert    its authorities, before those above (as in Istio)

The workload's own identity (ISTIO_MUTUAL) is the credential `default`, or Istio's files in the folder itself:
`cert-chain.pem key.pem root-cert.pem`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.tls.material import (
    CredentialError,
    Material,
    read_authorities,
    read_pair,
    read_revocations,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

WORKLOAD: Final = "default"
"""Istio's name for a workload's own certificate."""
FOLDERS_VARIABLE: Final = "GATEWAY_CERTS"
"""Folders to look in instead of `certs/` beside the configuration, joined with the OS path separator."""
_CERTIFICATES = "tls.crt", "cert", "cert-chain.pem"
_KEYS = "tls.key", "key", "key.pem"
_AUTHORITIES = "ca.crt", "cacert", "root-cert.pem"
_REVOCATIONS = "ca.crl", "crl"
SUFFIXES: Final = frozenset({".crt", ".key", ".crl", ".pem", ""})
"""Of the files that a credential may be read from without being named by a path."""
DOMAINS: Final = "trust-domains"
"""Folder with one bundle a trust domain: `certs/trust-domains/cluster.local.pem`."""


def folders_beside(paths: Iterable[Path]) -> tuple[Path, ...]:
    """The folders of credentials for a configuration: `GATEWAY_CERTS`, else `certs/` next to each path.

    For a directory of files: in it, then beside it.
    """
    chosen = os.environ.get(FOLDERS_VARIABLE)
    if chosen:
        return tuple(Path(part) for part in chosen.split(os.pathsep) if part)
    found: dict[Path, None] = {}
    for path in paths:
        for place in (path, path.parent) if path.is_dir() else (path.parent,):
            found[place / "certs"] = None
    return tuple(found)


class Places(NamedTuple):
    """Where the parts of a credential are; None: it has no such part."""

    certificate: Path | None = None
    key: Path | None = None
    authorities: Path | None = None
    revocations: Path | None = None

    def read(self, name: str) -> Material:
        """What the files hold now. Raises CredentialError."""
        chain = key = b""
        if self.certificate is not None and self.key is not None:
            chain, key = read_pair(self.certificate, self.key)
        bundle = b"" if self.authorities is None else read_authorities(self.authorities)
        lists = b"" if self.revocations is None else read_revocations(self.revocations)
        return Material(name, chain, key, bundle, lists)


@dataclass(frozen=True, slots=True)
class Named:
    """A credential by name (`credentialName`)."""

    name: str
    folders: tuple[Path, ...]
    pair: bool = True
    """A certificate and its key are needed."""
    trust: bool = False
    """Authorities are needed; otherwise they are not read."""

    def __str__(self) -> str:
        return self.name

    def watched(self) -> set[Path]:
        """Paths that can change what `read` gives, whether they exist or not."""
        name = plain_name(self.name)
        found = {folder / item for folder in self.folders for item in (name, f"{name}.crt", f"{name}-cacert")}
        if name == WORKLOAD:
            found |= {folder / _CERTIFICATES[-1] for folder in self.folders}
        return found

    def places(self) -> Places:
        """Where it is now. Raises CredentialError, which says where was looked."""
        name = plain_name(self.name)
        certificate, key = self._pair(name) if self.pair else (None, None)
        if not self.trust:
            return Places(certificate, key)
        found = next(self._trusted(name), None)
        if found is None:
            raise CredentialError(
                f'credential "{name}" has no authorities: neither {name}/ca.crt nor {name}-cacert'
                f" is in {self._places()}"
            )
        return Places(certificate, key, *found)

    def read(self) -> tuple[Material]:
        """What it holds now. Raises CredentialError."""
        return (self.places().read(self.name),)

    def _pair(self, name: str) -> tuple[Path, Path]:
        for folder in self.folders:
            for place in self._shapes(folder, name):
                certificate = _first(place, _CERTIFICATES)
                if certificate is not None:
                    return certificate, _first(place, _KEYS) or place / _KEYS[0]
            if (folder / f"{name}.crt").is_file():
                return folder / f"{name}.crt", folder / f"{name}.key"
        raise CredentialError(
            f'credential "{name}" is not there: neither {name}/tls.crt nor {name}.crt is in {self._places()}',
            f"for development: gateway certs init, then issue --name {name} with --dns or --principal",
        )

    def _trusted(self, name: str) -> Iterator[tuple[Path, Path | None]]:
        """Bundles of authorities with their revocation lists, the one to be used first."""
        for folder in self.folders:
            for own in (f"{name}-cacert", f"{name}-cacert.crt"):
                if (folder / own).is_file():
                    yield folder / own, None
            for place in (folder / f"{name}-cacert", *self._shapes(folder, name)):
                bundle = _first(place, _AUTHORITIES)
                if bundle is not None:
                    yield bundle, _first(place, _REVOCATIONS)
            beside = folder / f"{name}-ca.crt"
            if beside.is_file():
                yield beside, _first(folder, (f"{name}-ca.crl",))

    def _shapes(self, folder: Path, name: str) -> tuple[Path, ...]:
        return (folder / name, folder) if name == WORKLOAD else (folder / name,)

    def _places(self) -> str:
        return " or ".join(map(str, self.folders)) or "any folder"


@dataclass(frozen=True, slots=True)
class Files:
    """A credential by the paths of its files; relative ones start where the document is."""

    base: Path
    certificate: str = ""
    key: str = ""
    authorities: str = ""
    revocations: str = ""

    def __str__(self) -> str:
        return self.certificate or self.authorities or self.revocations

    def places(self) -> Places:
        """Where it is."""
        pair = (self.base / self.certificate, self.base / self.key) if self.certificate else (None, None)
        others = (self.base / item if item else None for item in (self.authorities, self.revocations))
        return Places(*pair, *others)

    def watched(self) -> set[Path]:
        """Paths that can change what `read` gives."""
        every = (self.certificate, self.key, self.authorities, self.revocations)
        return {self.base / item for item in every if item}

    def read(self) -> tuple[Material]:
        """What the files hold now. Raises CredentialError."""
        return (self.places().read(str(self)),)


@dataclass(frozen=True, slots=True)
class Domains:
    """The bundles of the trust domains, when there is a folder of them."""

    folders: tuple[Path, ...]

    def __str__(self) -> str:
        return DOMAINS

    def watched(self) -> set[Path]:
        """Paths that can change what `read` gives."""
        return {folder / DOMAINS for folder in self.folders}

    def read(self) -> tuple[Material, ...]:
        """A bundle a trust domain, named like it; of several folders the first that exists counts."""
        for folder in self.folders:
            place = folder / DOMAINS
            if place.is_dir():
                files = sorted(path for path in place.iterdir() if path.suffix in {".pem", ".crt"})
                return tuple(Material(path.stem, authorities=read_authorities(path)) for path in files)
        return ()


Source = Named | Files


def plain_name(name: str) -> str:
    """The last part of `kubernetes://ns/shop`; CredentialError for what could leave the folder."""
    scheme, separator, rest = name.partition("://")
    plain = rest.rpartition("/")[2] if separator and scheme.startswith(("kubernetes", "configmap")) else name
    if not plain or plain[0] == "." or any(char in plain for char in "/\\\0"):
        raise CredentialError(f'"{name}" is not the name of a credential')
    return plain


def _first(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)
