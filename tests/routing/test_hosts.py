"""Host patterns: which one a host selects, what two have in common, what else a service is called."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config.hosts import covers
from gateway.routing.hosts import HostTable, domain, names, narrower

TABLE = HostTable(
    {name: name for name in ["a.com", "*.com", "*.a.com", "*-x.a.com", "www.*", "www.a*", "*", "[::1]"]},
)


@pytest.mark.parametrize(
    ("host", "selected"),
    [
        ("a.com", "a.com"),
        ("b.com", "*.com"),
        ("b.a.com", "*.a.com"),
        ("c.b.a.com", "*.a.com"),
        ("b-x.a.com", "*-x.a.com"),
        ("-x.a.com", "*.a.com"),
        ("www.com", "*.com"),
        ("www.org", "www.*"),
        ("www.an", "www.a*"),
        ("www.", "*"),
        (".com", "*"),
        ("other", "*"),
        ("[::1]", "[::1]"),
    ],
)
def test_exact_then_longest_suffix_then_longest_prefix_then_any(host: str, selected: str) -> None:
    """Envoy's order; a star stands for one character at least."""
    assert selected == TABLE.find(host)


def test_no_pattern_no_virtual_host() -> None:
    """Without a star, unknown hosts select nothing; false values are values."""
    assert HostTable({"*.a.com": 0}).find("a.com") is None
    assert HostTable({"*.a.com": 0}).find("b.a.com") == 0


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("*.a.com", "x.a.com", "x.a.com"),
        ("*", "*.a.com", "*.a.com"),
        ("*", "*", "*"),
        ("*.a.com", "*.x.a.com", "*.x.a.com"),
        ("*.a.com", "*.a.com", "*.a.com"),
        ("*.a.com", "a.com", None),
        ("a.com", "b.com", None),
        ("*.a.com", "*.b.com", None),
    ],
)
def test_two_patterns_meet_in_the_narrower(one: str, other: str, both: str | None) -> None:
    """In either order."""
    assert both == narrower(one, other)
    assert both == narrower(other, one)


HOSTS = st.lists(st.sampled_from(["a", "b", "com"]), min_size=1, max_size=3).map(".".join)
PATTERNS = st.one_of(HOSTS, HOSTS.map(lambda host: f"*.{host}"), st.just("*"))


@settings(max_examples=300)
@given(PATTERNS, PATTERNS, HOSTS)
def test_a_host_is_in_the_narrower_when_it_is_in_both(one: str, other: str, host: str) -> None:
    """Intersection of sets of hosts."""
    both = narrower(one, other)

    assert (covers(one, host) and covers(other, host)) == (both is not None and covers(both, host))


def test_a_service_has_short_names() -> None:
    """Whichever of them it is written under."""
    expected = ("reviews.shop.svc.cluster.local", "reviews.shop.svc", "reviews.shop", "reviews")

    assert expected == names("Reviews", "shop", "cluster.local")
    assert expected == names("reviews.shop.svc.cluster.local", "default", "cluster.local")


@pytest.mark.parametrize("host", ["shop.example.com", "*.example.com", "*", "reviews.shop", "10.0.0.1"])
def test_other_hosts_have_one_name(host: str) -> None:
    """Anything with a dot or a star is left alone."""
    assert (host,) == names(host, "default", "cluster.local")


def test_addresses_are_written_as_requests_have_them() -> None:
    """IPv6 in brackets, in its shortest form."""
    assert domain("2001:DB8:0::1") == "[2001:db8::1]"
    assert names("::1", "default", "cluster.local") == ("[::1]",)
