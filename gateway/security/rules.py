"""Rules of an AuthorizationPolicy, compiled: from, to, when.

Lifetime: config.

What cannot be translated makes an ALLOW rule vanish, and a DENY rule wider: only the attribute is dropped
(Istio). Validation refuses such documents before, so this is the second lock on the door.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.config.authorization_policy import split_key
from gateway.security import attributes
from gateway.security.terms import (
    Check,
    Term,
    compare,
    compare_address,
    compare_bytes,
    compare_header,
    compare_port,
    compare_request_principal,
)
from gateway.security.text import Text, parse, parse_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gateway.config.authorization_policy import Condition, Operation, Rule, Source
    from gateway.http.request import Request

Alternatives = tuple[tuple[Term, ...], ...]
"""One of these must hold, which is to say every term of it."""


class CompiledRule:
    """A rule as a function of the request, and as the demands it is made of."""

    __slots__ = ("checks", "choices", "conditions", "number", "operations", "sources")

    def __init__(
        self, number: int, sources: Alternatives, operations: Alternatives, conditions: tuple[Term, ...]
    ) -> None:
        self.number = number
        """Index in the policy's `rules`."""
        self.sources = sources
        """Empty: any source."""
        self.operations = operations
        """Empty: any operation."""
        self.conditions = conditions
        parts = [part for part in (operations, sources) if part and () not in part]
        certain = [term for part in parts if len(part) == 1 for term in part[0]]
        self.checks: tuple[Check, ...] = tuple(term.check for term in (*certain, *conditions))
        """All must hold."""
        self.choices: tuple[tuple[tuple[Check, ...], ...], ...] = tuple(
            tuple(tuple(term.check for term in conjunction) for conjunction in part)
            for part in parts
            if len(part) > 1
        )
        """Of each, one alternative must hold."""

    def matches(self, request: Request) -> bool:
        """Whether the rule takes the request."""
        for check in self.checks:
            if not check(request):
                return False
        return not self.choices or self._chosen(request)

    def _chosen(self, request: Request) -> bool:
        for alternatives in self.choices:
            for checks in alternatives:
                for check in checks:
                    if not check(request):
                        break
                else:
                    break
            else:
                return False
        return True

    def __repr__(self) -> str:
        return f"<CompiledRule {self.number}>"


class Untranslatable(Exception):  # noqa: N818 - what happened
    """A part of a rule that means nothing here."""


def compile_rule(number: int, rule: Rule, namespace: str, *, lean: bool) -> CompiledRule | None:
    """A rule of a policy in `namespace`; None when it can take no request.

    `lean` is False for ALLOW and True for the others: see `terms`.
    """
    compiler = _Compiler(namespace, lean=lean)
    try:
        return CompiledRule(
            number,
            tuple(tuple(compiler.source(item.source)) for item in rule.from_),
            tuple(tuple(compiler.operation(item.operation)) for item in rule.to),
            tuple(term for item in rule.when for term in compiler.condition(item)),
        )
    except Untranslatable:
        return None


