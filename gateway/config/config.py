"""The whole configuration: every resource by kind, and where each was read.

Lifetime: config.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gateway.config.marks import NOWHERE, Origin
from gateway.config.settings import DEFAULTS, GatewaySettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.config.destination_rule import DestinationRule
    from gateway.config.gateway import Gateway
    from gateway.config.resource import Resource
    from gateway.config.security import AuthorizationPolicy, PeerAuthentication, RequestAuthentication
    from gateway.config.service_entry import ServiceEntry, WorkloadEntry
    from gateway.config.telemetry import Telemetry
    from gateway.config.virtual_service import VirtualService

FIELDS = {
    "VirtualService": "virtual_services",
    "DestinationRule": "destination_rules",
    "ServiceEntry": "service_entries",
    "WorkloadEntry": "workload_entries",
    "Gateway": "gateways",
    "AuthorizationPolicy": "authorization_policies",
    "PeerAuthentication": "peer_authentications",
    "RequestAuthentication": "request_authentications",
    "Telemetry": "telemetries",
}
"""Kind -> field of `Config`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Every resource, in the order of the files; compared by value."""

    virtual_services: tuple[VirtualService, ...] = ()
    destination_rules: tuple[DestinationRule, ...] = ()
    service_entries: tuple[ServiceEntry, ...] = ()
    workload_entries: tuple[WorkloadEntry, ...] = ()
    gateways: tuple[Gateway, ...] = ()
    authorization_policies: tuple[AuthorizationPolicy, ...] = ()
    peer_authentications: tuple[PeerAuthentication, ...] = ()
    request_authentications: tuple[RequestAuthentication, ...] = ()
    telemetries: tuple[Telemetry, ...] = ()
    settings: GatewaySettings = DEFAULTS
    origins: Mapping[int, Origin] = field(default_factory=dict, repr=False, compare=False)
    """By `id` of the resource, which this object keeps alive."""

    @classmethod
    def of(cls, resources: Iterable[Resource], origins: Iterable[Origin] = ()) -> Config:
        """The configuration of these resources; the origins go with them in the same order."""
        every = tuple(resources)
        parts: dict[str, list[Resource]] = {name: [] for name in FIELDS.values()}
        settings = DEFAULTS
        for resource in every:
            if isinstance(resource, GatewaySettings):
                settings = resource
            else:
                parts[FIELDS[resource.kind]].append(resource)
        places = {id(resource): origin for resource, origin in zip(every, origins, strict=False)}
        fields: dict[str, Any] = {name: tuple(items) for name, items in parts.items()}
        return cls(**fields, settings=settings, origins=places)

    def resources(self) -> tuple[Resource, ...]:
        """Every resource except the settings, kind by kind."""
        return tuple(item for name in FIELDS.values() for item in getattr(self, name))

    def origin(self, resource: Resource) -> Origin:
        """Where `resource`, an object of this configuration, was read."""
        return self.origins.get(id(resource), NOWHERE)
