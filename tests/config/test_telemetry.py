"""Telemetry: what is read, and what contradicts itself."""

from __future__ import annotations

import textwrap

import pytest
from support.documents import config_of, validated

HEAD = "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {name: t}\nspec:\n"


def said(spec: str) -> list[tuple[str, int, int, str]]:
    """Findings of a specification; its first line is line 1 and its first column 1."""
    found = validated(HEAD + textwrap.indent(textwrap.dedent(spec), "  "))
    return [(code, line - 4, column - 2, severity) for code, line, column, severity, _ in found]


def test_names_are_istio_s_in_snake_case() -> None:
    """All three signals, read under their own names."""
    (document,) = config_of(
        HEAD
        + """
  tracing:
  - randomSamplingPercentage: 12.5
    disableSpanReporting: true
    customTags:
      a: {literal: {value: b}}
      c: {header: {name: x, defaultValue: d}}
  metrics:
  - overrides:
    - match: {metric: REQUEST_COUNT, mode: SERVER}
      tagOverrides: {e: {operation: REMOVE}, f: {value: request.host}}
    reportingInterval: 5s
  accessLogging:
  - disabled: false
    filter: {expression: response.code >= 400}
"""
    ).telemetries
    spec = document.spec

    assert (spec.tracing[0].random_sampling_percentage, spec.tracing[0].disable_span_reporting) == (
        12.5,
        True,
    )
    assert spec.tracing[0].custom_tags["c"].header.default_value == "d"
    assert spec.metrics[0].overrides[0].match.metric == "REQUEST_COUNT"
    assert spec.metrics[0].overrides[0].tag_overrides["f"].operation == "UPSERT"
    assert (spec.metrics[0].reporting_interval, spec.access_logging[0].disabled) == (5.0, False)
    assert spec.access_logging[0].filter.expression == "response.code >= 400"


@pytest.mark.parametrize(
    ("spec", "code", "column"),
    [
        ("tracing: [{randomSamplingPercentage: 100.5}]", "GW037", 38),
        ("tracing: [{randomSamplingPercentage: '1'}]", "GW031", 38),
        ("tracing: [{customTags: {a: {}}}]", "GW032", 25),
        ("tracing: [{customTags: {a: {literal: {value: x}, header: {name: y}}}}]", "GW040", 50),
        ("tracing: [{customTags: {a: {literal: {value: ''}}}}]", "GW032", 46),
        ("tracing: [{providers: [{name: ''}]}]", "GW032", 31),
        ("metrics: [{overrides: [{tagOverrides: {a: {operation: REMOVE, value: b}}}]}]", "GW040", 70),
        ("metrics: [{overrides: [{match: {metric: REQUESTS}}]}]", "GW033", 41),
        ("metrics: [{overrides: [{match: {metric: REQUEST_SIZE, customMetric: a}}]}]", "GW040", 69),
        ("accessLogging: [{filter: {}}]", "GW032", 18),
    ],
)
def test_contradictions_are_refused(spec: str, code: str, column: int) -> None:
    """Each where it stands."""
    assert said(spec) == [(code, 1, column, "error")]


def test_an_added_label_needs_a_value() -> None:
    """UPSERT is the default, and says what to write."""
    assert [item[0] for item in said("metrics: [{overrides: [{tagOverrides: {a: {}}}]}]")] == ["GW032"]


def test_one_tracing_provider_counts() -> None:
    """The second is pointed at."""
    assert said("tracing:\n- providers:\n  - name: a\n  - name: b") == [("GW069", 4, 5, "warning")]


def test_an_empty_document_is_fine() -> None:
    """All of it is optional."""
    assert validated(HEAD) == []
