"""Which endpoints are near, seen from where the gateway stands."""

from __future__ import annotations

import pytest
from support.documents import config_of
from test_rules import rule
from test_services import entry, settings

from gateway.upstream import ClusterConfig, plan

PLACES = ["eu/a/1", "eu/a/2", "eu/b/1", "us/a/1", "as/a/1", ""]


def service(*places: str, labels: str = "") -> str:
    endpoints = ", ".join(
        f"{{address: 10.0.0.{number}{f', locality: {place}' if place else ''}{labels}}}"
        for number, place in enumerate(places)
    )
    return entry(
        "a",
        "hosts: [reviews], ports: [{number: 80, name: http}], resolution: STATIC, endpoints:"
        f" [{endpoints}]",
    )


def policy(locality: str | None, outlier: str = ", outlierDetection: {}") -> str:
    balancer = f"localityLbSetting: {{{locality}}}" if locality is not None else "simple: RANDOM"
    return rule("a", "reviews", spec=f"trafficPolicy: {{loadBalancer: {{{balancer}}}{outlier}}}")


def only(text: str) -> ClusterConfig:
    (found,) = plan(config_of(text)).clusters.values()
    return found


def priorities(text: str) -> list[int]:
    return [endpoint.priority for endpoint in only(text).endpoints]


HERE = settings("locality: eu/a/1")


# -- where the gateway stands ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "here",
    [
        "locality: eu/a/1",
        "labels: {istio-locality: eu.a.1}",
        "labels: {topology.kubernetes.io/region: eu, topology.kubernetes.io/zone: a, topology.istio.io/subzone: '1'}",
        "locality: eu/a/1, labels: {topology.kubernetes.io/region: us}",
    ],
)
def test_the_gateways_locality_is_a_setting_or_labels(here: str) -> None:
    assert priorities(service("eu/a/1", "us/a/1") + settings(here) + policy("")) == [0, 1]


@pytest.mark.parametrize("bad", ["eu/a/1/x", "/a", "eu//1", "eu/*"])
def test_what_is_no_locality(bad: str) -> None:
    with pytest.raises(AssertionError, match="a locality is"):
        config_of(settings(f"locality: '{bad}'"))


# -- failover --------------------------------------------------------------------------------------


def test_near_endpoints_come_first_by_default() -> None:
    """Subzone, zone, region, elsewhere: Istio's mesh default as soon as there is outlier detection."""
    for locality in (None, "", "enabled: true"):
        assert priorities(service(*PLACES) + HERE + policy(locality)) == [0, 1, 2, 3, 3, 3]


def test_priorities_have_no_gaps() -> None:
    assert priorities(service("us/a/1", "eu/a/1", "eu/b/1") + HERE + policy("")) == [2, 0, 1]
    assert priorities(service("us/a/1", "as/a/1") + HERE + policy("")) == [0, 0]


def test_the_region_that_takes_over_comes_before_others() -> None:
    to = "failover: [{from: as, to: eu}, {from: eu, to: us}]"
    assert priorities(service(*PLACES) + HERE + policy(to)) == [0, 1, 2, 3, 4, 4]
    assert priorities(service(*PLACES) + settings("locality: us/a/1") + policy(to)) == [1, 1, 1, 0, 1, 1]


@pytest.mark.parametrize(
    ("here", "rules"),
    [
        ("", policy("")),
        ("locality: eu/a/1", policy("", outlier="")),
        ("locality: eu/a/1", policy("enabled: false")),
        ("locality: eu/a/1", ""),
    ],
)
def test_without_a_place_or_outlier_detection_all_are_alike(here: str, rules: str) -> None:
    """Nothing would ever notice that the near ones are gone. And `enabled: false` is a no."""
    assert priorities(service(*PLACES) + settings(here or "namespace: default") + rules) == [0] * 6


