"""The analyzers as part of loading."""

from __future__ import annotations

from pathlib import Path

from gateway.config import load
from gateway.config.analysis import ANALYZERS

HEAD = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec:\n"


def test_loading_analyzes() -> None:
    """What is wrong between documents is among the findings, and does not refuse the configuration."""
    text = HEAD + "  hosts: [shop]\n  http:\n  - route: [{destination: {host: revews}}]\n    timeout: 1s\n"
    loaded = load([], texts={"f": text})

    assert [(item.code, item.line, item.column, item.fatal) for item in loaded.findings] == [
        ("GW201", 7, 34, False)
    ]
    assert loaded.config is not None


def test_a_comment_silences_a_finding_of_loading() -> None:
    """Wherever findings are shown: in a terminal, in the log, on the admin listener."""
    text = (
        HEAD
        + "  hosts: [shop]\n  http:\n  - redirect: {uri: /a}\n  - redirect: {uri: /b}  # gateway: ignore GW230\n"
    )

    assert load([], texts={"f": text}).findings == ()
    assert [item.code for item in load([], texts={"f": text.replace("GW230", "GW231")}).findings] == ["GW230"]


def test_findings_of_all_analyzers_are_in_the_order_of_the_lines(tmp_path: Path) -> None:
    """By file and line, not by analyzer."""
    path = tmp_path / "x.yaml"
    path.write_text(
        HEAD + "  hosts: [shop]\n  gateways: [none]\n  http:\n  - redirect: {uri: /a}\n"
        "  - route: [{destination: {host: b}}]\n    timeout: 1s\n"
    )

    assert [item.code for item in load([path]).findings] == ["GW210", "GW230", "GW201"]


def test_every_analyzer_says_what_it_looks_for() -> None:
    """One sentence each, as they are listed in one tuple."""
    assert all(analyzer.__doc__ for analyzer in ANALYZERS)
    assert len(set(ANALYZERS)) == len(ANALYZERS)
