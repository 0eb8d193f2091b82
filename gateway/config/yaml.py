"""YAML text to plain values with their positions; what could surprise is a finding.

Lifetime: config. The grammar is libyaml's. Plain scalars follow YAML 1.2 (JSON) and not 1.1: `on`, `no` and
`12:30` are text. Events are read one by one, without recursion: depth, aliases and size are limited first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from gateway.config.findings import Finding
from gateway.config.marks import ListMarks, MapMarks, Mark, pack, unpack

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BYTES = 1024 * 1024
"""Largest file; a setting of `read`."""
SPLIT = "split it: several files and directories may be given"
"""The remedy of a file above the limit."""
MAX_DEPTH = 64
"""Deepest nesting; the deepest Istio resource has about 20 levels."""
MAX_ALIASED = 100_000
"""Most values that the aliases of one file may stand for."""
MAX_SYNTAX_ERRORS = 20
"""Reading goes on at the next `---` after an error, this often."""


@dataclass(frozen=True, slots=True)
class Tree:
    """One document: plain values (dict, list, str, int, float, bool, None) and where they stand."""

    value: Any
    marks: Mark


def read(text: str, path: str, *, max_bytes: int = MAX_BYTES) -> tuple[list[Tree], list[Finding]]:
    """The documents of a YAML stream, and everything wrong with it. Never raises."""
    reader = _Reader(path)
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start)
        column = error.start - (text.rfind("\n", 0, error.start) + 1)
        reader.report("GW002", "this character is not Unicode", pack(line, column, 1))
        return [], reader.findings
    if size > max_bytes:
        reader.report("GW003", f"the file has {size} bytes; at most {max_bytes} are read", 0, SPLIT)
        return [], reader.findings
    text = text.removeprefix("\ufeff")
    control = _CONTROL.search(text)
    if control is not None:
        # libyaml reads ahead and would give up before the documents in front of it.
        before = _lines(text[: control.end()])
        mark = pack(len(before) - 1, len(before[-1]) - 1, 1)
        reader.report("GW002", f"a control character, U+{ord(control[0]):04X}", mark, "remove it")
        text = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)
    reader.read(text)
    return reader.trees, reader.findings


# -- scalars -----------------------------------------------------------------------------------

_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}
# No leading zeros: 010 is 8 to YAML 1.1 and 10 to 1.2, so it stays the text it is.
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,18})\Z")
_HEX = re.compile(r"0x[0-9a-fA-F]{1,16}\Z|0o[0-7]{1,21}\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]{1,64}|[0-9]{1,64}(?:\.[0-9]{0,64})?)(?:[eE][-+]?[0-9]{1,2})?\Z")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]")


def plain(text: str) -> Any:
    """The value of an unquoted scalar."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] in "0123456789+-.":
        if _INT.match(text):
            return int(text)
        if _HEX.match(text):
            return int(text, 0)
        if _FLOAT.match(text) and not _LEADING_ZERO.match(text):
            return float(text)
    return text


_TAG = "tag:yaml.org,2002:"
_SCALAR_TAGS: dict[str, type | tuple[type, ...]] = {
    _TAG + "int": int,
    _TAG + "float": (int, float),
    _TAG + "bool": bool,
    _TAG + "null": type(None),
}


class _Frame:
    """A mapping or list that is being read."""

    __slots__ = ("anchor", "before", "key", "key_mark", "marks", "merges", "value")

    def __init__(self, marks: MapMarks | ListMarks, anchor: str | None, before: int) -> None:
        self.marks = marks
        self.value: Any = {} if isinstance(marks, MapMarks) else []
        self.anchor = anchor
        self.before = before
        """Values read before this one."""
        self.key: str | None = None
        self.key_mark = 0
        self.merges: list[tuple[Any, Mark, int]] = []


@dataclass(slots=True)
class _Anchored:
    """What an alias stands for."""

    value: Any
    mark: Mark
    count: int
    """Values in it, itself included."""


class _Stop(Exception):  # noqa: N818 - ends the reading of one document, after a finding was made
    pass


