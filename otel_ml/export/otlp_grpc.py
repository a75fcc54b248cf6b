"""The stock OTLP exporters over gRPC, which take ready requests too, and count what a receiver says it rejected.

Imported where gRPC is used only: it is large.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from opentelemetry.exporter.otlp.proto.grpc import _log_exporter, metric_exporter, trace_exporter
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from otel_ml import sdk_compat
from otel_ml.export.rejected import count_rejected
from otel_ml.export.sending import Encoded

_SERVICES = {
    "traces": trace_service_pb2.DESCRIPTOR.services_by_name["TraceService"].full_name,
    "logs": logs_service_pb2.DESCRIPTOR.services_by_name["LogsService"].full_name,
    "metrics": metrics_service_pb2.DESCRIPTOR.services_by_name["MetricsService"].full_name,
}


class Stub:
    """Stands in for the generated stub of a service.

    Args:
        signal: `traces`, `logs` or `metrics`.
        channel: gRPC's.
    """

    def __init__(self, signal: str, channel: Any) -> None:
        self.Export: Callable[..., Any] = channel.unary_unary(
            f"/{_SERVICES[signal]}/Export", request_serializer=_serialized, response_deserializer=partial(_read, signal)
        )


def _serialized(request: Any) -> bytes:
    content: bytes = request.content if type(request) is Encoded else request.SerializeToString()
    return content


def _read(signal: str, answer: bytes) -> bytes:
    count_rejected(signal, answer)
    return answer


class OTLPSpanExporter(trace_exporter.OTLPSpanExporter):
    """See the stock exporter."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.takes_encoded = sdk_compat.use_grpc_stub(self, partial(Stub, "traces"))

    def _translate_data(self, data: Any) -> Any:
        return data if type(data) is Encoded else super()._translate_data(data)


class OTLPLogExporter(_log_exporter.OTLPLogExporter):
    """See the stock exporter."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.takes_encoded = sdk_compat.use_grpc_stub(self, partial(Stub, "logs"))

    def _translate_data(self, data: Any) -> Any:
        return data if type(data) is Encoded else super()._translate_data(data)


class OTLPMetricExporter(metric_exporter.OTLPMetricExporter):
    """See the stock exporter."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        sdk_compat.use_grpc_stub(self, partial(Stub, "metrics"))
