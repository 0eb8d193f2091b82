"""Receivers of traces: OTLP over HTTP and over gRPC, built on OpenTelemetry's own messages."""

from __future__ import annotations

import gzip
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

PATIENCE = 20.0


class Received:
    """One span as it arrived."""

    def __init__(self, span: Any, resource: dict[str, Any]) -> None:
        self.name: str = span.name
        self.kind: int = span.kind
        """2 is a server span, 3 a client span."""
        self.trace_id: str = span.trace_id.hex()
        self.span_id: str = span.span_id.hex()
        self.parent_id: str = span.parent_span_id.hex()
        self.tags = {item.key: _value(item.value) for item in span.attributes}
        self.events = [event.name for event in span.events]
        self.failed = span.status.code == 2
        self.start, self.end = span.start_time_unix_nano, span.end_time_unix_nano
        self.resource = resource

    def __repr__(self) -> str:
        return f"<Received {self.kind} {self.name} {self.span_id} of {self.parent_id or '-'} {self.tags}>"


def _value(value: Any) -> Any:
    return getattr(value, value.WhichOneof("value"))


class Receiver:
    """Takes spans until it is left. `environment` is what points an exporter here."""

    def __init__(self) -> None:
        self.spans: list[Received] = []
        self._news = threading.Condition()
        self.port = 0

    @property
    def environment(self) -> dict[str, str]:
        """Variables for the gateway."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.port}"}

    def take(self, message: ExportTraceServiceRequest) -> None:
        """Keeps the spans of an export."""
        found = []
        for part in message.resource_spans:
            resource = {item.key: _value(item.value) for item in part.resource.attributes}
            found += [Received(span, resource) for scope in part.scope_spans for span in scope.spans]
        with self._news:
            self.spans += found
            self._news.notify_all()

    def wait_for(self, number: int) -> list[Received]:
        """The spans, in the order of their beginning, once there are that many."""
        with self._news:
            if not self._news.wait_for(lambda: len(self.spans) >= number, PATIENCE):
                raise AssertionError(f"{len(self.spans)} spans instead of {number}: {self.spans}")
            return sorted(self.spans, key=lambda span: (span.kind, span.start))


class HttpReceiver(Receiver):
    """OTLP over HTTP with protobuf bodies. A context manager."""

    def __enter__(self) -> Self:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                assert self.path == "/v1/traces"
                receiver.take(ExportTraceServiceRequest.FromString(body))
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class GrpcReceiver(Receiver):
    """OTLP over gRPC. A context manager."""

    @property
    def environment(self) -> dict[str, str]:
        """Variables for the gateway."""
        return {**super().environment, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}

    def __enter__(self) -> Self:
        import grpc
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
            TraceServiceServicer,
            add_TraceServiceServicer_to_server,
        )

        receiver = self

        class Servicer(TraceServiceServicer):
            def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
                receiver.take(request)
                return ExportTraceServiceResponse()

        self._server = grpc.server(ThreadPoolExecutor(1))
        add_TraceServiceServicer_to_server(Servicer(), self._server)
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None).wait()
