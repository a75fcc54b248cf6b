"""The run's identity and labels on every span that starts inside a run. It is compiled where that can be done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opentelemetry.context import Context

from otel_ml import health
from otel_ml.current_span import get_context
from otel_ml.execution import RUN_KEY, Run, inherited
from otel_ml.primitives import item


class RunAttributes:
    """Puts the run's id, name and labels on spans that start.

    Args:
        on_run: Called with each run when its first span in this process starts.
    """

    __slots__ = ("_known", "_on_run")

    def __init__(self, on_run: Callable[[Run], None]) -> None:
        self._on_run = on_run
        self._known: set[tuple[str, str]] = set()

    def start(self, span: Any, parent_context: Context | None = None) -> None:
        """Add the attributes of the run that is current in the span's parent context; never raises."""
        try:
            run = item(get_context() if parent_context is None else parent_context, RUN_KEY)
            if run is None:
                run = inherited()
            if run is None or not isinstance(run, Run):
                return
            identity = (run.id, run.name)
            if identity not in self._known:
                self._known.add(identity)
                self._on_run(run)
            span.set_attributes(run.attributes)
        except Exception as error:
            health.internal_error("run attributes of a span", error)
