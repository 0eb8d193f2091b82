"""One demand of a rule, as a function of the request that leans to the safe side.

Lifetime: config.

Theory. A rule that lets in (ALLOW) must be sure: each of its terms holds only when it holds for every
reading of its attribute, and an attribute that cannot be read satisfies nothing. A rule that keeps out (DENY,
and CUSTOM, which asks somebody) must not be walked around: each term holds already for one reading, and for
what cannot be read. A *missing* attribute is neither: no value matches it, every `not` does (Istio). `lean`
says which of the two a term is compiled for: what an unreadable attribute counts as.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from gateway.security import addresses
from gateway.security.attributes import ADDRESSES, REQUEST_PRINCIPAL, issuer_and_subject
from gateway.security.text import ANY, Form, Test, Text, compile_test, encoded, parse

if TYPE_CHECKING:
    from gateway.http.request import Request
    from gateway.security.attributes import Attribute, Readings

Check = Callable[["Request"], Any]
"""Whether a request satisfies a term: the truth of what it returns."""


class Term:
    """A demand, and what the index and `explain` need to know of it."""

    __slots__ = ("attribute", "check", "read", "texts", "written")

    def __init__(
        self,
        written: str,
        check: Check,
        read: Callable[[Request], Readings],
        attribute: Attribute | None = None,
        texts: tuple[Text, ...] = (),
    ) -> None:
        self.written = written
        """`methods GET, HEAD`, as the policy says it."""
        self.check = check
        self.read = read
        """What the request has, for people."""
        self.attribute = attribute
        """Where `texts` are looked up; None: this term cannot be indexed."""
        self.texts = texts
        """No request satisfies the term unless one reading of the attribute matches one of these."""

    def __repr__(self) -> str:
        return f"<Term {self.written}>"


def compare(attribute: Attribute, name: str, values: Sequence[str], *, lean: bool, negative: bool) -> Term:
    """The term `name: values` (or its `not`) over an attribute whose readings are text."""
    return _compare(attribute, name, values, tuple(map(parse, values)), lean=lean, negative=negative)


def compare_bytes(
    attribute: Attribute,
    name: str,
    values: Sequence[str],
    texts: Sequence[Text],
    *,
    lean: bool,
    negative: bool,
) -> Term:
    """The same over an attribute whose readings are bytes."""
    return _compare(attribute, name, values, encoded(texts), lean=lean, negative=negative)


def _compare(
    attribute: Attribute,
    name: str,
    values: Sequence[str],
    texts: tuple[Text, ...],
    *,
    lean: bool,
    negative: bool,
) -> Term:
    test = compile_test(texts)
    written = f"{name} {', '.join(values)}"
    if attribute.single is not None:
        check = _single_check(attribute.single, test, texts, negative=negative)
    else:
        check = _readings_check(attribute, test, lean=lean, negative=negative)
    return Term(written, check, attribute.read, *(() if negative else (attribute, texts)))


def _single_check(
    read: Callable[[Request], Any], test: Test, texts: tuple[Text, ...], *, negative: bool
) -> Check:
    if negative:
        return lambda request: not test(read(request))
    if len(texts) == 1 and texts[0].form is Form.EXACT:
        wanted = texts[0].text
        return lambda request: read(request) == wanted
    return lambda request: test(read(request))


def _readings_check(attribute: Attribute, test: Test, *, lean: bool, negative: bool) -> Check:
    read = attribute.read
    # The question put to each reading, and the answer that one of them is enough to decide.
    one_is_enough = attribute.members or lean is not negative

    def matches(request: Request) -> bool | None:
        readings = read(request)
        if not readings:
            return None if readings is None else False
        for reading in readings:
            if bool(test(reading)) is one_is_enough:
                return one_is_enough
        return not one_is_enough

    if negative:

        def holds_not(request: Request) -> bool:
            found = matches(request)
            return lean if found is None else not found

        return holds_not

    def holds(request: Request) -> bool:
        found = matches(request)
        return lean if found is None else found

    return holds


# -- headers -----------------------------------------------------------------------------------


def compare_header(
    attribute: Attribute, name: str, values: Sequence[str], *, lean: bool, negative: bool
) -> Term:
    """As `compare`. Whether `*` matches an empty header is a matter of reading: Envoy says yes, Istio no."""
    term = compare(attribute, name, values, lean=lean, negative=negative)
    if ANY not in map(parse, values):
        return term
    check, read = term.check, attribute.read

    def unless_empty(request: Request) -> Any:
        readings = read(request)
        return lean if readings and "" in readings else check(request)

    return Term(term.written, unless_empty, read)


# -- request principals ------------------------------------------------------------------------


def compare_request_principal(name: str, values: Sequence[str], *, lean: bool, negative: bool) -> Term:
    """`issuer/subject`, split at the value's last slash, as Istio does.

    So two issuers cannot lend each other subjects: `https://a/b` with subject `c` is not `https://a` with
    `b/c`. What keeps out also takes the joined text.
    """
    pairs = tuple((compile_test((one,)), compile_test((other,))) for one, other in map(_pair, values))
    joined = compile_test(tuple(map(parse, values)))
    wide = lean is not negative

    def matches(request: Request) -> bool:
        found = issuer_and_subject(request)
        if found is None:
            return False
        issuer, subject = found
        if any(one(issuer) and other(subject) for one, other in pairs):
            return True
        return bool(wide and joined(f"{issuer}/{subject}"))

    written = f"{name} {', '.join(values)}"
    if negative:
        return Term(written, lambda request: not matches(request), REQUEST_PRINCIPAL.read)
    return Term(written, matches, REQUEST_PRINCIPAL.read, REQUEST_PRINCIPAL, tuple(map(parse, values)))


def _pair(value: str) -> tuple[Text, Text]:
    """The two sides of a request principal (Istio `requestPrincipalGenerator`)."""
    issuer, slash, subject = value.rpartition("/")
    if value == "*":
        return ANY, ANY
    if value.startswith("*"):
        if not slash:
            return ANY, Text(Form.SUFFIX, value[1:])
        return (ANY if issuer == "*" else Text(Form.SUFFIX, issuer[1:])), Text(Form.EXACT, subject)
    if value.endswith("*"):
        if not slash:
            return Text(Form.PREFIX, value[:-1]), ANY
        return Text(Form.EXACT, issuer), (ANY if subject == "*" else Text(Form.PREFIX, subject[:-1]))
    if not slash:
        return Text(Form.EXACT, value), Text(Form.EXACT, "")
    return Text(Form.EXACT, issuer), Text(Form.EXACT, subject)


# -- numbers -----------------------------------------------------------------------------------


def compare_address(key: str, name: str, values: Sequence[str], *, lean: bool, negative: bool) -> Term:
    """`source.ip`, `remote.ip` or `destination.ip` among CIDRs; `ValueError` when one is none."""
    read, blocks, written = ADDRESSES[key], addresses.Blocks(values), f"{name} {', '.join(values)}"

    def check(request: Request) -> bool:
        address = addresses.parse(read(request))
        return lean if address is None else (address in blocks) is not negative

    return Term(written, check, lambda request: (read(request),) if read(request) else None)


def compare_port(name: str, values: Sequence[str], *, lean: bool, negative: bool) -> Term:
    """The local port; 0 is what a Unix socket has, and not known. `ValueError` for what is no number."""
    ports, written = frozenset(map(int, values)), f"{name} {', '.join(values)}"

    def check(request: Request) -> bool:
        port = request.port
        return (port in ports) is not negative if port else lean

    return Term(written, check, lambda request: (str(request.port),) if request.port else None)
