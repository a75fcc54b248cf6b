"""What a span says of an estimator and its input: types, shapes, parameters, fitted sizes and scores; no data."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from otel_ml import capture, conventions, health, redaction, summaries

_MOST_FACTS = 32
_MOST_IMPORTANCES = 50
_LONGEST_JSON = 8192
_MOST_KNOWN = 256
_MOST_ITEMS = 256
_PLAIN = frozenset({str, int, float, bool, type(None)})
_SIZED = frozenset({str, dict, list, tuple})
_known: dict[tuple[bytes, redaction.Redactor], str] = {}
_MEASURES = ("score", "loss", "inertia", "error", "bound")
_FIRST = ("X", "X_train", "raw_documents", "y")

InputKey = tuple[type[Any], int | None, int | None, Any]


def input_attributes(key: InputKey) -> dict[str, Any]:
    """Return what is said of an input: the time to find the key does not depend on its size.

    Args:
        key: Its class, rows, columns and dtype.
    """
    kind, rows, columns, dtype = key
    found: dict[str, Any] = {} if kind is type(None) else {conventions.INPUT_TYPE: summaries.type_name(kind)}
    if rows is not None:
        found[conventions.INPUT_ROWS] = rows
    if columns is not None:
        found[conventions.INPUT_COLUMNS] = columns
    if dtype is not None:
        found[conventions.INPUT_DTYPES] = str(dtype)
    return found


def by_name(kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the input, and the target where there is one, of a call that names its arguments."""
    data = next((kwargs[name] for name in _FIRST if name in kwargs), None)
    return (data, kwargs["y"]) if "y" in kwargs and "X" in kwargs else (data,)


def before_fit(estimator: Any, data: tuple[Any, ...]) -> dict[str, Any]:
    """Return the attributes of a fit that are known at its start.

    Args:
        estimator: Whose.
        data: What it is fitted on.
    """
    found: dict[str, Any] = {}
    try:
        found[conventions.ESTIMATOR_VERSION] = _version(type(estimator))
        parameters = getattr(estimator, "get_params", None)
        if parameters is not None:
            shown = {name: _shown(value) for name, value in parameters(deep=False).items()}
            found[conventions.ESTIMATOR_PARAMETERS] = _json(shown)
        dtypes = capture.describe(data[0]).get("dtypes") if data else None
        if dtypes:
            found[conventions.INPUT_DTYPES] = _json(dtypes)
    except Exception as error:  # get_params of an estimator may do anything
        health.internal_error("description of an estimator", error)
    return found


def after_fit(estimator: Any, *, importances: bool) -> dict[str, Any]:
    """Return the attributes of a fit that are known at its end.

    Args:
        estimator: Whose.
        importances: Whether those of its features are asked for.
    """
    fitted: dict[str, Any] = {}
    for name, value in list(vars(estimator).items()):
        if not name.endswith("_") or name.startswith("_") or len(fitted) >= _MOST_FACTS:
            continue
        fact = _fact(name, value)
        if fact is not None:
            fitted[name] = fact
    found = {conventions.ESTIMATOR_FITTED: _json(fitted)} if fitted else {}
    if importances:
        values = _importances(estimator)
        if values is not None:
            found[conventions.ESTIMATOR_IMPORTANCES] = values
    return found


def number(value: Any) -> float | None:
    """Return a score as a number; None when it is none."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    known = summaries.recognised(type(value))
    return float(value) if known is not None and known[1] == "scalar" else None


def _fact(name: str, value: Any) -> Any:
    if isinstance(value, int):  # or a bool
        return value
    known = summaries.recognised(type(value))
    if isinstance(value, float) or (known is not None and known[1] == "scalar"):
        is_count = getattr(getattr(value, "dtype", None), "kind", "f") in "iu"
        return value.item() if is_count else number(value) if any(word in name for word in _MEASURES) else None
    if name == "best_params_" and isinstance(value, dict):
        return {key: _shown(item) for key, item in value.items()}
    if known is not None and known[1] == "array":
        return {"shape": list(summaries.shape(value))}
    if isinstance(value, (list, tuple, dict)):
        return {"length": len(value)}
    return type(value).__name__ if hasattr(value, "get_params") else None


def _shown(value: Any) -> Any:
    """Return a parameter with estimators as their class names: their own spans have more of them."""
    if hasattr(value, "get_params") and not isinstance(value, type):
        return type(value).__name__
    if isinstance(value, (list, tuple)) and any(isinstance(part, (list, tuple)) for part in value):
        return [_shown(part) for part in value]
    if isinstance(value, (list, tuple)):
        return [_shown(part) for part in value] if any(hasattr(part, "get_params") for part in value) else value
    return f"{value.__module__}.{value.__qualname__}" if hasattr(value, "__qualname__") else value


def _json(value: Any) -> str:
    """Return a masked copy as JSON; of little plain data it is remembered, for a search says the same of many fits."""
    redactor = redaction.current()
    if not redactor.repeatable or not _is_little(value):
        return _json_anew(value)
    key = sha256(repr(value).encode("utf-8", "surrogatepass")).digest(), redactor  # nothing unmasked is kept
    found = _known.get(key)
    if found is None:
        found = _json_anew(value)
        if redaction.current() is redactor:
            if len(_known) >= _MOST_KNOWN:
                _known.clear()
            _known[key] = found
    return found


def _is_little(value: Any) -> bool:
    """Whether a value is told from all others by its `repr`, which is short and runs nobody's code."""
    waiting = [value]
    for number, item in enumerate(waiting):
        kind = type(item)
        if number >= _MOST_ITEMS or (kind in _SIZED and len(item) > _MOST_ITEMS):
            return False
        if kind is dict:
            waiting += [*item.keys(), *item.values()]
        elif kind is list or kind is tuple:
            waiting += item
        elif kind not in _PLAIN or (kind is int and item.bit_length() > _MOST_ITEMS):
            return False
    return True


def _json_anew(value: Any) -> str:
    text = json.dumps(capture.features(value), separators=(",", ":"))
    return text if len(text) <= _LONGEST_JSON else json.dumps({"type": "json", "length": len(text)})


def _version(kind: type[Any]) -> str:
    library = kind.__module__.partition(".")[0]
    version = getattr(sys.modules.get(library), "__version__", None)
    sklearn = getattr(sys.modules.get("sklearn"), "__version__", "")
    return f"scikit-learn {sklearn}" if library == "sklearn" or not isinstance(version, str) else f"{library} {version}"


def _importances(estimator: Any) -> str | None:
    """Return the largest importances by name; coefficients count by their size."""
    values = getattr(estimator, "feature_importances_", None)
    if values is None:
        values = getattr(estimator, "coef_", None)
        values = None if values is None or len(summaries.shape(values)) > 2 else abs(values)
    if values is None:
        return None
    if len(summaries.shape(values)) == 2:
        values = values.mean(axis=0)
    names = getattr(estimator, "feature_names_in_", None)
    pairs = [(str(names[place]) if names is not None else str(place), float(v)) for place, v in enumerate(values)]
    return _json(dict(sorted(pairs, key=lambda pair: -pair[1])[:_MOST_IMPORTANCES]))
