"""The same configuration for another proxy: a static bootstrap for real Envoy."""

from __future__ import annotations

from gateway.export.envoy import Export, export_envoy

__all__ = ["Export", "export_envoy"]
