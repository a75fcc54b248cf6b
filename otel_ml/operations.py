"""The life of one step or inference call: span, duration, failure. Shared by every way to use a decorator."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import Token
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, ClassVar, Final, Self

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode

from otel_ml import conventions, exceptions, health, instruments
from otel_ml.clean_attributes import CleanAttributes, clean
from otel_ml.current_span import attach, detach, get_context, set_context
from otel_ml.series import Series

INTERNAL: Final = SpanKind.INTERNAL


@dataclass(frozen=True, slots=True)
class Spec:
    """What is known of an operation when it is decorated.

    Args:
        span_name: Name of the span.
        logger: Logger of the failure record.
        histogram: Returns the duration histogram in use.
        attributes: On every span.
        metric_attributes: On every duration; low cardinality only.
        code: File, line and name of the decorated function, for the failure record.
    """

    span_name: str
    logger: logging.Logger
    histogram: Callable[[], Any]
    attributes: Mapping[str, Any]
    metric_attributes: dict[str, Any]
    code: tuple[str, int, str] = field(default=("", 0, ""))
    series: Series = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "attributes", clean(self.attributes))
        object.__setattr__(self, "series", Series(self.histogram, self.metric_attributes))

    prepare: ClassVar[None] = None
    finish: ClassVar[None] = None

    @property
    def base(self) -> Spec:
        """The spec itself: a step has nothing beyond it."""
        return self

    def start(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Operation:
        """Begin one call; what it was called with is of no interest to a step."""
        return Operation(self, self.attributes, self.series).enter()

    def operation(self, attributes: Mapping[str, Any], series: Series, features: object) -> Operation:
        """Return the operation of a call that a wrapper began itself."""
        return Operation(self, attributes, series)


class Operation:
    """One call under way: its span is current until `stop` or `fail`. No method raises an exception of its own.

    Args:
        spec: What was known at decoration.
        attributes: Of the span.
        series: Where the duration is counted.
    """

    __slots__ = ("_attributes", "_context", "_items", "_series", "_spec", "_started", "_token", "span")

    def __init__(self, spec: Spec, attributes: Mapping[str, Any], series: Series) -> None:
        self._spec = spec
        self._series = series
        self._token: Token[Context] | None = None
        self._context: Context | None = None
        self._items = 0
        self._attributes = attributes
        self.span: Span = trace.INVALID_SPAN
        self._started = 0.0

    def enter(self) -> Self:
        """Start the span and make it current."""
        try:
            span = self.span = instruments.tracer.start_span(self._spec.span_name, None, INTERNAL, self._attributes)
            self._token = attach(span)
        except Exception as error:
            health.internal_error("start of a span", error)
        self._started = perf_counter()
        return self

    def entered(self, span: Span, token: Token[Context] | None, started: float) -> Self:
        """Take over a span that a wrapper started and made current."""
        self.span, self._token, self._started = span, token, started
        return self

    def stop(self, result: object) -> None:
        """End a call that returned."""
        seconds = perf_counter() - self._started
        try:  # while the span is current: other histograms than ours take their exemplar from there
            self._series.bind().observe(seconds, self.span)
        except Exception as error:
            health.internal_error("recording of a duration", error)
        self._end_span()

    def fail(self, error: BaseException) -> None:
        """End a call that raised: status, `error.type`, and once per exception an event and an ERROR log."""
        if exceptions.is_cancellation(error):
            self._end_early(conventions.CANCELLED)
        elif isinstance(error, SystemExit) and (error.code is None or (type(error.code) is int and error.code == 0)):
            Operation.stop(self, None)
        else:
            seconds = perf_counter() - self._started
            self._record(error)
            try:
                self._series.failed_with(exceptions.error_type(error)).bind().observe(seconds, self.span)
            except Exception as own:
                health.internal_error("recording of a duration", own)
            self._end_span()

    @contextmanager
    def abandoning(self) -> Iterator[None]:
        """Close a generator, inside its span, whose consumer stopped before its end."""
        self.resume()
        try:
            yield
        except BaseException as error:
            self.fail(error)
            raise
        self._end_early(conventions.ABANDONED)

    def failure_extra(self) -> dict[str, Any]:
        """Return what the failure record says beyond the exception."""
        return {}

    def suspend(self) -> None:
        """Leave the span's context while a generator waits for its consumer."""
        try:
            self._items += 1
            self._context = get_context()
            self._leave()
        except Exception as error:
            health.internal_error("suspension of a generator", error)

    def resume(self) -> None:
        """Enter the context that `suspend` left."""
        try:
            if self._context is not None:
                self._token = set_context(self._context)
        except Exception as error:
            health.internal_error("resumption of a generator", error)

    def _record(self, error: BaseException) -> None:
        if not instruments.enabled:
            return
        spec = self._spec
        try:
            record_failure(self.span, error, spec.logger, spec.span_name, self.failure_extra(), code=spec.code)
        except Exception as own:
            health.internal_error("recording of an exception", own)

    def _end_early(self, status: str) -> None:
        try:
            self.span.set_attribute(conventions.STATUS, status)
        except Exception as error:
            health.internal_error("end of a span", error)
        Operation.stop(self, None)

    def _end_span(self) -> None:
        try:
            span, token = self.span, self._token
            if self._items:
                span.set_attribute(conventions.ITEMS, self._items)
            if token is not None:
                self._token = None
                detach(token)
            span.end()
        except Exception as error:
            health.internal_error("end of a span", error)

    def _leave(self) -> None:
        token, self._token = self._token, None
        if token is not None:
            detach(token)


def record_failure(
    span: Span,
    error: BaseException,
    logger: logging.Logger,
    subject: str,
    extra: Mapping[str, Any],
    *,
    code: tuple[str, int, str] = ("", 0, ""),
) -> None:
    """Put an exception on a span, and log it unless that was done before.

    Args:
        span: The span of the failed operation, which should be current.
        error: The exception; it is marked, so that the operations around this one only take status and type.
        logger: Where the ERROR record goes.
        subject: Name of what failed, for the message.
        extra: Further fields of the record, already masked.
        code: File, line and function name that the record points at.
    """
    kind = exceptions.error_type(error)
    span.set_attribute(conventions.ERROR_TYPE, kind)
    if not exceptions.first_time(error):
        span.set_status(StatusCode.ERROR, kind)
        return
    failure = exceptions.describe(error)
    span.set_status(StatusCode.ERROR, f"{failure.type}: {failure.message}")
    span.add_event(
        "exception",
        CleanAttributes(
            {
                conventions.EXCEPTION_TYPE: failure.type,
                conventions.EXCEPTION_MESSAGE: failure.message,
                conventions.EXCEPTION_STACKTRACE: failure.stacktrace,
            }
        ),
    )
    if logger.isEnabledFor(logging.ERROR):
        file, line, function = code
        record = logger.makeRecord(
            logger.name, logging.ERROR, file, line, "%s failed: %s: %s", (subject, failure.type, failure.message),
            (type(error), error, error.__traceback__), function, {conventions.ERROR_TYPE: kind, **extra},
        )  # fmt: skip
        record.exc_text = failure.stacktrace.rstrip("\n")  # formatters print this masked text instead of their own
        logger.handle(record)
