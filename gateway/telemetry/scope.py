"""Which Telemetry documents hold for this gateway, and what they come to together.

Lifetime: config. The root namespace speaks first, then the gateway's own, then the document whose selector
matches the gateway's labels; each may override what came before (Istio `model/telemetry.go`). A gateway is
the CLIENT side: settings for SERVER are passed over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway.config.visibility import age

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gateway.config import Config
    from gateway.config.telemetry import AccessLogging, CustomTag, Metrics, ModeMatch, Telemetry, Tracing

ACCESS_LOG = frozenset({"envoy"})
"""Names of the provider that is GatewaySettings' access log: Istio's built-in one."""
PROMETHEUS = frozenset({"prometheus"})
"""Names of the provider that is `/metrics`."""


class LogChoice(NamedTuple):
    """What becomes of the access log."""

    enabled: bool = True
    expression: str = ""
    """CEL; empty: every exchange."""


class TraceChoice(NamedTuple):
    """What becomes of traces; None: nobody said."""

    percentage: float | None = None
    disabled: bool = False
    """Context is passed on, nothing is reported."""
    propagate: bool = True
    tags: tuple[tuple[str, CustomTag], ...] = ()
    istio_tags: bool = True


def applicable(config: Config) -> list[Telemetry]:
    """The documents that hold, widest first; of several in one place the oldest."""
    settings = config.settings.spec
    wide: dict[str, Telemetry] = {}
    own: Telemetry | None = None
    for document in sorted(config.telemetries, key=age):
        spec, namespace = document.spec, document.metadata.namespace
        if spec.target_ref is not None or spec.target_refs:
            continue
        if spec.selector is None or not spec.selector.match_labels:
            wide.setdefault(namespace, document)
        elif own is None and namespace == settings.namespace and spec.selector.matches(settings.labels):
            own = document
    places = dict.fromkeys((settings.root_namespace, settings.namespace))
    found = [wide[namespace] for namespace in places if namespace in wide]
    return found if own is None else [*found, own]


def _ours(match: ModeMatch | None) -> bool:
    return match is None or match.mode in {None, "CLIENT", "CLIENT_AND_SERVER"}


def log_choice(documents: Iterable[Telemetry]) -> LogChoice:
    """Whether the access log is written, and of which exchanges."""
    choice, named = LogChoice(), True
    for document in documents:
        entries: list[AccessLogging] = [item for item in document.spec.access_logging if _ours(item.match)]
        with_names = [item for item in document.spec.access_logging if item.providers]
        if with_names:
            named = any(_is(item.providers, ACCESS_LOG) for item in with_names)
        for item in entries:
            if not item.providers or _is(item.providers, ACCESS_LOG):
                expression = "" if item.filter is None else item.filter.expression
                choice = LogChoice(not item.disabled, expression)
    return choice if named else LogChoice(enabled=False)


def metrics_choice(documents: Iterable[Telemetry]) -> Iterator[Metrics]:
    """What is said about Prometheus' metrics, widest first."""
    for document in documents:
        for item in document.spec.metrics:
            if not item.providers or _is(item.providers, PROMETHEUS):
                yield item


def metrics_wanted(documents: Iterable[Telemetry]) -> bool:
    """Whether the standard metrics are kept: not when only other providers are named."""
    wanted = True
    for document in documents:
        named = [item for item in document.spec.metrics if item.providers]
        if named:
            wanted = any(_is(item.providers, PROMETHEUS) for item in named)
    return wanted


def trace_choice(documents: Iterable[Telemetry]) -> TraceChoice:
    """What is said about traces."""
    choice = TraceChoice()
    for document in documents:
        for item in document.spec.tracing:
            if _ours(item.match):
                choice = _over(choice, item)
    return choice


def _over(choice: TraceChoice, item: Tracing) -> TraceChoice:
    changes: dict[str, object] = {}
    if item.random_sampling_percentage is not None:
        changes["percentage"] = item.random_sampling_percentage
    if item.disable_span_reporting is not None:
        changes["disabled"] = item.disable_span_reporting
    if item.disable_context_propagation is not None:
        changes["propagate"] = not item.disable_context_propagation
    if item.enable_istio_tags is not None:
        changes["istio_tags"] = item.enable_istio_tags
    if item.custom_tags:
        changes["tags"] = tuple(item.custom_tags.items())
    return choice._replace(**changes)  # type: ignore[arg-type] # one type a field


def _is(providers: Iterable[object], names: frozenset[str]) -> bool:
    return any(getattr(provider, "name", "") in names for provider in providers)
