"""Files, directories and texts to one `Config`, with every finding of all of them.

Lifetime: config. No state: may run in any thread.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

from gateway.config.analysis import analyze
from gateway.config.config import Config
from gateway.config.document import decode
from gateway.config.files import expand, identity, spread
from gateway.config.findings import CODES, ConfigError, Finding
from gateway.config.ignore import without_ignored
from gateway.config.settings import GatewaySettings
from gateway.config.yaml import MAX_BYTES, SPLIT, read

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from gateway.config.marks import Origin
    from gateway.config.resource import Resource


@dataclass(frozen=True, slots=True)
class Loaded:
    """The outcome of `load`."""

    config: Config | None
    """None when a finding is fatal."""
    findings: tuple[Finding, ...]
    """In the order of the files and lines."""
    sources: Mapping[str, str]
    """Text of every file, by the path that findings name it with."""
    digest: str
    """SHA-256 of all content, hexadecimal; changes whenever a byte does."""

    def require(self) -> Config:
        """The configuration; `ConfigError` when there is none."""
        if self.config is None:
            raise ConfigError(self.findings, self.sources)
        return self.config


def load(
    paths: Sequence[Path | str] | Path | str,
    *,
    texts: Mapping[str, str] | None = None,
    max_bytes: int = MAX_BYTES,
) -> Loaded:
    """Reads files, and directories of *.yaml and *.yml, in the given order; then `texts` (name -> YAML).

    A text that joins several paths with `os.pathsep` is split. Never raises for what it reads.
    """
    gathering = _Gathering()
    for name, path in _files(paths, gathering):
        content = _content(name, path, max_bytes, gathering)
        if content is not None:
            gathering.add(name, content, max_bytes)
    for name, text in (texts or {}).items():
        gathering.add(name, text, max_bytes)
    return gathering.loaded()


def _files(paths: Sequence[Path | str] | Path | str, gathering: _Gathering) -> Iterator[tuple[str, Path]]:
    """(name, file) of everything that is to be read, each file once."""
    seen: set[str] = set()
    for given in spread(paths):
        for path in _expand(given, gathering):
            real = identity(path)
            if real not in seen:
                seen.add(real)
                yield str(path), path


def _expand(path: Path, gathering: _Gathering) -> list[Path]:
    try:
        files = expand(path)
    except (OSError, ValueError) as error:
        gathering.report(str(path), "GW001", f"cannot be read: {_reason(error)}")
        return []
    if not files:
        gathering.report(str(path), "GW011", "no *.yaml or *.yml in this directory")
    return files


def _reason(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)


def _content(name: str, path: Path, max_bytes: int, gathering: _Gathering) -> str | None:
    """The text of a file; a finding and None when there is none."""
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except (OSError, ValueError) as error:
        gathering.report(name, "GW001", f"cannot be read: {_reason(error)}")
        return None
    if len(content) > max_bytes:
        gathering.report(name, "GW003", f"the file has more than {max_bytes} bytes")
        return None
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = len(content[content.rfind(b"\n", 0, error.start) + 1 : error.start].decode()) + 1
        gathering.report(name, "GW002", "not UTF-8 text", line, column)
        gathering.sources[name] = content.decode(errors="replace")
        return None


@dataclass(slots=True)
class _Gathering:
    """What has been read so far."""

    findings: list[Finding] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)
    resources: dict[tuple[str, str, str], Resource] = field(default_factory=dict)
    origins: dict[tuple[str, str, str], Origin] = field(default_factory=dict)

    def report(self, path: str, code: str, message: str, line: int = 1, column: int = 1) -> None:
        """Adds a finding about a file as a whole, as severe as its code."""
        severity = CODES[code].severity
        hint = SPLIT if code == "GW003" else None
        self.findings.append(
            Finding(path, line, column, severity, code, message, hint, fatal=severity == "error")
        )

    def add(self, name: str, text: str, max_bytes: int) -> None:
        """Reads one text."""
        self.sources[name] = text
        trees, findings = read(text, name, max_bytes=max_bytes)
        found = list(findings)
        empty = not findings
        for tree in trees:
            for decoded in decode(tree, name):
                empty = False
                found += decoded.findings
                if decoded.resource is not None:
                    found += self._keep(decoded.resource, decoded.origin)
        if empty:
            self.report(name, "GW011", "no document in this file")
        self.findings += sorted(found, key=lambda item: (item.line, item.column))

    def _keep(self, resource: Resource, origin: Origin) -> list[Finding]:
        """Adds a resource; a later one takes the place of one with the same name."""
        key = resource.key
        found = []
        here = origin.position("metadata", "name")
        if key in self.resources:
            first = self.origins[key].position("metadata", "name")
            message = (
                f"{resource.title} appears twice: this one replaces the one at {first.path}:{first.line},"
                " as kubectl apply would"
            )
            found.append(Finding(*here.where, "warning", "GW024", message, length=here.length))
        elif isinstance(resource, GatewaySettings):
            others = [known for known in self.resources if known[0] == resource.kind]
            if others:
                first = self.origins[others[0]].position("metadata", "name")
                message = f"there are settings already, at {first.path}:{first.line}"
                found.append(Finding(*here.where, "error", "GW025", message, fatal=True, length=here.length))
        self.resources[key] = resource
        self.origins[key] = origin
        return found

    def loaded(self) -> Loaded:
        """The outcome."""
        digest = sha256()
        for text in self.sources.values():
            content = text.encode(errors="surrogatepass")
            digest.update(b"%d:" % len(content) + content)
        config = None if self._fatal() else Config.of(self.resources.values(), self.origins.values())
        if config is not None:
            self._insert(analyze(config))
            config = None if self._fatal() else config
        findings = without_ignored(self.findings, self.sources)
        return Loaded(config, findings, self.sources, digest.hexdigest())

    def _fatal(self) -> bool:
        return any(finding.fatal for finding in self.findings)

    def _insert(self, findings: tuple[Finding, ...]) -> None:
        """Adds findings about the whole where they belong: by file, then line."""
        if findings:
            order = {name: index for index, name in enumerate(self.sources)}
            self.findings.extend(findings)
            self.findings.sort(key=lambda item: (order.get(item.path, -1), item.line, item.column))
