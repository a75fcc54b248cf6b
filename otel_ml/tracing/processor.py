"""The span processor that puts the identity of a run on spans."""

from __future__ import annotations

from collections.abc import Callable

from opentelemetry.context import Context
from opentelemetry.sdk.trace import Span, SpanProcessor

from otel_ml import conventions, health, runs
from otel_ml.runs import Run
from otel_ml.tracing.queue import QueueSpanProcessor as QueueSpanProcessor  # noqa: PLC0414  until all import it from there


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
