"""A bounded copy of any value as plain data, made without running code of the value's own.

Only the types of the standard library and of the libraries that `summaries` knows are looked into, through the
methods of the type itself and not through what a subclass makes of them. Everything else is told by its class:
a `__repr__` may block, raise, ask a database, or print a password. Iterators are not consumed.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from itertools import islice
from json.encoder import encode_basestring_ascii
from pathlib import PurePath
from types import MemberDescriptorType
from typing import Any
from uuid import UUID

from otel_ml import health, summaries

_DEEPEST = 6
_MOST_KEYS = 256
_LONGEST_TEXT = 4096
_LONGEST_KEY = 256
_BUDGET = 60 * 1024  # of 64 KiB: the notes on what was left out come on top
_MOST_SAMPLED = 4096
_MOST_BYTES = 128 * 1024
_LEAST_IF_MASKED = 16  # what an item may take once it is masked

_SEQUENCES = (list, tuple, set, frozenset, deque)
_TEXT_OF: tuple[tuple[type, Callable[[Any], str]], ...] = (
    (str, str.__str__),
    (bytes, lambda value: bytes.__getitem__(value, slice(_MOST_BYTES)).decode("utf-8", "backslashreplace")),
    (bytearray, lambda value: bytearray.__getitem__(value, slice(_MOST_BYTES)).decode("utf-8", "backslashreplace")),
    (Decimal, Decimal.__str__),
    (datetime, datetime.isoformat),
    (date, date.isoformat),
    (time, time.isoformat),
    (timedelta, timedelta.__str__),
    (UUID, UUID.__str__),
    (PurePath, PurePath.__str__),
    (complex, complex.__repr__),
    (Enum, lambda value: f"{type(value).__name__}.{value._name_}"),
)


def copy_of(value: object, mask: Callable[[str], str] | None = None) -> Any:
    """Return a plain copy of a value; `capture.snapshot` describes it. Never raises.

    Args:
        value: Anything.
        mask: Applied to a text that is too long before it is cut: half a secret would not be recognised later.
    """
    try:
        return _Copier(mask).copy(value, _DEEPEST)
    except Exception as error:  # such as a stack that is nearly full
        health.internal_error("capture", error)
        return f"<type {summaries.type_name(type(value))}>"


class _Copier:
    """One copy under one budget of bytes, so that a wide and a deep value are bounded alike."""

    __slots__ = ("_least", "_left", "_mask", "_open")

    def __init__(self, mask: Callable[[str], str] | None) -> None:
        self._left = _BUDGET
        self._mask = mask
        self._least = 1 if mask is None else _LEAST_IF_MASKED
        self._open: set[int] = set()

    def copy(self, value: object, depth: int) -> Any:
        kind = type(value)
        if value is None or kind is bool:
            self._left -= max(6, self._least)
            return value
        if kind is str:
            return self._text(value)  # type: ignore[arg-type]
        if kind is float or kind is int:
            return self._number(value)  # type: ignore[arg-type]
        try:
            return self._other(value, kind, depth)
        except Exception as error:  # one bad value must not cost the others
            health.internal_error("capture", error)
            return self._text(f"<type {summaries.type_name(kind)}>")

    def _other(self, value: Any, kind: type, depth: int) -> Any:
        known = summaries.recognised(kind)
        if known is not None:
            library, role = known
            if role == "scalar":
                return self.copy(_from_numpy(value), depth)
            return self._table(value, library, depth) if role == "table" else self._array(value, library, depth)
        if summaries.type_name(kind) in summaries.MISSING:
            return self.copy(None, depth)
        scalar = _scalar(value, kind)
        if scalar is not None:
            return self._text(scalar) if isinstance(scalar, str) else self._number(scalar)
        return self._container(value, kind, depth)

    def _container(self, value: Any, kind: type, depth: int) -> Any:
        fields = _fields(value, kind)
        if fields is None and not issubclass(kind, (dict, *_SEQUENCES)):
            return self._text(f"<type {summaries.type_name(kind)}>")
        if id(value) in self._open:
            return self._text("<cycle>")
        if depth == 0:
            return self._text("<depth>")
        self._open.add(id(value))
        try:
            if fields is None and not issubclass(kind, dict):
                return self._sequence(value, kind, depth)
            pairs: dict[Any, Any] = value if fields is None else fields
            return self._dict(dict.items(pairs), dict.__len__(pairs), depth)
        finally:
            self._open.discard(id(value))

    def _text(self, text: str) -> str:
        length = len(text)
        if length > _LONGEST_TEXT:
            text = f"{(text if self._mask is None else self._mask(text))[:_LONGEST_TEXT]}... [{length} characters]"
        if not text.isascii():
            text = text.encode("utf-8", "backslashreplace").decode()  # JSON has no lone surrogates
        cost = len(encode_basestring_ascii(text))
        if cost > self._left:
            text, cost = "<cut>", 7
        self._left -= max(cost + 2, self._least)
        return text

    def _number(self, number: float) -> Any:
        if isinstance(number, float):
            self._left -= 26
            if math.isfinite(number):
                return number
            return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
        self._left -= 22
        return number if -(2**63) <= number < 2**63 else self._text(_digits(number))

    def _dict(self, pairs: Iterable[tuple[object, object]], length: int, depth: int) -> dict[str, Any]:
        copied: dict[str, Any] = {}
        for key, item in list(islice(pairs, _MOST_KEYS)):  # at once: another thread may be adding keys
            if self._left <= 0:
                break
            name = self._text(key if type(key) is str and len(key) <= _LONGEST_KEY else self._key(key))
            while name in copied:
                name = f"{name} ({len(copied) + 1})"
            copied[name] = self.copy(item, depth - 1)
        if length > len(copied):
            copied["..."] = f"{length - len(copied)} more"
        return copied

    def _key(self, key: object, depth: int = 3) -> str:
        kind = type(key)
        if issubclass(kind, tuple) and depth:
            parts: Any = islice(tuple.__iter__(key), 8)  # type: ignore[arg-type]
            text = f"({', '.join(self._key(part, depth - 1) for part in parts)})"
        else:
            known = summaries.recognised(kind)
            scalar = _from_numpy(key) if known is not None and known[1] == "scalar" else _scalar(key, kind)
            if key is None or kind is bool:
                scalar = str(key)
            text = f"<type {summaries.type_name(kind)}>" if scalar is None else _digits(scalar)
        if len(text) <= _LONGEST_KEY:
            return text
        return f"{(text if self._mask is None else self._mask(text))[:_LONGEST_KEY]}..."

    def _sequence(self, value: Any, kind: type, depth: int) -> Any:
        base: Any = next(base for base in _SEQUENCES if issubclass(kind, base))
        length = base.__len__(value)
        if length > summaries.MOST_ROWS and base in (list, tuple):
            sample = base.__getitem__(value, slice(None, None, math.ceil(length / _MOST_SAMPLED)))
            if all(map(_is_plain_number, sample)):
                return self.copy(summaries.statistics_of_numbers(list(sample), length), depth)
        return self._list(list(islice(base.__iter__(value), summaries.MOST_ROWS)), length, depth)

    def _list(self, items: list[Any], length: int, depth: int) -> list[Any]:
        copied: list[Any] = []
        for item in items:
            if self._left <= 0:
                break
            copied.append(self.copy(item, depth - 1))
        if length > len(copied):
            copied.append(f"... {length - len(copied)} more")
        return copied

    def _table(self, value: Any, library: str, depth: int) -> Any:
        rows, columns = summaries.shape(value)
        if 0 < rows <= summaries.MOST_ROWS:
            names, found = summaries.rows(value, library)
            return [self._dict(zip(names, row, strict=True), columns, depth - 1) for row in found]
        described = summaries.description(value, library, "table")
        if rows:
            del described["dtypes"]
            described["summary"] = summaries.columns(value, library)
        return self.copy(described, depth)

    def _array(self, value: Any, library: str, depth: int) -> Any:
        row = summaries.labelled(value, library)
        if row is not None:
            return self._dict(row.items(), len(row), depth)
        described = summaries.description(value, library, "array")
        del described["type"]
        if math.prod(described["shape"]) > summaries.MOST_ROWS:
            return self.copy({**described, **summaries.statistics(value, library)}, depth)
        items = summaries.items(value, library)
        return self.copy(described if items is None else items, depth)


def _scalar(value: Any, kind: type) -> str | float | None:
    """Return the exact number or text of a value that is one, None of any other."""
    if issubclass(kind, int):
        return int.__int__(value)
    if issubclass(kind, float):
        return float.__float__(value)
    return next((text_of(value) for base, text_of in _TEXT_OF if issubclass(kind, base)), None)


def _digits(number: object) -> str:
    """Return a scalar as text; an integer too long for Python's decimal conversion is hexadecimal."""
    return hex(number) if isinstance(number, int) and number.bit_length() > 10_000 else str(number)


