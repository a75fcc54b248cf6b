"""Train the model with the best parameters, as a run of MLflow."""

from __future__ import annotations

import json
from pathlib import Path

import hydra
import joblib
import mlflow
from omegaconf import DictConfig

import otel_ml
from stages.model import pipeline, rows_and_labels

TRAIN, BEST = Path("data/train.parquet"), Path("data/best.json")
MODEL, RUN = Path("data/model.joblib"), Path("data/mlflow_run.txt")


@otel_ml.step(inputs=[TRAIN, BEST], outputs=[MODEL])
def train(seed: int) -> None:
    """Write the fitted model, and the importance of its features to MLflow.

    Args:
        seed: Of the model.
    """
    rows, labels = rows_and_labels(str(TRAIN))
    parameters = json.loads(BEST.read_text())
    mlflow.log_params(parameters)
    model = pipeline(seed, **parameters).fit(rows, labels)
    otel_ml.mlflow.log_importances(model, rows, labels)
    joblib.dump(model, MODEL)


@hydra.main(config_path="../conf", config_name="config", version_base=None)
def main(config: DictConfig) -> None:
    """Run the stage."""
    mlflow.set_tracking_uri(config.mlflow.tracking_uri)
    mlflow.set_experiment(config.mlflow.experiment)
    with mlflow.start_run(run_name="train") as run:
        RUN.write_text(run.info.run_id)
        train(config.seed)


if __name__ == "__main__":
    main()
