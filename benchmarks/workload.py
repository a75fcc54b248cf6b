"""The call that every subject watches, and what a subject is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Features = dict[str, float]

FEATURES: Features = {f"feature_{index}": index * 1.37 for index in range(10)}
PREDICTION = 0.25
BUCKETS = (1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Bounds in seconds of the histograms written by hand: as many as ours has."""


def predict(features: Features) -> float:
    """Do next to nothing, so that what is measured is the instrumentation."""
    return PREDICTION


def fail(features: Features) -> float:
    raise ValueError("no such model")


def nothing() -> None:
    """Flush where there is nothing to flush."""


def one_row() -> Callable[[Features], object]:
    """Return a call that asks a fitted pipeline, a scaler and a logistic regression, about one row of ten features."""
    import numpy as np  # noqa: PLC0415  no other subject pays for it
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415
    from sklearn.pipeline import Pipeline  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    rows = np.random.default_rng(0).normal(size=(200, 10))
    fitted = Pipeline([("scale", StandardScaler()), ("model", LogisticRegression())]).fit(rows, rows[:, 0] > 0)
    row = rows[:1]
    return lambda features: fitted.predict(row)


@dataclass(frozen=True)
class Subject:
    """What one worker process measures.

    Args:
        call: Takes the features; makes one call of the workload with the instrumentation around it.
        flush: Waits until everything recorded before has left the process.
        spans_per_call: Spans that must reach the exporter for each call; fewer mean that spans were lost.
        switch: Puts the instrumentation on, or takes it off until it is put on again; None: that cannot be done.
    """

    call: Callable[[Features], object]
    flush: Callable[[], object] = nothing
    spans_per_call: int = 1
    switch: Callable[[bool], object] | None = None
