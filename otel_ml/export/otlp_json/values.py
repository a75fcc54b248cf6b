"""Values in OTLP-JSON: attributes, numbers, ids and times."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from otel_ml.errors import shorten

Json = dict[str, Any]

MAX_DEPTH = 16  # a message may be 100 deep for protobuf's readers, a level of nesting takes 3, and a record starts at 7


def attributes(items: Mapping[str, Any] | None) -> list[Json]:
    """Encode attributes as a list of KeyValue."""
    if not items:
        return []
    return [{"key": text(key), "value": any_value(value)} for key, value in items.items()]


def any_value(value: object, outer: tuple[int, ...] = ()) -> Json:
    """Encode any object as an AnyValue.

    Args:
        value: What to encode. Objects that OTLP has no type for become their `str`.
        outer: Identities of the containers around it.
    """
    kind = type(value)
    if kind is str:
        return {"stringValue": value}
    if kind is bool:
        return {"boolValue": value}
    if kind is int:
        return integer(value)  # type: ignore[arg-type]
    if kind is float:
        return {"doubleValue": double(value)}  # type: ignore[arg-type]
    if value is None:
        return {}
    return _uncommon(value, outer)


def _uncommon(value: object, outer: tuple[int, ...]) -> Json:
    if isinstance(value, str):
        return {"stringValue": str.__str__(value)}
    if isinstance(value, bytes):
        return {"bytesValue": base64.b64encode(value).decode("ascii")}
    if isinstance(value, (Sequence, Mapping)):
        return _container(value, outer)
    if isinstance(value, Integral):
        return integer(int(value))
    if isinstance(value, Real):
        return {"doubleValue": double(value)}
    return {"stringValue": text(value)}


def _container(value: Sequence[Any] | Mapping[Any, Any], outer: tuple[int, ...]) -> Json:
    if id(value) in outer:
        return {"stringValue": "<cycle>"}
    if len(outer) == MAX_DEPTH:
        return {"stringValue": "<depth>"}
    inner = (*outer, id(value))
    if isinstance(value, Mapping):
        pairs = [{"key": text(key), "value": any_value(item, inner)} for key, item in value.items()]
        return {"kvlistValue": {"values": pairs}}
    return {"arrayValue": {"values": [any_value(item, inner) for item in value]}}


def integer(value: int) -> Json:
    """Encode an integer as an AnyValue; one that 64 bits cannot hold as decimal text, as the specification asks."""
    return {"intValue" if -(2**63) <= value < 2**63 else "stringValue": str(value)}


def double(value: Real | float) -> float | str:
    """Return a number as a JSON float, or the text that stands for NaN or an infinity."""
    number = float(value)
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def number(value: float) -> Json:
    """Encode a measurement: `asInt` for integers of 64 bits, `asDouble` for all others."""
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return {"asInt": str(int(value))}
    return {"asDouble": double(value)}


def unsigned(value: int) -> str:
    """Return a count or a time in nanoseconds as the text of an unsigned 64-bit integer.

    Raises:
        ValueError: It is none; a reader would give up on the whole line.
    """
    whole = int(value)
    if not 0 <= whole < 2**64:
        raise ValueError(f"{whole} does not fit an unsigned 64-bit integer")
    return str(whole)


def text(value: object) -> str:
    """Return `str(value)`, or what can be said about it when its `__str__` raises."""
    if type(value) is str:
        return value
    try:
        return str.__str__(str(value))
    except Exception:  # the value is the caller's: its __str__ may do anything
        return shorten(value)


def trace_id(value: int) -> str:
    """Return a trace id as 32 hex digits."""
    return value.to_bytes(16, "big").hex()


def span_id(value: int) -> str:
    """Return a span id as 16 hex digits."""
    return value.to_bytes(8, "big").hex()
