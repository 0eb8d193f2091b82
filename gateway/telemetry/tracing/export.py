"""Where spans go: an exporter as the `OTEL_*` environment names it.

Lifetime: process. OpenTelemetry's SDK is an extra and takes 0.2 s to import, so that happens only here, when
an exporter is asked for.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

logger = logging.getLogger(__name__)

BATCH = 64
"""Spans of one export unless OTEL_BSP_MAX_EXPORT_BATCH_SIZE says otherwise: encoding holds the interpreter,
25 us a span."""
PATIENCE = 3.0
"""Seconds the end of the process waits for the last spans."""
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def wanted() -> list[str]:
    """The exporters that OTEL_TRACES_EXPORTER names; without it `otlp`, if there is an endpoint."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return []
    named = os.environ.get("OTEL_TRACES_EXPORTER")
    if named is None:
        return ["otlp"] if any(os.environ.get(name) for name in ENDPOINTS) else []
    return [name for item in named.split(",") if (name := item.strip().lower()) not in {"", "none"}]


def _exporter(name: str) -> Any:
    if name == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter  # noqa: PLC0415

        return ConsoleSpanExporter()
    if name != "otlp":
        message = f"OTEL_TRACES_EXPORTER={name}: only otlp, console and none are known here"
        raise LookupError(message)
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get(
        "OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"
    )
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter as GrpcExporter,
        )

        return GrpcExporter()
    if protocol != "http/protobuf":
        message = f"OTLP protocol {protocol}: only http/protobuf and grpc are known here"
        raise LookupError(message)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter as HttpExporter,
    )

    return HttpExporter()


class Export:
    """A tracer provider, and a way to hand over spans that are made afterwards."""

    def __init__(self, exporters: list[Any], service: str) -> None:
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON  # noqa: PLC0415

        self.resource = Resource.create()
        if self.resource.attributes.get(SERVICE_NAME, "").startswith("unknown_service"):  # type: ignore[union-attr] # a name is text
            self.resource = self.resource.merge(Resource({SERVICE_NAME: service}))
        # Whoever comes here has been sampled already.
        self.provider: TracerProvider = TracerProvider(
            sampler=ALWAYS_ON, resource=self.resource, shutdown_on_exit=False
        )
        size = None if os.environ.get("OTEL_BSP_MAX_EXPORT_BATCH_SIZE") else BATCH
        self._processors: list[BatchSpanProcessor] = []
        for exporter in exporters:
            processor = BatchSpanProcessor(exporter, max_export_batch_size=size)
            self._processors.append(processor)
            self.provider.add_span_processor(processor)

    @classmethod
    def from_environment(cls, service: str) -> Export | None:
        """As OTEL_* says; None, with a warning when something was asked for, when there is none."""
        names = wanted()
        if not names:
            return None
        exporters = []
        for name in names:
            try:
                exporters.append(_exporter(name))
            except ImportError as error:
                logger.warning(
                    "no traces: %s is missing; pip install 'asgi-gateway[otel]', or [otel-grpc] for gRPC",
                    error.name,
                )
            except (LookupError, ValueError) as error:
                logger.warning("no traces: %s", error)
        return cls(exporters, service) if exporters else None

    def hand_over(self, span: ReadableSpan) -> None:
        """Takes a finished span; what the exporter cannot keep up with is dropped, and counted by the SDK."""
        for processor in self._processors:
            processor.on_end(span)

    def flush(self, seconds: float = PATIENCE) -> None:
        """Sends what is waiting, and returns when that is done or took too long."""
        self.provider.force_flush(int(seconds * 1000))

    def close(self) -> None:
        """Sends what is waiting, for a limited time, and ends."""
        thread = threading.Thread(target=self.provider.shutdown, name="traces-end", daemon=True)
        thread.start()
        thread.join(PATIENCE)