class _Reader:
    """Reads one file."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.trees: list[Tree] = []
        self.findings: list[Finding] = []
        self._line = 0
        """Line of the text that is being parsed within the file."""
        self._stack: list[_Frame] = []
        self._anchors: dict[str, _Anchored | None] = {}
        self._count = 0
        self._aliased = 0
        self._faults = 0

    def report(self, code: str, message: str, mark: int, suggestion: str | None = None) -> None:
        here = unpack(mark, self.path)
        finding = Finding(*here.where, "error", code, message, suggestion, fatal=True, length=here.length)
        if finding not in self.findings[-1:]:
            self.findings.append(finding)

    # -- events ----------------------------------------------------------------------------

    def read(self, text: str) -> None:
        """Reads every document; after a syntax error it goes on at the next `---`."""
        rest = text
        for _ in range(MAX_SYNTAX_ERRORS):
            failed_at = self._read_stream(rest)
            if failed_at is None:
                return
            lines = _lines(rest)
            first = max(failed_at, 1)
            following = next((i for i in range(first, len(lines)) if _STARTS.match(lines[i])), None)
            if following is None:
                return
            self._line += following
            rest = "".join(lines[following:])

    def _read_stream(self, text: str) -> int | None:
        """Reads `text`; the line (counted in it, from 0) where reading it had to stop, or None."""
        loader = yaml.CSafeLoader(text)
        event: Any = None
        try:
            while loader.check_event():
                event = loader.get_event()
                self._take(event)
        except _Stop:
            return int(event.start_mark.line) + 1
        except yaml.MarkedYAMLError as error:
            return self._syntax_error(error, text)
        except yaml.YAMLError as error:  # none is known that has no mark
            self.report("GW004", f"not YAML: {error}", pack(self._line, 0, 1))
        finally:
            loader.dispose()
        return None

    def _take(self, event: Any) -> None:
        kind = type(event)
        if kind is yaml.ScalarEvent:
            mark = self._mark(event)
            self._add(self._scalar(event, mark), mark, event.anchor, event)
        elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            self._open(event, MapMarks if kind is yaml.MappingStartEvent else ListMarks)
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            self._close()
        elif kind is yaml.AliasEvent:
            self._alias(event)
        elif kind is yaml.DocumentStartEvent:
            self._anchors, self._stack = {}, []

    def _mark(self, event: Any) -> int:
        start, end = event.start_mark, event.end_mark
        length = end.column - start.column if end.line == start.line else 1
        return pack(start.line + self._line, start.column, length)

    def _scalar(self, event: Any, mark: int) -> Any:
        if event.tag is None:
            return plain(event.value) if event.implicit[0] else event.value
        if event.tag in {"!", _TAG + "str"}:
            return event.value
        kind = _SCALAR_TAGS.get(event.tag)
        value = plain(event.value)
        if kind is not None and isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
            return value
        self._bad_tag(event.tag, mark)
        return None

    def _bad_tag(self, tag: str, mark: int) -> None:
        shown = tag.replace(_TAG, "!!")[:80]
        self.report("GW008", f'the tag "{shown}" cannot be read here', mark, "remove it")

    # -- building --------------------------------------------------------------------------

    def _open(self, event: Any, kind: type[MapMarks | ListMarks]) -> None:
        mark = pack(event.start_mark.line + self._line, event.start_mark.column, 1)
        if event.tag not in {None, "!", _TAG + ("map" if kind is MapMarks else "seq")}:
            self._bad_tag(event.tag, mark)
        if len(self._stack) >= MAX_DEPTH:
            self.report("GW007", f"values are nested more than {MAX_DEPTH} deep", mark)
            raise _Stop
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        self._stack.append(_Frame(kind(mark), event.anchor, self._count))

    def _close(self) -> None:
        frame = self._stack.pop()
        if isinstance(frame.marks, MapMarks):
            for value, mark, at in frame.merges:
                self._merge(frame.value, frame.marks, _sources(value, mark), at)
        self._add(frame.value, frame.marks, None, None)
        if frame.anchor is not None:
            self._anchors[frame.anchor] = _Anchored(frame.value, frame.marks, self._count - frame.before)

    def _add(self, value: Any, mark: Mark, anchor: str | None, scalar: Any) -> None:
        self._count += 1
        if anchor is not None:
            self._anchors[anchor] = _Anchored(value, mark, 1)
        if not self._stack:
            self.trees.append(Tree(value, mark))
            return
        frame = self._stack[-1]
        marks = frame.marks
        if isinstance(marks, ListMarks):
            frame.value.append(value)
            marks.items.append(mark)
        elif frame.key is None:
            self._add_key(frame, marks, value, mark, scalar)
        elif frame.key_mark < 0:
            frame.merges.append((value, mark, ~frame.key_mark))
            frame.key = None
        else:
            frame.value[frame.key] = value
            marks.items[frame.key] = mark
            marks.keys[frame.key] = frame.key_mark
            frame.key = None

    def _add_key(self, frame: _Frame, marks: MapMarks, value: Any, mark: Mark, scalar: Any) -> None:
        """Takes a key. Kubernetes turns numbers and booleans into text here, so the text counts."""
        if not isinstance(mark, int):
            self.report("GW010", "a key is text, not a list or mapping", mark.start)
            frame.key, frame.key_mark = "", mark.start
            return
        key = scalar.value if scalar is not None else value if isinstance(value, str) else str(value)
        if key == "<<" and scalar is not None and scalar.tag is None and scalar.implicit[0]:
            frame.key, frame.key_mark = key, ~mark  # negative: told apart from the quoted key "<<"
            return
        if key in marks.keys:
            first = unpack(marks.keys[key], self.path).line
            self.report("GW005", f'the key "{key[:64]}" appears twice; the first is in line {first}', mark)
        frame.key, frame.key_mark = key, mark

    def _alias(self, event: Any) -> None:
        mark = self._mark(event)
        if event.anchor not in self._anchors:
            self.report("GW006", f"the alias *{event.anchor} names no anchor before it", mark)
            raise _Stop
        anchored = self._anchors[event.anchor]
        if anchored is None:
            self.report("GW006", f"the alias *{event.anchor} stands inside of what it stands for", mark)
            raise _Stop
        self._aliased += anchored.count
        if self._aliased > MAX_ALIASED:
            self.report("GW006", f"the aliases stand for more than {MAX_ALIASED} values", mark)
            raise _Stop
        self._count += anchored.count - 1
        self._add(anchored.value, anchored.mark, None, None)

    def _merge(self, value: Any, marks: MapMarks, sources: list[tuple[Any, Mark]], at: int) -> None:
        """Adds what `<<` names: own keys win, then the earlier mapping, as in YAML's merge type."""
        for source, mark in sources:
            if not isinstance(mark, MapMarks):
                self.report("GW009", "<< takes a mapping or a list of mappings", at)
                return
            for key, item in source.items():
                if key not in value:
                    value[key] = item
                    marks.items[key] = mark.items[key]
                    marks.keys[key] = mark.keys[key]

    # -- errors ----------------------------------------------------------------------------

    def _syntax_error(self, error: yaml.MarkedYAMLError, text: str) -> int:
        where = error.problem_mark or error.context_mark
        line, column = (where.line, where.column) if where is not None else (0, 0)
        message, hint = " ".join(filter(None, (error.context, error.problem))), None
        begun = error.context_mark
        if begun is not None and begun.line != line:
            message += f"; it begins in line {begun.line + self._line + 1}"
        source = (_lines(text)[line : line + 1] or [""])[0]
        if "\t" in source[: column + 1]:
            hint = "indent with spaces: YAML allows no tabs there"
        elif "mapping values are not allowed" in message:
            hint = 'text with ": " in it needs quotes; or check the indentation'
        elif "block mapping" in message or "block collection" in message:
            hint = "check the indentation"
        self.report("GW004", f"not YAML: {message}", pack(line + self._line, column, 1), hint)
        return line


def _sources(value: Any, mark: Mark) -> list[tuple[Any, Mark]]:
    """The mappings that `<<: value` names."""
    return list(zip(value, mark.items, strict=True)) if isinstance(mark, ListMarks) else [(value, mark)]


_LINE_END = re.compile(r"\r\n|[\n\r\x85\u2028\u2029]")
_STARTS = re.compile(r"---(?:\s|\Z)")
_CONTROL = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What YAML (and libyaml) does not take for text."""


def _lines(text: str) -> list[str]:
    """The lines of a text with their ends, where libyaml counts lines."""
    return list(_iter_lines(text))


def _iter_lines(text: str) -> Iterator[str]:
    start = 0
    for end in _LINE_END.finditer(text):
        yield text[start : end.end()]
        start = end.end()
    if start < len(text):
        yield text[start:]
