"""Counter cells: adding costs a tenth of a microsecond, and takes no lock."""

from __future__ import annotations

import operator
import threading
from collections.abc import Mapping
from time import time_ns
from typing import Any, Final, NamedTuple

from opentelemetry import metrics
from opentelemetry.context import Context

from otel_ml import health
from otel_ml.metrics.histogram_cells import Place, has_gil, nowhere
from otel_ml.metrics.series import Series, moving, reject

_INFINITY: Final = float("inf")
_EMPTY: Final[Any] = ()
COUNTER_WORDS: Final = 2
"""Words of a counter in shared memory: what was added in whole numbers, and in others."""


class CounterSnapshot(NamedTuple):
    """What a cell held at one moment.

    Args:
        start_ns: When it began to count, nanoseconds since the epoch.
        whole: Sum of the whole numbers; None when nothing was added yet.
        other: Sum of all others.
    """

    start_ns: int
    whole: int | None
    other: float


class CounterCell:
    """One series of a counter. It needs no lock, for the reasons that `HistogramCell` names.

    Whole numbers and others are added apart, so that counts stay exact and whole.

    Args:
        attributes: Of the series, cleaned.
        place: Gives memory at the first value.
    """

    __slots__ = ("_base", "_floats", "_ints", "_place", "_shared", "_start_ns", "attributes")

    _base: tuple[int, float]
    """What was in the memory when this process got it: counts of one that died."""
    _floats: Any  # list[float] of one, or a memoryview of 'd'
    _ints: Any  # list[int] of one, or a memoryview of 'q'
    _shared: bool
    _start_ns: int

    def __init__(self, attributes: Mapping[str, Any], *, place: Place = nowhere) -> None:
        self.attributes = attributes
        self._place = place
        self.begin_in_child()

    def add(self, number: float) -> None:
        """Add a number; what is negative or not finite is dropped, and that is counted."""
        if type(number) is not int:
            if type(number) is not float:
                number = plain_number(number)
            if not isinstance(number, int):
                self._add_float(number)
                return
        if number < 0:
            reject("counter", number)
            return
        while True:
            try:
                self._ints[0] += number
            except IndexError:  # the first value
                self._begin()
            except ValueError:  # shared memory has 64 bits
                self._add_float(float(number))
                return
            else:
                return

    def _add_float(self, number: float) -> None:
        if not 0.0 <= number < _INFINITY:
            reject("counter", number)
            return
        while True:
            try:
                self._floats[0] += number
            except IndexError:
                self._begin()
            else:
                return

    def snapshot(self) -> CounterSnapshot:
        """Return what the cell holds now."""
        with moving.lock:
            if not self._ints:
                return CounterSnapshot(self._start_ns, None, 0.0)
            whole, other = self._ints[0] - self._base[0], self._floats[0] - self._base[1]
            return CounterSnapshot(self._start_ns, whole, other)

    @property
    def is_private(self) -> bool:
        """Whether nobody but this process can see its numbers."""
        return not self._shared

    def _begin(self) -> None:
        """Take memory for the numbers."""
        with moving.lock:
            if self._ints:
                return
            memory = self._place(self.attributes, COUNTER_WORDS)
            if memory is None:
                self._floats, self._ints = [0.0], [0]
            else:
                self._share(memory)

    def move(self) -> None:
        """Take the numbers along to the memory that `place` gives now."""
        with moving.lock:
            ints, floats = self._ints, self._floats
            if not ints or not self.is_private:
                return
            memory = self._place(self.attributes, COUNTER_WORDS)
            if memory is not None:
                self._share(memory)
                self.add(ints[0])  # nobody changes the old lists any more
                self._add_float(floats[0])

    def _share(self, memory: memoryview) -> None:
        ints, floats = memory.cast("q")[:1], memory.cast("d")[1:]
        base = (ints[0], floats[0])
        # No call in between: a value is counted there or here.
        self._base, self._shared, self._floats, self._ints = base, True, floats, ints

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
        self._base, self._shared, self._floats, self._ints = (0, 0.0), False, _EMPTY, _EMPTY


class LockedCounterCell(CounterCell):
    """A cell for interpreters without a GIL."""

    __slots__ = ("_lock",)

    def add(self, number: float) -> None:
        """Add a number."""
        with self._lock:
            super().add(number)

    def snapshot(self) -> CounterSnapshot:
        """Return what the cell holds now."""
        with self._lock:
            return super().snapshot()

    def move(self) -> None:
        """Take the numbers along to the memory that `place` gives now."""
        with self._lock:
            super().move()

    def begin_in_child(self) -> None:
        """Begin anew after a fork, with a new lock: another thread may have held the old one."""
        self._lock = threading.RLock()  # re-entrant: a signal handler may add too
        super().begin_in_child()

    def reset(self) -> None:
        """Begin anew."""
        with self._lock:
            super().reset()


Cell: type[CounterCell] = CounterCell if has_gil else LockedCounterCell


class CellCounter(Series[CounterCell], metrics.Counter):
    """A counter that keeps a cell for each attribute set, and one more for those above the bound.

    It keeps no exemplars: those of the duration histogram beside it lead to the same spans.
    """

    def add(self, amount: float, attributes: Mapping[str, Any] | None = None, context: Context | None = None) -> None:
        """Add a number; never raises.

        Args:
            amount: The number; what is negative or not finite is dropped, and that is counted.
            attributes: Of the series. What cannot be an attribute is left out with a warning.
            context: Not used.
        """
        try:
            number = amount if type(amount) is int or type(amount) is float else plain_number(amount)
            if 0 <= number < _INFINITY:
                self.bind(attributes).add(number)
            else:
                reject("counter", amount)
        except Exception as error:  # a number or an attribute of a foreign class may do anything
            health.internal_error("recording of a measurement", error)

    def _make(self, attributes: Mapping[str, Any]) -> CounterCell:
        return Cell(attributes, place=self.place)

    def describe(self) -> dict[str, Any]:
        """Return what tells this instrument from others, for other processes."""
        return {**super().describe(), "kind": "counter"}


def plain_number(amount: object) -> float:
    """Return Python's own int or float for a number of any class; NaN for what is none."""
    try:
        return int(operator.index(amount))  # type: ignore[arg-type]
    except TypeError:
        pass
    try:
        return float(amount)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return float("nan")
