"""From inference calls to the writer: what is done on the caller's thread. It is compiled where that can be done."""

from __future__ import annotations

import json
from collections.abc import Callable
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
from otel_ml.instruments import instruments
from otel_ml.predictions import CallRecorder, Prediction, PredictionSpec
from otel_ml.primitives import item, wall_ns
from otel_ml.tracing.random_ids import uuid7
from otel_ml.tracing.span_state import SpanState

_ENVELOPE: Final = 512  # bytes that a record takes beside its features and its prediction, roughly
_OK: Final = conventions.OK
_OF_REDACTION: Final = vars(redaction)
_SYNC_TIMEOUT: Final = 5.0

Last = tuple[Model | None, str | None, object, bytes, Callable[[int], object]]
"""Model, run and instruments of a call, the middle of its line, and what counts it."""


class Recorder(CallRecorder):
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

    def begin(self, call: Prediction) -> None:
        """Give a call its record id, and keep its features as they are now: JSON, masked and bounded, or a batch."""
        call._record_id = uuid7(wall_ns())
        features = call._features
        simple = self._simple(features, call._call_spec)
        if simple is not None:
            call._captured = simple
            return
        batch = Batch.of(features, None, self._max_rows)
        call._captured = _json(capture.features(features)) if batch is None else batch

    def put(self, call: Prediction, run_id: str | None) -> None:
        """Put a call that has ended on record."""
        span: Any = call.span
        if isinstance(span, SpanState):
            state = span
            trace_id, span_id, flags = state._trace_id, state._span_id, +state._trace_flags  # as a plain number
        else:
            context = span.get_span_context()
            trace_id, span_id, flags = context.trace_id, context.span_id, int(context.trace_flags)
        started_ns, ended_ns = call._started_ns, (0 if call._ended_ns is None else call._ended_ns)
        model, features = call._variant.model, call._captured
        if call._status == _OK and call._error_type is None and call._subject is None and type(features) is not Batch:
            predicted = None if call._prediction is None else self._as_json(call._prediction)
            last = self._last
            same_run = last[1] is run_id or last[1] == run_id
            if last[0] is not model or not same_run or last[2] is not instruments.bound:
                last = self._learn(model, run_id)
            body = quick_line(
                call._record_id, started_ns, ended_ns - started_ns, trace_id, span_id, flags, last[3], features,
                predicted, self._mask,
            )  # fmt: skip
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
        self._put(call, run_id, started_ns, (ended_ns - started_ns) / 1e9, trace_id, span_id, flags)

    def _put(  # noqa: PLR0917
        self, call: Prediction, run_id: str | None, started_ns: int, seconds: float, trace_id: int, span_id: int,
        flags: int,
    ) -> None:  # fmt: skip
        """Hand over a call that the writer's thread makes a line of, or one for each of its rows."""
        model, status, failure, features = call._variant.model, call._status, call._failure, call._captured
        predicted: Any = None
        number = 1
        if type(features) is Batch:
            if status == _OK:
                features.predicted(call._prediction)
            size = features.size
            number = 1 if features.is_summary else features.length
        else:
            predicted = None if call._prediction is None else self._as_json(call._prediction)
            size = (0 if features is None else len(features)) + (0 if predicted is None else len(predicted))
        exception = None
        if failure is not None:
            exception = (failure.message, failure.stacktrace)
            size += len(failure.message) + len(failure.stacktrace)
        subject = None if call._subject is None else self._pseudonym(call._subject)
        ticket = self._writer.put(
            (
                call._record_id, started_ns, seconds, trace_id, span_id, flags, run_id, model, status,
                call._error_type, exception, features, predicted, subject, size + _ENVELOPE,
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
        simple = self._simple(value, None)
        return _json(capture.features(value)) if simple is None else simple

    def _simple(self, value: object, spec: PredictionSpec | None) -> bytes | None:
        """Return a value as JSON when it is a number, a flat dict of numbers or harmless texts: nothing to mask.

        Args:
            value: Features or a prediction.
            spec: Whose features they are, most often with the same names.
        """
        kind = type(value)
        if kind is float:
            return dumps(value) if is_short(value) else None  # type: ignore[arg-type]
        if kind is dict:
            redactor = item(_OF_REDACTION, "_current")  # `redaction.current()`, without the call
            names = self._names
            if names[0] is not redactor:
                self._names = names = (redactor, redactor.plain_names)
            known = None if spec is None else spec.names
            if known is None or known[0] is not redactor:
                simple = are_simple(value, redactor, names[1], None)  # type: ignore[arg-type]
                if simple and spec is not None:
                    _learn_names(spec, names, value)
            else:
                simple = are_simple(value, redactor, names[1], known[1])  # type: ignore[arg-type]
            return dumps(value) if simple else None
        if kind is bool:
            return b"true" if value else b"false"
        if kind is int and -MAY_BE_CARD < value < MAY_BE_CARD:  # type: ignore[operator]
            return dumps(value)
        return None


def _learn_names(spec: PredictionSpec, judged: tuple[Any, ...], features: Any) -> None:
    """Keep names that need no masking, as the objects that they are: those of the next call are most often the same."""
    names = tuple(features)  # judged as they are here: another thread may have written to the features
    if all(type(name) is str for name in names) and judged[1].issuperset(names):
        spec.names = (judged[0], names)


def _count_none(number: int) -> None:
    """Count nothing: there was no call yet."""


def _json(value: object) -> bytes:
    try:
        return dumps(value)
    except TypeError:  # half a surrogate pair, or a number beyond 64 bits
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
