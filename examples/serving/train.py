"""A training run: `python train.py` fits both versions of the credit model and writes them into a directory."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

import model
import pandas as pd
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline

import otel_ml

log = logging.getLogger("credit.training")


@otel_ml.step
def load(data: Path | None, rows: int) -> pd.DataFrame:
    """Read the applicants of the past from a CSV file; without one, draw them."""
    table = model.sample(rows) if data is None else pd.read_csv(data)
    log.info("loaded %d applicants, of whom %.1f %% defaulted", len(table), 100 * table[model.LABEL].mean())
    return table


@otel_ml.step
def split(table: pd.DataFrame, test_share: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Keep a part of the applicants away from training."""
    training, held_out = train_test_split(table, test_size=test_share, random_state=model.SEED)
    return training, held_out


@otel_ml.step
def train(version: str, table: pd.DataFrame) -> Pipeline:
    """Fit one version."""
    pipeline = model.fit(version, table)
    log.info("trained version %s on %d applicants", version, len(table))
    return pipeline


@otel_ml.step
def evaluate(version: str, pipeline: Pipeline, table: pd.DataFrame) -> float:
    """Measure how well a version ranks applicants that it has not seen."""
    score = float(roc_auc_score(table[model.LABEL], pipeline.predict_proba(table[model.COLUMNS])[:, 1]))
    log.info("version %s: area under the curve %.3f", version, score, extra={"version": version, "auc": score})
    return score


def main() -> None:
    """Run the pipeline as one run: all its spans and log lines share one run id."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, default=Path("models"), help="directory to write the models into")
    parser.add_argument("--data", type=Path, help="CSV file of past applicants; default: they are drawn")
    parser.add_argument("--rows", type=int, default=4000, help="applicants to draw")
    arguments = parser.parse_args()
    config: dict[str, Any] = {"seed": model.SEED, "test_share": 0.25, **vars(arguments)}
    with otel_ml.configure(service_name="credit-training"), otel_ml.run("train-credit", config=config):
        training, held_out = split(load(arguments.data, arguments.rows), config["test_share"])
        for version in (model.STABLE, model.CANARY):
            pipeline = train(version, training)
            evaluate(version, pipeline, held_out)
            log.info("wrote %s", model.save(arguments.models, version, pipeline))


if __name__ == "__main__":
    main()
