"""The span processor at the end of a span's way: one append for the caller, the rest on threads."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otel_ml import health
from otel_ml.export.encoding_queue import EncodingQueue
from otel_ml.export.left_out import leave_out
from otel_ml.export.otlp_protobuf import SpanEncoder
from otel_ml.export.sending import Sending, sender_of
from otel_ml.options import Traces
from otel_ml.primitives import track
from otel_ml.spans.emitter import Emitter
from otel_ml.spans.redacting import masked
from otel_ml.suppression import suppress_instrumentation
from otel_ml.worker import BatchWorker, ItemQueue


class QueueSpanProcessor(SpanProcessor):
    """Queues sampled spans for one exporter; what does not arrive is counted.

    Exporters that take bytes are sent bytes, made and masked by our own encoder. All others get masked spans.

    Args:
        exporter: Where spans go.
        options: Bounds of the queue.
    """

    def __init__(self, exporter: SpanExporter, options: Traces) -> None:
        self._exporter = exporter
        bounds: Any = {
            "queue_size": options.queue_size, "batch_size": options.batch_size, "interval": options.interval
        }  # fmt: skip
        send = sender_of(exporter)
        self._queue: ItemQueue[ReadableSpan] = (
            BatchWorker("traces", self._export, **bounds)
            if send is None
            else EncodingQueue("traces", SpanEncoder().encode, Sending("traces", send, exporter), **bounds)
        )
        self.emit = Emitter(self._queue).emit

    def on_end(self, span: ReadableSpan) -> None:
        """Queue the span when it is sampled."""
        context = span.context
        if context is not None and context.trace_flags.sampled:
            self._queue.put(span)

    def _export(self, batch: list[ReadableSpan]) -> None:
        spans = []
        for span in batch:
            track(span)  # an exporter that keeps it may be reachable from it
            try:
                spans.append(masked(span))
            except Exception as error:  # a value of a foreign class; the others are exported
                leave_out("traces", error)
        with suppress_instrumentation():
            result = self._exporter.export(spans)
        if result is not SpanExportResult.SUCCESS:
            health.not_delivered("traces", len(spans), self._exporter)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait until the queue is empty."""
        return self._queue.flush(timeout_millis / 1000)

    def wake(self) -> None:
        """Have the threads look at their queues now."""
        self._queue.wake()

    def close(self, timeout: float) -> bool:
        """Flush and stop, waiting `timeout` seconds at most; False when spans were lost."""
        delivered = self._queue.close(timeout)
        try:
            self._exporter.shutdown()
        except Exception as error:
            health.internal_error("shutdown of the span exporter", error)
        return delivered

    def shutdown(self) -> None:
        """Flush and stop; called when the application shuts its provider down."""
        self.close(timeout=5.0)
