"""The few operations that compiled modules do without a call: `primitives.pxd` says the same in C."""

from __future__ import annotations

import re
import time
from bisect import bisect_left
from contextvars import ContextVar
from types import MethodType
from typing import Any, Final

from opentelemetry.context import Context

blank: Final[Any] = object.__new__
"""Return an object of a class, whose constructor is not called."""

item: Final[Any] = dict.get
"""Return what a dictionary has under a key, or None."""

put: Final[Any] = dict.__setitem__
"""Change a context that nobody has seen yet."""

bound: Final[Any] = MethodType
"""Return a method: a function with its first argument."""

plain_tuple: Final[Any] = tuple
"""Return the items of a tuple, which may be one of a sub-class, as a tuple."""

variable_value: Final[Any] = ContextVar.get
"""Return the value of a context variable that has a default."""

set_variable: Final[Any] = ContextVar.set
"""Give a context variable a value; return the token that undoes it."""

reset_variable: Final[Any] = ContextVar.reset
"""Undo `set_variable`."""

wall_ns: Final = time.time_ns
"""Return nanoseconds since the epoch."""

ticks: Final = time.perf_counter
"""Return seconds since some moment, by a clock that is never set."""

_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

bucket: Final = bisect_left
"""Return the index of the first of some rising numbers that is not below a number."""


def derived(context: Context, key: str, value: object) -> Context:
    """Return a context that has one value more."""
    return Context({**context, key: value})


def nanoseconds(seconds: float) -> int:
    """Return seconds as whole nanoseconds."""
    return int(seconds * 1e9)


def is_uuid(text: str) -> bool:
    """Whether a text is a UUID as we write it: it needs no masking, and is another one each time."""
    return len(text) == 36 and _UUID.fullmatch(text) is not None


def hex_digits(number: int, size: int) -> str:
    """Return a number of so many bytes as hexadecimal digits."""
    return number.to_bytes(size, "big").hex()  # half the time of format(number, "032x")


def untrack(item: object) -> None:
    """Take an object that waits in a queue of ours out of the garbage collector's sight, where that can be done."""


def track(item: object) -> None:
    """Undo `untrack`."""
