"""What a VirtualService route does with a request besides forwarding it.

Lifetime: config. Header operations, redirect, direct answer, rewrite.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Annotated, Literal

import re2
from pydantic import AfterValidator, Field, Strict

from gateway.config.fields import (
    Checked,
    FrozenMap,
    Int,
    Many,
    Model,
    NonEmpty,
    Port,
    Problem,
    Str,
    StringMap,
    regex_error,
    rejection,
)
from gateway.config.names import is_token
from gateway.http.format import FormatError
from gateway.http.format import parse as parse_format

if TYPE_CHECKING:
    from collections.abc import Iterator

_FORBIDDEN_IN_VALUE = re.compile(r"[\x00\r\n]")
_REFERENCE = re.compile(r"\\(.?)", re.DOTALL)

AUTHORITY_NAMES = frozenset({"host", ":authority"})
"""Header names (lower-case) that set the authority instead of a header."""

MIB = 1024 * 1024


class HeaderOperations(Checked):
    """Changes to headers: first `remove`, then `set` (overwrite) and `add` (one more line)."""

    set: StringMap = FrozenMap()
    add: StringMap = FrozenMap()
    remove: Many[NonEmpty] = ()

    def _rules(self) -> Iterator[Problem]:
        for field, changes in (("set", self.set), ("add", self.add)):
            for name, value in changes.items():
                if name.lower() not in AUTHORITY_NAMES:
                    yield from _name_problems(name, (field, name))
                yield from _value_problems(value, (field, name))
        for index, name in enumerate(self.remove):
            yield from _name_problems(name, ("remove", index))


def _name_problems(name: str, at: tuple[str | int, ...]) -> Iterator[Problem]:
    if name.startswith(":") or name.lower() == "host":
        yield Problem("GW039", f'"{name}" cannot be changed here: it is part of the request line', at)
    elif not is_token(name):
        yield Problem("GW039", f'"{name}" is not a header name', at)


def _value_problems(value: str, at: tuple[str | int, ...]) -> Iterator[Problem]:
    if _FORBIDDEN_IN_VALUE.search(value):
        yield Problem("GW039", "a header value has no NUL, CR or LF", at)
    try:
        parse_format(value)
    except FormatError as error:
        yield Problem("GW044", f'"{value}" is not a format: {error}', at, "write %% for a percent sign")


class Headers(Checked):
    """Changes to the headers of requests and responses."""

    request: HeaderOperations | None = None
    response: HeaderOperations | None = None

    def _rules(self) -> Iterator[Problem]:
        if self.response is None:
            return
        for field in ("set", "add"):
            for name in getattr(self.response, field):
                if name.lower() in AUTHORITY_NAMES:
                    yield Problem("GW039", f'"{name}" is not part of a response', ("response", field, name))


def authorities(headers: Headers | None) -> list[tuple[str, ...]]:
    """Where header operations set the authority, as paths below a route."""
    if headers is None or headers.request is None:
        return []
    return [
        ("headers", "request", field, name)
        for field in ("set", "add")
        for name in getattr(headers.request, field)
        if name.lower() in AUTHORITY_NAMES
    ]


REDIRECT_CODES = frozenset({301, 302, 303, 307, 308})


class HTTPRedirect(Checked):
    """An answer that sends the client elsewhere."""

    uri: Str | None = None
    """New path; the query stays unless this has one."""
    authority: Str | None = None
    """New host; default: the request's, with its port."""
    port: Port | None = None
    derive_port: Literal["FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT"] | None = None
    scheme: Literal["http", "https"] | None = None
    redirect_code: Int | None = None
    """301 (default), 302, 303, 307 or 308."""
    prefix_rewrite: Str | None = None
    """Replaces the prefix that matched."""

    def _rules(self) -> Iterator[Problem]:
        if not any((self.uri, self.authority, self.port, self.derive_port, self.scheme, self.prefix_rewrite)):
            yield Problem(
                "GW032", "a redirect changes something: uri, authority, port, scheme or prefixRewrite"
            )
        if self.uri and self.prefix_rewrite:
            yield Problem("GW040", "only one of uri and prefixRewrite", ("prefixRewrite",))
        if self.port is not None and self.derive_port is not None:
            yield Problem("GW040", "only one of port and derivePort", ("derivePort",))
        if self.redirect_code and self.redirect_code not in REDIRECT_CODES:
            yield Problem("GW037", "a redirect is 301, 302, 303, 307 or 308", ("redirectCode",))
        for field in ("uri", "authority", "prefix_rewrite"):
            value = getattr(self, field)
            if value is not None and _FORBIDDEN_IN_VALUE.search(value):
                yield Problem("GW039", "a Location header has no NUL, CR or LF", (field,))
        yield from _rootless("uri", self.uri)
        yield from _rootless("prefixRewrite", self.prefix_rewrite)


