"""From inference calls to the writer: what is done on the caller's thread. It is compiled where that can be done."""

from __future__ import annotations

import json
from collections.abc import Callable
from time import time_ns
from typing import Any, Final

import orjson

from otel_ml import capture, conventions, health, redaction
from otel_ml.audit.record import Model
from otel_ml.audit.rows import Batch
from otel_ml.audit.writer import AuditWriter
from otel_ml.exceptions import Failure
from otel_ml.redaction import current as current_redactor
from otel_ml.tracing.random_ids import uuid7
from otel_ml.tracing.span_state import SpanState

_MAY_BE_CARD: Final = 10**14
_ENVELOPE: Final = 512  # bytes that a record takes beside its features and its prediction, roughly
_SYNC_TIMEOUT: Final = 5.0
_MOST_KEYS: Final = 256  # what `capture.features` keeps of a dict and of a text
_LONGEST: Final = 4096


class Recorder:
    """Puts calls on record.

    Args:
        writer: Takes them.
        max_rows: Rows of a call above which one record stands for all of them.
        waits: Whether a call waits until its record is on the disk.
        pseudonym: Returns what stands for a subject.
        count: Called with model, status and number of records.
    """

    __slots__ = ("_count", "_max_rows", "_pseudonym", "_waits", "_writer")

    def __init__(
        self, writer: AuditWriter, max_rows: int, *, waits: bool, pseudonym: Callable[[object], str | None],
        count: Callable[[Model, str, int], object],
    ) -> None:  # fmt: skip
        self._writer = writer
        self._max_rows = max_rows
        self._waits = waits
        self._pseudonym = pseudonym
        self._count = count

    def model(self, name: str, version: str | None, feature_version: str | None) -> Model:
        """Return a model, for all of its calls."""
        return Model(name, version, feature_version)

    def record_id(self) -> str:
        """Return a new UUIDv7 (RFC 9562) as text."""
        return uuid7(time_ns() // 1_000_000)

    def captured(self, features: object) -> Any:
        """Return the features of a call as they are now: JSON, masked and bounded, or a copy of a batch."""
        simple = _simple(features)
        if simple is not None:
            return simple
        batch = Batch.of(features, None, self._max_rows)
        return _json(capture.features(features)) if batch is None else batch

    def put(  # noqa: PLR0917  on the way of each call, all of them always given
        self,
        record_id: str,
        started_ns: int,
        seconds: float,
        span: Any,
        run_id: str | None,
        model: Model,
        status: str,
        error_type: str | None,
        failure: Failure | None,
        features: Any,
        prediction: object,
        subject: object,
    ) -> None:
        """Put a call on record.

        Args:
            record_id: Of the call.
            started_ns: When it began, nanoseconds since the epoch.
            seconds: How long it took.
            span: Its span.
            run_id: Of the run that it belongs to.
            model: Whose call it is.
            status: How it ended.
            error_type: Class of the exception that it raised.
            failure: That exception, masked.
            features: What `captured` returned.
            prediction: What it returned.
            subject: Whom it is about; only a pseudonym is kept. None: nobody.
        """
        if isinstance(span, SpanState):
            state = span
            trace_id, span_id, flags = state._trace_id, state._span_id, int(state._trace_flags)
        else:
            context = span.get_span_context()
            trace_id, span_id, flags = context.trace_id, context.span_id, int(context.trace_flags)
        predicted: Any = None
        number = 1
        if type(features) is Batch:
            if status == conventions.OK:
                features.predicted(prediction)
            size = features.size
            number = 1 if features.is_summary else features.length
        else:
            if prediction is not None:
                predicted = _simple(prediction)
                if predicted is None:
                    predicted = _json(capture.features(prediction))
            size = (0 if features is None else len(features)) + (0 if predicted is None else len(predicted))
        exception = None
        if failure is not None:
            exception = (failure.message, failure.stacktrace)
            size += len(failure.message) + len(failure.stacktrace)
        ticket = self._writer.put(
            (
                record_id, started_ns, seconds, trace_id, span_id, flags, run_id, model, status, error_type, exception,
                features, predicted, None if subject is None else self._pseudonym(subject), size + _ENVELOPE,
            )
        )  # fmt: skip
        if ticket:
            self._count(model, status, number)
            if self._waits and not self._writer.wait(ticket, _SYNC_TIMEOUT):
                health.count_dropped("audit", "not_confirmed")
                health.warn_once("audit:sync", "audit: a record was not on the disk within %g s", _SYNC_TIMEOUT)


def _simple(value: object) -> bytes | None:
    """Return a value as JSON when it is a number, a flat dict of numbers or harmless texts, and needs no masking."""
    kind = type(value)
    if kind is float:
        return orjson.dumps(value) if value - value == 0.0 and value < _MAY_BE_CARD else None  # type: ignore[operator]
    if kind is dict:
        return orjson.dumps(value) if len(value) <= _MOST_KEYS and _is_simple(current_redactor(), value) else None  # type: ignore[arg-type]
    if kind is bool:
        return b"true" if value else b"false"
    if kind is int and -_MAY_BE_CARD < value < _MAY_BE_CARD:  # type: ignore[operator]
        return orjson.dumps(value)
    return None


def _is_simple(redactor: redaction.Redactor, features: dict[Any, Any]) -> bool:
    """Whether all names are known to need no masking, and all values are numbers that JSON has or harmless texts."""
    names = redactor.plain_names
    if names is None or not names.issuperset(features):
        return False
    for value in features.values():
        kind = type(value)
        if kind is float:
            if value - value != 0.0 or value >= _MAY_BE_CARD:  # NaN and infinities have no JSON
                return False
        elif kind is int:
            if not -_MAY_BE_CARD < value < _MAY_BE_CARD:
                return False
        elif kind is str:
            if len(value) > _LONGEST or not redactor.is_harmless(value):
                return False
        elif kind is not bool and value is not None:
            return False
    return True


def _json(value: object) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # half a surrogate pair, or a number beyond 64 bits
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
