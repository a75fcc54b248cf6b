"""The life of one step or inference call: span, duration, failure. It is compiled where that can be done."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import Token
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, StatusCode

from otel_ml import conventions, health
from otel_ml.clean_attributes import CleanAttributes, clean
from otel_ml.current_span import SPAN_KEY, detach, get_context, make_current
from otel_ml.exceptions import Failure, describe, error_type, first_time, is_cancellation
from otel_ml.instruments import instruments
from otel_ml.primitives import derived, nanoseconds, ticks, wall_ns
from otel_ml.series import Series

INTERNAL: Final = SpanKind.INTERNAL
_OK: Final = conventions.OK
_FAILED: Final = conventions.FAILED
_ERROR: Final = StatusCode.ERROR
_LOG_LEVEL: Final = logging.ERROR
_ERROR_TYPE: Final = conventions.ERROR_TYPE
_EVENT_KEYS: Final = (
    conventions.EXCEPTION_TYPE,
    conventions.EXCEPTION_MESSAGE,
    conventions.EXCEPTION_STACKTRACE,
)


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

    __slots__ = ("attributes", "code", "histogram", "logger", "metric_attributes", "series", "span_name")

    def __init__(  # noqa: PLR0917  made in two places
        self,
        span_name: str,
        logger: logging.Logger,
        histogram: Callable[[], Any],
        attributes: Mapping[str, Any],
        metric_attributes: dict[str, Any],
        code: tuple[str, int, str] = ("", 0, ""),
    ) -> None:
        self.span_name = span_name
        self.logger = logger
        self.histogram = histogram
        self.attributes = clean(attributes)
        self.metric_attributes = metric_attributes
        self.code = code
        self.series = Series(histogram, metric_attributes)

    def __reduce__(self) -> tuple[Any, ...]:  # cells stay in their process
        return Spec, (
            self.span_name, self.logger, self.histogram, dict(self.attributes), self.metric_attributes, self.code
        )  # fmt: skip

    def start(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Operation:
        """Begin one call; what it was called with is of no interest to a step."""
        operation = Operation.__new__(Operation)
        operation.begin(self, self.attributes, self.series)
        return operation


class Operation:
    """One call under way: its span is current until `stop` or `fail`. No method raises an exception of its own."""

    __slots__ = (
        "_attributes", "_context", "_ended_ns", "_error_type", "_failure", "_items", "_series", "_spec", "_started",
        "_started_ns", "_status", "_token", "span",
    )  # fmt: skip

    span: Span
    _attributes: Mapping[str, Any]
    _context: Context | None
    _items: int
    _series: Series
    _spec: Spec
    _status: str
    _error_type: str | None
    _failure: Failure | None
    _started: float
    _started_ns: int
    _ended_ns: int | None
    _token: Token[Context] | None

    def begin(self, spec: Spec, attributes: Mapping[str, Any], series: Series) -> None:
        """Start the span and make it current.

        Args:
            spec: What was known at decoration.
            attributes: Of the span.
            series: Where the duration is counted.
        """
        self._spec = spec
        self._attributes = attributes
        self._series = series
        self._token = self._context = self._ended_ns = self._error_type = self._failure = None
        self._started_ns = 0
        self._status = _OK
        self._items = 0
        self.span = INVALID_SPAN
        try:
            context = get_context()
            starter = instruments.starter
            started_ns = self._started_ns = wall_ns()
            if starter is None:
                span = instruments.tracer.start_span(
                    spec.span_name, context, INTERNAL, attributes, start_time=started_ns
                )
            else:
                span = starter.start(spec.span_name, context, INTERNAL, attributes, None, started_ns, True, True)
            self.span = span
            self._token = make_current(derived(context, SPAN_KEY, span))
        except Exception as error:
            health.internal_error("start of a span", error)
        self._started = ticks()

    def stop(self, result: object) -> None:
        """End a call that returned."""
        self._observe(self._series, ticks() - self._started)
        self._end_span()

    def fail(self, error: BaseException) -> None:
        """End a call that raised: status, `error.type`, and once per exception an event and an ERROR log."""
        if is_cancellation(error):
            self._end_early(conventions.CANCELLED)
        elif (
            issubclass(type(error), SystemExit)  # asks the exception nothing, unlike `isinstance`
            and isinstance(error, SystemExit)
            and (error.code is None or (type(error.code) is int and error.code == 0))
        ):
            Operation.stop(self, None)
        else:
            seconds = ticks() - self._started
            self._status = _FAILED
            self._error_type = error_type(error)
            self._record(error)
            self._observe(self._series.failed_with(self._error_type), seconds)
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
                self._token = make_current(self._context)
        except Exception as error:
            health.internal_error("resumption of a generator", error)

    def _observe(self, series: Series, seconds: float) -> None:
        """Count the duration; the span takes the same, so its end is reckoned from its start: the clock may be set."""
        if self._started_ns:
            self._ended_ns = self._started_ns + nanoseconds(seconds)
        try:  # while the span is current: other histograms than ours take their exemplar from there
            if series.bound_to is not instruments.bound:
                series.bind()
            observer = series.observer
            if observer is not None and (series.proxy is None or series.proxy._real_instrument is not None):
                observer.observe(seconds, self.span, self._ended_ns)
        except Exception as error:
            health.internal_error("recording of a duration", error)

    def _record(self, error: BaseException) -> None:
        if not instruments.enabled:
            return
        spec = self._spec
        try:
            self._failure = record_failure(
                self.span, error, spec.logger, spec.span_name, self.failure_extra(), code=spec.code
            )
        except Exception as own:
            health.internal_error("recording of an exception", own)

    def _end_early(self, status: str) -> None:
        self._status = status
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
            span.end(self._ended_ns)
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
) -> Failure | None:
    """Put an exception on a span, and log it unless that was done before.

    Args:
        span: The span of the failed operation, which should be current.
        error: The exception; it is marked, so that the operations around this one only take status and type.
        logger: Where the ERROR record goes.
        subject: Name of what failed, for the message.
        extra: Further fields of the record, already masked.
        code: File, line and function name that the record points at.

    Returns:
        What was said of it; None when that was done before.
    """
    kind = error_type(error)
    span.set_attribute(_ERROR_TYPE, kind)
    if not first_time(error):
        span.set_status(_ERROR, kind)
        return None
    failure = describe(error)
    _, message, stacktrace = failure
    _put_on_span(span, kind, message, stacktrace)
    if logger.isEnabledFor(_LOG_LEVEL):
        file, line, function = code
        record = logger.makeRecord(
            logger.name, _LOG_LEVEL, file, line, "%s failed: %s: %s", (subject, kind, message),
            (type(error), error, error.__traceback__), function, {_ERROR_TYPE: kind, **extra},
        )  # fmt: skip
        record.exc_text = stacktrace.rstrip("\n")  # formatters print this masked text instead of their own
        logger.handle(record)
    return failure


def _put_on_span(span: Any, kind: str, message: str, stacktrace: str) -> None:
    of_type, of_message, of_stacktrace = _EVENT_KEYS
    values = {of_type: kind, of_message: message, of_stacktrace: stacktrace}
    description = f"{kind}: {message}"
    starter = instruments.starter
    if starter is not None and type(span) is starter.span_class:
        span.put_failure(description, values)
    else:
        span.set_status(_ERROR, description)
        span.add_event("exception", CleanAttributes(values))
