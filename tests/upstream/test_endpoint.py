"""How an endpoint names itself."""

from __future__ import annotations

import pytest
from support.clock import FakeClock

from gateway.upstream.endpoint import endpoint_address
from gateway.upstream.pool import Pool


@pytest.mark.parametrize(
    ("host", "port", "address"),
    [("10.0.0.1", 80, "10.0.0.1:80"), ("::1", 80, "[::1]:80"), ("/run/app.sock", 0, "/run/app.sock")],
)
def test_addresses_are_written_as_envoy_logs_them(host: str, port: int, address: str) -> None:
    assert endpoint_address(host, port) == address


def test_an_endpoint_can_be_read_in_a_log_or_a_debugger() -> None:
    endpoint = Pool("test", FakeClock()).endpoint("10.0.0.1", 80)
    endpoint.active = 3
    assert repr(endpoint) == "<Endpoint 10.0.0.1:80 active 3, connections 0, idle 0, waiting 0>"


def test_a_pool_knows_one_endpoint_an_address() -> None:
    pool = Pool("test", FakeClock())
    endpoint = pool.endpoint("10.0.0.1", 80)
    assert pool.endpoint("10.0.0.1", 80) is endpoint
    pool.retire(endpoint)
    assert pool.endpoint("10.0.0.1", 80) is not endpoint
