"""From inference calls to the writer: what is done on the caller's thread. It is compiled where that can be done."""

from __future__ import annotations

import json
from collections.abc import Callable
from time import time_ns
from typing import Any, Final

from orjson import dumps

from otel_ml import capture, conventions, health, redaction
from otel_ml.audit.queue import Lane
from otel_ml.audit.quick_line import quick_line
from otel_ml.audit.record import Encoder, Model
from otel_ml.audit.record_counts import Counts
from otel_ml.audit.rows import Batch
from otel_ml.audit.simple_features import MAY_BE_CARD, are_simple, is_short
from otel_ml.audit.writer import AuditWriter
from otel_ml.exceptions import Failure
from otel_ml.instruments import instruments
from otel_ml.redaction import current as current_redactor
from otel_ml.tracing.random_ids import uuid7
from otel_ml.tracing.span_state import SpanState

_ENVELOPE: Final = 512  # bytes that a record takes beside its features and its prediction, roughly
_OK: Final = conventions.OK
_SYNC_TIMEOUT: Final = 5.0

Last = tuple[Model | None, str | None, object, bytes, Callable[[int], object]]
"""Model, run and instruments of a call, the middle of its line, and what counts it."""


class Recorder:
    """Puts calls on record.

    Args:
        writer: Takes them.
        encoder: Makes their lines, but for those that are made here.
        max_rows: Rows of a call above which one record stands for all of them.
        waits: Whether a call waits until its record is on the disk.
        pseudonym: Returns what stands for a subject.
        counts: Counts them.
    """

    __slots__ = (
        "_counts", "_encoder", "_last", "_mask", "_max_rows", "_names", "_pseudonym", "_waits", "_writer"
    )  # fmt: skip

    def __init__(
        self, writer: AuditWriter, encoder: Encoder, max_rows: int, *, waits: bool,
        pseudonym: Callable[[object], str | None], counts: Counts,
    ) -> None:  # fmt: skip
        self._writer = writer
        self._encoder = encoder
        self._mask = encoder.mask
        self._max_rows = max_rows
        self._waits = waits
        self._pseudonym = pseudonym
        self._counts = counts
        # What was found for the call before, each replaced as a whole: threads may be at different calls.
        self._last: Last = (None, None, None, b"", _count_none)
        self._names: tuple[redaction.Redactor | None, set[str] | None] = (None, None)

    def model(self, name: str, version: str | None, feature_version: str | None) -> Model:
        """Return a model, for all of its calls."""
        return Model(name, version, feature_version)

    def record_id(self) -> str:
        """Return a new UUIDv7 (RFC 9562) as text."""
        return uuid7(time_ns())

    def captured(self, features: object) -> Any:
        """Return the features of a call as they are now: JSON, masked and bounded, or a copy of a batch."""
        simple = self._simple(features)
        if simple is not None:
            return simple
        batch = Batch.of(features, None, self._max_rows)
        return _json(capture.features(features)) if batch is None else batch

    def put(  # noqa: PLR0917  on the way of each call, all of them always given
        self,
        record_id: str,
        started_ns: int,
        duration_ns: int,
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
            duration_ns: How long it took.
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
        if status == _OK and error_type is None and subject is None and type(features) is not Batch:
            predicted = None if prediction is None else self._as_json(prediction)
            last = self._last
            if last[0] is not model or last[1] != run_id or last[2] is not instruments.bound:
                last = self._learn(model, run_id)
            body = quick_line(
                record_id, started_ns, duration_ns, trace_id, span_id, flags, last[3], features, predicted, self._mask
            )
            if body is not None:
                lane: Lane = self._writer.records
                if lane.put_quietly(body):
                    last[4](1)
                    return
                ticket = self._writer.put_line(body)
                if ticket:
                    last[4](1)
                    if self._waits:
                        self._wait(ticket)
                return
        self._put(
            record_id, started_ns, duration_ns, trace_id, span_id, flags, run_id, model, status, error_type, failure,
            features, prediction, subject,
        )  # fmt: skip

    def _put(  # noqa: PLR0917
        self, record_id: str, started_ns: int, duration_ns: int, trace_id: int, span_id: int, flags: int,
        run_id: str | None, model: Model, status: str, error_type: str | None, failure: Failure | None, features: Any,
        prediction: object, subject: object,
    ) -> None:  # fmt: skip
        """Hand over a call that the writer's thread makes a line of, or one for each of its rows."""
        predicted: Any = None
        number = 1
        if type(features) is Batch:
            if status == _OK:
                features.predicted(prediction)
            size = features.size
            number = 1 if features.is_summary else features.length
        else:
            predicted = None if prediction is None else self._as_json(prediction)
            size = (0 if features is None else len(features)) + (0 if predicted is None else len(predicted))
        exception = None
        if failure is not None:
            exception = (failure.message, failure.stacktrace)
            size += len(failure.message) + len(failure.stacktrace)
        ticket = self._writer.put(
            (
                record_id, started_ns, duration_ns / 1e9, trace_id, span_id, flags, run_id, model, status, error_type,
                exception, features, predicted, None if subject is None else self._pseudonym(subject), size + _ENVELOPE,
            )
        )  # fmt: skip
        if ticket:
            self._counts.add(model, status, number)
            if self._waits:
                self._wait(ticket)

    def _wait(self, ticket: int) -> None:
        if not self._writer.wait(ticket, _SYNC_TIMEOUT):
            health.count_dropped("audit", "not_confirmed")
            health.warn_once("audit:sync", "audit: a record was not on the disk within %g s", _SYNC_TIMEOUT)

    def _learn(self, model: Model, run_id: str | None) -> Last:
        """Keep what the next call of this model and run will need, too."""
        bound = instruments.bound
        self._last = last = (
            model, run_id, bound, self._encoder.middle(run_id, model), self._counts.of(model, conventions.OK)
        )  # fmt: skip
        return last

    def _as_json(self, value: object) -> bytes:
        simple = self._simple(value)
        return _json(capture.features(value)) if simple is None else simple

    def _simple(self, value: object) -> bytes | None:
        """Return a value as JSON when it is a number, a flat dict of numbers or harmless texts: nothing to mask."""
        kind = type(value)
        if kind is float:
            return dumps(value) if is_short(value) else None  # type: ignore[arg-type]
        if kind is dict:
            redactor = current_redactor()
            names = self._names
            if names[0] is not redactor:
                self._names = names = (redactor, redactor.plain_names)
            return dumps(value) if are_simple(value, redactor, names[1]) else None  # type: ignore[arg-type]
        if kind is bool:
            return b"true" if value else b"false"
        if kind is int and -MAY_BE_CARD < value < MAY_BE_CARD:  # type: ignore[operator]
            return dumps(value)
        return None


def _count_none(number: int) -> None:
    """Count nothing: there was no call yet."""


def _json(value: object) -> bytes:
    try:
        return dumps(value)
    except TypeError:  # half a surrogate pair, or a number beyond 64 bits
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
