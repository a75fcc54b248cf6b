"""Calls of decorated functions without a frame of Python; `quick_call.pyx` does it where it is compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def quicken(wrapper: Callable[..., Any]) -> None:
    """Have a wrapper of `wrappers._function` called in C, if the interpreter can; it stays the function that it is."""