class _Compiler:
    def __init__(self, namespace: str, *, lean: bool) -> None:
        self._namespace = namespace
        self._lean = lean

    def _both(
        self, name: str, values: Sequence[str], not_values: Sequence[str], make: Callable[..., Term]
    ) -> Iterator[Term]:
        """The term of a field and that of its `not` twin, as far as they are set."""
        for negative, given in ((False, values), (True, not_values)):
            if not given:
                continue
            written = f"not{name[:1].upper()}{name[1:]}" if negative and "." not in name else name
            if negative and "." in name:
                written = f"{name} not"
            try:
                yield make(written, given, lean=self._lean, negative=negative)
            except (ValueError, Untranslatable) as error:
                if not self._lean:
                    raise Untranslatable(f"{written}: {error}") from error

    def _field(self, spec: Any, field: str, name: str, make: Callable[..., Term]) -> Iterator[Term]:
        return self._both(name, getattr(spec, field), getattr(spec, f"not_{field}"), make)

    def operation(self, operation: Operation) -> Iterator[Term]:
        yield from self._field(operation, "methods", "methods", _texts(attributes.METHOD))
        yield from self._field(operation, "ports", "ports", compare_port)
        yield from self._field(operation, "paths", "paths", _paths)
        yield from self._field(operation, "hosts", "hosts", _hosts)

    def source(self, source: Source) -> Iterator[Term]:
        yield from self._field(source, "principals", "principals", _principals)
        yield from self._field(source, "request_principals", "requestPrincipals", compare_request_principal)
        yield from self._field(source, "namespaces", "namespaces", _texts(attributes.NAMESPACE))
        yield from self._field(source, "service_accounts", "serviceAccounts", self._accounts)
        yield from self._field(source, "trust_domains", "trustDomains", _texts(attributes.TRUST_DOMAIN))
        yield from self._field(source, "ip_blocks", "ipBlocks", _addresses("source.ip"))
        yield from self._field(source, "remote_ip_blocks", "remoteIpBlocks", _addresses("remote.ip"))

    def condition(self, condition: Condition) -> Iterator[Term]:
        family, argument = split_key(condition.key)
        make = self._by_key(family, argument or "")
        yield from self._both(condition.key, condition.values, condition.not_values, make)

    def _by_key(self, family: str | None, argument: str) -> Callable[..., Term]:
        if family == "request.headers":
            return _header(argument)
        if family == "request.auth.claims":
            return _claim(tuple(argument.split("][")))
        if family is not None and family in attributes.ADDRESSES:
            return _addresses(family)
        if family == "source.serviceAccount":
            return self._accounts
        found = _BY_KEY.get(family or "")
        if found is None:
            return _untranslatable
        return found

    def _accounts(self, name: str, values: Sequence[str], **more: bool) -> Term:
        full = [value if "/" in value else f"{self._namespace}/{value}" for value in values]
        # No wildcards here: a star is a star.
        return compare_exact(attributes.SERVICE_ACCOUNT, name, full, **more)


def compare_exact(attribute: attributes.Attribute, name: str, values: Sequence[str], **more: bool) -> Term:
    """As `terms.compare`, for values that may hold a star and know no wildcard."""
    if any("*" in value for value in values):
        raise Untranslatable("no wildcards here")
    return compare(attribute, name, values, **more)


def _untranslatable(name: str, _: Sequence[str], **__: bool) -> Term:
    raise Untranslatable(f"{name} is not an attribute")


def _texts(attribute: attributes.Attribute) -> Callable[..., Term]:
    return lambda name, values, **more: compare(attribute, name, values, **more)


def _addresses(key: str) -> Callable[..., Term]:
    return lambda name, values, **more: compare_address(key, name, values, **more)


def _header(key: str) -> Callable[..., Term]:
    def make(name: str, values: Sequence[str], *, lean: bool, negative: bool) -> Term:
        attribute = attributes.header(key, wide=lean is not negative)
        return compare_header(attribute, name, values, lean=lean, negative=negative)

    return make


def _claim(path: tuple[str, ...]) -> Callable[..., Term]:
    def make(name: str, values: Sequence[str], *, lean: bool, negative: bool) -> Term:
        attribute = attributes.claim(path, wide=lean is not negative)
        return compare(attribute, name, values, lean=lean, negative=negative)

    return make


def _principals(name: str, values: Sequence[str], **more: bool) -> Term:
    # `*` covers every other value, and certificates that have no SPIFFE identity.
    return compare(attributes.PEER if "*" in values else attributes.PRINCIPAL, name, values, **more)


def _paths(name: str, values: Sequence[str], **more: bool) -> Term:
    return compare_bytes(attributes.PATH, name, values, tuple(map(parse_path, values)), **more)


def _hosts(name: str, values: Sequence[str], *, lean: bool, negative: bool) -> Term:
    texts: list[Text] = [parse(value.lower()) for value in values]
    attribute = attributes.HOST if lean is negative else attributes.HOST_HOWEVER
    return compare_bytes(attribute, name, values, texts, lean=lean, negative=negative)


_BY_KEY: dict[str, Callable[..., Term]] = {
    "source.principal": _principals,
    "source.namespace": _texts(attributes.NAMESPACE),
    "source.trustDomain": _texts(attributes.TRUST_DOMAIN),
    "request.auth.principal": compare_request_principal,
    "request.auth.audiences": _claim(("aud",)),
    "request.auth.presenter": _claim(("azp",)),
    "destination.port": compare_port,
    "connection.sni": _texts(attributes.SNI),
}
