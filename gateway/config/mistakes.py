"""Pydantic's errors in the words of somebody who wrote YAML.

Lifetime: config.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from gateway.config.findings import Finding
from gateway.config.model import RULE_ERROR, Problem, camel
from gateway.config.schema_paths import field_types, fields_at, type_at, words_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel
    from pydantic_core import ErrorDetails

    from gateway.config.marks import Origin

Path = tuple[str | int, ...]
Describe = Callable[[type["BaseModel"], "ErrorDetails"], Problem]


def describe(model: type[BaseModel], error: ErrorDetails, origin: Origin) -> Iterator[Finding]:
    """The findings of one pydantic error; a rule may have several problems."""
    loc: Path = tuple(step for step in error["loc"] if step != "[key]")
    problems: tuple[Problem, ...]
    if error["type"] == RULE_ERROR:
        problems = error["ctx"]["problems"]
    else:
        problems = (_KINDS.get(error["type"], _other)(model, error),)
    at_key = error["type"] == "extra_forbidden"
    for problem in problems:
        here = (origin.key if at_key else origin.position)(*loc, *problem.at)
        yield Finding(
            *here.where,
            problem.severity,
            problem.code,
            problem.message,
            problem.suggestion,
            fatal=problem.severity == "error" and problem.fatal,
            length=here.length,
        )


def _name(error: ErrorDetails) -> str:
    """The field to blame, as it is called in a message."""
    names = [step for step in error["loc"] if isinstance(step, str)]
    name = camel(names[-1]) if names else "the document"
    return f"an entry of {name}" if error["loc"] and isinstance(error["loc"][-1], int) else name


# -- unknown fields ----------------------------------------------------------------------------


def _unknown(model: type[BaseModel], error: ErrorDetails) -> Problem:
    *above, last = error["loc"]
    name = str(last)
    known = fields_at(model, above)
    if camel(name) in known:
        return Problem("GW043", f'"{name}" is another spelling of "{camel(name)}", which is set as well')
    return Problem("GW030", f'unknown field "{name[:64]}"', (), _meant(model, above, name, known))


def _meant(model: type[BaseModel], above: list[int | str], name: str, known: tuple[str, ...]) -> str | None:
    """What was probably meant: a similar name, or the same name one level up or down."""
    near = get_close_matches(camel(name), known, 1, 0.75)
    if near:
        return f'did you mean "{near[0]}"?'
    wanted = camel(name)
    outer = list(above)
    while outer:
        owner = next((step for step in reversed(outer) if isinstance(step, str)), None)
        while outer and isinstance(outer.pop(), int):
            pass
        if wanted in fields_at(model, outer):
            return f'"{wanted}" belongs beside "{owner}": check the indentation'
    for field in known:
        if any(wanted in _names(type_at(model, [*above, field, *entry])) for entry in ((), (0,))):
            return f'"{wanted}" belongs into "{field}"'
    loose = get_close_matches(wanted, known, 1, 0.5)
    return f'did you mean "{loose[0]}"?' if loose else _listed(known)


def _names(here: Any) -> dict[str, Any]:
    return field_types(here) if hasattr(here, "model_fields") else {}


def _listed(words: tuple[str, ...]) -> str | None:
    return f"known: {', '.join(words)}" if 0 < len(words) <= 8 else None


# -- types -------------------------------------------------------------------------------------

_EXPECTED = {
    "string": "text",
    "int": "a whole number",
    "bool": "true or false",
    "float": "a number",
    "dict": "a mapping",
    "model": "a mapping",
    "model_attributes": "a mapping",
    "tuple": "a list",
    "datetime": "a time such as 2026-01-31T12:00:00Z",
}


def _written(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    return f'the text "{value[:40]}"' if isinstance(value, str) else f"the number {value}"


def _type(_: type[BaseModel], error: ErrorDetails) -> Problem:
    expected = _EXPECTED.get(error["type"].partition("_")[0], "another value")
    value, name = error["input"], _name(error)
    if value is None:
        return Problem("GW042", f"{name} is empty; it is {expected}", (), _remedy(expected, value))
    message = f"{name} is {expected}, not {_written(value)}"
    return Problem("GW031", message, (), _remedy(expected, value))


def _remedy(expected: str, value: Any) -> str | None:
    """How to write the value, when that is plain."""
    if expected == "text" and isinstance(value, int | float):
        shown = str(value).lower() if isinstance(value, bool) else value
        return f'write "{shown}", in quotes'
    if expected == "true or false" and isinstance(value, str):
        word = value.lower()
        if word in {"yes", "on", "y", "true"}:
            return "write true"
        return "write false" if word in {"no", "off", "n", "false"} else None
    if expected in {"a whole number", "a number"} and isinstance(value, str) and value.isdigit():
        return f"write {value}, without quotes"
    if expected == "a list" and value is not None:
        return 'begin the entries with "- "'
    if expected == "a mapping" and isinstance(value, list) and len(value) == 1:
        return 'remove the "- "'
    return None


def _missing(model: type[BaseModel], error: ErrorDetails) -> Problem:
    *above, last = error["loc"]
    given = error["input"] if isinstance(error["input"], dict) else {}
    near = get_close_matches(str(last), [key for key in given if key not in fields_at(model, above)], 1, 0.75)
    hint = f'did you mean it by "{near[0]}"?' if near else None
    return Problem("GW032", f'"{last}" is missing', (), hint)


def _word(model: type[BaseModel], error: ErrorDetails) -> Problem:
    words = words_at(model, error["loc"])
    value = error["input"]
    shown = f'"{value[:64]}"' if isinstance(value, str) else _written(value)
    near = get_close_matches(value.upper(), words, 1, 0.6) if isinstance(value, str) else []
    near = near or (get_close_matches(value.lower(), words, 1, 0.6) if isinstance(value, str) else [])
    hint = f'did you mean "{near[0]}"?' if near else None
    return Problem("GW033", f"{_name(error)} is not {shown}: one of {', '.join(map(str, words))}", (), hint)


_BOUNDS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
}


def _range(_: type[BaseModel], error: ErrorDetails) -> Problem:
    key, words = _BOUNDS[error["type"]]
    bound = error["ctx"][key]
    shown = int(bound) if isinstance(bound, float) and bound.is_integer() else bound
    return Problem("GW037", f"{_name(error)} is {words} {shown}, not {error['input']}")


def _blank(_: type[BaseModel], error: ErrorDetails) -> Problem:
    return Problem("GW032", f"{_name(error)} is not empty")


def _other(_: type[BaseModel], error: ErrorDetails) -> Problem:
    return Problem("GW099", f"{_name(error)}: {error['msg']}")


_KINDS: dict[str, Describe] = {
    "extra_forbidden": _unknown,
    "missing": _missing,
    "literal_error": _word,
    "string_too_short": _blank,
    "finite_number": _other,
    **dict.fromkeys(_BOUNDS, _range),
    **dict.fromkeys(
        (
            "string_type",
            "int_type",
            "int_from_float",
            "int_parsing",
            "bool_type",
            "float_type",
            "dict_type",
            "model_type",
            "model_attributes_type",
            "tuple_type",
            "datetime_type",
            "datetime_parsing",
            "datetime_from_date_parsing",
        ),
        _type,
    ),
}
