"""Types of single fields: durations, host names, ports, labels, patterns.

Lifetime: config.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import re2
from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, Strict, WithJsonSchema
from pydantic_core import CoreSchema, core_schema

from gateway.config.model import Checked, Model, Problem, camel, rejection
from gateway.config.names import (
    check_hostname,
    check_label,
    check_name,
    check_namespace,
    check_wildcard,
    is_ip,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "Bool",
    "Checked",
    "Duration",
    "DurationOrZero",
    "FrozenMap",
    "HostName",
    "HostNotStar",
    "HostOrIp",
    "HostPattern",
    "Int",
    "Label",
    "Labels",
    "Many",
    "Map",
    "Model",
    "Namespace",
    "NonEmpty",
    "Number",
    "Percent",
    "Percentage",
    "Port",
    "PortSelector",
    "Problem",
    "Str",
    "StringMap",
    "StringMatch",
    "Uint32",
    "camel",
    "format_duration",
    "parse_duration",
    "regex_error",
    "rejection",
]

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

Str = Annotated[str, Strict()]
"""Text. A bare `1` or `true` is refused: Kubernetes refuses it too."""
NonEmpty = Annotated[str, Strict(), Field(min_length=1)]
Bool = Annotated[bool, Strict()]
Int = Annotated[int, Strict(), Field(ge=-(2**31), lt=2**31)]
"""A whole number (int32)."""
Uint32 = Annotated[int, Strict(), Field(ge=0, lt=2**32)]
"""A whole number that is not negative."""
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Port = Annotated[int, Strict(), Field(ge=1, le=65535)]
Percentage = Annotated[int, Strict(), Field(ge=0, le=100)]
"""A whole percentage."""


class FrozenMap(dict[K, V]):
    """A dict that cannot change, and so can be hashed and shared."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        msg = "configuration is frozen"
        raise TypeError(msg)

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> CoreSchema:
        """For pydantic's JSON Schema, which writes defaults down."""
        return core_schema.no_info_after_validator_function(cls, core_schema.dict_schema())

    def __reduce__(self) -> tuple[type[FrozenMap[K, V]], tuple[dict[K, V]]]:
        return FrozenMap, (dict(self),)


def _null_is_empty_list(value: Any) -> Any:
    return () if value is None else value


def _null_is_empty_map(value: Any) -> Any:
    return {} if value is None else value


Many = Annotated[tuple[T, ...], BeforeValidator(_null_is_empty_list)]
"""A list; null means unset, as in proto-JSON."""
Map = Annotated[dict[K, V], BeforeValidator(_null_is_empty_map), AfterValidator(FrozenMap)]
"""A read-only mapping; null means unset."""
StringMap = Map[Str, Str]


# -- durations ---------------------------------------------------------------------------------

_UNITS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,  # MICRO SIGN and GREEK SMALL LETTER MU, both as in Go's time.ParseDuration
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_PIECE = re.compile(r"([0-9]{1,12}(?:\.[0-9]{0,12})?|\.[0-9]{1,12})(ns|us|µs|μs|ms|s|m|h)")
_LONGEST = 315_576_000_000 * 10**9  # google.protobuf.Duration: 10 000 years


def parse_duration(text: str) -> int | None:
    """Nanoseconds of a Go duration (`1m30s`, `1.5s`, `250ms`); None when it is not one."""
    sign = -1 if text.startswith("-") else 1
    body = text[1:] if text[:1] in {"-", "+"} else text
    if body == "0":
        return 0
    total, end = 0, 0
    while end < len(body):
        piece = _PIECE.match(body, end)
        if piece is None:
            return None
        number, unit = piece.groups()
        whole, _, fraction = number.partition(".")
        total += int(whole or 0) * _UNITS[unit]
        if fraction:
            total += int(fraction) * _UNITS[unit] // 10 ** len(fraction)
        end = piece.end()
    return sign * total if body and total <= _LONGEST else None


def format_duration(seconds: float) -> str:
    """The way Istio writes a duration, to the millisecond: `1.5s`."""
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    return f"{whole}.{milliseconds:03}".rstrip("0").rstrip(".") + "s" if milliseconds else f"{whole}s"


def _duration(value: Any) -> float:
    if not isinstance(value, str):
        hint = f'write "{value}s"' if isinstance(value, int | float) and not isinstance(value, bool) else None
        raise rejection(Problem("GW034", "a duration is text with a unit, such as 10s or 250ms", (), hint))
    nanoseconds = parse_duration(value)
    if nanoseconds is None:
        hint = f'write "{value}s"' if value.isdigit() else None
        message = f'"{value[:64]}" is not a duration: write a number and a unit, such as 10s, 250ms or 1m30s'
        raise rejection(Problem("GW034", message, (), hint))
    if nanoseconds % 10**6:
        raise rejection(Problem("GW034", "a duration is precise to the millisecond, no finer"))
    return nanoseconds / 10**9


def _at_least_1ms(value: float) -> float:
    if value < 0.001:
        raise rejection(Problem("GW034", "a duration is at least 1ms", (), "leave it out to unset it"))
    return value


