"""What `start_as_current_span` returns: a context manager and decorator around one span.

It is compiled where that can be done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextvars import Token
from types import TracebackType
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode

from otel_ml import current_span
from otel_ml.tracing.around import around_each_call

if TYPE_CHECKING:
    from otel_ml.tracing.tracer import Tracer


class ActiveSpan:
    """One use of `start_as_current_span`.

    Args:
        tracer: Starts the span.
        name: These and the following are the arguments of `start_span`.
        end_on_exit: Whether the span ends where the block does.
    """

    __slots__ = (
        "_attributes", "_context", "_end_on_exit", "_kind", "_links", "_name", "_record_exception",
        "_set_status_on_exception", "_span", "_start_time", "_token", "_tracer",
    )  # fmt: skip

    _span: Span
    _token: Token[Context]

    def __init__(  # noqa: PLR0917  the SDK's
        self,
        tracer: Tracer,
        name: str,
        context: Context | None,
        kind: SpanKind,
        attributes: Mapping[str, Any] | None,
        links: Sequence[Link] | None,
        start_time: int | None,
        record_exception: bool,
        set_status_on_exception: bool,
        end_on_exit: bool,
    ) -> None:
        self._tracer = tracer
        self._name = name
        self._context = context
        self._kind = kind
        self._attributes = attributes
        self._links = links
        self._start_time = start_time
        self._record_exception = record_exception
        self._set_status_on_exception = set_status_on_exception
        self._end_on_exit = end_on_exit

    def __enter__(self) -> Span:
        span = self._span = self._tracer.start_span(
            self._name, self._context, self._kind, self._attributes, self._links, self._start_time,
            self._record_exception, self._set_status_on_exception,
        )  # fmt: skip
        self._token = current_span.attach(span)
        return span

    def __exit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        current_span.detach(self._token)
        span = self._span
        try:
            # Other exceptions are no errors of the program: GeneratorExit, KeyboardInterrupt.
            if error is not None and isinstance(error, Exception) and span.is_recording():
                if self._record_exception:
                    span.record_exception(error)
                if self._set_status_on_exception:
                    span.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {error}"))
        finally:
            if self._end_on_exit:
                span.end()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with a span of its own around each call."""

        def another() -> ActiveSpan:
            return ActiveSpan(
                self._tracer, self._name, self._context, self._kind, self._attributes, self._links, self._start_time,
                self._record_exception, self._set_status_on_exception, self._end_on_exit,
            )  # fmt: skip

        return around_each_call(another, function)
