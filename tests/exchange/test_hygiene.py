"""What hygiene admits, removes and refuses (security.md, tables H, P and C)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.exchanges import exchange

from gateway.config.settings import GatewaySettingsSpec
from gateway.exchange.downstream import AsgiDownstream
from gateway.exchange.exchange import Exchange
from gateway.exchange.hygiene import CHUNKED, NO_BODY, Hygiene, new_request_id
from gateway.http.host import Authority
from gateway.http.reply import Reply
from gateway.http.request import Request
from gateway.http.section import Section


def scope(
    *headers: tuple[bytes, bytes], path: bytes = b"/", method: str = "GET", **more: Any
) -> dict[str, Any]:
    base = {
        "type": "http",
        "method": method,
        "scheme": "http",
        "http_version": "1.1",
        "raw_path": path,
        "path": path.decode("latin-1"),
        "query_string": b"",
        "client": ("192.0.2.7", 5000),
        "server": ("127.0.0.1", 8080),
        "headers": [(b"host", b"Reviews:8080"), *headers],
    }
    return {**base, **more}


async def unused(*_: object) -> dict[str, Any]:
    raise AssertionError


def admit(settings: GatewaySettingsSpec, scope: dict[str, Any]) -> Exchange | Reply:
    """What becomes of a request on a server that has judged nothing."""

    result = exchange(Request("", "", b"", "", b"", b"", []))
    return Hygiene(settings).admit(result, AsgiDownstream(scope, unused, unused)) or result


def admitted(settings: GatewaySettingsSpec | None = None, /, **given: Any) -> Exchange:
    result = admit(settings or GatewaySettingsSpec(), scope(*given.pop("headers", ()), **given))
    assert isinstance(result, Exchange), result
    return result


def refused(settings: GatewaySettingsSpec | None = None, /, **given: Any) -> Reply:
    result = admit(settings or GatewaySettingsSpec(), scope(*given.pop("headers", ()), **given))
    assert isinstance(result, Reply), result
    return result


def test_the_request_is_canonical() -> None:
    request = admitted(path=b"/a/../b//c%2D").request

    assert (request.host, request.authority, request.path) == ("reviews", b"Reviews:8080", b"/b/c-")


@pytest.mark.parametrize(
    "name",
    [
        b"x-envoy-retry-on",
        b"x-envoy-original-path",
        b"x-gateway-anything",
        b"x-forwarded-client-cert",
        b"x-forwarded-host",
        b"x-forwarded-prefix",
        b"x-real-ip",
        b"forwarded",
        b"x-original-url",
        b"x-rewrite-url",
        b"proxy",
        b"proxy-authorization",
        b"keep-alive",
        b"te",
        b"upgrade",
        b"http2-settings",
        b"expect",
    ],
)
def test_headers_of_untrusted_peers_that_claim_something_are_removed(name: bytes) -> None:
    request = admitted(headers=[(name, b"spoofed")]).request

    assert b"spoofed" not in [value for _, value in request.headers]


def test_forwarding_headers_are_ours() -> None:
    """An untrusted peer's own list and scheme are dropped; the peer is the client."""
    result = admitted(headers=[(b"x-forwarded-for", b"127.0.0.1"), (b"x-forwarded-proto", b"https")])

    assert result.request.header_values(b"x-forwarded-for") == [b"192.0.2.7"]
    assert result.request.header_values(b"x-forwarded-proto") == [b"http"]
    assert (result.request.client_ip, result.request.scheme) == ("192.0.2.7", "http")


def test_a_trusted_proxy_is_believed() -> None:
    settings = GatewaySettingsSpec(trusted_proxies=("192.0.2.0/24",))
    headers = [
        (b"x-forwarded-for", b"6.6.6.6, 203.0.113.9"),
        (b"x-forwarded-for", b"192.0.2.9"),
        (b"x-forwarded-proto", b"https"),
        (b"x-request-id", b"abc-1"),
    ]
    result = admitted(settings, headers=headers)

    assert result.request.client_ip == "203.0.113.9"
    assert result.request.scheme == "https"
    assert result.request_id == "abc-1"
    assert result.request.header(b"x-forwarded-for") == b"6.6.6.6, 203.0.113.9,192.0.2.9,192.0.2.7"


