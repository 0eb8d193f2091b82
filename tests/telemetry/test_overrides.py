"""Telemetry documents: which hold, and what they change about metrics and the access log."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse
from support.finished import REVIEWS, finished, snapshot_of

from gateway.config import load
from gateway.telemetry.counters import Counters
from gateway.telemetry.overrides import compile_overrides
from gateway.telemetry.scope import LogChoice, applicable, log_choice, trace_choice

SETTINGS = """
apiVersion: gateway.asgi/v1
kind: GatewaySettings
metadata: {name: gateway}
spec: {labels: {app: edge, version: v7}, namespace: edge}
---
"""


def telemetry(spec: str, *, name: str = "t", namespace: str = "edge", made: str = "") -> str:
    stamp = f", creationTimestamp: '{made}'" if made else ""
    return f"""
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {{name: {name}, namespace: {namespace}{stamp}}}
spec: {spec}
---
"""


def config_of(*documents: str):
    loaded = load([], texts={"t.yaml": SETTINGS + "".join(documents)})
    assert loaded.config is not None, [str(finding) for finding in loaded.findings]
    return loaded.config


def names(*documents: str) -> list[str]:
    return [document.metadata.name for document in applicable(config_of(*documents))]


# -- which hold --------------------------------------------------------------------------------


def test_documents_hold_from_the_mesh_to_the_workload() -> None:
    """Root namespace, own namespace, then the one whose selector matches the gateway's labels."""
    assert names(
        telemetry("{selector: {matchLabels: {app: edge}}}", name="workload"),
        telemetry("{}", name="own"),
        telemetry("{}", name="root", namespace="istio-system"),
        telemetry("{}", name="elsewhere", namespace="other"),
        telemetry("{selector: {matchLabels: {app: other}}}", name="other-workload"),
    ) == ["root", "own", "workload"]


def test_of_several_in_one_place_the_oldest_holds() -> None:
    """As in Istio; one without a date is older than any with one."""
    dated = (
        telemetry("{}", name="a", made="2026-01-02T00:00:00Z"),
        telemetry("{}", name="b", made="2026-01-01T00:00:00Z"),
    )

    assert names(*dated) == ["b"]
    assert names(*dated, telemetry("{}", name="c")) == ["c"]


# -- the access log ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("documents", "choice"),
    [
        ([], LogChoice()),
        (["{accessLogging: [{disabled: true}]}"], LogChoice(enabled=False)),
        (
            ["{accessLogging: [{filter: {expression: response.code >= 400}}]}"],
            LogChoice(expression="response.code >= 400"),
        ),
        (["{accessLogging: [{providers: [{name: otel}]}]}"], LogChoice(enabled=False)),
        (["{accessLogging: [{providers: [{name: otel}, {name: envoy}]}]}"], LogChoice()),
        (["{accessLogging: [{match: {mode: SERVER}, disabled: true}]}"], LogChoice()),
        (["{accessLogging: [{match: {mode: CLIENT}, disabled: true}]}"], LogChoice(enabled=False)),
    ],
)
def test_what_documents_say_about_the_access_log(documents: list[str], choice: LogChoice) -> None:
    """Istio's built-in provider is called envoy; SERVER is not about a gateway."""
    assert log_choice(applicable(config_of(*(telemetry(item) for item in documents)))) == choice


def test_a_narrower_document_switches_the_log_on_again() -> None:
    """The mesh says off, the gateway's own document says on."""
    config = config_of(
        telemetry("{accessLogging: [{disabled: true}]}", namespace="istio-system"),
        telemetry("{accessLogging: [{disabled: false}]}"),
    )

    assert log_choice(applicable(config)) == LogChoice()


def test_traces_inherit_what_is_not_said_again() -> None:
    """The percentage from the mesh, the tags replaced by the gateway's."""
    config = config_of(
        telemetry(
            "{tracing: [{randomSamplingPercentage: 10, customTags: {a: {literal: {value: x}}}}]}",
            namespace="istio-system",
        ),
        telemetry("{tracing: [{customTags: {b: {literal: {value: y}}}, disableSpanReporting: true}]}"),
    )
    choice = trace_choice(applicable(config))

    assert (choice.percentage, choice.disabled, [name for name, _ in choice.tags]) == (10, True, ["b"])


# -- metrics -----------------------------------------------------------------------------------


def series(*documents: str, exchange=None) -> dict[str, list[dict[str, str]]]:
    snapshot = snapshot_of(REVIEWS + SETTINGS + "".join(telemetry(item) for item in documents))
    counters = Counters()
    counters.follow(snapshot.config.settings.spec, compile_overrides(applicable(snapshot.config)))
    for made in exchange or [finished(snapshot)]:
        counters.record(*made)
    found: dict[str, list[dict[str, str]]] = {}
    for family in parse(counters.exposition().decode()):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


