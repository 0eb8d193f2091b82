"""Generations side by side: what changed, without a secret, and nothing that was forgotten."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.admin.console import generations
from gateway.admin.console.generations import KEPT, Documents
from gateway.control import Control

SECRET = "s3cr3t-v4lue"


def document(name: str, status: int = 204, token: str = SECRET) -> str:
    return f"""\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}}}
spec:
  hosts: [{name}]
  http:
  - match: [{{headers: {{authorization: {{exact: "Bearer {token}"}}}}}}]
    directResponse: {{status: {status}}}
---
"""


@pytest.fixture
def control(tmp_path: Path) -> Control:
    (tmp_path / "routes.yaml").write_text(document("a") + document("b"))
    return Control(tmp_path / "routes.yaml", watch=False)


def play(control: Control, *texts: str) -> None:
    async def main() -> None:
        control.load_first()
        await control.start()
        for text in texts:
            control.paths[0].write_text(text)
            await control.reload()
        await control.stop()

    asyncio.run(main())


def test_a_difference_names_each_document_and_its_lines(control: Control) -> None:
    """Added, removed, changed; what is equal is only counted."""
    play(control, document("b") + document("c") + document("a", 205))
    compared = Documents(control).compared(1, 2)

    assert compared is not None
    assert {item["name"]: item["change"] for item in compared["changes"]} == {
        "VirtualService default/a": "changed",
        "VirtualService default/c": "added",
    }
    assert compared["unchanged"] == 2  # b, and the settings
    (lines,) = [item["lines"] for item in compared["changes"] if item["change"] == "changed"]
    assert [line for line in lines if line[0] in "+-"] == [
        ["-", "      status: 204"],
        ["+", "      status: 205"],
    ]
    back = Documents(control).compared(2, 1)
    assert back is not None
    assert {item["change"] for item in back["changes"]} == {"changed", "removed"}


def test_a_changed_secret_is_a_difference_nobody_can_read(control: Control) -> None:
    """Its mark changes; the value is in neither."""
    play(control, document("a", token="an0ther-v4lue") + document("b"))
    compared = Documents(control).compared(1, 2)

    assert compared is not None
    assert [item["name"] for item in compared["changes"]] == ["VirtualService default/a"]
    assert SECRET not in str(compared)
    assert "an0ther-v4lue" not in str(compared)
    assert SECRET not in str(Documents(control).shown(1))


def test_comments_and_order_are_no_difference(control: Control) -> None:
    """Only what the documents say."""
    play(control, "# a word\n" + document("b") + document("a"))
    compared = Documents(control).compared(1, 2)

    assert compared is not None
    assert compared["changes"] == []


def test_what_is_forgotten_is_none(control: Control) -> None:
    """So is what never was."""
    play(control)

    assert Documents(control).shown(2) is None
    assert Documents(control).compared(1, 2) is None


def test_only_a_few_generations_are_kept_as_texts(control: Control) -> None:
    """They can be made again from the files."""
    play(control, *(document("a", 200 + number) for number in range(KEPT + 2)))
    documents = Documents(control)
    for number in range(1, KEPT + 3):
        assert documents.shown(number) is not None

    assert repr(documents) == f"<Documents of {KEPT} generations>"


def test_attempts_are_told_youngest_first(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    """With findings, of which very many are cut."""
    monkeypatch.setattr(generations, "MOST_FINDINGS", 1)
    play(control, "kind: [\n" * 3, document("a"))
    told = generations.generations(control)

    assert [(item["outcome"], item["comparable"]) for item in told["attempts"]] == [
        ("applied", True),
        ("refused", False),
        ("applied", True),
    ]
    assert len(told["attempts"][1]["findings"]) == 1
    assert (told["serving"], told["refused"]) == (2, False)