def test_the_request_id_of_an_untrusted_peer_is_replaced() -> None:
    result = admitted(headers=[(b"x-request-id", b"chosen-by-client")])

    assert result.request.header_values(b"x-request-id") == [result.request_id.encode()]
    assert result.request_id != "chosen-by-client"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([(b"host", b"other")], 400),
        ([(b"content-length", b"5"), (b"transfer-encoding", b"chunked")], 400),
        ([(b"transfer-encoding", b"chunked"), (b"content-length", b"5")], 400),
        ([(b"content-length", b"5"), (b"content-length", b"5")], 400),
        ([(b"content-length", b"+5")], 400),
        ([(b"content-length", b"5, 5")], 400),
        ([(b"content-length", b"9" * 19)], 400),
        ([(b"transfer-encoding", b"gzip, chunked")], 400),
        ([(b"authorization", b"a"), (b"authorization", b"b")], 400),
        ([(b"connection", b"close, X-Forwarded-For")], 400),
        ([(b"connection", b"Authorization")], 400),
        ([(b"connection", b"X-User")], 400),
        ([(b"x_forwarded_for", b"6.6.6.6")], 400),
        ([(b"x-%d" % number, b"") for number in range(100)], 431),
        ([(b"x-big", b"a" * 62000)], 431),
    ],
)
def test_heads_that_cannot_be_trusted_are_refused(headers: list[tuple[bytes, bytes]], status: int) -> None:
    assert refused(headers=headers).status == status


@pytest.mark.parametrize("method", ["get", "Delete", "", "GE T", "M" * 33, "GET\r"])
def test_a_method_has_one_spelling(method: str) -> None:
    """Servers that take `delete` would let it pass where a policy refuses DELETE (H18)."""
    assert refused(method=method).status == 400


@pytest.mark.parametrize("host", [b"", b"gw.test/admin?", b"a@gw.test", b"gw.test:99999", b"gw test"])
def test_a_host_that_is_no_authority_is_refused(host: bytes) -> None:
    result = admit(GatewaySettingsSpec(), {**scope(), "headers": [(b"host", host)]})

    assert isinstance(result, Reply)
    assert result.status == 400


def test_no_host_is_refused() -> None:
    result = admit(GatewaySettingsSpec(), {**scope(), "headers": []})

    assert isinstance(result, Reply)
    assert result.status == 400


@pytest.mark.parametrize(
    "path", [b"/public/..%2fadmin", b"/admin%00", b"/admin#x", b"/user/..;foo=bar/admin"]
)
def test_a_path_without_one_reading_is_refused(path: bytes) -> None:
    assert refused(path=path).status == 400


@pytest.mark.parametrize("method", ["CONNECT", "TRACE"])
def test_methods_of_proxies_and_probes_are_refused(method: str) -> None:
    assert refused(method=method).status == 405


def test_headers_named_by_connection_are_dropped() -> None:
    request = admitted(headers=[(b"connection", b"keep-alive, Hop"), (b"hop", b"1"), (b"stay", b"2")]).request

    assert (request.header(b"hop"), request.header(b"stay")) == (None, b"2")


def test_underscores_can_be_allowed_or_dropped() -> None:
    allowed = admitted(GatewaySettingsSpec(underscore_headers="ALLOW"), headers=[(b"a_b", b"1")])
    dropped = admitted(GatewaySettingsSpec(underscore_headers="DROP"), headers=[(b"a_b", b"1")])

    assert (allowed.request.header(b"a_b"), dropped.request.header(b"a_b")) == (b"1", None)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ([], NO_BODY),
        ([(b"content-length", b"0")], 0),
        ([(b"content-length", b"17")], 17),
        ([(b"transfer-encoding", b"Chunked")], CHUNKED),
    ],
)
def test_the_framing_of_the_body_is_known(headers: list[tuple[bytes, bytes]], body: int) -> None:
    assert admitted(headers=headers).body == body


