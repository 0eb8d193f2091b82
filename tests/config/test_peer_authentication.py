"""PeerAuthentication: modes, and ports of one workload."""

from __future__ import annotations

import textwrap

import pytest
from support.documents import config_of, validated

HEAD = "apiVersion: security.istio.io/v1beta1\nkind: PeerAuthentication\nmetadata: {name: p}\n"


def said(spec: str) -> list[tuple[str, int, int]]:
    return [(code, line - 3, column) for code, line, column, *_ in validated(HEAD + textwrap.dedent(spec))]


def test_ports_are_numbers() -> None:
    """YAML's text keys become numbers, the modes stay as written."""
    spec = "spec: {selector: {matchLabels: {a: b}}, mtls: {mode: STRICT}, portLevelMtls: {8080: {mode: DISABLE}}}"
    (policy,) = config_of(HEAD + spec).peer_authentications

    assert policy.spec.mtls.mode == "STRICT"
    assert {port: item.mode for port, item in policy.spec.port_level_mtls.items()} == {8080: "DISABLE"}


@pytest.mark.parametrize(
    ("spec", "strict"),
    [
        ("", False),
        ("spec: {mtls: {}}", False),
        ("spec: {mtls: {mode: PERMISSIVE}}", False),
        ("spec: {mtls: {mode: STRICT}}", True),
        ("spec: {selector: {matchLabels: {a: b}}, portLevelMtls: {1: {mode: STRICT}}}", True),
    ],
)
def test_strict_is_told_wherever_it_is(spec: str, strict: bool) -> None:
    """A port that is strict makes the policy one that protects."""
    (policy,) = config_of(HEAD + spec).peer_authentications

    assert policy.spec.strict is strict


def test_ports_belong_to_a_workload() -> None:
    """Without labels, whose ports would they be?"""
    assert said("spec:\n  portLevelMtls: {80: {mode: STRICT}}") == [("GW032", 2, 3)]
    assert said("spec:\n  portLevelMtls: {}") == [("GW060", 2, 3)]


@pytest.mark.parametrize("port", ["0", "65536", "http"])
def test_ports_are_in_range(port: str) -> None:
    """1 to 65535."""
    spec = f"spec: {{selector: {{matchLabels: {{a: b}}}}, portLevelMtls: {{{port}: {{mode: STRICT}}}}}}"

    assert len(said(spec)) == 1


def test_an_unknown_mode_is_refused() -> None:
    """A typo must not read as UNSET."""
    assert said("spec:\n  mtls:\n    mode: strict") == [("GW033", 3, 11)]
