"""Which calls are worth a span by default."""

from __future__ import annotations

from typing import Any

import pytest
from sklearn.base import BaseEstimator
from sklearn.cluster import KMeans, SpectralClustering
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier, StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import LabelEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from otel_ml.integrations.sklearn.policy import worth_span


class Own(BaseEstimator):
    """A class that somebody wrote."""


@pytest.mark.parametrize(
    ("estimator", "inside", "expected"),
    [
        (LabelEncoder, None, True),
        (StandardScaler, Pipeline, True),
        (Pipeline, GridSearchCV, True),
        (StandardScaler, ColumnTransformer, True),
        (LogisticRegression, StackingClassifier, True),
        (Pipeline, Own, True),
        (DecisionTreeClassifier, RandomForestClassifier, False),
        (KMeans, SpectralClustering, False),
        (LabelEncoder, LogisticRegression, False),
        (LabelEncoder, Own, False),
    ],
)
def test_parts_are_shown_and_members_alike_and_tools_are_not(
    estimator: type[Any], inside: type[Any] | None, expected: bool
) -> None:
    """What a reader of a trace would miss, and what would bury it."""
    assert worth_span(estimator, "fit", inside) is expected
