"""Values that a caller passes to logging, as bounded plain data.

All of it happens on the caller's thread. Code of the caller's (`__str__`, a property, a lazy ORM object) must not run
on ours, and what waits in the queue must neither change nor keep a model alive: containers are copied, tables, arrays
and models become their description, and any other object becomes text.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from datetime import date, time
from functools import lru_cache
from itertools import islice
from typing import Any, Literal

from otel_ml import capture
from otel_ml.errors import shorten

MAX_DEPTH = 6
MAX_ITEMS = 1024
MAX_TEXT = 4096
MAX_STRING = 64 * 1024

_SEQUENCES = (list, tuple, set, frozenset, deque)
# Protocols and methods that tables, arrays and models have in common, whichever library they come from.
_DATA_MARKS = (
    "__array__", "__dataframe__", "__arrow_c_stream__", "__arrow_c_array__", "toarray", "predict", "fit", "forward",
)  # fmt: skip


def plain(value: object) -> Any:
    """Return `value` as data that `orjson` can write, in which nothing of the original is referenced.

    Raises:
        Exception: Whatever the value's own code raises.
    """
    if value is None or type(value) is bool or (type(value) is str and len(value) <= MAX_STRING):
        return value
    return _Copier().copy(value, MAX_DEPTH)


def argument(value: object) -> object:
    """Return what a message is formatted with: `value` itself, or a short text where it would be a dump of data."""
    if isinstance(value, (str, int, float)):
        return value
    if is_data(value):
        return _Shown(_description(value))
    if isinstance(value, (dict, *_SEQUENCES)):
        items = list(islice(value.values() if isinstance(value, dict) else value, MAX_ITEMS // 16))
        if len(value) > len(items) or any(is_data(item) for item in items):
            return _Shown(shorten(plain(value), MAX_TEXT))
    return value


def is_data(value: object) -> bool:
    """Whether a value is a table, an array or a model, which is described and never written out."""
    return _nature(type(value)) == "data"  # type: ignore[arg-type]  # every class is hashable


@lru_cache(maxsize=1024)
def _nature(kind: type) -> Literal["numpy scalar", "data", "other"]:
    if any(base.__name__ == "generic" and base.__module__ == "numpy" for base in kind.__mro__):
        return "numpy scalar"
    return "data" if any(hasattr(kind, mark) for mark in _DATA_MARKS) else "other"


class _Shown:
    """A text that `%s` and `%r` show as it is."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _description(value: object) -> str:
    described = capture.describe(value)
    facts = ", ".join(f"{key}={shorten(fact, 80)}" for key, fact in described.items() if key not in ("type", "dtypes"))
    return f"{described.get('type', type(value).__name__)}({facts})"


class _Copier:
    """One copy under one budget of items, so that a wide and a deep value are bounded alike."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = MAX_ITEMS

    def copy(self, value: object, depth: int) -> Any:
        if value is None or isinstance(value, (bool, int, float, str)):
            return _scalar(value)
        nature = _nature(type(value))  # type: ignore[arg-type]  # every class is hashable
        if nature == "numpy scalar":
            item = value.item()  # type: ignore[attr-defined]
            return text(value) if type(item) is type(value) else self.copy(item, depth)
        if nature == "data":
            return capture.describe(value)
        if isinstance(value, Mapping):
            return self._mapping(value, depth)
        if isinstance(value, _SEQUENCES):
            return self._sequence(value, depth)
        return text(value)

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> Any:
        if depth == 0:
            return f"<{type(value).__name__} of {len(value)}>"
        items = list(islice(value.items(), max(0, self._left)))
        self._left -= len(items)
        copied = {key if type(key) is str else text(key): self.copy(item, depth - 1) for key, item in items}
        if len(items) < len(value):
            copied["..."] = f"{len(value) - len(items)} more"
        return copied

    def _sequence(self, value: Any, depth: int) -> Any:
        if depth == 0:
            return f"<{type(value).__name__} of {len(value)}>"
        items = list(islice(value, max(0, self._left)))
        self._left -= len(items)
        copied = [self.copy(item, depth - 1) for item in items]
        if len(items) < len(value):
            copied.append(f"... {len(value) - len(items)} more")
        return copied


def _scalar(value: object) -> object:
    if isinstance(value, str):
        exact = str.__str__(value)
        return exact if len(exact) <= MAX_STRING else f"{exact[:MAX_STRING]}..."
    if isinstance(value, float):
        number = float(value)
        if math.isfinite(number):
            return number
        return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
    if isinstance(value, int) and not isinstance(value, bool):
        number = int(value)
        return number if -(2**63) <= number < 2**63 else hex(number)[:MAX_TEXT]  # neither JSON nor OTLP has wider ones
    return value


def text(value: object) -> str:
    """Return the bounded text of an object that is not plain data.

    Raises:
        Exception: Whatever the value's `__str__` raises.
    """
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"<{type(value).__name__} of {len(value)}>"
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {value}"[:MAX_TEXT]
    shown = str(value)
    return shown if len(shown) <= MAX_TEXT else f"{shown[:MAX_TEXT]}..."
