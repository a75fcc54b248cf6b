"""Histogram cells: recording a duration costs a quarter of a microsecond, and takes no lock."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from time import time_ns
from typing import Any, Final, NamedTuple

from opentelemetry.trace import Span, TraceFlags

from otel_ml.metrics.exemplars import EXEMPLAR_WORDS, RawExemplar, write_exemplar
from otel_ml.metrics.series import moving, reject
from otel_ml.primitives import bucket
from otel_ml.series import Observer
from otel_ml.tracing.span_state import SpanState

_INFINITY: Final = float("inf")
_SAMPLED: Final = int(TraceFlags.SAMPLED)
_EMPTY: Final[Any] = ()
"""What has no memory yet. An index into it is an IndexError, so looking for it costs the other values nothing."""


Place = Callable[[Mapping[str, Any], int], memoryview | None]
"""Returns memory of so many words for a cell of these attributes, or None: then the cell has its own."""


def nowhere(attributes: Mapping[str, Any], words: int) -> None:
    """Have a cell keep its numbers itself."""


class Snapshot(NamedTuple):
    """What a cell held at one moment.

    Args:
        start_ns: When it began to count, nanoseconds since the epoch.
        bucket_counts: Values in each bucket, not cumulated; the last bucket has no upper bound.
        sum: Of all values.
        min: Smallest value; None when it is not known.
        max: Largest value; None when it is not known.
        exemplars: The last exemplar of each bucket.
    """

    start_ns: int
    bucket_counts: tuple[int, ...]
    sum: float
    min: float | None
    max: float | None
    exemplars: tuple[RawExemplar | None, ...]

    @property
    def number(self) -> int:
        """Number of values."""
        return sum(self.bucket_counts)


class HistogramCell(Observer):
    """One series of a histogram.

    No lock: with a GIL, CPython changes threads at calls and backward jumps only, and the statements that update a
    cell, and the expression that reads it, have none in between. So no value is lost, a reader never sees half of
    one, and neither a signal handler nor a fork can meet a lock that is held.

    In memory that other processes read, each number is one aligned word, so none of them is ever seen half written;
    a sum may be seen one value before its count.

    Args:
        attributes: Of the series, cleaned.
        bounds: Upper bounds of the buckets, which include them, in rising order.
        exemplars: Whether exemplars are kept.
        place: Gives memory at the first value.
    """

    __slots__ = (
        "_base", "_bounds", "_counts", "_exemplars", "_keep", "_max", "_min", "_place", "_start_ns", "_sums", "_words",
        "attributes",
    )  # fmt: skip

    _base: tuple[Sequence[int], float] | None
    """What was in the memory when this process got it: counts of one that died."""
    _counts: Any  # list[int], or a memoryview of 'q'
    _exemplars: list[RawExemplar | None]
    _max: float
    _min: float
    _start_ns: int
    _sums: Any  # list[float] of one, or a memoryview of 'd' over the whole record, whose first word is the sum
    _words: Any  # None, or a memoryview of 'Q' over the whole record

    def __init__(
        self,
        attributes: Mapping[str, Any],
        bounds: tuple[float, ...],
        *,
        exemplars: bool = True,
        place: Place = nowhere,
    ) -> None:
        self.attributes = attributes
        self._bounds = bounds
        self._keep = exemplars
        self._place = place
        self.begin_in_child()

    def observe(self, value: float, span: Span | None, now: int | None = None) -> None:  # noqa: PLR0912  a call costs 50 ns
        """Count one value; what is negative or no finite number is dropped, and that is counted.

        Args:
            value: The value.
            span: Where it was measured; an exemplar is kept when it is sampled.
            now: When, in nanoseconds since the epoch; None: it is looked up.
        """
        if not 0.0 <= value < _INFINITY:
            reject("histogram", value)
            return
        index = bucket(self._bounds, value)
        while True:
            try:
                self._counts[index] += 1
            except IndexError:  # the first value
                self._begin()
            else:
                break
        self._sums[0] += value
        if value < self._min:  # noqa: PLR1730  min() is a call: threads may change there
            self._min = value
        if value > self._max:  # noqa: PLR1730
            self._max = value
        if span is None or not self._keep:
            return
        if isinstance(span, SpanState):  # half a microsecond less than by its context, which it would have to make
            state = span
            if not state._sampled:
                return
            trace_id, span_id = state._trace_id, state._span_id
        else:
            context = span.get_span_context()
            if not context.trace_flags & _SAMPLED:
                return
            trace_id, span_id = context.trace_id, context.span_id
        if now is None:
            now = time_ns()
        try:
            exemplar = self._exemplars[index] = (value, trace_id, span_id, now)
        except IndexError:  # a reset came in between
            return
        words, sums = self._words, self._sums
        if words is not None:
            write_exemplar(words, sums, 2 + len(self._bounds) + EXEMPLAR_WORDS * index, exemplar)

    def snapshot(self) -> Snapshot:
        """Return what the cell holds now, all of it from the same moment."""
        with moving.lock:
            buckets = len(self._bounds) + 1
            if self._words is None:  # the lists first: they are read where nothing else can run
                state: list[Any] = [*self._counts, *self._sums, self._min, self._max, *self._exemplars]
            else:
                record, state = bytes(self._words), [self._min, self._max, *self._exemplars]
                state = [*memoryview(record).cast("q")[1 : buckets + 1], memoryview(record).cast("d")[0], *state]
            if not self._counts:
                return Snapshot(self._start_ns, (0,) * buckets, 0.0, _INFINITY, -_INFINITY, (None,) * buckets)
            counts = state[:buckets]
            total, least, most = state[buckets], state[buckets + 1], state[buckets + 2]
            if self._base is not None:
                counts = [now - before for now, before in zip(counts, self._base[0], strict=True)]
                total -= self._base[1]
            return Snapshot(self._start_ns, tuple(counts), total, least, most, tuple(state[buckets + 3 :]))

    @property
    def is_private(self) -> bool:
        """Whether nobody but this process can see its numbers."""
        return self._words is None

    def _begin(self) -> None:
        """Take memory for the numbers."""
        with moving.lock:
            if self._counts:
                return
            buckets = len(self._bounds) + 1
            self._exemplars = [None] * buckets
            memory = self._place(self.attributes, 1 + buckets + EXEMPLAR_WORDS * buckets)
            if memory is None:
                self._sums, self._counts = [0.0], [0] * buckets
            else:
                self._share(memory)

    def move(self) -> None:
        """Take the numbers along to the memory that `place` gives now."""
        with moving.lock:
            counts, sums = self._counts, self._sums
            if not counts or not self.is_private:
                return
            memory = self._place(self.attributes, 1 + len(counts) + EXEMPLAR_WORDS * len(counts))
            if memory is None:
                return
            self._share(memory)
            for index, number in enumerate(counts):  # nobody changes the old lists any more
                self._counts[index] += number
                if (exemplar := self._exemplars[index]) is not None:
                    write_exemplar(self._words, self._sums, 1 + len(counts) + EXEMPLAR_WORDS * index, exemplar)
            self._sums[0] += sums[0]

    def _share(self, memory: memoryview) -> None:
        counts = memory.cast("q")[1 : len(self._bounds) + 2]
        sums, words = memory.cast("d"), memory.cast("Q")
        base = (counts.tolist(), sums[0])
        # No call in between: a value is counted there or here, and whole.
        self._base, self._words, self._sums, self._counts = base, words, sums, counts

    def reset(self) -> None:
        """Begin anew, as a new `configure` does, in memory that is asked for at the next value."""
        with moving.lock:
            self._clear()

    def begin_in_child(self) -> None:
        """Begin anew after a fork: what the parent counted is the parent's to tell."""
        self._clear()

    def _clear(self) -> None:
        start = time_ns()
        self._start_ns = start
        self._min, self._max = _INFINITY, -_INFINITY
        self._exemplars, self._base, self._words, self._sums, self._counts = _EMPTY, None, None, _EMPTY, _EMPTY


class LockedHistogramCell(HistogramCell):
    """A cell for interpreters without a GIL."""

    __slots__ = ("_lock",)

    def observe(self, value: float, span: Span | None, now: int | None = None) -> None:
        """Count one value."""
        with self._lock:
            super().observe(value, span, now)

    def snapshot(self) -> Snapshot:
        """Return what the cell holds now, all of it from the same moment."""
        with self._lock:
            return super().snapshot()

    def move(self) -> None:
        """Take the numbers along to the memory that `place` gives now."""
        with self._lock:
            super().move()

    def begin_in_child(self) -> None:
        """Begin anew after a fork, with a new lock: another thread may have held the old one."""
        self._lock = threading.RLock()  # re-entrant: a signal handler may record too
        super().begin_in_child()

    def reset(self) -> None:
        """Begin anew."""
        with self._lock:
            super().reset()


has_gil: Final[bool] = getattr(sys, "_is_gil_enabled", lambda: True)()
Cell: type[HistogramCell] = HistogramCell if has_gil else LockedHistogramCell
