"""How good a model was, once the truth is known: predictions joined with outcomes, by time and version."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import orjson

from otel_ml.audit.extras import require
from otel_ml.audit.reading.query import query
from otel_ml.errors import ConfigurationError

Metric = Callable[[list[Any], list[Any]], Any]

_DAY: Final = 86_400.0
_NUMBERS: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_JOINED: Final = """
    SELECT model_version, time_bucket(to_microseconds($window), p.time, TIMESTAMP '1970-01-01') AS start,
        count(*) AS records,
        list({'prediction': prediction, 'label': label}) FILTER (label IS NOT NULL AND prediction IS NOT NULL) AS pairs
    FROM predictions AS p
    LEFT JOIN (SELECT record_id, arg_max(label, (time_unix_nano, seq)) AS label FROM outcomes GROUP BY record_id)
        USING (record_id)
    WHERE model_name = $model AND status = 'ok' AND "rows" = 1
    GROUP BY model_version, start ORDER BY start, model_version
"""


@dataclass(frozen=True, slots=True)
class Performance:
    """One version of a model in one window of time.

    Args:
        model_version: The version, or None.
        start: Begin of the window, UTC.
        end: End of the window.
        records: Predictions on record in it.
        labelled: Of these, those whose outcome is known: what `value` is computed from.
        value: What the metric returned; None when there was nothing to compute, or it failed.
        problem: Why the metric failed; empty when it did not.
    """

    model_version: str | None
    start: datetime
    end: datetime
    records: int
    labelled: int
    value: Any
    problem: str = ""


def performance(
    model: str,
    *,
    metric: str | Metric = "accuracy_score",
    window: float = _DAY,
    prediction: Callable[[Any], Any] | None = None,
    directory: str | Path | None = None,
) -> list[Performance]:
    """Return a metric of a model for each of its versions and each window of time, the oldest window first.

    The latest outcome of a record counts. Failed calls and summaries of large batches have no part in it.

    Args:
        model: Name of the model.
        metric: Name of a function in `sklearn.metrics`, or a function of true and predicted values.
        window: Seconds; windows begin at multiples of it since 1970, so days begin at midnight UTC.
        prediction: Takes from a recorded prediction what the metric wants; default: the prediction, or its only item.
        directory: Audit directory; None: that of this process, else the default one.

    Raises:
        ConfigurationError: There is no such metric, or the window is not above 0.
        MissingExtraError: DuckDB, or for a metric by name scikit-learn, is not installed.
    """
    compute = _metric(metric)
    seconds: object = window
    if not isinstance(seconds, int | float) or not 1e-6 <= seconds < math.inf:
        raise ConfigurationError("performance(window=)", window, "a number of seconds above 0")
    rows = query(_JOINED, {"model": model, "window": round(window * 1e6)}, directory=directory)
    return [_measured(row, compute, window, prediction or _only_item) for row in rows]


def _metric(metric: str | Metric) -> Metric:
    if not isinstance(metric, str):
        if not callable(metric):
            raise ConfigurationError(
                "performance(metric=)", metric, "a name or a function of true and predicted values"
            )
        return metric
    found = getattr(require("sklearn.metrics", "sklearn", "for metrics by name"), metric, None)
    if metric.startswith("_") or not callable(found):
        raise ConfigurationError(
            "performance(metric=)", metric, "a function of sklearn.metrics, such as 'accuracy_score' or 'roc_auc_score'"
        )
    known: Metric = found
    return known


def _measured(row: dict[str, Any], compute: Metric, window: float, prediction: Callable[[Any], Any]) -> Performance:
    pairs = row["pairs"] or []
    value, problem = None, ""
    if pairs:
        try:
            predicted = [_number(prediction(orjson.loads(pair["prediction"]))) for pair in pairs]
            value = _plain(compute([_number(orjson.loads(pair["label"])) for pair in pairs], predicted))
        except (ValueError, TypeError, KeyError, IndexError) as error:  # such as a window with one class only
            problem = f"{type(error).__name__}: {error}"
    end = row["start"] + timedelta(seconds=window)
    return Performance(row["model_version"], row["start"], end, row["records"], len(pairs), value, problem)


def _only_item(value: Any) -> Any:
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _number(value: Any) -> Any:
    return _NUMBERS.get(value, value) if isinstance(value, str) else value


def _plain(value: Any) -> Any:
    """Return a numpy scalar as a Python number."""
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 else value
