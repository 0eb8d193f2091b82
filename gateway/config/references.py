"""How resources name each other: gateways, services, namespaces.

Lifetime: config.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Strict

from gateway.config.fields import Checked, HostNotStar, Label, PortSelector, Problem, rejection
from gateway.config.names import check_hostname, check_namespace

if TYPE_CHECKING:
    from collections.abc import Iterator

MESH = "mesh"
"""The reserved name of the listener that no Gateway document describes."""


def _gateway_name(value: str) -> str:
    namespace, slash, name = value.rpartition("/")
    message = (check_namespace(namespace) if slash else None) or check_hostname(name)
    if message is not None:
        problem = f'"{value}" is not a gateway: write NAME, NAMESPACE/NAME or {MESH}'
        raise rejection(Problem("GW035", problem))
    return value


GatewayName = Annotated[str, Strict(), AfterValidator(_gateway_name)]
"""`name` (in the document's own namespace), `namespace/name` or `mesh`."""


def _export(value: str) -> str:
    if value not in {".", "*", "~"} and check_namespace(value) is not None:
        problem = f'"{value}" is not a place to export to: write ".", "*", "~" or a namespace'
        raise rejection(Problem("GW026", problem))
    return value


ExportTo = Annotated[str, Strict(), AfterValidator(_export)]
"""`.` (own namespace), `*` (all), `~` (none) or a namespace."""


class Destination(Checked):
    """Where a request goes: a service, and optionally a subset of its endpoints."""

    host: HostNotStar
    """A ServiceEntry's host; a name without a dot means `<host>.<namespace>.svc.<clusterDomain>`."""
    subset: Label | None = None
    """A subset of the host's DestinationRule."""
    port: PortSelector | None = None
    """Needed when the service has several ports."""

    def _rules(self) -> Iterator[Problem]:
        if self.host.startswith("*"):
            yield Problem("GW035", "a destination is one host, without wildcard", ("host",))


def export_problems(exports: tuple[str, ...]) -> Iterator[Problem]:
    """Rules of an `exportTo` list as a whole."""
    for index, export in enumerate(exports):
        if export in exports[:index]:
            yield Problem("GW043", f'"{export}" is listed twice', ("exportTo", index))
    if "~" in exports and len(exports) > 1:
        yield Problem("GW040", '"~" (export to nobody) excludes every other entry', ("exportTo",))
