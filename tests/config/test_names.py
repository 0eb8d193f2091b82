"""Hosts, labels and names."""

from __future__ import annotations

import pytest

from gateway.config.names import (
    check_hostname,
    check_label,
    check_name,
    check_namespace,
    check_resource_name,
    check_wildcard,
    is_cidr,
    is_ip,
    is_token,
)


@pytest.mark.parametrize("host", ["reviews", "a.b.c", "A-1.x", "reviews.default.svc.cluster.local", "a" * 63])
def test_hosts(host: str) -> None:
    """Labels of letters, digits and dashes."""
    assert check_hostname(host) is None
    assert check_wildcard(host) is None


@pytest.mark.parametrize(
    "host", ["", ".", "a.", "a..b", "-a", "a-", "a_b", "a b", "a/b", "a" * 64, "a.1", "x." * 130 + "x", "a\n"]
)
def test_what_is_no_host(host: str) -> None:
    """Empty parts, odd characters, too long, numeric last part."""
    assert check_hostname(host) is not None
    assert check_wildcard(host) is not None


@pytest.mark.parametrize(
    ("host", "valid"),
    [
        ("*", True),
        ("*.a.b", True),
        ("*-x.b", True),
        ("*x.b", True),
        ("a.*", False),
        ("a*.b", False),
        ("**.b", False),
    ],
)
def test_wildcards_stand_at_the_start(host: str, valid: bool) -> None:
    """And never in a plain host name."""
    assert valid == (check_wildcard(host) is None)
    assert check_hostname(host) is not None


def test_addresses() -> None:
    """IPv4 and IPv6; networks only where they are asked for."""
    assert [is_ip(x) for x in ("1.2.3.4", "::1", "1.2.3", "10.0.0.0/8", "fe80::1%eth0")] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert [is_cidr(x) for x in ("1.2.3.4", "10.0.0.0/8", "10.1.2.3/8", "10.0.0.0/33")] == [
        True,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (check_name, ["v1", "V-1", "a" * 63], ["", "-a", "a.b", "a_b", "a" * 64]),
        (check_namespace, ["default", "a-1"], ["", "Default", "a.b", "*"]),
        (check_resource_name, ["reviews", "a.b-c"], ["", "Reviews", "a..b", "-a", "a" * 254, "a b"]),
    ],
)
def test_names(check, good: list[str], bad: list[str]) -> None:
    """RFC 1123 in its three strictnesses."""
    assert [name for name in good if check(name) is not None] == []
    assert [name for name in bad if check(name) is None] == []


@pytest.mark.parametrize(
    ("key", "value", "valid"),
    [
        ("app", "reviews", True),
        ("app", "", True),
        ("topology.istio.io/network", "n_1.x", True),
        ("a/b/c", "x", False),
        ("/a", "x", False),
        ("", "x", False),
        ("app", "-x", False),
        ("app", "x y", False),
        ("*", "x", False),
    ],
)
def test_labels(key: str, value: str, valid: bool) -> None:
    """Kubernetes' label syntax."""
    assert valid == (check_label(key, value) is None)


def test_tokens() -> None:
    """Header names of RFC 9110."""
    assert [is_token(x) for x in ("x-user_1", "", "a b", "ä")] == [True, False, False, False]