def _base64(value: str) -> str:
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise rejection(Problem("GW031", "not base64")) from error
    return value


class HTTPBody(Checked):
    """The body of a direct answer."""

    string: Str | None = None
    bytes: Annotated[str, Strict(), AfterValidator(_base64)] | None = None
    """Base64."""

    def _rules(self) -> Iterator[Problem]:
        if self.string is not None and self.bytes is not None:
            yield Problem("GW040", "only one of string and bytes", ("bytes",))
        size = len(self.content)
        if size > MIB:
            yield Problem("GW037", f"the body has {size} bytes; at most 1 MiB is sent")
        elif size > 100 * 1024:
            yield Problem(
                "GW052",
                f"the body has {size} bytes; serve it from a backend",
                severity="warning",
                fatal=False,
            )

    @property
    def content(self) -> memoryview:
        """The bytes to send."""
        if self.bytes is not None:
            return memoryview(base64.b64decode(self.bytes))
        return memoryview((self.string or "").encode())


class HTTPDirectResponse(Model):
    """An answer the gateway gives itself."""

    status: Annotated[int, Strict(), Field(ge=200, le=600)]
    body: HTTPBody | None = None


class RegexRewrite(Checked):
    """Replaces every match of `match` in the path by `rewrite`."""

    match: Str
    """RE2, at most `limits.regexBytes`."""
    rewrite: Str
    r"""Replacement; `\1` to `\9` are groups, `\0` the whole match."""

    def _rules(self) -> Iterator[Problem]:
        message = regex_error(self.match)
        if message is not None:
            yield Problem("GW036", message, ("match",))
        if not self.rewrite:
            yield Problem("GW032", "uriRegexRewrite needs a rewrite", ("rewrite",))
        elif message is None:
            problem = _template_problem(self.rewrite, re2.compile(self.match).groups)
            if problem is not None:
                yield Problem("GW047", problem, ("rewrite",))


def _template_problem(text: str, groups: int) -> str | None:
    r"""Why RE2 would not take a replacement: `\1` without such a group, a backslash before a letter."""
    for reference in _REFERENCE.findall(text):
        if not reference or not (reference.isdigit() or reference == "\\"):
            return r"behind a backslash stands the number of a group (\1), or another backslash"
        if reference.isdigit() and int(reference) > groups:
            count = {0: "no groups", 1: "one group"}.get(groups, f"{groups} groups")
            return f"there is no group \\{reference}: the regex has {count}"
    return None


def _rootless(field: str, value: str | None) -> Iterator[Problem]:
    """A path that would be glued to whatever stands before it."""
    if value and not value.startswith("/"):
        hint = "to strip a prefix, match it with its last slash and write /"
        yield Problem("GW035", 'a path begins with "/"', (field,), hint)


class HTTPRewrite(Checked):
    """Changes path or authority before forwarding."""

    uri: Str | None = None
    """Replaces the prefix that matched, or the whole path of an exact or regex match."""
    authority: Str | None = None
    uri_regex_rewrite: RegexRewrite | None = None

    def _rules(self) -> Iterator[Problem]:
        if not self.uri and not self.authority and self.uri_regex_rewrite is None:
            yield Problem("GW032", "a rewrite changes something: uri, authority or uriRegexRewrite")
        if self.uri and self.uri_regex_rewrite is not None:
            yield Problem("GW040", "only one of uri and uriRegexRewrite", ("uriRegexRewrite",))
        for field in ("uri", "authority"):
            value = getattr(self, field)
            if value is not None and _FORBIDDEN_IN_VALUE.search(value):
                yield Problem("GW039", "no NUL, CR or LF in a request", (field,))
        yield from _rootless("uri", self.uri)
