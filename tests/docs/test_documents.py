"""What the documents promise is there: links, YAML, commands, fields."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import typing
from pathlib import Path

import click
import pytest
from pydantic import BaseModel

from gateway.cli import main
from gateway.config import load, render
from gateway.config.model import camel
from gateway.config.resource import KINDS
from gateway.control import Control
from gateway.demo.guide import guide

REPOSITORY = Path(__file__).parents[2]
PAGES = sorted(
    page
    for page in {*REPOSITORY.glob("*.md"), *REPOSITORY.glob("*/*.md"), *REPOSITORY.glob("docs/**/*.md")}
    if not page.relative_to(REPOSITORY).parts[0].startswith(".")
)


def name(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )


def anchors(page: Path) -> set[str]:
    """GitHub's anchors of the headings of `page`."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> list[str]:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path):
    """Every relative link names a file, and every anchor a heading of it."""
    assert broken_links(page) == []


@pytest.mark.parametrize(
    ("page", "block"),
    [(page, block) for page in PAGES for block in blocks(page, "yaml")],
    ids=lambda value: name(value) if isinstance(value, Path) else "",
)
def test_yaml_of_the_pages_loads(page: Path, block: str):
    """Whatever a page shows can be pasted into a file."""
    loaded = load([], texts={"block.yaml": block})
    assert loaded.config is not None, render(loaded.findings, loaded.sources)


@pytest.mark.parametrize("path", sorted(REPOSITORY.glob("examples/*.yaml")), ids=name)
def test_examples_have_no_findings(path: Path):
    """An example is complete: nothing to warn of."""
    loaded = load([path])
    assert render(loaded.findings, loaded.sources) == ""


@pytest.mark.parametrize("path", sorted(REPOSITORY.glob("examples/*.yaml")), ids=name)
def test_examples_compile(path: Path):
    """An example becomes clusters and routes, not only documents."""
    control = Control(path, watch=False)
    control.load_first()
    assert control.generation == 1


def test_routes_yaml_has_no_errors():
    """The sample configuration serves; warnings name what is not enforced yet."""
    loaded = load([REPOSITORY / "routes.yaml"])
    assert [finding for finding in loaded.findings if finding.severity == "error"] == []


def test_every_example_is_listed():
    """The table of examples has them all."""
    page = (REPOSITORY / "examples/README.md").read_text(encoding="utf-8")
    for path in REPOSITORY.glob("examples/*.yaml"):
        assert f"]({path.name})" in page


def models(annotation: object) -> typing.Iterator[type[BaseModel]]:
    """The models an annotation is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from models(argument)


def fields(model: type[BaseModel], seen: set[type[BaseModel]]) -> set[str]:
    """Names, as YAML has them, of all fields of `model` and of the models in it."""
    found = set()
    seen.add(model)
    for field, description in model.model_fields.items():
        found.add(description.alias or camel(field))
        for part in models(description.annotation):
            if part not in seen:
                found |= fields(part, seen)
    return found


@pytest.mark.parametrize("kind", sorted({name for _, name in KINDS}))
def test_every_field_is_documented(kind: str):
    """The page of the configuration names each field of each kind."""
    (model,) = [cls for (_, name), cls in KINDS.items() if name == kind]
    page = (REPOSITORY / "docs/configuration.md").read_text(encoding="utf-8")
    words = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`\n]+)`", page))))
    wanted = fields(model.model_fields["spec"].annotation, set())
    assert wanted - words == set()


def commands_of(page: Path) -> set[str]:
    """Every `gateway WORD` and `scripts/WORD` in the code of a page."""
    text = page.read_text(encoding="utf-8")
    shell = [re.sub(r"#.*", "", block) for block in blocks(page, "sh")]
    code = "\n".join([*shell, *re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)])
    return set(re.findall(r"(?:^|[/\s])(gateway [a-z]+|scripts/[a-z]+)\b", code, re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_of_the_pages_exist(page: Path):
    """Whatever a page tells to type can be typed."""
    known = {f"gateway {command}" for command in main.list_commands(click.Context(main))}
    known |= {f"scripts/{path.name}" for path in REPOSITORY.glob("scripts/*")}
    assert commands_of(page) - known == set()


def test_the_tour_shows_what_check_prints(tmp_path: Path):
    """The mistake of the first page is reported word for word as printed there."""
    routes = (REPOSITORY / "routes.yaml").read_text(encoding="utf-8")
    (tmp_path / "routes.yaml").write_text(routes.replace("weight: 90", "wieght: 90"), encoding="utf-8")
    check = [sys.executable, "-m", "gateway", "check", "routes.yaml"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(check, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout.strip() in (REPOSITORY / "README.md").read_text(encoding="utf-8")


def test_the_tour_edits_what_is_there():
    """Each replacement that a page or the demo tells to make finds its text in routes.yaml."""
    routes = (REPOSITORY / "routes.yaml").read_text(encoding="utf-8")
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    text += guide(url="", path="routes.yaml", admin="off", backends=["reviews v1"], log="")
    edits = re.findall(r"\bs/([^/]+)/[^/]+/", text)
    assert len(edits) >= 6
    assert [edit for edit in edits if not re.search(edit, routes, re.MULTILINE)] == []


def test_commands_are_seen():
    """The pattern above finds what the first page says."""
    assert {"gateway run", "gateway check", "scripts/demo"} <= commands_of(REPOSITORY / "README.md")


def test_every_page_is_found():
    """The patterns above see the pages people start with."""
    assert {"README.md", "docs/configuration.md", "deploy/README.md", "examples/README.md"} <= {
        name(page) for page in PAGES
    }
