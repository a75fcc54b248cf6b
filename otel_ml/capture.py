"""Any value as small plain data: what it is, how large, and a bounded copy. Nothing here ever raises."""

from __future__ import annotations

from collections import deque
from typing import Any

from otel_ml import health, redaction, summaries
from otel_ml.plain_copy import copy_of

_SEQUENCES = (list, tuple, set, frozenset, deque)
_SIZED = (str, bytes, bytearray, dict, range, *_SEQUENCES)


def describe(value: object) -> dict[str, Any]:
    """Return what a value is, without any of its content.

    Args:
        value: Anything; it is not changed, and no code of its class runs unless the class is of a known library.

    Returns:
        `type`, and for a table `rows`, `columns` and `dtypes` (of 32 columns), for an array `shape` and `dtype`,
        for a text or container `length`.
    """
    kind = type(value)
    described: dict[str, Any] = {"type": summaries.type_name(kind)}
    try:
        known = summaries.recognised(kind)
        if known is not None and known[1] != "scalar":
            return summaries.description(value, *known)
        base: Any = next((base for base in _SIZED if issubclass(kind, base)), None)
        return described if base is None else {**described, "length": base.__len__(value)}
    except Exception as error:  # a subclass of a known class may do anything
        health.internal_error("capture", error)
        return described


def rows_and_columns(value: object) -> tuple[int | None, int | None]:
    """Return how many rows and columns a value has, each None where the question makes no sense.

    A list has its items as rows; its columns are told by the first one. A dict of lists is a table by columns, any
    other dict one row. The time does not depend on the size.

    Args:
        value: Anything.
    """
    kind = type(value)
    if kind is float or kind is str or kind is int or kind is bool:
        return None, None
    try:
        if kind is dict:  # the most frequent kinds first, as short as they can be said
            for first in value.values():  # type: ignore[attr-defined]
                inner = type(first)
                if inner is float or inner is str or inner is int:
                    return 1, len(value)  # type: ignore[arg-type]
                break
        elif kind is not list and kind is not tuple:
            role = _role_of(kind)  # before dict, which a sparse matrix may be
            if role is not None:
                return _rows_of_known(value) if role != "scalar" else (None, None)
        if issubclass(kind, _SEQUENCES):
            return _rows_of_sequence(value, kind)
        return _rows_of_dict(value) if issubclass(kind, dict) else (None, None)
    except Exception as error:  # a subclass of a known class may do anything
        health.internal_error("capture", error)
        return None, None


def snapshot(value: object) -> Any:
    """Return a copy of a value as plain data that JSON can hold, in at most 64 KiB. It is not masked.

    Six levels, 256 keys a dict, 32 items of anything else, texts of 4096 characters; what is left out is noted in
    place. Arrays and lists of more than 32 numbers become shape, dtype, n_nan, min, max, mean and std (with `sampled`
    items when they are larger than 1 MiB), tables of more than 32 rows the same by column. NaN and infinities are
    `"NaN"`, `"Infinity"`, `"-Infinity"`; integers beyond 64 bits, `Decimal` and dates are exact text; keys that are
    no text become text, and stay apart when two look the same. `<cycle>` and `<depth>` stand for what cannot
    be followed, `<type module.Name>` for an object of any other class.

    Args:
        value: Anything; later changes to it do not show in the copy.
    """
    return copy_of(value)


def features(value: object) -> Any:
    """Return a masked `snapshot`: what a log or audit record may carry.

    Args:
        value: Anything.
    """
    redactor = redaction.current()
    return redactor.value(copy_of(value, mask=redactor.text))


_roles: dict[int, tuple[type, summaries.Role]] = {}
"""Roles by the id of the class, which is kept so that no other gets it: some classes cannot be hashed."""
_MOST_ROLES = 64


def _role_of(kind: type) -> summaries.Role | None:
    """Return what a class of a known library is; only such classes are remembered, because that keeps them alive."""
    known = _roles.get(id(kind))
    if known is not None:
        return known[1]
    found = summaries.recognised(kind)
    if found is None:
        return None
    if len(_roles) < _MOST_ROLES:
        _roles[id(kind)] = (kind, found[1])
    return found[1]


def _rows_of_known(value: Any) -> tuple[int | None, int | None]:
    lengths = getattr(value, "shape", None)
    if type(lengths) is not tuple:
        lengths = summaries.shape(value)
    return (int(lengths[0]) if lengths else None), (int(lengths[1]) if len(lengths) == 2 else None)


def _rows_of_dict(value: Any) -> tuple[int | None, int | None]:
    first = next(iter(dict.values(value)), None)
    in_columns = issubclass(type(first), (list, tuple)) or _is_array(first)
    return (rows_and_columns(first)[0] if in_columns else 1), dict.__len__(value)


def _rows_of_sequence(value: Any, kind: type) -> tuple[int, int | None]:
    base: Any = kind if kind is list else next(base for base in _SEQUENCES if issubclass(kind, base))
    length = base.__len__(value)
    first = base.__getitem__(value, 0) if length and base in (list, tuple) else None
    inner = type(first)
    if inner is list or inner is dict:
        return length, len(first)  # type: ignore[arg-type]
    if _is_array(first):
        lengths = summaries.shape(first)
        return length, (lengths[0] if len(lengths) == 1 else None)
    base = next((base for base in (list, tuple, dict) if issubclass(inner, base)), None)
    return length, (None if base is None else base.__len__(first))


def _is_array(value: object) -> bool:
    return _role_of(type(value)) == "array"
