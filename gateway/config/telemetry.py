"""Telemetry: what is measured, traced and logged, in Istio's own shape.

Lifetime: config.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, Strict

from gateway.config.codes import define
from gateway.config.expressions import check_expression
from gateway.config.fields import Bool, Checked, Duration, FrozenMap, Many, Map, Model, NonEmpty, Problem, Str
from gateway.config.formats import check_format
from gateway.config.resource import Resource, register
from gateway.config.selector import EmptyIfNull, Targeted

if TYPE_CHECKING:
    from collections.abc import Iterator

define(
    "GW069",
    "several tracing providers",
    "warning",
    "Istio sends spans to one provider; of several only the first has effect.",
)

WorkloadMode = Literal["CLIENT_AND_SERVER", "CLIENT", "SERVER"]
"""Which side a setting is for; a gateway is CLIENT."""
IstioMetric = Literal[
    "ALL_METRICS",
    "REQUEST_COUNT",
    "REQUEST_DURATION",
    "REQUEST_SIZE",
    "RESPONSE_SIZE",
    "TCP_OPENED_CONNECTIONS",
    "TCP_CLOSED_CONNECTIONS",
    "TCP_SENT_BYTES",
    "TCP_RECEIVED_BYTES",
    "GRPC_REQUEST_MESSAGES",
    "GRPC_RESPONSE_MESSAGES",
]


class Provider(Model):
    """Where a signal goes, by name."""

    name: NonEmpty


class ModeMatch(Model):
    """Which side of an exchange is meant."""

    mode: WorkloadMode | None = None
    """Default CLIENT_AND_SERVER."""


class LiteralTag(Model):
    """The same text on every span."""

    value: NonEmpty


class EnvironmentTag(Model):
    """An environment variable of the gateway."""

    name: NonEmpty
    default_value: Str | None = None


class HeaderTag(Model):
    """A header of the request."""

    name: NonEmpty
    default_value: Str | None = None


class FormatterTag(Checked):
    """Text with `%OPERATORS%`."""

    value: NonEmpty

    def _rules(self) -> Iterator[Problem]:
        yield from check_format(self.value, ("value",))


class CustomTag(Checked):
    """A tag of every span; exactly one source."""

    literal: LiteralTag | None = None
    environment: EnvironmentTag | None = None
    header: HeaderTag | None = None
    formatter: FormatterTag | None = None

    def _rules(self) -> Iterator[Problem]:
        yield from _one_of(self, ("literal", "environment", "header", "formatter"))


def _one_of(model: Model, fields: tuple[str, ...]) -> Iterator[Problem]:
    given = [field for field in fields if getattr(model, field) is not None]
    if not given:
        yield Problem("GW032", f"one of {', '.join(fields)} is needed")
    for field in given[1:]:
        yield Problem("GW040", f"only one of {', '.join(fields)}", (field,))


class Tracing(Checked):
    """Which requests are traced, and what their spans say."""

    match: ModeMatch | None = None
    providers: Many[Provider] = ()
    """At most one has effect; default: the exporter of the `OTEL_*` environment."""
    random_sampling_percentage: (
        Annotated[float, Strict(), Field(ge=0, le=100, allow_inf_nan=False)] | None
    ) = None
    disable_span_reporting: Bool | None = None
    """Pass trace context on, export nothing."""
    custom_tags: Map[NonEmpty, CustomTag] = FrozenMap()
    """Replaces the tags of the next wider document."""
    use_request_id_for_trace_sampling: Bool | None = None
    """Default true."""
    enable_istio_tags: Bool | None = None
    """Default true."""
    disable_context_propagation: Bool | None = None

    def _rules(self) -> Iterator[Problem]:
        if len(self.providers) > 1:
            message = "only the first tracing provider has effect"
            yield Problem("GW069", message, ("providers", 1), "keep one", "warning", fatal=False)


class MetricSelector(Checked):
    """Which metrics an override is for."""

    metric: IstioMetric | None = None
    custom_metric: NonEmpty | None = None
    mode: WorkloadMode | None = None

    def _rules(self) -> Iterator[Problem]:
        if self.metric is not None and self.custom_metric is not None:
            yield Problem("GW040", "only one of metric and customMetric", ("customMetric",))


class TagOverride(Checked):
    """A label that is added, changed or removed."""

    operation: Literal["UPSERT", "REMOVE"] = "UPSERT"
    value: Str | None = None
    """CEL over the request's attributes."""

    def _rules(self) -> Iterator[Problem]:
        if self.operation == "UPSERT" and not self.value:
            yield Problem("GW032", "UPSERT needs a value", ("value",))
        if self.operation == "REMOVE" and self.value:
            yield Problem("GW040", "REMOVE takes no value", ("value",))
        elif self.value and (message := check_expression(self.value)) is not None:
            yield Problem("GW046", message, ("value",))


class MetricsOverrides(Model):
    """A change to some metrics; applied in order."""

    match: MetricSelector | None = None
    """Default: all metrics, both sides."""
    disabled: Bool | None = None
    tag_overrides: Map[NonEmpty, TagOverride] = FrozenMap()


class Metrics(Model):
    """What is measured."""

    providers: Many[Provider] = ()
    overrides: Many[MetricsOverrides] = ()
    reporting_interval: Duration | None = None
    """Of TCP metrics; this gateway has none."""


class LogFilter(Checked):
    """Which exchanges are logged."""

    expression: NonEmpty
    """CEL, such as `response.code >= 400`."""

    def _rules(self) -> Iterator[Problem]:
        if (message := check_expression(self.expression, boolean=True)) is not None:
            yield Problem("GW046", message, ("expression",))


class AccessLogging(Model):
    """Whether exchanges are logged, and where."""

    match: ModeMatch | None = None
    providers: Many[Provider] = ()
    disabled: Bool | None = None
    filter: LogFilter | None = None


class TelemetrySpec(Targeted):
    """Settings of the three signals; each overrides the same one of the next wider document."""

    tracing: Many[Tracing] = ()
    metrics: Many[Metrics] = ()
    access_logging: Many[AccessLogging] = ()


@register("telemetry.istio.io", "Telemetry", "v1", "v1alpha1")
class Telemetry(Resource):
    """Signals of the selected workloads."""

    spec: Annotated[TelemetrySpec, EmptyIfNull] = Field(default_factory=TelemetrySpec)