token = st.binary(min_size=1, max_size=12).map(bytes.lower)


@given(st.lists(st.tuples(token, st.binary(max_size=20)), max_size=12), st.binary(max_size=30))
def test_any_head_is_admitted_or_refused(headers: list[tuple[bytes, bytes]], path: bytes) -> None:
    """Never an exception, and nothing hop-by-hop or of the gateway's own namespace gets through."""
    result = admit(GatewaySettingsSpec(), scope(*headers, path=b"/" + path))

    if isinstance(result, Exchange):
        names = {name for name, _ in result.request.headers}
        assert not names & {
            b"connection",
            b"transfer-encoding",
            b"content-length",
            b"host",
            b"te",
            b"upgrade",
        }
        assert {name for name in names if name.startswith(b"x-envoy-")} == {b"x-envoy-external-address"}
    else:
        assert 300 <= result.status < 500


@given(
    st.lists(
        st.sampled_from(
            [
                (b"accept", b"*/*"),
                (b"accept", b"text/html"),
                (b"a_b", b"1"),
                (b"connection", b"keep-alive, hop"),
                (b"connection", b"authorization"),
                (b"content-length", b"5"),
                (b"forwarded", b"for=192.0.2.1"),
                (b"hop", b"1"),
                (b"te", b"trailers"),
                (b"transfer-encoding", b"chunked"),
                (b"x-envoy-retry-on", b"5xx"),
                (b"x-forwarded-client-cert", b"By=x"),
                (b"x-forwarded-for", b"192.0.2.99, 198.51.100.7"),
                (b"x-forwarded-proto", b"https"),
                (b"x-request-id", b"one"),
            ]
        ),
        max_size=6,
    ),
    st.sampled_from(["192.0.2.7/32", "203.0.113.0/24"]),
)
def test_what_is_known_of_a_section_changes_nothing(headers: list[tuple[bytes, bytes]], trusted: str) -> None:
    """The second request with the same headers gets what the first got, and what it would get alone."""
    rules = Hygiene(GatewaySettingsSpec.model_validate({"trustedProxies": [trusted]}))
    plain = Section(b"", scope(*headers)["headers"], Authority("reviews", 8080))

    def outcome(section: Section | None) -> object:
        side = AsgiDownstream(scope(*headers), unused, unused)
        if section is not None:
            side.section, side.headers, side.authority = section, section.headers, section.authority
        made = exchange(Request("", "", b"", "", b"", b"", []))
        reply = rules.admit(made, side)
        if reply is not None:
            return reply
        request = made.request
        assert request.header_map == dict(request.headers)
        shown = [pair for pair in request.headers if pair[0] != b"x-request-id" or pair[1] == b"one"]
        return made.body, shown, request.repeated, request.client_ip, request.scheme, request.authority

    first, second = outcome(plain), outcome(plain)

    assert first == second == outcome(None)


def test_another_generation_judges_anew() -> None:
    """What was admitted under other settings is not what is admitted now."""
    section = Section(b"", scope((b"a_b", b"1"))["headers"], Authority("reviews", 8080))
    side = AsgiDownstream(scope(), unused, unused)
    side.section, side.headers, side.authority = section, section.headers, section.authority
    made = exchange(Request("", "", b"", "", b"", b"", []))

    verdicts = [
        Hygiene(GatewaySettingsSpec.model_validate({"underscoreHeaders": action})).admit(made, side)
        for action in ("ALLOW", "REJECT", "ALLOW")
    ]

    assert [verdict is None for verdict in verdicts] == [True, False, True]


def test_request_ids_are_random_uuids() -> None:
    ids = {new_request_id() for _ in range(1000)}

    assert len(ids) == 1000
    assert all(len(one) == 36 and one[14] == "4" and one[19] in "89ab" for one in ids)
