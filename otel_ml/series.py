"""One series of our histograms and of the row counter, as decorators keep it: bound once, where an instrument can be.

Cells of our own instruments are bound; every other instrument is used by the API's public methods.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opentelemetry import metrics
from opentelemetry.trace import Span

from otel_ml import conventions, health
from otel_ml.instruments import instruments

Add = Callable[[int], object]


class Observer:
    """Where durations of one series go: `metrics.histogram_cells`, or another library's histogram."""

    __slots__ = ()

    def observe(self, value: float, span: Span | None, now: int | None = None) -> None:
        """Count one duration.

        Args:
            value: Seconds.
            span: Where it was measured.
            now: When, in nanoseconds since the epoch; None: it is looked up.
        """
        raise NotImplementedError


class _ByApi(Observer):
    """The same by the API, which takes an exemplar from the current span."""

    __slots__ = ("_attributes", "_histogram")

    def __init__(self, histogram: Any, attributes: dict[str, Any]) -> None:
        self._histogram = histogram
        self._attributes = attributes

    def observe(self, value: float, span: Span | None, now: int | None = None) -> None:
        """Count one duration."""
        self._histogram.record(value, self._attributes)


class Series:
    """Where calls with one set of attributes are counted.

    Args:
        histogram: Returns the duration histogram in use.
        attributes: Of the series.
    """

    __slots__ = ("_failures", "_histogram", "add_rows", "attributes", "bound_to", "observer", "proxy", "rows_bound_to")

    observer: Observer | None
    add_rows: Add

    def __init__(self, histogram: Callable[[], Any], attributes: dict[str, Any]) -> None:
        self._histogram = histogram
        self._failures: SeriesBy | None = None
        self.attributes = attributes
        self.proxy: Any = None  # the histogram, where it is the API's stand-in for one that there may be later
        self.bound_to: object = None  # `instruments.bound` as it was then
        self.rows_bound_to: object = None

    def __reduce__(self) -> tuple[Any, ...]:  # cells stay in their process
        return Series, (self._histogram, self.attributes)

    def bind(self) -> Series:
        """Find the instruments that are in use now; to be called before a use, unless `bound_to` says it was done.

        Raises:
            Exception: What a foreign instrument raises.
        """
        if self.bound_to is not instruments.bound:
            bound = instruments.bound
            histogram = self._histogram()
            self.observer = _observer(histogram, self.attributes)
            self.proxy = histogram if hasattr(histogram, "_real_instrument") else None
            self.bound_to = bound
        return self

    def bind_rows(self) -> None:
        """Find the counter of rows that is in use now; to be called before `add_rows`, as `bind` before `observer`.

        Raises:
            Exception: What a foreign instrument raises.
        """
        bound = instruments.bound
        self.add_rows = _adder(instruments.inference_rows, self.attributes)
        self.rows_bound_to = bound

    def failed_with(self, error_type: str) -> Series:
        """Return the series of the calls that raised an exception of this type."""
        if self._failures is None:
            self._failures = SeriesBy(conventions.ERROR_TYPE, self._histogram, self.attributes)
        return self._failures.of(error_type)


def _observer(histogram: Any, attributes: dict[str, Any]) -> Observer | None:
    bind = getattr(histogram, "bind", None)
    cell = None if bind is None else bind(attributes)
    if isinstance(cell, Observer):
        return cell
    return None if isinstance(histogram, metrics.NoOpHistogram) else _ByApi(histogram, attributes)


def _adder(counter: Any, attributes: dict[str, Any]) -> Add:
    bind = getattr(counter, "bind", None)
    if bind is not None:
        add: Add = bind(attributes).add
        return add

    def add_by_api(number: int) -> None:
        counter.add(number, attributes)

    return add_by_api


class SeriesBy:
    """Series that differ in one attribute: the version of a model, or the type of an exception.

    Args:
        key: Name of that attribute.
        histogram: Returns the duration histogram in use.
        attributes: That all of them have.
    """

    __slots__ = ("_attributes", "_histogram", "_key", "_known")

    def __init__(self, key: str, histogram: Callable[[], Any], attributes: dict[str, Any]) -> None:
        self._key = key
        self._histogram = histogram
        self._attributes = attributes
        self._known: dict[str | None, Series] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return SeriesBy, (self._key, self._histogram, self._attributes)

    def of(self, value: str | None) -> Series:
        """Return the series of a value; None: the one without the attribute."""
        found = self._known.get(value)
        if found is None:
            attributes = self._attributes if value is None else {**self._attributes, self._key: value}
            found = Series(self._histogram, attributes)
            if len(self._known) >= _MOST:  # a value that differs with each call would fill the memory
                health.warn_once(
                    f"series:{self._key}:{self._attributes}", "more than %d values of %s are in use", _MOST, self._key
                )
                self._known.clear()
            self._known[value] = found
        return found


_MOST = 1000
