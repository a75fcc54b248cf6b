"""MLflow's autolog for scikit-learn puts methods of its own in the place of ours; ours go around them again."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from otel_ml import health
from otel_ml.patches import Undo, replace


def patch() -> list[Undo]:
    """Have `mlflow.sklearn.autolog` leave the spans of estimators in place."""
    return [replace((sys.modules["mlflow.sklearn"],), "autolog", _watched_after)]


def _watched_after(autolog: Callable[..., Any]) -> Callable[..., Any]:
    def logging(*args: Any, **kwargs: Any) -> Any:
        result = autolog(*args, **kwargs)
        try:
            from otel_ml.integrations.sklearn import SklearnInstrumentor, patching  # noqa: PLC0415  sklearn is there

            if SklearnInstrumentor().is_instrumented_by_opentelemetry:
                patching.patch_tree(sys.modules["sklearn.base"].BaseEstimator)
        except Exception as error:
            health.internal_error("instrumentation of scikit-learn", error)
        return result

    return logging
