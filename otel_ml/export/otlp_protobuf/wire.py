"""The wire format of protobuf, as far as OTLP needs it: a tag, then a number of variable length or counted bytes."""

from __future__ import annotations

from struct import Struct
from typing import Final

_LOW = 127  # seven bits a byte, the eighth says that more follow


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > _LOW:
        encoded.append(number & _LOW | 128)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


_LAST = [bytes((number,)) for number in range(128)]
_MORE = [bytes((number | 128,)) for number in range(128)]

VARINTS: Final = (*_LAST, *(low + high for high in _LAST[1:] for low in _MORE))
"""The numbers of one and two bytes, which is nearly all there are: lengths, counts, rows."""

_KNOWN = len(VARINTS)
_MASK_64 = (1 << 64) - 1

pack_double = Struct("<d").pack
pack_fixed32 = Struct("<I").pack
pack_fixed64 = Struct("<Q").pack


def varint(number: int) -> bytes:
    """Encode a number of 0 or more."""
    return VARINTS[number] if number < _KNOWN else _varint(number)


def signed(number: int) -> bytes:
    """Encode an integer of 64 bits; a negative one as its two's complement, as `int64` wants it."""
    return VARINTS[number] if 0 <= number < _KNOWN else _varint(number & _MASK_64)


def counted(tag: bytes, content: bytes) -> bytes:
    """Encode a field of bytes, text or a message: tag, length, content."""
    return tag + varint(len(content)) + content


def utf8(text: str) -> bytes:
    """Encode a text; code points that are no Unicode are spelled out, because protobuf knows no others."""
    try:
        return str.encode(text)
    except UnicodeEncodeError:
        return str.encode(text, "utf-8", "backslashreplace")
