"""Istio's documents as frozen models: YAML with positions in, a `Config` and every finding out.

Lifetime: config.
"""

from __future__ import annotations

from gateway.config.config import Config
from gateway.config.destination_rule import DestinationRule
from gateway.config.files import split_paths
from gateway.config.findings import CODES, Code, ConfigError, Finding, Position, render
from gateway.config.gateway import Gateway
from gateway.config.load import Loaded, load
from gateway.config.marks import Origin
from gateway.config.resource import Metadata, Resource
from gateway.config.security import AuthorizationPolicy, PeerAuthentication, RequestAuthentication
from gateway.config.service_entry import ServiceEntry, WorkloadEntry
from gateway.config.settings import GatewaySettings
from gateway.config.telemetry import Telemetry
from gateway.config.virtual_service import VirtualService

Findings = tuple[Finding, ...]

__all__ = [
    "CODES",
    "AuthorizationPolicy",
    "Code",
    "Config",
    "ConfigError",
    "DestinationRule",
    "Finding",
    "Findings",
    "Gateway",
    "GatewaySettings",
    "Loaded",
    "Metadata",
    "Origin",
    "PeerAuthentication",
    "Position",
    "RequestAuthentication",
    "Resource",
    "ServiceEntry",
    "Telemetry",
    "VirtualService",
    "WorkloadEntry",
    "load",
    "render",
    "split_paths",
]
