"""Any value as an AnyValue, by the rules of `otel_ml.export.otlp_json.values`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from struct import error as struct_error
from typing import Any

from otel_ml.export.otlp_json.values import MAX_DEPTH, text, unsigned
from otel_ml.export.otlp_protobuf.wire import counted, pack_double, pack_fixed64, signed, utf8

# Fields of AnyValue.
_TEXT = b"\x0a"
_BOOL = b"\x10"
_INTEGER = b"\x18"
_DOUBLE = b"\x21"
_ARRAY = b"\x2a"
_PAIRS = b"\x32"
_BYTES = b"\x3a"

_KEY = b"\x0a"  # of KeyValue
_VALUE = b"\x12"
_ITEM = b"\x0a"  # of ArrayValue and of KeyValueList


def key_value(key: object, value: object, outer: tuple[int, ...] = ()) -> bytes:
    """Encode a pair as a KeyValue, of which the length is not part."""
    return counted(_KEY, utf8(text(key))) + counted(_VALUE, any_value(value, outer))


def any_value(value: object, outer: tuple[int, ...] = ()) -> bytes:
    """Encode any object as an AnyValue, of which the length is not part.

    Args:
        value: What to encode. Integers beyond 64 bits become decimal text, objects that OTLP has no type for their
            `str`, and code points that are no Unicode are spelled out.
        outer: Identities of the containers around it.
    """
    kind = type(value)
    if kind is str:
        return counted(_TEXT, utf8(value))  # type: ignore[arg-type]
    if kind is bool:
        return _BOOL + (b"\x01" if value else b"\x00")
    if kind is int:
        return integer(value)  # type: ignore[arg-type]
    if kind is float:
        return _DOUBLE + pack_double(value)
    if value is None:
        return b""
    return _uncommon(value, outer)


def time(tag: bytes, value: int | None) -> bytes:
    """Encode a field of nanoseconds since the epoch; nothing when it is None.

    Raises:
        Exception: It does not fit an unsigned integer of 64 bits.
    """
    if value is None:
        return b""
    try:
        return tag + pack_fixed64(value)
    except struct_error:
        return tag + pack_fixed64(int(unsigned(value)))


def integer(value: int) -> bytes:
    """Encode an integer; one that 64 bits cannot hold as decimal text, as the specification asks."""
    if -(2**63) <= value < 2**63:
        return _INTEGER + signed(value)
    return counted(_TEXT, str(value).encode())


def _uncommon(value: object, outer: tuple[int, ...]) -> bytes:
    if isinstance(value, str):
        return counted(_TEXT, utf8(value))
    if isinstance(value, bytes):
        return counted(_BYTES, bytes(value))
    if isinstance(value, (Sequence, Mapping)):
        return _container(value, outer)
    if isinstance(value, Integral):
        return integer(int(value))
    if isinstance(value, Real):
        return _DOUBLE + pack_double(float(value))
    return counted(_TEXT, utf8(text(value)))


def _container(value: Sequence[Any] | Mapping[Any, Any], outer: tuple[int, ...]) -> bytes:
    if id(value) in outer:
        return counted(_TEXT, b"<cycle>")
    if len(outer) == MAX_DEPTH:
        return counted(_TEXT, b"<depth>")
    inner = (*outer, id(value))
    if isinstance(value, Mapping):
        items = [counted(_ITEM, key_value(key, item, inner)) for key, item in value.items()]
        return counted(_PAIRS, b"".join(items))
    return counted(_ARRAY, b"".join([counted(_ITEM, any_value(item, inner)) for item in value]))
