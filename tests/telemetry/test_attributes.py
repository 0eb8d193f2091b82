"""CEL over exchanges."""

from __future__ import annotations

import pytest
from support.finished import finished, snapshot_of

from gateway.config.expressions import SAMPLE, attributes, check_expression
from gateway.http.flags import Flag
from gateway.http.peer import Peer
from gateway.telemetry.attributes import FLAG_BITS, READERS, Expression

SNAPSHOT = snapshot_of()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("response.code == 200 && request.method == 'GET'", True),
        ("request.path", "/productpage/reviews/17?lang=en"),
        ("request.url_path.startsWith('/productpage')", True),
        ("request.host", "shop.example.com"),
        ("request.query", "lang=en"),
        ("request.headers['end-user']", "jason"),
        ("'x-none' in request.headers", False),
        ("has(request.referer)", False),
        ("request.referer == ''", None),
        ("has(request.useragent) && request.useragent.contains('Chrome')", True),
        ("request.total_size > request.size", True),
        ("response.headers['content-type']", "application/json"),
        ("response.size", 150),
        ("response.code_details", "via_upstream"),
        ("response.backend_latency < duration('1s')", True),
        ("source.address", "192.0.2.44:51234"),
        ("source.port + destination.port", 51234 + 8080),
        ("connection.mtls", False),
        ("upstream.address == '10.0.0.17:9080' && upstream.port == 9080", True),
        ("upstream.request_attempt_count", 1),
        ("xds.route_name", "all"),
        ("xds.cluster_name.endsWith('reviews.default.svc.cluster.local')", True),
        ("request.time.getFullYear() > 2000", True),
        ("'request.nothing' == 'x'", False),
    ],
)
def test_an_expression_reads_the_exchange(text: str, value: object) -> None:
    """An attribute that is absent makes the expression fail: it says nothing."""
    exchange, _ = finished(SNAPSHOT)

    assert Expression(text)(exchange) == value


def test_flags_are_envoys_bits() -> None:
    """UF is 0x20, URX is 0x8000."""
    exchange, _ = finished(
        SNAPSHOT, status=503, flags=(Flag.UPSTREAM_CONNECT_FAILURE, Flag.RETRIES_EXHAUSTED)
    )

    assert Expression("response.flags")(exchange) == 0x8020
    assert FLAG_BITS.keys() == set(Flag)


def test_the_client_certificate_is_an_attribute() -> None:
    """Only when it was verified."""
    exchange, _ = finished(SNAPSHOT)
    uri = "spiffe://cluster.local/ns/default/sa/sleep"
    exchange.request.peer = Peer(verified=True, uris=(uri,), sni="shop", version="TLSv1.3")

    assert Expression("connection.mtls && connection.requested_server_name == 'shop'")(exchange) is True
    assert Expression("connection.uri_san_peer_certificate")(exchange) == uri


def test_a_reply_of_our_own_has_no_upstream() -> None:
    """has() says so."""
    exchange, _ = finished(SNAPSHOT, routed=False, status=404)

    assert Expression("!has(upstream.address) && !has(xds.route_name)")(exchange) is True


def test_every_attribute_has_a_reader() -> None:
    """What check accepts can be read."""
    assert {(root, field) for root, fields in SAMPLE.items() for field in fields} == set(READERS)
    for root, field in READERS:
        assert check_expression(f"has({root}.{field})", boolean=True) is None


def test_attributes_in_text_are_not_attributes() -> None:
    """Only what stands outside of quotes is read, so only that is paid for."""
    assert attributes("request.path == 'response.code' && \"source.x\" != x.request.y") == {
        ("request", "path")
    }
