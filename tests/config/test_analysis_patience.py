"""Timeouts of routes against `timeouts.streamIdle`."""

from __future__ import annotations

import pytest
from support.documents import analyzed

SETTINGS = """\
apiVersion: gateway.asgi/v1
kind: GatewaySettings
metadata: {name: edge}
spec: {timeouts: {streamIdle: 20m}}
---
"""
ROUTE = """\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec:
  hosts: [shop]
  http:
  - route: [{destination: {host: shop}}]
"""


@pytest.mark.parametrize(
    ("field", "line"), [("timeout: %s", 8), ("retries: {attempts: 1, perTryTimeout: %s}", 8)]
)
def test_a_timeout_that_silence_does_not_wait_for_is_told(field: str, line: int) -> None:
    """The limit itself is no reason, nor is no timeout at all."""
    assert analyzed(ROUTE, "GW235") == []
    assert analyzed(ROUTE + f"    {field % '5m'}\n", "GW235") == []
    (finding,) = analyzed(ROUTE + f"    {field % '6m'}\n", "GW235")
    assert (finding.severity, finding.line, finding.fatal) == ("info", line, False)
    assert "waited for 300 s" in finding.message
    assert analyzed(SETTINGS + ROUTE + f"    {field % '6m'}\n", "GW235") == []
