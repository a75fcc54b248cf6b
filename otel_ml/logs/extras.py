"""Values that a caller passes to logging, as bounded plain data.

All of it happens on the caller's thread. Code of the caller's (`__str__`, a property, a lazy ORM object) must not run
on ours, and what waits in the queue must neither change nor keep a model alive: containers are copied, tables, arrays
and models become their description, and any other object becomes text.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from datetime import date, time
from enum import Enum
from functools import lru_cache
from itertools import islice
from typing import Any, Literal

from otel_ml import capture
from otel_ml.errors import shorten

MAX_DEPTH = 6
MAX_ITEMS = 1024
MAX_TEXT = 4096
MAX_STRING = 64 * 1024

_LEAST, _MOST = -(2**63), 2**63 - 1  # neither JSON nor OTLP has wider whole numbers
_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
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
    return _copy(value, MAX_DEPTH, [MAX_ITEMS])


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


def _copy(value: object, depth: int, left: list[int]) -> Any:  # noqa: PLR0911  the exact types first, for speed
    """Copy a value; `left` holds how many more items the whole copy may have: wide and deep are bounded alike."""
    kind = type(value)
    if kind is str:
        return value if len(value) <= MAX_STRING else shortened(value)  # type: ignore[arg-type]
    if kind is int:
        return value if _LEAST <= value <= _MOST else hex(value)[:MAX_TEXT]  # type: ignore[operator, arg-type]
    if kind is float:
        return value if value - value == 0.0 else _NOT_FINITE[str(value)]  # type: ignore[operator]
    if kind is bool or value is None:
        return value
    if kind is dict or isinstance(value, Mapping):
        return _copy_mapping(value, depth, left)  # type: ignore[arg-type]
    if isinstance(value, _SEQUENCES):
        return _copy_sequence(value, depth, left)
    return _copy_object(value, depth, left)


def _copy_mapping(value: Mapping[Any, Any], depth: int, left: list[int]) -> Any:
    size = len(value)
    if depth == 0:
        return f"<{type(value).__name__} of {size}>"
    items = list(value.items() if size <= left[0] else islice(value.items(), max(0, left[0])))
    left[0] -= len(items)
    copied = {key if type(key) is str else text(key): _copy(item, depth - 1, left) for key, item in items}
    if len(items) < size:
        copied["..."] = f"{size - len(items)} more"
    return copied


def _copy_sequence(value: Any, depth: int, left: list[int]) -> Any:
    size = len(value)
    if depth == 0:
        return f"<{type(value).__name__} of {size}>"
    items = list(value if size <= left[0] else islice(value, max(0, left[0])))
    left[0] -= len(items)
    copied = [_copy(item, depth - 1, left) for item in items]
    if len(items) < size:
        copied.append(f"... {size - len(items)} more")
    return copied


def _copy_object(value: object, depth: int, left: list[int]) -> Any:
    nature = _nature(type(value))  # type: ignore[arg-type]  # every class is hashable
    if nature == "numpy scalar":
        item = value.item()  # type: ignore[attr-defined]
        return text(value) if isinstance(item, type(value)) else _copy(item, depth, left)
    if nature == "data":
        return capture.describe(value)
    if not isinstance(value, Enum):  # subclasses of plain types, whose own methods are not asked
        if isinstance(value, str):
            return _copy(str.__str__(value), depth, left)
        if isinstance(value, int):
            return _copy(int.__index__(value), depth, left)
        if isinstance(value, float):
            return _copy(float.__float__(value), depth, left)
    return text(value)


def shortened(text: str) -> str:
    """Return head and tail of a text above the bound: the cause of a failure stands at one of the two."""
    half = MAX_STRING // 2
    return text if len(text) <= MAX_STRING else f"{text[:half]}\n...\n{text[-half:]}"


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
