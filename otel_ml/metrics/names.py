"""Names and units of OpenTelemetry as Prometheus writes them.

By the specification's "Prometheus and OpenMetrics compatibility" page; units as OpenTelemetry's own Prometheus
exporters spell them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

UNITS: Final = {
    "d": "days", "h": "hours", "min": "minutes", "s": "seconds", "ms": "milliseconds", "us": "microseconds",
    "ns": "nanoseconds", "By": "bytes", "KiBy": "kibibytes", "MiBy": "mebibytes", "GiBy": "gibibytes",
    "TiBy": "tibibytes", "KBy": "kilobytes", "MBy": "megabytes", "GBy": "gigabytes", "TBy": "terabytes",
    "m": "meters", "V": "volts", "A": "amperes", "J": "joules", "W": "watts", "g": "grams", "Cel": "celsius",
    "Hz": "hertz", "1": "", "%": "percent",
}  # fmt: skip
PER_UNITS: Final = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week", "mo": "month", "y": "year"}

_ANNOTATION = re.compile(r"\{[^}]*\}")
_NOT_IN_NAME = re.compile(r"[^a-zA-Z0-9:]+")
_NOT_IN_LABEL = re.compile(r"[^a-zA-Z0-9]+")


def metric_name(name: str) -> str:
    """Return a metric's name: `otel_ml.step.duration` is `otel_ml_step_duration`."""
    return _not_a_digit_first(_NOT_IN_NAME.sub("_", name)) or "_"


def unit_name(unit: str) -> str:
    """Return a unit's name: `s` is `seconds`, `By/s` is `bytes_per_second`, `{item}` and `1` are nothing."""
    unit = _ANNOTATION.sub("", unit).strip()
    if unit in UNITS:
        return UNITS[unit]
    top, slash, bottom = unit.partition("/")
    top = UNITS.get(top, top)
    if slash and bottom:
        top = f"{top}_per_{PER_UNITS.get(bottom, bottom)}"
    return _NOT_IN_LABEL.sub("_", top).strip("_")


def labels(attributes: Mapping[str, Any]) -> dict[str, str]:
    """Return attributes as labels; values of names that become the same are joined, as the specification asks."""
    found: dict[str, list[str]] = {}
    for name in sorted(attributes):
        found.setdefault(label_name(name), []).append(label_value(attributes[name]))
    return {name: ";".join(values) for name, values in found.items()}


def label_name(name: str) -> str:
    """Return a label's name: `otel_ml.model.name` is `otel_ml_model_name`. `le` is the bucket's own."""
    label = _not_a_digit_first(_NOT_IN_LABEL.sub("_", name)) or "_"
    return "exported_le" if label == "le" else label


def label_value(value: object) -> str:
    """Return a label's value as text that every encoder takes."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping)):
        return "[" + ",".join(label_value(item) for item in value) + "]"
    return str(value).encode("utf-8", "replace").decode("utf-8")


def _not_a_digit_first(name: str) -> str:
    return f"_{name}" if name[:1].isdigit() else name
