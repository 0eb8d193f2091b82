"""YAML with positions."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config.marks import Origin
from gateway.config.yaml import MAX_ALIASED, MAX_DEPTH, Tree, plain, read


def one(text: str) -> Tree:
    trees, findings = read(text, "f.yaml")
    assert findings == []
    assert len(trees) == 1
    return trees[0]


def said(text: str) -> list[tuple[str, int, int]]:
    return [(finding.code, finding.line, finding.column) for finding in read(text, "f.yaml")[1]]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("FALSE", False),
        ("on", "on"),
        ("No", "No"),
        ("y", "y"),
        ("~", None),
        ("", None),
        ("null", None),
        ("0", 0),
        ("-7", -7),
        ("+3", 3),
        ("010", "010"),
        ("0x1F", 31),
        ("0o17", 15),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("00.5", "00.5"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("-", "-"),
        ("1.2.3", "1.2.3"),
        ("2026-01-31", "2026-01-31"),
        ("9" * 5000, "9" * 5000),
        ("1e999", "1e999"),
    ],
)
def test_plain_scalars_follow_json_and_not_yaml_1_1(text: str, value: object) -> None:
    """Only true, false, null and decimal-looking numbers are something other than text."""
    found = plain(text)

    assert (type(value), value) == (type(found), found)


def test_quoted_scalars_are_text() -> None:
    """Quotes turn a number, a boolean and null into text."""
    assert one("['1', \"true\", '', \"~\"]").value == ["1", "true", "", "~"]


@pytest.mark.parametrize(
    ("path", "line", "column", "length"),
    [
        (("a",), 1, 4, 1),
        (("flow",), 2, 1, 4),
        (("flow", "x", 1), 2, 15, 3),
        (("flow", "x", 0), 2, 12, 1),
        (("flow", "dotted.key"), 2, 35, 2),
        (("list", 0, "k"), 4, 8, 5),
        (("list", 1), 5, 5, 1),
        (("list", 1, 0), 5, 7, 3),
        (("list", 1, 1, "deep"), 6, 16, 1),
        (("alias", 0, "k"), 4, 8, 5),
        (("empty",), 8, 1, 5),
        (("merged", "p"), 9, 18, 1),
        (("block",), 10, 8, 1),
        (("wide",), 12, 10, 3),
        (("missing", "below"), 1, 1, 1),
        (("flow", "nothing"), 2, 1, 4),
    ],
)
def test_every_field_has_its_position(
    path: tuple[str | int, ...], line: int, column: int, length: int
) -> None:
    """Scalars are marked themselves, blocks at their key, absent fields at the nearest that exists."""
    text = """a: 1
flow: {x: [1, "2"], "dotted.key": on}
list: &l
  - k: value
  - - one
    - {"deep": 2}
alias: *l
empty:
merged: {<<: {p: 1, q: 2}, q: 3}
block: |
  text
