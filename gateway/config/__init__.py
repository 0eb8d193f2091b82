"""Istio's documents as frozen models: YAML with positions in, a `Config` and every finding out.

Lifetime: config.
"""

from __future__ import annotations

from gateway.config.config import Config
from gateway.config.destination_rule import DestinationRule
from gateway.config.findings import CODES, Code, ConfigError, Finding, Position, render
from gateway.config.gateway import Gateway
from gateway.config.load import Loaded, load, split_paths
from gateway.config.marks import Origin
from gateway.config.resource import Metadata, Resource
from gateway.config.service_entry import ServiceEntry, WorkloadEntry
from gateway.config.settings import GatewaySettings
from gateway.config.virtual_service import VirtualService

Findings = tuple[Finding, ...]

__all__ = [
    "CODES",
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
    "Position",
    "Resource",
    "ServiceEntry",
    "VirtualService",
    "WorkloadEntry",
    "load",
    "render",
    "split_paths",
]
