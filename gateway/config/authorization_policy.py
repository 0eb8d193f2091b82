"""AuthorizationPolicy: who may do what, in Istio's own shape.

Lifetime: config. What a typo would widen is an error here, also where Istio lets it pass.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from gateway.config.fields import Checked, Many, Model, NonEmpty, Problem, Str, camel
from gateway.config.names import is_cidr, is_token
from gateway.config.resource import Resource, register
from gateway.config.selector import EmptyIfNull, Targeted
from gateway.config.suggest import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Path = tuple[str | int, ...]

MAX_SERVICE_ACCOUNTS = 16
MAX_SERVICE_ACCOUNT = 320
DRY_RUN = "istio.io/dry-run"
"""Annotation: with `"true"` the policy is only counted and logged."""


class Clause(Checked):
    """Lists of values; values in a list are alternatives, the lists must all hold."""

    def _rules(self) -> Iterator[Problem]:
        given = [name for name in type(self).model_fields if name in self.model_fields_set]
        if not given:
            yield Problem("GW060", "nothing is named here", (), "leave it out to mean anything")
        for name in given:
            values = getattr(self, name)
            if values == ():
                message = "an empty list: nothing could match it"
                yield Problem("GW060", message, (camel(name),), "leave the field out to mean any")
            elif isinstance(values, tuple):
                for index, value in enumerate(values):
                    if value == "":
                        yield Problem("GW060", "an empty value matches nothing", (camel(name), index))
        yield from self._value_problems()

    def _value_problems(self) -> Iterator[Problem]:
        """What is wrong with the values of each list."""
        raise NotImplementedError

    def _checked(self, field: str, check: Callable[[str], str | None], code: str) -> Iterator[Problem]:
        """Problems `check` finds in the values of `field` and of its `not` twin."""
        for name in (field, f"not_{field}"):
            for index, value in enumerate(getattr(self, name)):
                message = check(value) if value else None
                if message is not None:
                    yield Problem(code, message, (camel(name), index))


class Source(Clause):
    """Where a request comes from; all fields that are set must hold."""

    principals: Many[Str] = ()
    """Peer certificates, `cluster.local/ns/default/sa/sleep`; `*` is any verified peer."""
    not_principals: Many[Str] = ()
    request_principals: Many[Str] = ()
    """Verified JWTs, `<iss>/<sub>`; `*` is any."""
    not_request_principals: Many[Str] = ()
    namespaces: Many[Str] = ()
    """Namespaces of the peer certificate."""
    not_namespaces: Many[Str] = ()
    ip_blocks: Many[Str] = ()
    """Addresses or CIDRs of the direct peer."""
    not_ip_blocks: Many[Str] = ()
    remote_ip_blocks: Many[Str] = ()
    """Addresses or CIDRs of the client, as trusted proxies report it."""
    not_remote_ip_blocks: Many[Str] = ()
    service_accounts: Many[Str] = ()
    """`namespace/name` or `name` (in the policy's namespace); at most 16, no wildcard."""
    not_service_accounts: Many[Str] = ()
    trust_domains: Many[Str] = ()
    """Trust domains of the peer certificate."""
    not_trust_domains: Many[Str] = ()

    def _value_problems(self) -> Iterator[Problem]:
        yield from self._checked("ip_blocks", check_block, "GW062")
        yield from self._checked("remote_ip_blocks", check_block, "GW062")
        yield from self._checked("service_accounts", _check_service_account, "GW026")
        for field in ("service_accounts", "not_service_accounts"):
            if len(getattr(self, field)) > MAX_SERVICE_ACCOUNTS:
                message = f"at most {MAX_SERVICE_ACCOUNTS} service accounts"
                yield Problem("GW037", message, (camel(field), MAX_SERVICE_ACCOUNTS))
        if self.service_accounts or self.not_service_accounts:
            for field in ("principals", "not_principals", "namespaces", "not_namespaces"):
                if getattr(self, field):
                    yield Problem("GW040", f"{camel(field)} cannot join serviceAccounts", (camel(field),))
        for field in ("principals", "not_principals"):
            yield from principal_problems(getattr(self, field), (camel(field),))


class Operation(Clause):
    """What a request does; all fields that are set must hold."""

    hosts: Many[Str] = ()
    """The Host header with its port, without regard to case."""
    not_hosts: Many[Str] = ()
    ports: Many[Str] = ()
    """Local ports the request came in on, as text: `"8080"`."""
    not_ports: Many[Str] = ()
    methods: Many[Str] = ()
    """Request methods, upper-case as clients send them."""
    not_methods: Many[Str] = ()
    paths: Many[Str] = ()
    """Canonical paths without query: exact, `prefix*`, `*suffix`, `*`, or a template with `{*}`, `{**}`."""
    not_paths: Many[Str] = ()

    def _value_problems(self) -> Iterator[Problem]:
        yield from self._checked("ports", check_port, "GW037")
        yield from self._checked("paths", check_template, "GW063")
        for field in ("methods", "not_methods"):
            for index, method in enumerate(getattr(self, field)):
                if method != method.upper():
                    message = f'methods are compared with regard to case: no client sends "{method}"'
                    hint = f'write "{method.upper()}"'
                    yield Problem("GW066", message, (camel(field), index), hint, "warning", fatal=False)


class Condition(Clause):
    """One more attribute of the request, and the values it may (not) have."""

    key: NonEmpty
    """`request.headers[x-role]`, `source.ip`, `request.auth.claims[group]`, ... (Istio's condition keys)."""
    values: Many[Str] = ()
    not_values: Many[Str] = ()

    def _value_problems(self) -> Iterator[Problem]:
        if not self.values and not self.not_values:
            yield Problem("GW060", "a condition needs values or notValues")
        family, argument = split_key(self.key)
        if family is None:
            message = f'"{self.key}" is not a condition key'
            yield Problem("GW061", message, ("key",), nearest(self.key, _KEYS))
        elif family == "experimental.envoy.filters":
            yield Problem("GW045", "there are no Envoy filters here whose metadata could match", ("key",))
        elif family == "request.headers" and not is_token(argument or ""):
            yield Problem("GW039", f'"{argument}" is not a header name', ("key",))
        elif family in {"source.ip", "remote.ip", "destination.ip"}:
            yield from self._checked("values", check_block, "GW062")
        elif family == "destination.port":
            yield from self._checked("values", check_port, "GW037")
        elif family == "source.serviceAccount":
            yield from self._checked("values", _check_service_account, "GW026")
        elif family == "source.principal":
            yield from principal_problems(self.values, ("values",))
            yield from principal_problems(self.not_values, ("notValues",))


class From(Model):
    """One alternative of `from`."""

    source: Source


class To(Model):
    """One alternative of `to`."""

    operation: Operation


class Rule(Checked):
    """One of `from`, and one of `to`, and all of `when`; an empty rule takes every request."""

    from_: Many[From] = Field((), alias="from")
    to: Many[To] = ()
    when: Many[Condition] = ()

    def _rules(self) -> Iterator[Problem]:
        for name in type(self).model_fields:
            if name in self.model_fields_set and getattr(self, name) == ():
                hint = "leave the field out to mean any"
                yield Problem("GW060", "an empty list: nothing could match it", (camel(name),), hint)


class ExtensionProvider(Model):
    """Who decides a CUSTOM policy."""

    name: NonEmpty


class AuthorizationPolicySpec(Targeted):
    """Rules, and what becomes of a request one of them takes."""

    action: Literal["ALLOW", "DENY", "AUDIT", "CUSTOM"] = "ALLOW"
    provider: ExtensionProvider | None = None
    rules: Many[Rule] = ()
    """Any of these; none takes no request, so that ALLOW without rules refuses everybody."""

    def _rules(self) -> Iterator[Problem]:
        yield from super()._rules()
        if not self.rules and self.action in {"DENY", "CUSTOM"}:
            hint = "write rules: [{}] for every request"
            yield Problem("GW032", f"a {self.action} policy needs rules", ("rules",), hint)
        if self.action == "CUSTOM":
            if self.provider is None:
                yield Problem("GW032", "a CUSTOM policy needs a provider", ("provider",))
            for index, rule in enumerate(self.rules):
                for at in _identities(rule):
                    message = "a CUSTOM policy is decided before anybody is identified"
                    yield Problem("GW040", message, ("rules", index, *at))
        elif self.provider is not None:
            yield Problem("GW040", "provider is for action CUSTOM", ("provider",))


@register("security.istio.io", "AuthorizationPolicy", "v1", "v1beta1")
class AuthorizationPolicy(Resource, Checked):
    """Who may do what at the selected workloads."""

    spec: Annotated[AuthorizationPolicySpec, EmptyIfNull] = Field(default_factory=AuthorizationPolicySpec)

    @property
    def dry_run(self) -> bool:
        """Whether the verdict is only recorded (annotation `istio.io/dry-run`)."""
        return self.metadata.annotations.get(DRY_RUN) == "true"

    def _rules(self) -> Iterator[Problem]:
        if DRY_RUN in self.metadata.annotations and self.spec.action not in {"ALLOW", "DENY"}:
            message = f"{DRY_RUN} is for ALLOW and DENY policies"
            at = ("metadata", "annotations", DRY_RUN)
            yield Problem("GW051", message, at, severity="warning", fatal=False)


_IDENTITY = ("principals", "request_principals", "namespaces", "service_accounts", "trust_domains")
_IDENTITY_KEYS = ("request.auth.", "source.principal", "source.namespace", "source.serviceAccount")


def _identities(rule: Rule) -> Iterator[Path]:
    """Where a rule asks who is calling."""
    for index, item in enumerate(rule.from_):
        for name in _IDENTITY:
            for field in (name, f"not_{name}"):
                if getattr(item.source, field):
                    yield "from", index, "source", camel(field)
    for index, condition in enumerate(rule.when):
        if condition.key.startswith((*_IDENTITY_KEYS, "source.trustDomain")):
            yield "when", index, "key"


# -- single values -----------------------------------------------------------------------------

_KEYS = (
    "connection.sni",
    "destination.ip",
    "destination.port",
    "remote.ip",
    "request.auth.audiences",
    "request.auth.presenter",
    "request.auth.principal",
    "source.ip",
    "source.namespace",
    "source.principal",
    "source.serviceAccount",
    "source.trustDomain",
)
_MAPS = ("request.headers", "request.auth.claims", "experimental.envoy.filters")
_BRACKETS = re.compile(r"(?:\[[^\[\]]+\])+\Z")
_FILTER = re.compile(r"experimental\.envoy\.filters\.[^\[\]]+\[[^\[\]]+\]\Z")
_ACCOUNT = re.compile(r"(?:[^/*\s]+/)?[^/*\s]+\Z")
_PREFIX_LENGTH = re.compile(r"[^/%]+(?:/[0-9]{1,3})?\Z")
_LITERAL = re.compile(r"[a-zA-Z0-9\-._~%!$&'()+,;:@=]+\Z")


def split_key(key: str) -> tuple[str | None, str | None]:
    """Family and argument of a condition key: `request.headers[x]` -> (`request.headers`, `x`).

    Nested claims keep their brackets (`a][b`); an unknown key gives (None, None).
    """
    if key in _KEYS:
        return key, None
    if _FILTER.match(key):
        return _MAPS[2], key[len(_MAPS[2]) + 1 :]
    for family in _MAPS[:2]:
        rest = key.removeprefix(family)
        if rest != key and _BRACKETS.match(rest):
            return family, rest[1:-1]
    return None, None


def check_block(text: str) -> str | None:
    """An address or a CIDR, the way Go reads them: no zone, no netmask."""
    if is_cidr(text) and _PREFIX_LENGTH.match(text):
        return None
    return f'"{text}" is not an IP address or CIDR, such as 10.0.0.0/8'


def check_port(text: str) -> str | None:
    """The number of a port, as text."""
    if text.isascii() and text.isdigit() and int(text[:6]) <= 65535:
        return None
    return f'"{text}" is not a port: write a number from 0 to 65535'


def check_template(path: str) -> str | None:
    """A path or template: `{*}` is one segment, `{**}` any number and the last of its kind."""
    segments = path.strip("/").split("/")
    template = "{*}" in path or "{**}" in path
    rest_taken = False
    for segment in segments:
        if segment in {"{*}", "{**}"}:
            if rest_taken:
                return f'"{path}" has a template after {{**}}'
            rest_taken = segment == "{**}"
        elif "{" in segment or "}" in segment:
            return f'"{path}" is not a path template: only whole segments {{*}} and {{**}} are known'
        elif template and not _LITERAL.match(segment):
            return f'"{path}" is a template with "{segment}" in it, which is not plain text'
    return None


def _check_service_account(text: str) -> str | None:
    if len(text) <= MAX_SERVICE_ACCOUNT and _ACCOUNT.match(text):
        return None
    return f'"{text[:64]}" is not a service account: write NAME or NAMESPACE/NAME, without wildcard'


def principal_problems(values: tuple[str, ...], at: Path) -> Iterator[Problem]:
    """Principals written so that no certificate ever has them."""
    for index, value in enumerate(values):
        if value.startswith("spiffe://"):
            hint = f'write "{value.removeprefix("spiffe://")}"'
            message = "principals are written without spiffe://, so this matches nobody"
            yield Problem("GW066", message, (*at, index), hint, "warning", fatal=False)