def _is_plain_number(value: object) -> bool:
    return type(value) is float or (type(value) is int and -(2**63) <= value < 2**64)


def _from_numpy(value: Any) -> Any:
    """Return a numpy scalar as a Python one, and as text where Python has no equal."""
    convert: Any = {"b": bool, "i": int, "u": int, "f": float, "U": str.__str__, "S": bytes}.get(value.dtype.kind, str)
    return convert(value)


def _fields(value: Any, kind: type) -> dict[str, Any] | None:
    """Return the fields of a dataclass or named tuple, read without running a property; None of anything else."""
    names = next(
        (
            base.__dict__["__dataclass_fields__"]
            for base in summaries.mro(kind)
            if "__dataclass_fields__" in base.__dict__
        ),
        None,
    )
    if names is None:
        fields = kind.__dict__.get("_fields") if issubclass(kind, tuple) else None
        return dict(zip(fields, tuple.__iter__(value), strict=True)) if isinstance(fields, tuple) else None
    found: dict[str, Any] = {}
    own = object.__getattribute__(value, "__dict__") if kind.__dictoffset__ else {}
    for name in names:
        if name in own:
            found[name] = own[name]
            continue
        slot = next((base.__dict__[name] for base in summaries.mro(kind) if name in base.__dict__), None)
        if type(slot) is MemberDescriptorType:
            found[name] = slot.__get__(value, kind)
    return found
