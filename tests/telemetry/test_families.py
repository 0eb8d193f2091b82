"""Families of several workers joined, and written in Prometheus' format."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families as parse

from gateway.telemetry.catalog import CATALOG, Metric
from gateway.telemetry.families import Buckets, Family, exposition, from_plain, join, to_plain

COUNTER = Metric("gateway_x_total", "counter", "X.", ("a",))
HISTOGRAM = Metric("gateway_h_seconds", "histogram", "H.", ("a",), bounds=(0.001, 1, 3600000))
AT = (("a", "b"),)


def test_counters_and_histograms_add_up() -> None:
    """Also when a worker has series the other has not."""
    one = [Family(COUNTER, {AT: 1}), Family(HISTOGRAM, {AT: Buckets([1, 0, 2, 0], 5.0)})]
    other = [
        Family(HISTOGRAM, {AT: Buckets([1, 1, 0, 1], 2.5)}),
        Family(COUNTER, {AT: 2, (("a", "c"),): 4}),
    ]
    counter, histogram = join([one, other])

    assert counter.samples == {AT: 3, (("a", "c"),): 4}
    assert histogram.samples[AT] == Buckets([2, 1, 2, 1], 7.5)


def test_gauges_join_as_the_table_says() -> None:
    """Connections add up, the worst lag counts, the first certificate to end counts."""
    for merge, expected in (("sum", 5), ("max", 3), ("min", 2)):
        metric = Metric("g", "gauge", "G.", (), merge)
        (family,) = join([[Family(metric, {(): 2})], [Family(metric, {(): 3})]])
        assert family.samples == {(): expected}


def test_joining_changes_nothing_that_it_was_given() -> None:
    """A scrape may be repeated."""
    own = [Family(COUNTER, {AT: 1})]
    join([own, [Family(COUNTER, {AT: 1})]])

    assert own[0].samples == {AT: 1}


def test_the_text_is_prometheus_format() -> None:
    """Bounds are written as Istio writes them, buckets are cumulative, empty labels are left out."""
    text = exposition([Family(HISTOGRAM, {(("a", ""),): Buckets([1, 0, 2, 1], 5.0)})]).decode()
    (family,) = parse(text)

    assert [(sample.name, sample.labels, sample.value) for sample in family.samples] == [
        ("gateway_h_seconds_bucket", {"le": "0.001"}, 1),
        ("gateway_h_seconds_bucket", {"le": "1"}, 1),
        ("gateway_h_seconds_bucket", {"le": "3600000"}, 3),
        ("gateway_h_seconds_bucket", {"le": "+Inf"}, 4),
        ("gateway_h_seconds_count", {}, 4),
        ("gateway_h_seconds_sum", {}, 5),
    ]


LABEL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), min_size=1, max_size=20)


@settings(max_examples=100)
@given(st.dictionaries(LABEL, st.integers(0, 2**53), max_size=5))
def test_any_label_value_survives_the_way_to_prometheus(values: dict[str, int]) -> None:
    """Through the other workers' file and the text format."""
    families = [Family(COUNTER, {(("a", value),): count for value, count in values.items()})]
    carried = from_plain(json.loads(json.dumps(to_plain(families))))
    text = exposition(carried).decode()
    found = {sample.labels["a"]: sample.value for family in parse(text) for sample in family.samples}

    assert found == values


def test_the_catalog_keeps_to_prometheus_names() -> None:
    """Units and `_total` in the name, one name once, a sentence of help each."""
    names = [metric.name for metric in CATALOG]

    assert len(set(names)) == len(names)
    for metric in CATALOG:
        assert metric.name.startswith(("istio_", "gateway_"))
        assert (metric.kind == "counter") == metric.name.endswith("_total")
        assert (metric.kind == "histogram") == bool(metric.bounds)
        assert metric.text.endswith(".")
        if metric.kind == "histogram":
            assert metric.name.endswith(("_seconds", "_milliseconds", "_bytes"))


def test_the_newest_trace_of_all_workers_stands_beside_a_bucket() -> None:
    """Whichever worker traced it; what an older release wrote has none."""
    ours = Buckets([1, 1, 0, 0], 3.0, {0: ("a", 0.5, 10.0), 1: ("b", 1.5, 30.0)})
    theirs = Buckets([1, 1, 1, 0], 6.0, {0: ("c", 0.6, 20.0), 1: ("d", 1.6, 20.0), 2: ("e", 3.0, 20.0)})
    at = (("a", "x"),)
    sent = json.loads(json.dumps(to_plain([Family(HISTOGRAM, {at: theirs})])))
    (joined,) = join([[Family(HISTOGRAM, {at: ours})], from_plain(sent)])
    found = joined.samples[at]
    sent[0][-1][0][1] = sent[0][-1][0][1][:2]
    (older,) = from_plain(sent)

    assert isinstance(found, Buckets)
    assert found.exemplars == {0: ("c", 0.6, 20.0), 1: ("b", 1.5, 30.0), 2: ("e", 3.0, 20.0)}
    assert older.samples[at] == Buckets([1, 1, 1, 0], 6.0)