wide: "ä" # comment
"""
    text = text.replace('wide: "ä"', 'wide:    "ä"')
    origin = Origin("f.yaml", one(text).marks)

    here = origin.position(*path)

    assert (line, column, length) == (here.line, here.column, here.length)


def test_the_key_of_a_field_has_its_own_position() -> None:
    """Findings about a name point at the name, not at its value."""
    origin = Origin("f.yaml", one("a: {  weigth: 1}").marks)

    here = origin.key("a", "weigth")

    assert (here.line, here.column, here.length) == (1, 7, 6)


def test_fields_are_found_in_either_spelling() -> None:
    """A field is looked up as in the model or as in the file; dictionary keys stay as they are."""
    origin = Origin("f.yaml", one("perTryTimeout: 1s\nretry_on: x\nuser_agent: y").marks)

    assert [origin.position(name).column for name in ("per_try_timeout", "retryOn", "user_agent")] == [
        16,
        11,
        13,
    ]


def test_lines_are_counted_across_documents() -> None:
    """Positions count from the beginning of the file, in every document."""
    trees, _ = read("a: 1\n---\n\nb: 2\n---\n# nothing\n---\nc: 3\n", "f.yaml")

    assert [
        Origin("f", tree.marks).position(key).line
        for tree, key in zip([t for t in trees if t.value], "abc", strict=True)
    ] == [1, 4, 8]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3\n", [("GW005", 3, 1)]),
        ("{a: 1, b: {c: 1, 'c': 2}}", [("GW005", 1, 18)]),
        ("a: 1\n\tb: 2\n", [("GW004", 2, 1)]),
        ("a: b: c\n", [("GW004", 1, 5)]),
        ("a: *none\n", [("GW006", 1, 4)]),
        ("a: &x [*x]\n", [("GW006", 1, 8)]),
        ("a: !!python/name:os.system x\n", [("GW008", 1, 4)]),
        ("a: !custom {b: 1}\n", [("GW008", 1, 4)]),
        ("a: !!int x\n", [("GW008", 1, 4)]),
        ("a: {<<: 3}\n", [("GW009", 1, 5)]),
        ("[a]: 1\n", [("GW010", 1, 1)]),
        ("a: 1\nb: x\x07y\n", [("GW002", 2, 5)]),
        ("a: \ud800\n", [("GW002", 1, 4)]),
    ],
)
def test_what_could_surprise_is_a_finding_at_its_place(
    text: str, expected: list[tuple[str, int, int]]
) -> None:
    """Duplicates, tabs, unknown tags, broken aliases and odd characters are told with line and column."""
    assert expected == said(text)


def test_reading_goes_on_after_a_syntax_error() -> None:
    """The documents before and after a broken one are read, and each broken one is told."""
    trees, findings = read("a: 1\n---\nb: [\n---\nc: 2\n---\nd: *e\n---\nf: 3\n", "f.yaml")

    assert [tree.value for tree in trees] == [{"a": 1}, {"c": 2}, {"f": 3}]
    assert [(finding.code, finding.line) for finding in findings] == [("GW004", 4), ("GW006", 7)]


def test_merge_keys_add_what_is_not_there() -> None:
    """Own keys win over merged ones, and the earlier of several mappings over the later."""
    text = "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz:\n  <<: [*x, *y]\n  a: 0\n"

    assert one(text).value["z"] == {"a": 0, "b": 1, "c": 2}


def test_a_quoted_merge_key_is_a_plain_key() -> None:
    """Only the bare `<<` merges."""
    assert one('"<<": {a: 1}').value == {"<<": {"a": 1}}


def test_an_alias_bomb_is_refused() -> None:
    """Nested aliases that would stand for millions of values stop the reading."""
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels.extend(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9))

    findings = read("\n".join(levels), "f.yaml")[1]

    assert [finding.code for finding in findings] == ["GW006"]
    assert str(MAX_ALIASED) in findings[0].message


def test_deep_nesting_is_refused_without_recursion() -> None:
    """A hundred thousand brackets are one finding, at the first that is too deep."""
    assert said("[" * 100_000) == [("GW007", 1, MAX_DEPTH + 1)]
    assert said("[" * MAX_DEPTH + "]" * MAX_DEPTH) == []


def test_the_size_is_limited() -> None:
    """A text one byte above the limit is not read at all."""
    assert [finding.code for finding in read("a: ä", "f", max_bytes=4)[1]] == ["GW003"]
    assert read("a: ä", "f", max_bytes=5)[1] == []


def test_a_byte_order_mark_is_no_text() -> None:
    """Editors of Windows put U+FEFF in front."""
    assert one("\ufeffa: 1").value == {"a": 1}


def test_numbers_and_words_as_keys_are_text() -> None:
    """JSON objects have text keys; Kubernetes turns these into text as well."""
    assert one("1: a\ntrue: b\non: c").value == {"1": "a", "true": "b", "on": "c"}


_PIECES = st.sampled_from(
    [
        "a",
        "b",
        ": ",
        "- ",
        "\n",
        "  ",
        "[",
        "]",
        "{",
        "}",
        ",",
        "&x ",
        "*x",
        "<<",
        "'",
        '"',
        "|",
        ">",
        "#",
        "---\n",
        "!!str ",
        "!x ",
        "\t",
        "?",
        "%",
        "~",
        "1",
        "\u2028",
        "\x00",
        "é",
        "...\n",
        "@",
        "\r\n",
    ]
)


@settings(max_examples=400)
@given(st.one_of(st.text(), st.lists(_PIECES, max_size=40).map("".join)))
def test_any_text_gives_documents_or_findings(text: str) -> None:
    """Nothing is raised, every finding is inside the text, and every value is plain."""
    trees, findings = read(text, "f.yaml")

    lines = len(text.splitlines()) + 2
    assert all(1 <= finding.line <= lines and finding.column >= 1 and finding.fatal for finding in findings)
    for tree in trees:
        Origin("f.yaml", tree.marks).position("a", 0, "b")
