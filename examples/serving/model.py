"""The credit model: the data it learns from, its two versions, and how a fitted one is kept and asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import otel_ml

NAME = "credit"
STABLE, CANARY = "1", "2"
SEED = 7
PURPOSES = ("car", "education", "furniture", "renovation", "refinancing")
NUMBERS = ["income", "amount", "age", "years_employed", "late_payments", "utilisation"]
COLUMNS = [*NUMBERS, "purpose"]
LABEL = "defaulted"

Applicant = dict[str, Any]


def sample(rows: int, seed: int = SEED) -> pd.DataFrame:
    """Draw applicants, and whether each paid back, from one fixed model of the world."""
    random = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "income": random.lognormal(10.4, 0.45, rows).round(2),
            "amount": random.lognormal(9.1, 0.7, rows).round(2),
            "age": random.integers(18, 80, rows).astype(float),
            "years_employed": random.exponential(6.0, rows).round(1),
            "late_payments": random.poisson(0.7, rows).astype(float),
            "utilisation": random.beta(2.0, 3.0, rows).round(3),
            "purpose": random.choice(PURPOSES, rows),
        }
    )
    burden = table["amount"] / table["income"]
    stretched = (burden > 0.35) & (table["utilisation"] > 0.4)
    risk = 0.8 * table["late_payments"] + 1.2 * table["utilisation"] - 0.08 * table["years_employed"]
    risk += 2.2 * stretched + 1.8 * ((table["purpose"] == "car") & (table["age"] < 30))
    table[LABEL] = random.random(rows) < 1.0 / (1.0 + np.exp(3.0 - risk))
    return table


def fit(version: str, table: pd.DataFrame) -> Pipeline:
    """Fit one version. Both refuse a purpose that they never saw, and a number that is missing."""
    columns = make_column_transformer(
        (StandardScaler(), NUMBERS), (OneHotEncoder(handle_unknown="error", sparse_output=False), ["purpose"])
    )
    classifiers = {
        STABLE: LogisticRegression(max_iter=1000),
        CANARY: GradientBoostingClassifier(n_estimators=150, learning_rate=0.05, subsample=0.5, random_state=SEED),
    }
    return make_pipeline(columns, classifiers[version]).fit(table[COLUMNS], table[LABEL])


@otel_ml.step
def features(applicants: list[Applicant]) -> pd.DataFrame:
    """Turn applicants as they were sent into the table that the pipeline was fitted on."""
    return pd.DataFrame(applicants, columns=COLUMNS).astype(dict.fromkeys(NUMBERS, float))


class CreditModel:
    """One version of the model, ready to be asked.

    Args:
        version: `1` or `2`.
        pipeline: The fitted pipeline.
    """

    def __init__(self, version: str, pipeline: Pipeline) -> None:
        self.version = version
        self._pipeline = pipeline

    @otel_ml.inference(model=NAME, version=lambda self: self.version, feature_version="3")
    def predict(self, applicants: list[Applicant]) -> list[float]:
        """Return the probability of default of each applicant.

        Raises:
            ValueError: An applicant has a missing number or an unknown purpose; the pipeline itself says so.
        """
        return [float(risk) for risk in self._pipeline.predict_proba(features(applicants))[:, 1]]


@otel_ml.step
def save(directory: Path, version: str, pipeline: Pipeline) -> Path:
    """Write one fitted version into the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{NAME}-{version}.joblib"
    joblib.dump(pipeline, path)
    return path


def load(directory: Path) -> dict[str, CreditModel]:
    """Read the versions that are in the directory. Like every pickle, a file there is code: it must be your own."""
    found = {version: directory / f"{NAME}-{version}.joblib" for version in (STABLE, CANARY)}
    return {version: CreditModel(version, joblib.load(path)) for version, path in found.items() if path.exists()}