def test_labels_in_order_make_the_priorities() -> None:
    """The more labels agree before the first that does not, the better; topology labels come of localities."""
    names = "topology.kubernetes.io/region, topology.kubernetes.io/zone, topology.istio.io/subzone"
    text = service(*PLACES) + HERE + policy(f"failoverPriority: [{names}]")
    assert priorities(text) == [0, 1, 2, 3, 3, 3]


def test_labels_may_be_compared_with_a_value_of_their_own() -> None:
    endpoints = entry(
        "a",
        "hosts: [reviews], ports: [{number: 80, name: http}], resolution: STATIC, endpoints: ["
        "{address: 10.0.0.1, labels: {version: v2}}, {address: 10.0.0.2, labels: {version: v1, app: x}},"
        " {address: 10.0.0.3, labels: {version: v1, app: y}}]",
    )
    text = (
        endpoints + settings("labels: {version: v2, app: y}") + policy("failoverPriority: [version=v1, app]")
    )
    assert priorities(text) == [2, 1, 0]


def test_a_written_failover_refines_the_labels() -> None:
    """Elsewhere all are alike by label; the region that takes over comes first among them."""
    text = service(*PLACES) + HERE
    names = "failoverPriority: [topology.kubernetes.io/region]"
    assert priorities(text + policy(names)) == [0, 0, 0, 1, 1, 1]
    assert priorities(text + policy(names + ", failover: [{from: eu, to: us}]")) == [0, 1, 2, 3, 4, 4]


# -- distribution ----------------------------------------------------------------------------------


def weights(to: str, start: str = "eu/a/*", here: str = HERE, outlier: str = "") -> dict[str, int]:
    setting = f"distribute: [{{from: 'xx/*', to: {{'eu/*': 100}}}}, {{from: '{start}', to: {{{to}}}}}]"
    found = only(service(*PLACES) + here + policy(setting, outlier=outlier))
    assert {endpoint.locality for endpoint in found.endpoints} == set(found.locality_weights or PLACES)
    assert {endpoint.priority for endpoint in found.endpoints} == {0}
    return dict(found.locality_weights)


def test_localities_get_their_weights_and_others_nothing() -> None:
    """Distribution needs no outlier detection, and with it there are still no priorities."""
    expected = {"eu/a/1": 80, "us/a/1": 20}
    assert weights("eu/a/1: 80, us/a/1: 20") == expected
    assert weights("eu/a/1: 80, us/a/1: 20", outlier=", outlierDetection: {}") == expected


def test_a_wildcard_divides_its_weight() -> None:
    assert weights("'eu/*': 70, us: 30") == {"eu/a/1": 24, "eu/a/2": 24, "eu/b/1": 24, "us/a/1": 30}
    assert weights("'eu/a/*': 60, 'as/*': 40") == {"eu/a/1": 30, "eu/a/2": 30, "as/a/1": 40}


@pytest.mark.parametrize("start", ["*", "eu/*", "eu", "eu/a", "eu/a/1"])
def test_a_rule_is_for_gateways_it_covers(start: str) -> None:
    assert weights("us/a/1: 100", start) == {"us/a/1": 100}


@pytest.mark.parametrize("start", ["us", "eu/b/*", "eu/a/2"])
def test_a_rule_for_gateways_elsewhere_changes_nothing(start: str) -> None:
    assert weights("us/a/1: 100", start) == {}


def test_heavier_localities_get_more_of_a_shared_weight() -> None:
    text = service("eu/a/1", "eu/a/1", "eu/a/1", "eu/b/1") + HERE
    found = only(text + policy("distribute: [{from: 'eu/*', to: {'eu/*': 100}}]", outlier=""))
    assert dict(found.locality_weights) == {"eu/a/1": 75, "eu/b/1": 25}


def test_a_distribution_to_nowhere_leaves_nobody() -> None:
    found = only(service("eu/a/1") + HERE + policy("distribute: [{from: 'eu/*', to: {us: 100}}]", outlier=""))
    assert (found.endpoints, found.locality_weights) == ((), {})
