"""Attribute sets of measurements: anything that a caller passes to what OTLP and Prometheus can carry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from otel_ml import health

MAX_TEXT: Final = 1024
"""Characters of a value that are kept: a label is a name, not a document."""

_INT64: Final = 2**63


def clean(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the attributes whose names are text and whose values are text, numbers or truth values, or lists of them.

    numpy scalars become Python's. What cannot be an attribute is left out, with one warning.
    """
    if attributes is None:
        return {}
    cleaned: dict[str, Any] = {}
    try:
        for name, value in attributes.items():
            if not _is_name(name):
                _warn("an attribute name", name)
                continue
            try:
                cleaned[_text(name)] = _plain(value)
            except Exception:  # a foreign class may do anything; its value is not said, for it may be a secret
                _warn("the value of an attribute", value)
    except Exception:
        _warn("a set of attributes", attributes)
    return cleaned


def identity(cleaned: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return what tells attribute sets apart: not by order, but by type, so that True, 1 and 1.0 are three values."""
    return tuple(sorted((name, repr(value)) for name, value in cleaned.items()))


def _plain(value: Any) -> Any:
    if type(value).__module__ == "numpy":
        value = value.item()  # an array of several values raises
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        return int(value) if -_INT64 <= value < _INT64 else str(int(value))
    if isinstance(value, float):
        return float(value)
    if isinstance(value, (list, tuple)):
        return tuple(_plain(item) for item in value)
    raise TypeError(f"a {type(value).__name__} cannot be an attribute")


def _is_name(name: object) -> bool:
    return isinstance(name, str) and bool(name)


def _text(value: str) -> str:
    return str.__str__(value)[:MAX_TEXT].encode("utf-8", "replace").decode("utf-8")  # lone surrogates break encoders


def _warn(what: str, value: object) -> None:
    health.warn_once(
        f"metrics:attribute:{what}",
        "%s of a measurement is of type %s, expected text, a number or a truth value; it is left out "
        "(further ones silently)",
        what,
        type(value).__name__,
    )
