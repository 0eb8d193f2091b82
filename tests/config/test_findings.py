"""How findings are printed."""

from __future__ import annotations

from gateway.config.codes import CODES
from gateway.config.findings import ConfigError, Finding, render


def at(line: int, column: int, length: int = 1, hint: str | None = None, severity: str = "error") -> Finding:
    return Finding("r.yaml", line, column, severity, "GW030", "message", hint, length=length)  # type: ignore[arg-type]


def test_a_finding_shows_its_line_a_caret_and_the_remedy() -> None:
    """The format of `gateway check`: place, severity, code, message, source, caret, suggestion."""
    text = "spec:\n  route:\n  - weigth: 1\n"

    shown = render([at(3, 5, 6, 'did you mean "weight"?')], {"r.yaml": text})

    assert shown == (
        'r.yaml:3:5  error GW030  message\n 3 |   - weigth: 1\n   |     ^^^^^^ did you mean "weight"?'
    )


def test_a_finding_without_source_shows_its_remedy() -> None:
    """A missing file has no line to show."""
    assert render([at(1, 1, hint="create it")], {}) == "r.yaml:1:1  error GW030  message\n    = create it"


def test_color_is_by_severity() -> None:
    """Errors are red, warnings yellow; without colour there is no escape sequence at all."""
    text = {"r.yaml": "a: 1"}

    assert "\x1b[31m" in render([at(1, 1)], text, color=True)
    assert "\x1b[33m" in render([at(1, 1, severity="warning")], text, color=True)
    assert "\x1b" not in render([at(1, 1)], text)


def test_the_caret_stands_under_wide_characters() -> None:
    """Characters two columns wide push the caret by two; tabs and combining marks are counted, too."""
    shown = render([at(1, 4, 2)], {"r.yaml": "日\té\u0301x: 1"})

    _, source, caret = shown.split("\n")
    assert source == " 1 | 日 é\u0301x: 1"
    assert caret[: caret.index("^") + 1] == "   |     ^"


def test_a_long_line_is_cut_around_the_caret() -> None:
    """A minified file of one line stays readable."""
    text = "x" * 5000 + "HERE" + "y" * 5000

    source, caret = render([at(1, 5001, 4)], {"r.yaml": text}).split("\n")[1:]

    assert len(source) < 200
    start = caret.index("^")
    assert source[start : start + 4] == "HERE"


def test_source_cannot_move_the_cursor() -> None:
    """Escape sequences in a file or message do not reach the terminal."""
    finding = Finding("r.yaml", 1, 1, "error", "GW030", "bad \x1b[2J")

    assert "\x1b" not in render([finding], {"r.yaml": "a: \x1b[2J"})


def test_lines_end_where_yaml_ends_them() -> None:
    """Old Mac and Unicode line ends count, as they do for the parser."""
    assert " 3 | c" in render([at(3, 1)], {"r.yaml": "a\rb\u2028c"})


def test_a_position_beyond_the_text_is_no_error() -> None:
    """The end of a file may be blamed."""
    assert "r.yaml:9:9" in render([at(9, 9)], {"r.yaml": "a"})


def test_a_config_error_says_what_check_prints() -> None:
    """`str(error)` is the rendered findings."""
    error = ConfigError([at(1, 1)], {"r.yaml": "a: 1"})

    assert render([at(1, 1)], {"r.yaml": "a: 1"}) == str(error)
    assert (at(1, 1),) == error.findings


def test_codes_are_documented() -> None:
    """Every code has a title in lower case without full stop, and an explanation in sentences."""
    for code, entry in CODES.items():
        assert code.startswith("GW")
        assert len(code) == 5
        assert entry.title
        assert not entry.title.endswith(".")
        assert entry.explanation.endswith(".")
