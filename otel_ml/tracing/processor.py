"""The span processor: run identity when a span starts, one append when it ends, the rest on a thread."""

from __future__ import annotations

from collections.abc import Callable

from opentelemetry.context import Context
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otel_ml import conventions, health, runs
from otel_ml.options import Traces
from otel_ml.runs import Run
from otel_ml.tracing.redacting import masked
from otel_ml.worker import BatchWorker


class RunSpanProcessor(SpanProcessor):
    """Puts the run's id and name on every span that starts inside a run.

    Args:
        on_run: Called with each run when its first span in this process starts.
    """

    def __init__(self, on_run: Callable[[Run], None]) -> None:
        self._on_run = on_run
        self._seen: set[str] = set()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Add the attributes of the run that is current in the span's parent context."""
        try:
            run = runs.current_run(parent_context)
            if run is None:
                return
            span.set_attribute(conventions.RUN_ID, run.id)
            span.set_attribute(conventions.RUN_NAME, run.name)
            if run.id not in self._seen:
                self._seen.add(run.id)
                self._on_run(run)
        except Exception as error:
            health.internal_error("run attributes of a span", error)


class QueueSpanProcessor(SpanProcessor):
    """Queues sampled spans for one exporter; what does not arrive is counted.

    Args:
        exporter: Where spans go, on the worker's thread, after masking.
        options: Bounds of the queue.
    """

    def __init__(self, exporter: SpanExporter, options: Traces) -> None:
        self._exporter = exporter
        self._worker: BatchWorker[ReadableSpan] = BatchWorker(
            "traces",
            self._export,
            queue_size=options.queue_size,
            batch_size=options.batch_size,
            interval=options.interval,
        )

    def on_end(self, span: ReadableSpan) -> None:
        """Queue the span when it is sampled."""
        if span.context is not None and span.context.trace_flags.sampled:
            self._worker.put(span)

    def _export(self, batch: list[ReadableSpan]) -> None:
        spans = [masked(span) for span in batch]
        with suppress_instrumentation():
            result = self._exporter.export(spans)
        if result is not SpanExportResult.SUCCESS:
            health.not_delivered("traces", len(batch), self._exporter)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait until the queue is empty."""
        return self._worker.flush(timeout_millis / 1000)

    def wake(self) -> None:
        """Have the worker look at its queue now."""
        self._worker.wake()

    def close(self, timeout: float) -> bool:
        """Flush and stop, waiting `timeout` seconds at most; False when spans were lost."""
        delivered = self._worker.close(timeout)
        try:
            self._exporter.shutdown()
        except Exception as error:
            health.internal_error("shutdown of the span exporter", error)
        return delivered

    def shutdown(self) -> None:
        """Flush and stop; called when the application shuts its provider down."""
        self.close(timeout=5.0)
