"""Importances of a model's features as artifacts of the active run: a table of each kind, and a picture of it."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

from opentelemetry import context as context_api
from opentelemetry import trace

from otel_ml import health
from otel_ml.errors import ConfigurationError
from otel_ml.patches import require

FOLDER = "feature_importances"
"""Folder of a run's artifacts that tables and pictures are in."""

_MOST_BARS = 30


class _Table(NamedTuple):
    kind: str
    features: Sequence[str]
    means: Sequence[float]
    deviations: Sequence[float] | None


def log_importances(model: Any, X: Any, y: Any, **options: Any) -> None:
    """Store importances of a model's features as artifacts of MLflow's active run, in `feature_importances/`.

    `impurity.csv` has what the estimator itself says (`feature_importances_`), or `coefficients.csv` the size of its
    coefficients (`coef_`, the mean over classes); of a pipeline its last step, by the names that reach it; of a
    search the best estimator. `permutation.csv` has how much the score falls when a column of `X` is shuffled. Beside
    each table is a picture where matplotlib is installed. Without an active run MLflow starts one, as for all that is
    logged. What cannot be computed or stored is a warning.

    Args:
        model: A fitted estimator of scikit-learn, or one that works as these.
        X: Features to measure the permutation importances on, best those that the model has not seen.
        y: Their targets.
        **options: Of `sklearn.inspection.permutation_importance`, such as `scoring`, `n_repeats`, `max_samples`,
            `n_jobs`; `random_state` is 0 unless it is given.

    Raises:
        ConfigurationError: `model` does not predict.
        MissingExtraError: MLflow is not installed.
    """
    require("mlflow")
    if not callable(getattr(model, "predict", None)):
        raise ConfigurationError("otel_ml.mlflow.log_importances(model)", type(model), "a fitted estimator")
    kinds: dict[str, Callable[[], _Table | None]] = {
        "own": lambda: _own(model),
        "permutation": lambda: _permutation(model, X, y, options),
    }
    for kind, compute in kinds.items():
        try:
            table = compute()
            if table is not None:
                _store(table)
        except Exception as error:  # of the model, or of the store: a training that ran for hours goes on
            health.warn_once(
                f"importances:{kind}:{type(error).__name__}",
                "%s importances of %s were not stored: %s: %s", kind, type(model).__name__, type(error).__name__, error,
            )  # fmt: skip


def _own(model: Any) -> _Table | None:
    """Return what an estimator says itself; None where it says nothing."""
    best = getattr(model, "best_estimator_", model)
    steps = getattr(best, "steps", None)
    estimator = steps[-1][1] if steps else best
    kind, values = "impurity", getattr(estimator, "feature_importances_", None)
    if values is None:
        kind, values = "coefficients", getattr(estimator, "coef_", None)
        values = None if values is None else abs(values)
    if values is None:
        return None
    if len(values.shape) == 2:
        values = values.mean(axis=0)
    means = [float(value) for value in values.ravel()] if hasattr(values, "ravel") else list(map(float, values))
    before = best[:-1] if steps and len(steps) > 1 else None
    return _Table(kind, _names_before(before, estimator, len(means)), means, None)


def _names_before(before: Any, estimator: Any, number: int) -> list[str]:
    """Return the names of the features that reach an estimator."""
    names = getattr(estimator, "feature_names_in_", None)
    if names is None and before is not None:
        try:
            names = before.get_feature_names_out()
        except Exception:  # a step that does not know its names
            names = None
    return _numbered(names, number)


def _numbered(names: Any, number: int) -> list[str]:
    found = [] if names is None else [str(name) for name in names]
    return found if len(found) == number else [str(place) for place in range(number)]


def _permutation(model: Any, X: Any, y: Any, options: dict[str, Any]) -> _Table:
    from sklearn.inspection import permutation_importance  # noqa: PLC0415  it is loaded where a model is

    with _quiet():
        result = permutation_importance(model, X, y, **{"random_state": 0, **options})
    if not hasattr(result, "importances_mean"):
        raise ValueError("one scoring is needed")
    means, deviations = result.importances_mean.tolist(), result.importances_std.tolist()
    names = getattr(X, "columns", None)
    names = getattr(model, "feature_names_in_", None) if names is None else names
    return _Table("permutation", _numbered(names, len(means)), means, deviations)


@contextmanager
def _quiet() -> Iterator[None]:
    """Have the hundreds of scores make neither spans, nor metrics of MLflow's autolog."""
    span_context = trace.get_current_span().get_span_context()
    if span_context.is_valid:
        unsampled = trace.SpanContext(span_context.trace_id, span_context.span_id, is_remote=False)
    else:
        unsampled = trace.SpanContext(1, 1, is_remote=False)
    token = context_api.attach(trace.set_span_in_context(trace.NonRecordingSpan(unsampled)))
    try:
        with _without_autolog():
            yield
    finally:
        context_api.detach(token)


def _without_autolog() -> AbstractContextManager[None]:
    if "mlflow.sklearn" not in sys.modules:
        return nullcontext()
    from mlflow.utils.autologging_utils import disable_autologging  # noqa: PLC0415  MLflow is there

    return disable_autologging()


def _store(table: _Table) -> None:
    import mlflow  # noqa: PLC0415  it is loaded when it is used

    order = sorted(range(len(table.means)), key=lambda place: -table.means[place])
    mlflow.log_text(_csv(table, order), f"{FOLDER}/{table.kind}.csv")
    picture = _picture(table, order[:_MOST_BARS])
    if picture is not None:
        mlflow.log_figure(picture, f"{FOLDER}/{table.kind}.png")


def _csv(table: _Table, order: list[int]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["feature", "importance"] + ([] if table.deviations is None else ["std"]))
    for place in order:
        deviation = [] if table.deviations is None else [table.deviations[place]]
        writer.writerow([table.features[place], table.means[place], *deviation])
    return text.getvalue()


def _picture(table: _Table, order: list[int]) -> Any:
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415  only if it is there
    except ImportError:
        health.warn_once("importances:matplotlib", "matplotlib is not installed: importances have no picture")
        return None
    figure = Figure(figsize=(8, 1 + 0.3 * len(order)), layout="constrained")
    axes = figure.subplots()
    shown = order[::-1]  # the largest on top
    deviations = None if table.deviations is None else [table.deviations[place] for place in shown]
    axes.barh([table.features[place] for place in shown], [table.means[place] for place in shown], xerr=deviations)
    axes.set_title(table.kind)
    return figure
