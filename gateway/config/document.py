"""Documents to resources: which class reads a document, and its errors as findings with positions.

Lifetime: config.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from gateway.config.findings import Finding
from gateway.config.marks import ListMarks, MapMarks, Origin
from gateway.config.mistakes import describe
from gateway.config.resource import KINDS, VERSIONS, Resource
from gateway.config.schema_paths import walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gateway.config.model import Problem
    from gateway.config.yaml import Tree

Path = tuple[str | int, ...]

SECURITY = "security.istio.io"
"""Group of which nothing is passed over: unknown protection is not absent protection."""

_FOREIGN_ISTIO = frozenset(
    {
        "EnvoyFilter",
        "ProxyConfig",
        "Sidecar",
        "WorkloadGroup",
        "WasmPlugin",
        "TrafficExtension",
        "IstioOperator",
    }
)
"""Kinds of Istio that are none of an edge gateway's business: passed over without suspicion."""

_ENDPOINTS = "a ServiceEntry says here where a backend is"
_ROUTES = "a VirtualService, and a Gateway for ports of its own, say it here"
_INSTEAD = {
    "Service": _ENDPOINTS,
    "Endpoints": _ENDPOINTS,
    "EndpointSlice": _ENDPOINTS,
    "Ingress": _ROUTES,
    "gateway.networking.k8s.io": _ROUTES,
    "Secret": "credentials are files here: certs/NAME/tls.crt and tls.key",
    "EnvoyFilter": "rate limits are `rateLimits` of GatewaySettings here; other filters have no counterpart",
}
"""Kind or group -> what says the same here."""


class Decoded(NamedTuple):
    """What a document became."""

    resource: Resource | None
    origin: Origin
    findings: tuple[Finding, ...]


def decode(tree: Tree, path: str) -> Iterator[Decoded]:
    """The resources of a document, `kind: List` expanded; an empty document gives none."""
    value = tree.value
    if value is None:
        return
    origin = Origin(path, tree.marks)
    if not isinstance(value, dict):
        message = "a document is a mapping with apiVersion, kind, metadata and spec"
        yield Decoded(None, origin, (finding(origin, (), "GW020", message),))
    elif _is_list(value):
        assert isinstance(tree.marks, MapMarks)
        marks = tree.marks.items["items"]
        assert isinstance(marks, ListMarks)
        for item, mark in zip(value["items"], marks.items, strict=True):
            yield _decode_one(item, Origin(path, mark))
    else:
        yield _decode_one(value, origin)


def _is_list(value: dict[str, Any]) -> bool:
    kind = value.get("kind")
    return isinstance(kind, str) and kind.endswith("List") and isinstance(value.get("items"), list)


def _decode_one(value: Any, origin: Origin) -> Decoded:
    if not isinstance(value, dict):
        message = "a resource is a mapping with apiVersion, kind, metadata and spec"
        return Decoded(None, origin, (finding(origin, (), "GW020", message),))
    problems = tuple(_header_problems(value, origin))
    if problems:
        return Decoded(None, origin, problems)
    cls = KINDS[value["apiVersion"].rpartition("/")[0], value["kind"]]
    notices: list[tuple[Any, Problem]] = []
    body = {key: item for key, item in value.items() if key != "status"}
    try:
        resource = cls.model_validate(body, context={"notices": notices})
    except ValidationError as error:
        found = [described for item in error.errors() for described in describe(cls, item, origin)]
        return Decoded(None, origin, tuple(sorted(set(found), key=_reading_order)))
    return Decoded(resource, origin, tuple(_placed(notices, resource, origin)))


def _reading_order(item: Finding) -> tuple[int, int, str, str]:
    return item.line, item.column, item.code, item.message


def finding(origin: Origin, at: Path, code: str, message: str, suggestion: str | None = None) -> Finding:
    """A fatal error at a field."""
    here = origin.position(*at)
    return Finding(*here.where, "error", code, message, suggestion, fatal=True, length=here.length)


def _placed(notices: Iterable[tuple[Any, Problem]], resource: Resource, origin: Origin) -> Iterator[Finding]:
    """What the rules remarked on, at the places where the objects ended up."""
    wanted: dict[int, list[Problem]] = {}
    for model, problem in notices:
        wanted.setdefault(id(model), []).append(problem)
    for model, path in walk(resource) if wanted else ():
        for problem in wanted.get(id(model), ()):
            here = origin.position(*path, *problem.at)
            yield Finding(
                *here.where,
                problem.severity,
                problem.code,
                problem.message,
                problem.suggestion,
                length=here.length,
            )


# -- apiVersion and kind -----------------------------------------------------------------------


def _header_problems(value: dict[str, Any], origin: Origin) -> Iterator[Finding]:
    """Why no class reads this document: passed over (a warning) or wrong (an error)."""
    for field in ("apiVersion", "kind"):
        text = value.get(field)
        if not isinstance(text, str) or not text:
            state = "is missing" if text in (None, "") else "is text"
            yield finding(origin, (field,), "GW020", f"{field} {state}: which resource is this?")
            return
    version, kind = value["apiVersion"], value["kind"]
    group, _, number = version.rpartition("/")
    if (group, kind) in KINDS:
        if number not in VERSIONS[group]:
            hint = f"write {group}/{VERSIONS[group][0]}"
            message = f"{kind} is not read in version {number}"
            yield finding(origin, ("apiVersion",), "GW022", message, hint)
        return
    kinds = {name for known, name in KINDS if known == group}
    near_kind = get_close_matches(kind, kinds, 1, 0.8)
    if near_kind and kind not in _FOREIGN_ISTIO:
        hint = f'did you mean "{near_kind[0]}"?'
        yield finding(origin, ("kind",), "GW023", f'no kind "{kind}" in {group}', hint)
        return
    groups = {known for known, name in KINDS if name == kind}
    near_group = get_close_matches(group, groups, 1, 0.85)
    if near_group:
        hint = f'did you mean "{near_group[0]}/{number}"?'
        yield finding(origin, ("apiVersion",), "GW023", f'no {kind} in "{group}"', hint)
        return
    if group == SECURITY:
        message = f"{kind} is not read here, and a security policy is never passed over"
        yield finding(origin, ("kind",), "GW023", message)
        return
    here = origin.position("kind")
    message = f"{kind} ({version}) is not read here and is passed over"
    instead = _INSTEAD.get(kind) or _INSTEAD.get(group)
    yield Finding(*here.where, "warning", "GW021", message, instead, length=here.length)