def test_the_gateways_labels_are_the_source() -> None:
    """Its own app, version and namespace."""
    (labels,) = series()["istio_requests_total"]

    assert (labels["source_app"], labels["source_version"], labels["source_workload_namespace"]) == (
        "edge",
        "v7",
        "edge",
    )


def test_a_metric_can_be_left_out() -> None:
    """The others stay."""
    found = series("{metrics: [{overrides: [{match: {metric: REQUEST_SIZE}, disabled: true}]}]}")

    assert "istio_request_bytes_count" not in found
    assert "istio_response_bytes_count" in found


def test_all_metrics_can_be_left_out_and_one_kept() -> None:
    """Overrides are applied in order."""
    found = series(
        "{metrics: [{overrides: [{disabled: true}, {match: {metric: REQUEST_COUNT}, disabled: false}]}]}"
    )

    assert [name for name in found if name.startswith("istio_")] == ["istio_requests_total"]


def test_metrics_for_another_provider_alone_are_not_ours() -> None:
    """As in Istio: what names its providers is for those."""
    assert not [n for n in series("{metrics: [{providers: [{name: otel}]}]}") if n.startswith("istio_")]


def test_labels_are_removed_changed_and_added() -> None:
    """By metric; expressions read the request."""
    (labels,) = series("""
  metrics:
  - providers: [{name: prometheus}]
    overrides:
    - match: {metric: REQUEST_COUNT, mode: CLIENT}
      tagOverrides:
        response_flags: {operation: REMOVE}
        destination_version: {value: "'v' + request.headers['end-user']"}
        request_method: {operation: UPSERT, value: request.method}
        missing: {value: request.referer}
    - match: {metric: REQUEST_COUNT, mode: SERVER}
      tagOverrides: {reporter: {operation: REMOVE}}
""")["istio_requests_total"]

    assert "response_flags" not in labels
    assert labels["reporter"] == "source"
    assert (labels["destination_version"], labels["request_method"]) == ("vjason", "GET")
    assert labels["missing"] == "unknown"


def test_requests_that_differ_in_a_removed_label_share_a_series() -> None:
    """Their counts add up."""
    text = "{metrics: [{overrides: [{tagOverrides: {response_code: {operation: REMOVE}}}]}]}"
    snapshot = snapshot_of(REVIEWS + telemetry(text, namespace="default"))
    counters = Counters()
    counters.follow(snapshot.config.settings.spec, compile_overrides(applicable(snapshot.config)))
    for status in (200, 201, 404):
        counters.record(*finished(snapshot, status=status))
    found = [
        sample.value
        for family in parse(counters.exposition().decode())
        for sample in family.samples
        if sample.name == "istio_requests_total"
    ]

    assert found == [3.0]


# -- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("response.code >=", "cannot be parsed"),
        ("response.cod == 1", "there is no attribute response.cod"),
        ("request.method", "true or false"),
        ("nobody == 1", "Undefined variable"),
        ("request.method + 1 == 'a'", "Unsupported operation"),
    ],
)
def test_a_filter_that_cannot_work_is_refused_with_its_place(expression: str, words: str) -> None:
    """Before anything is applied, with line and column."""
    text = telemetry(f'{{accessLogging: [{{filter: {{expression: "{expression}"}}}}]}}')
    loaded = load([], texts={"t.yaml": text})
    (finding,) = [item for item in loaded.findings if item.code == "GW046"]

    assert loaded.config is None
    assert words in finding.message
    assert finding.line == 5


def test_a_tag_that_cannot_work_is_refused() -> None:
    """The same for metrics."""
    loaded = load(
        [],
        texts={"t.yaml": telemetry("{metrics: [{overrides: [{tagOverrides: {a: {value: '('}}}]}]}")},
    )

    assert [item.code for item in loaded.findings if item.fatal] == ["GW046"]


def test_an_access_log_format_is_checked() -> None:
    """Operators that do not exist, and two forms at once."""
    for spec, code in (
        ("{format: '%NOPE%'}", "GW044"),
        ("{jsonFormat: {a: '%REQ%'}}", "GW044"),
        ("{format: x, jsonFormat: {a: b}}", "GW040"),
        ("{encoding: JSON, format: x}", "GW040"),
        ("{encoding: TEXT, jsonFormat: {a: b}}", "GW040"),
    ):
        text = SETTINGS.replace("labels: {app: edge, version: v7}", f"accessLog: {spec}")
        loaded = load([], texts={"t.yaml": text})
        assert [item.code for item in loaded.findings if item.fatal] == [code], spec
