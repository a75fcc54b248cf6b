"""What histograms and counters share: a cell for each attribute set, found quickly, and bounded in number."""

from __future__ import annotations

import json
import os
import threading
import weakref
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Final, Generic, Protocol, TypeVar

from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_ml import conventions, health
from otel_ml.errors import shorten
from otel_ml.metrics.attributes import clean, identity


class Home(Protocol):
    """Memory outside the process's own, which other processes read and which outlives this one."""

    def place(self, key: bytes, words: int) -> memoryview | None:
        """Return the bytes of that many 64-bit words, kept under that key; None when there is no room."""
        ...


class Cell(Protocol):
    """The numbers of one series.

    They begin empty, and get their memory at the first value: a series without values costs nothing, and a forked
    child takes memory only when it measures something.
    """

    attributes: Mapping[str, Any]

    @property
    def is_private(self) -> bool:
        """Whether nobody but this process can see its numbers."""
        ...

    def move(self) -> None:
        """Take the numbers along to the memory that `place` of the instrument gives now."""
        ...

    def reset(self) -> None:
        """Begin anew, in memory that is asked for at the next value."""
        ...

    def begin_in_child(self) -> None:
        """Do the same in a forked child, where locks may be held by threads that do not exist there."""
        ...


C = TypeVar("C", bound=Cell)


class _Moving:
    """Held while numbers change their place, and while they are read; never while a value is recorded."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Replace the lock: one inherited by a forked child may be held by a thread that does not exist there."""
        self.lock = threading.RLock()  # re-entrant: a signal handler may record too


moving: Final = _Moving()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=moving.renew)


class Series(Generic[C]):
    """The cells of one instrument, and one more for attribute sets above the bound.

    Args:
        name: Name of the instrument.
        unit: Its unit.
        description: What it measures.
        scope: Who measures.
        max_series: Attribute sets that get a cell of their own. Threads that meet at the bound may pass it by their
            number.
    """

    def __init__(self, name: str, unit: str, description: str, *, scope: InstrumentationScope, max_series: int) -> None:
        self.name = name
        self.unit = unit
        self.description = description
        self.scope = scope
        self.max_series = max_series
        self._home: Home | None = None
        self._cells: dict[tuple[tuple[str, str], ...], C] = {}
        self._known: dict[tuple[tuple[str, Any], ...], C] = {}  # the same cells, quicker to find
        self._overflow = self._make({conventions.OVERFLOW: True})
        if hasattr(os, "register_at_fork"):
            weak_begin = weakref.WeakMethod(self._begin_in_child)
            os.register_at_fork(after_in_child=lambda: (begin := weak_begin()) and begin())

    @abstractmethod
    def _make(self, attributes: Mapping[str, Any]) -> C:
        """Return a new cell."""

    def describe(self) -> dict[str, Any]:
        """Return what tells this instrument from others, for other processes."""
        return {
            "description": self.description,
            "name": self.name,
            "scope": [self.scope.name, self.scope.version, self.scope.schema_url],
            "unit": self.unit,
        }

    def key(self, attributes: Mapping[str, Any]) -> bytes:
        """Return what tells a series from all others, the same in every process."""
        return series_key(self.describe(), attributes)

    def bind(self, attributes: Mapping[str, Any] | None) -> C:
        """Return the cell of an attribute set, always the same one; keep it to spare the search."""
        try:
            cell = self._known.get(tuple(attributes.items()) if attributes else ())
        except Exception:  # cannot be hashed, or is no mapping: `clean` finds out, and says so
            cell = None
        return cell if cell is not None else self._find(attributes)

    def _find(self, attributes: Mapping[str, Any] | None) -> C:
        cleaned = clean(attributes)
        key = identity(cleaned)
        cell = self._cells.get(key)
        if cell is None:
            if len(self._cells) >= self.max_series:
                return self._overflown()
            cell = self._cells.setdefault(key, self._make(cleaned))
        # Text only: True, 1 and 1.0 are equal to a dictionary, but different series.
        is_text = all(type(value) is str for value in cleaned.values())
        if is_text and cleaned == (attributes or {}) and len(self._known) < 2 * self.max_series:
            self._known[tuple((attributes or {}).items())] = cell
        return cell

    def _overflown(self) -> C:
        health.warn_once(
            f"metrics:overflow:{self.name}",
            "%s has more than %d attribute sets; further ones are counted together, as %s. "
            "Is something in them that differs with each call?",
            self.name,
            self.max_series,
            conventions.OVERFLOW,
        )
        return self._overflow

    def cells(self) -> list[C]:
        """Return all cells, those without values too."""
        return [*list(self._cells.values()), self._overflow]

    def reset(self) -> None:
        """Have every cell begin anew; cells that were bound stay valid."""
        for cell in self.cells():
            cell.reset()

    def _begin_in_child(self) -> None:
        for cell in self.cells():
            cell.begin_in_child()

    def live_in(self, home: Home | None) -> None:
        """Keep numbers there from now on. With a home they are taken along; without one they begin anew."""
        self._home = home
        for cell in self.cells():
            if home is None:
                cell.reset()
            else:
                cell.move()

    def place(self, attributes: Mapping[str, Any], words: int) -> memoryview | None:
        """Return memory for a cell of these attributes; None: it keeps its numbers itself. Never raises."""
        home = self._home
        if home is None:
            return None
        try:
            return home.place(self.key(attributes), words)
        except Exception as error:
            health.internal_error("placing of a series", error)
            return None


def series_key(instrument: Mapping[str, Any], attributes: Mapping[str, Any]) -> bytes:
    """Return an instrument and an attribute set as text that is the same in every process."""
    return json.dumps({**instrument, "attributes": attributes}, sort_keys=True, separators=(",", ":")).encode()


def reject(kind: str, value: object) -> None:
    """Count a value that an instrument cannot take, and say so once.

    Args:
        kind: `histogram` or `counter`.
        value: The value.
    """
    health.count_dropped("metrics", "invalid_value")
    health.warn_once(
        f"metrics:invalid_value:{kind}",
        "a %s was given %s, expected a finite number of 0 or more; it is dropped (further ones are only counted)",
        kind,
        shorten(value),
    )
