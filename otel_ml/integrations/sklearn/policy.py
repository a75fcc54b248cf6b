"""Which calls of estimators are worth a span."""

from __future__ import annotations

import inspect
import sys
from typing import Any

METHODS = (
    "fit", "fit_transform", "fit_predict", "fit_resample", "partial_fit", "transform", "inverse_transform", "predict",
    "predict_proba", "predict_log_proba", "decision_function", "score", "score_samples",
)  # fmt: skip
"""Names of the methods that are watched."""

FITTING = frozenset(("fit", "fit_transform", "fit_predict", "fit_resample"))
"""Those after which an estimator is fitted."""

MOST_CALLS = 10_000
"""Calls inside one call that get spans; further ones are only counted, on its span."""

_REPEATING = frozenset(("IterativeImputer", "SequentialFeatureSelector"))
_LABELS = frozenset(("LabelBinarizer", "LabelEncoder", "MultiLabelBinarizer"))
_PARTS = frozenset(
    ("base_estimator", "classifier", "estimator", "estimators", "regressor", "steps", "transformer",
     "transformer_list", "transformers")
)  # fmt: skip


def worth_span(estimator: type[Any], method: str, inside: type[Any] | None) -> bool:
    """Return whether a method of an estimator gets a span.

    Not as a member of an ensemble of many alike: forests, bagging and boosting (`sklearn.ensemble.BaseEnsemble`),
    `IterativeImputer` and `SequentialFeatureSelector`. And not as a tool: what encodes labels inside another estimator,
    and whatever one of scikit-learn's own estimators uses that is not made of others. Log records of theirs belong to
    the span of the whole. Voting, stacking, pipelines, searches, and classes of your own show each.

    Args:
        estimator: Class of the estimator.
        method: Name of the method.
        inside: Class of the estimator inside whose call that happens; None: there is none.
    """
    if inside is None:
        return True
    ensemble = getattr(sys.modules.get("sklearn.ensemble"), "BaseEnsemble", None)
    if (ensemble is not None and issubclass(inside, ensemble)) or inside.__name__ in _REPEATING:
        return False
    if estimator.__name__ in _LABELS:
        return False
    return not inside.__module__.startswith("sklearn.") or _is_made_of_others(inside)


def _is_made_of_others(kind: type[Any]) -> bool:
    """Whether an estimator takes others as parameters."""
    return not _PARTS.isdisjoint(inspect.signature(kind).parameters)
