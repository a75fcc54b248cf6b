"""Random ids of traces and spans, from a generator of our own.

The SDK takes them from Python's shared one. A program that seeds it, as training scripts do, would then get the same
trace ids in each run; and its own random numbers would differ by whether it is watched.
"""

from __future__ import annotations

import os
import random
from typing import Final

_generator: Final = random.Random()
_getrandbits: Final = _generator.getrandbits


def trace_id() -> int:
    """Return 128 random bits that are not all 0."""
    return _getrandbits(128) or trace_id()


def span_id() -> int:
    """Return 64 random bits that are not all 0."""
    return _getrandbits(64) or span_id()


def uuid7(time_ns: int) -> str:
    """Return a UUIDv7 (RFC 9562) as text.

    Args:
        time_ns: Nanoseconds since the epoch.
    """
    rest = _getrandbits(76) & 0xFFF_3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000
    text = f"{time_ns // 1_000_000 & 0xFFFF_FFFF_FFFF:012x}7{rest:019x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def seed(value: int | None = None) -> None:
    """Begin anew: with a value, for tests, with the ids that the SDK would draw after `random.seed(value)`."""
    _generator.seed(value)


if hasattr(os, "register_at_fork"):  # parent and child would go on with the same ids
    os.register_at_fork(after_in_child=seed)
