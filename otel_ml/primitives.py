"""The few operations that compiled modules do without a call: `primitives.pxd` says the same in C."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, Final

from opentelemetry.context import Context

blank: Final[Any] = object.__new__
"""Return an object of a class, whose constructor is not called."""

item: Final[Any] = dict.get
"""Return what a dictionary has under a key, or None."""


bucket: Final = bisect_left
"""Return the index of the first of some rising numbers that is not below a number."""


def derived(context: Context, key: str, value: object) -> Context:
    """Return a context that has one value more."""
    return Context({**context, key: value})