def _not_negative(value: float) -> float:
    if value < 0:
        raise rejection(Problem("GW034", "a duration is not negative"))
    return value


_DURATION_SCHEMA = WithJsonSchema(
    {
        "type": "string",
        "pattern": r"^(0|([0-9]+(\.[0-9]*)?|\.[0-9]+)(ms|s|m|h))+$",
        "description": "A duration: 10s, 250ms, 1m30s.",
    }
)
_WRITTEN = PlainSerializer(format_duration, return_type=str, when_used="json")

Duration = Annotated[
    float, AfterValidator(_at_least_1ms), BeforeValidator(_duration), _DURATION_SCHEMA, _WRITTEN
]
"""Seconds, at least 0.001, in whole milliseconds; written `10s`, `250ms`, `1m30s`."""
DurationOrZero = Annotated[
    float, AfterValidator(_not_negative), BeforeValidator(_duration), _DURATION_SCHEMA, _WRITTEN
]
"""Seconds, not negative, in whole milliseconds."""


# -- names -------------------------------------------------------------------------------------


def _checked(check: Callable[[str], str | None], code: str) -> AfterValidator:
    def validate(value: str) -> str:
        message = check(value)
        if message is not None:
            raise rejection(Problem(code, message))
        return value

    return AfterValidator(validate)


def _host_or_ip(value: str) -> str | None:
    return None if is_ip(value) else check_wildcard(value)


def _host_no_star(value: str) -> str | None:
    if value == "*":
        return 'a host, not "*"'
    return None if is_ip(value) else check_wildcard(value)


HostName = Annotated[str, Strict(), _checked(check_hostname, "GW035")]
"""A fully qualified or short name, no wildcard."""
HostPattern = Annotated[str, Strict(), _checked(check_wildcard, "GW035")]
"""A name, `*.suffix` or `*`."""
HostOrIp = Annotated[str, Strict(), _checked(_host_or_ip, "GW035")]
"""A name, `*.suffix`, `*` or an IP address."""
HostNotStar = Annotated[str, Strict(), _checked(_host_no_star, "GW035")]
"""A name, `*.suffix` or an IP address: one host, not every host."""
Label = Annotated[str, Strict(), _checked(check_name, "GW026")]
"""A DNS-1123 label, as names of subsets and namespaces are."""
Namespace = Annotated[str, Strict(), _checked(check_namespace, "GW026")]


def _labels(value: dict[str, str]) -> dict[str, str]:
    problems = tuple(
        Problem("GW041", message, (key,))
        for key, text in value.items()
        if (message := check_label(key, text)) is not None
    )
    if problems:
        raise rejection(*problems)
    return value


Labels = Annotated[StringMap, AfterValidator(_labels)]
"""Kubernetes labels."""


# -- patterns ----------------------------------------------------------------------------------

MAX_REGEX_BYTES = 64 * 1024
"""What `limits.regexBytes` can allow at most."""
MAX_REGEX_PROGRAM = 32768
"""RE2 instructions a regex may take (Istio's `re2.max_program_size.error_level`)."""

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
_OPTIONS.never_capture = True


@lru_cache(maxsize=4096)
def regex_error(pattern: str) -> str | None:
    """Why RE2 does not take `pattern`; None when it does."""
    if not pattern:
        return "a regex is not empty"
    if len(pattern.encode(errors="replace")) > MAX_REGEX_BYTES:
        return f"a regex has at most {MAX_REGEX_BYTES} bytes"
    try:
        size = re2.compile(pattern, options=_OPTIONS).programsize
    except re2.error as error:
        reason = error.args[0] if error.args else "invalid"
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        return f"RE2 does not accept this regex: {text}"
    if size > MAX_REGEX_PROGRAM:
        return f"this regex takes RE2 {size} instructions; at most {MAX_REGEX_PROGRAM}, as in Istio"
    return None


class StringMatch(Checked):
    """How a text is compared: `exact`, `prefix` or `regex` (RE2, whole text); none of them is presence."""

    exact: Str | None = None
    """The whole text, case-sensitive."""
    prefix: Str | None = None
    """How the text begins."""
    regex: Str | None = None
    """RE2 pattern of the whole text (`limits.regexBytes`). Where presence can be meant, `*` means it."""

    def _rules(self) -> Iterator[Problem]:
        given = [name for name in ("exact", "prefix", "regex") if getattr(self, name) is not None]
        for name in given[1:]:
            yield Problem("GW040", f"only one of exact, prefix, regex: {given[0]} is set already", (name,))
        if self.regex is not None and self.regex != "*":
            message = regex_error(self.regex)
            if message is not None:
                yield Problem("GW036", message, ("regex",))

    @property
    def presence(self) -> bool:
        """Whether any value matches, so that only being there counts."""
        return self.regex == "*" or (self.exact is None and self.prefix is None and self.regex is None)


class Percent(Model):
    """A share of requests."""

    value: Annotated[float, Strict(), Field(ge=0, le=100, allow_inf_nan=False)] = 0.0
    """0 to 100."""


class PortSelector(Model):
    """A port by its number."""

    number: Port
