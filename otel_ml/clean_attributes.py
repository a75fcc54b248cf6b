"""Attributes that a decorator looked at once, so that our tracer need not for each span."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class CleanAttributes(dict[str, Any]):
    """Attributes whose keys are texts that are not empty, and whose values are text, whole numbers, floats or truth.

    Whoever makes one sees to that; `clean` does for values that are not known. It is never changed: spans share it, and
    what is known of one is kept by its identity.
    """

    __slots__ = ()


def clean(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the attributes marked as clean when they are, else as they were given: then every tracer looks itself."""
    return CleanAttributes(attributes) if are_simple(attributes) else attributes


def are_simple(attributes: Mapping[str, Any]) -> bool:
    """Return whether attributes can be kept as they are.

    Classes are compared by identity: they may have a hash or an equality of their own.
    """
    for key, value in attributes.items():
        kind = type(value)
        if kind is not str and kind is not int and kind is not float and kind is not bool:
            return False
        if type(key) is not str or not key:
            return False
    return True
