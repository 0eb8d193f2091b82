"""The console's files: complete, in the package, from nowhere else, and unable to make markup of data."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import PurePosixPath

import pytest

from gateway.admin.console.assets import assets

TEXTS = {path: asset.content.decode() for path, asset in assets().items()}
SCRIPTS = sorted(path for path in TEXTS if path.endswith(".js"))


def test_the_package_carries_them() -> None:
    """As resources, so they are in the wheel and need no source tree."""
    static = files("gateway.admin.console").joinpath("static")

    assert static.joinpath("index.html").is_file()
    assert {"index.html", "console.css", "main.js", "pages/overview.js"} <= set(TEXTS)
    assert sum(len(text) for text in TEXTS.values()) < 150_000


@pytest.mark.parametrize("path", SCRIPTS)
def test_every_import_leads_to_a_file(path: str) -> None:
    """There is no build that would notice."""
    folder = PurePosixPath(path).parent
    for name in re.findall(r'from "([^"]+)"', TEXTS[path]):
        parts: list[str] = []
        for part in (*folder.parts, *PurePosixPath(name).parts):
            if part == "..":
                parts.pop()
            elif part != ".":
                parts.append(part)
        assert "/".join(parts) in TEXTS


def test_the_page_names_only_its_own_files() -> None:
    """And carries no script, style or handler of its own, which the policy would refuse anyway."""
    page = TEXTS["index.html"]
    named = re.findall(r'(?:src|href)="/console/([^"]+)"', page)

    assert set(named) <= set(TEXTS)
    assert re.findall(r"<script(?![^>]*\bsrc=)", page) == []
    assert re.findall(r"<style|\bon\w+=|\bstyle=|javascript:", page) == []


@pytest.mark.parametrize("path", sorted(TEXTS))
def test_nothing_comes_from_elsewhere(path: str) -> None:
    """It works without a network; the only address is the name of SVG."""
    addresses = set(
        re.findall(r"""(?:https?:)?//[\w.-]+\.\w+[^\s"'`)]*""", re.sub(r"//[^\n]*\n", "\n", TEXTS[path]))
    )

    assert addresses <= {"http://www.w3.org/2000/svg"}
    assert "@import" not in TEXTS[path]


@pytest.mark.parametrize("path", SCRIPTS)
def test_no_script_can_make_markup_of_text(path: str) -> None:
    """Text becomes text nodes: nothing here parses HTML, evaluates a string or writes a style attribute."""
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser|srcdoc|setHTML"

    assert re.findall(forbidden, TEXTS[path]) == []
