"""The span for interpreters without a GIL: a lock of its own around everything that looks before it writes."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from time import time_ns
from typing import Any, ClassVar, Final

from opentelemetry.trace import SpanContext, Status, StatusCode

from otel_ml.tracing.span import Span


class LockedSpan(Span):
    """See `Span`. The lock is re-entrant: what writes may itself cause a write, by a log handler for example."""

    __slots__ = ()

    has_lock: ClassVar[bool] = True

    def _begin(self, *arguments: Any) -> None:
        super()._begin(*arguments)
        self._slow_lock = threading.RLock()

    def get_span_context(self) -> SpanContext:
        """Return the span's context, always the same."""
        with self._slow_lock:
            return super().get_span_context()

    def set_attribute(self, key: str, value: Any) -> None:
        """Set an attribute; one that was there moves to the end."""
        with self._slow_lock:
            super().set_attribute(key, value)

    def _put_all(self, attributes: Mapping[str, Any]) -> None:
        with self._slow_lock:
            super()._put_all(attributes)

    def update_name(self, name: str) -> None:
        """Give the span another name."""
        with self._slow_lock:
            super().update_name(name)

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Set the status, unless it is OK already or the new one is UNSET."""
        with self._slow_lock:
            super().set_status(status, description)

    def end(self, end_time: int | None = None) -> None:
        """End the span, which tells the processors; these are called without the lock."""
        with self._slow_lock:
            first = self._start_time is not None and self._end_time is None
            if first:
                self._end_time = time_ns() if end_time is None else end_time
        if first:
            self._tell_end()
        else:
            super().end(end_time)  # says what is wrong


CONCRETE: Final[type[Span]] = Span if getattr(sys, "_is_gil_enabled", lambda: True)() else LockedSpan
"""The class that tracers of this interpreter make."""
