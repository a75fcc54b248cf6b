"""Histogram cells: recording a duration costs a few hundred nanoseconds, and takes no lock."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from time import time_ns
from typing import Any, Final, NamedTuple

from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Span, SpanContext, TraceFlags

from otel_ml import conventions, health
from otel_ml.errors import shorten
from otel_ml.metrics.attributes import clean, identity

_INFINITY: Final = float("inf")
_SAMPLED: Final = TraceFlags.SAMPLED

RawExemplar = tuple[float, SpanContext, int]
"""Value, context of the span, and time in nanoseconds since the epoch; only readers format it."""


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


class HistogramCell:
    """One series of a histogram.

    No lock: with a GIL, CPython changes threads at calls and backward jumps only, and the statements that update a
    cell, and the expression that reads it, have none in between. So no value is lost, a reader never sees half of
    one, and neither a signal handler nor a fork can meet a lock that is held.

    Args:
        attributes: Of the series, cleaned.
        bounds: Upper bounds of the buckets, which include them, in rising order.
        exemplars: Whether exemplars are kept.
    """

    __slots__ = ("_bounds", "_counts", "_exemplars", "_keep", "_max", "_min", "_start_ns", "_sum", "attributes")

    _counts: list[int]
    _exemplars: list[RawExemplar | None]
    _max: float
    _min: float
    _start_ns: int
    _sum: float

    def __init__(self, attributes: Mapping[str, Any], bounds: tuple[float, ...], *, exemplars: bool = True) -> None:
        self.attributes = attributes
        self._bounds = bounds
        self._keep = exemplars
        self.reset()

    def observe(self, value: float, span: Span | None) -> None:
        """Count one value; what is negative or no finite number is dropped, and that is counted.

        Args:
            value: The value.
            span: Where it was measured; an exemplar is kept when it is sampled.
        """
        if not 0.0 <= value < _INFINITY:
            _reject(value)
            return
        index = bisect_left(self._bounds, value)
        self._counts[index] += 1
        self._sum += value
        if value < self._min:  # noqa: PLR1730  min() is a call: threads may change there
            self._min = value
        if value > self._max:  # noqa: PLR1730
            self._max = value
        if span is not None and self._keep:
            context = span.get_span_context()
            if context.trace_flags & _SAMPLED:
                self._exemplars[index] = (value, context, time_ns())

    def snapshot(self) -> Snapshot:
        """Return what the cell holds now, all of it from the same moment."""
        state: list[Any] = [self._start_ns, self._sum, self._min, self._max, *self._counts, *self._exemplars]
        middle = 4 + len(self._bounds) + 1
        start_ns, total, least, most = state[:4]
        return Snapshot(start_ns, tuple(state[4:middle]), total, least, most, tuple(state[middle:]))

    def reset(self) -> None:
        """Begin anew, as a forked child and a new `configure` do."""
        buckets = len(self._bounds) + 1
        self._start_ns = time_ns()
        self._exemplars = [None] * buckets
        self._min = _INFINITY
        self._max = -_INFINITY
        self._sum = 0.0
        self._counts = [0] * buckets


class LockedHistogramCell(HistogramCell):
    """A cell for interpreters without a GIL."""

    __slots__ = ("_lock",)

    def observe(self, value: float, span: Span | None) -> None:
        """Count one value."""
        with self._lock:
            super().observe(value, span)

    def snapshot(self) -> Snapshot:
        """Return what the cell holds now, all of it from the same moment."""
        with self._lock:
            return super().snapshot()

    def reset(self) -> None:
        """Begin anew; with a new lock, for a fork may have left the old one held."""
        self._lock = threading.RLock()  # re-entrant: a signal handler may record too
        super().reset()


Cell: type[HistogramCell] = HistogramCell if getattr(sys, "_is_gil_enabled", lambda: True)() else LockedHistogramCell


class CellHistogram(metrics.Histogram):
    """A histogram that keeps a cell for each attribute set, and one more for those above the bound.

    Args:
        name: Name of the instrument.
        unit: Its unit.
        description: What it measures.
        bounds: Upper bounds of the buckets, finite and in rising order.
        scope: Who measures.
        max_series: Attribute sets that get a cell of their own. Threads that meet at the bound may pass it by their
            number.
        exemplars: Whether exemplars are kept.
    """

    def __init__(
        self,
        name: str,
        unit: str,
        description: str,
        bounds: Sequence[float],
        *,
        scope: InstrumentationScope,
        max_series: int,
        exemplars: bool = True,
    ) -> None:
        self.name = name
        self.unit = unit
        self.description = description
        self.bounds = tuple(float(bound) for bound in bounds)
        self.scope = scope
        self.max_series = max_series
        self._exemplars = exemplars
        self._cells: dict[tuple[tuple[str, str], ...], HistogramCell] = {}
        self._known: dict[tuple[tuple[str, Any], ...], HistogramCell] = {}  # the same cells, quicker to find
        self._overflow = Cell({conventions.OVERFLOW: True}, self.bounds, exemplars=exemplars)
        if hasattr(os, "register_at_fork"):
            weak_reset = weakref.WeakMethod(self.reset)
            os.register_at_fork(after_in_child=lambda: (reset := weak_reset()) and reset())

    def record(
        self, amount: float, attributes: Mapping[str, Any] | None = None, context: Context | None = None
    ) -> None:
        """Count one value; never raises.

        Args:
            amount: The value; what is negative or no finite number is dropped, and that is counted.
            attributes: Of the series. What cannot be an attribute is left out with a warning.
            context: Where the span for the exemplar is; None: the current context.
        """
        try:
            value = amount if type(amount) is float else _number(amount)
            self.bind(attributes).observe(value, trace.get_current_span(context))
        except Exception as error:  # a span or an attribute of a foreign class may do anything
            health.internal_error("recording of a measurement", error)

    def bind(self, attributes: Mapping[str, Any] | None) -> HistogramCell:
        """Return the cell of an attribute set, always the same one; keep it to spare the search."""
        try:
            cell = self._known.get(tuple(attributes.items()) if attributes else ())
        except Exception:  # cannot be hashed, or is no mapping: `clean` finds out, and says so
            cell = None
        return cell if cell is not None else self._find(attributes)

    def _find(self, attributes: Mapping[str, Any] | None) -> HistogramCell:
        cleaned = clean(attributes)
        key = identity(cleaned)
        cell = self._cells.get(key)
        if cell is None:
            if len(self._cells) >= self.max_series:
                return self._overflown()
            cell = self._cells.setdefault(key, Cell(cleaned, self.bounds, exemplars=self._exemplars))
        # Text only: True, 1 and 1.0 are equal to a dictionary, but different series.
        is_text = all(type(value) is str for value in cleaned.values())
        if is_text and cleaned == (attributes or {}) and len(self._known) < 2 * self.max_series:
            self._known[tuple((attributes or {}).items())] = cell
        return cell

    def _overflown(self) -> HistogramCell:
        health.warn_once(
            f"metrics:overflow:{self.name}",
            "%s has more than %d attribute sets; further ones are counted together, as %s. "
            "Is something in them that differs with each call?",
            self.name,
            self.max_series,
            conventions.OVERFLOW,
        )
        return self._overflow

    def cells(self) -> list[HistogramCell]:
        """Return all cells, those without values too."""
        return [*list(self._cells.values()), self._overflow]

    def reset(self) -> None:
        """Have every cell begin anew; cells that were bound stay valid."""
        for cell in self.cells():
            cell.reset()


def _number(amount: object) -> float:
    try:
        return float(amount)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return float("nan")


def _reject(value: float) -> None:
    health.count_dropped("metrics", "invalid_value")
    health.warn_once(
        "metrics:invalid_value",
        "a histogram was given %s, expected a finite number of 0 or more; "
        "it is dropped (further ones are only counted)",
        shorten(value),
    )
