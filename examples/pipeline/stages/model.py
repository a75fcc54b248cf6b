"""The model, as tuning and training both make it."""

from __future__ import annotations

import pandas as pd
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler


def pipeline(seed: int, **parameters: float) -> Pipeline:
    """Return an estimator that is not fitted.

    Args:
        seed: Of the model.
        **parameters: Of `GradientBoostingClassifier`.
    """
    model = GradientBoostingClassifier(random_state=seed, **parameters)
    return Pipeline([("scale", StandardScaler()), ("model", model)])


def rows_and_labels(path: str) -> tuple[pd.DataFrame, pd.Series]:
    """Read a table; return its features and what is to be told from them."""
    table = pd.read_parquet(path)
    return table.drop(columns="target"), table["target"]
