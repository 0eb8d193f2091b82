"""Looking at files without parsing them: the same content, the same digest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.config import load
from gateway.config.files import spread
from gateway.control.content import look

DOCUMENT = (
    "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec: {hosts: [a]}\n"
)


def one_file(root: Path) -> list[Path]:
    (root / "routes.yaml").write_text(DOCUMENT)
    return [root / "routes.yaml"]


def directory(root: Path) -> list[Path]:
    for name in ("b.yaml", "a.yml", ".hidden.yaml", "notes.txt"):
        (root / name).write_text(f"# {name}\n{DOCUMENT}")
    (root / "deeper.yaml").mkdir()
    return [root]


def one_file_twice(root: Path) -> list[Path]:
    (root / "routes.yaml").write_text(DOCUMENT)
    (root / "link.yaml").symlink_to("routes.yaml")
    return [root / "routes.yaml", root, root / "link.yaml"]


def unreadable(root: Path) -> list[Path]:
    (root / "routes.yaml").write_text(DOCUMENT)
    return [root / "routes.yaml", root / "missing.yaml"]


def too_large(root: Path) -> list[Path]:
    (root / "big.yaml").write_text("#" * (1024 * 1024 + 1))
    (root / "small.yaml").write_text(DOCUMENT)
    return [root]


def not_text(root: Path) -> list[Path]:
    (root / "a.yaml").write_bytes(b"\xff\xfe" + DOCUMENT.encode())
    return [root]


def windows_lines(root: Path) -> list[Path]:
    (root / "a.yaml").write_bytes(b"\xef\xbb\xbf" + DOCUMENT.replace("\n", "\r\n").encode())
    return [root]


@pytest.mark.parametrize(
    "make", [one_file, directory, one_file_twice, unreadable, too_large, not_text, windows_lines]
)
def test_the_digest_is_the_loaders(tmp_path: Path, make) -> None:
    """Or a reload would mistake changed files for the ones that serve, or the other way round."""
    paths = make(tmp_path)

    assert look(paths).digest == load(paths).digest


@pytest.mark.parametrize("make", [unreadable, too_large])
def test_what_cannot_be_read_is_named(tmp_path: Path, make) -> None:
    """A file outside the digest must still count as a difference."""
    paths = make(tmp_path)

    assert len(look(paths).unread) == 1
    assert look(one_file(tmp_path)).unread == ()


def test_a_name_is_no_content(tmp_path: Path) -> None:
    """Moving text from one file into another changes what is read; renaming alone does not."""
    (tmp_path / "a.yaml").write_text("one")
    (tmp_path / "b.yaml").write_text("two")
    before = look([tmp_path])
    (tmp_path / "b.yaml").rename(tmp_path / "c.yaml")
    renamed = look([tmp_path])
    (tmp_path / "a.yaml").write_text("onet")
    (tmp_path / "c.yaml").write_text("wo")

    assert (renamed == before, look([tmp_path]) == before) == (True, False)


def test_joined_paths_are_spread() -> None:
    """`GATEWAY_CONFIG` joins paths as PATH does; a Path is never split."""
    joined = os.pathsep.join(["a.yaml", "conf"])

    assert spread(joined) == (Path("a.yaml"), Path("conf"))
    assert spread([joined, Path("b.yaml")]) == (Path("a.yaml"), Path("conf"), Path("b.yaml"))
    assert spread(Path("b.yaml")) == (Path("b.yaml"),)
