"""Configurations from text, and what is found about them."""

from __future__ import annotations

import textwrap

import gateway.config  # noqa: F401 - registers the kinds
from gateway.config.analysis import analyze
from gateway.config.config import Config
from gateway.config.document import decode
from gateway.config.findings import Finding
from gateway.config.yaml import read

Place = tuple[str, int, int, str]
"""Code, line, column, severity."""


def config_of(text: str) -> Config:
    """The configuration of a text that has no mistakes of its own, also when it asks for what is not enforced."""
    trees, findings = read(textwrap.dedent(text), "f")
    decoded = [item for tree in trees for item in decode(tree, "f")]
    fatal = [*findings, *(finding for item in decoded for finding in item.findings if finding.fatal)]
    assert not fatal, fatal
    return Config.of([item.resource for item in decoded], [item.origin for item in decoded])


def analyzed(text: str, *codes: str) -> list[Finding]:
    """What the analyzers say, in the order of the lines; only these codes, if any are named."""
    found = [item for item in analyze(config_of(text), root=True) if not codes or item.code in codes]
    return sorted(found, key=lambda item: (item.line, item.column, item.code))


def places(text: str, *codes: str) -> list[Place]:
    """Where the findings of `analyzed` stand."""
    return [(item.code, item.line, item.column, item.severity) for item in analyzed(text, *codes)]


def validated(text: str) -> list[tuple[str, int, int, str, bool]]:
    """What the documents' own rules say: code, line, column, severity, fatal."""
    trees, findings = read(textwrap.dedent(text), "f")
    found = [*findings, *(item for tree in trees for part in decode(tree, "f") for item in part.findings)]
    return [(item.code, item.line, item.column, item.severity, item.fatal) for item in found]
