"""Test the model, and say in the run that trained it how good it is."""

from __future__ import annotations

import json
from pathlib import Path

import hydra
import joblib
import mlflow
from omegaconf import DictConfig

import otel_ml
from stages.model import rows_and_labels

TEST, MODEL = Path("data/test.parquet"), Path("data/model.joblib")
RUN, METRICS = Path("data/mlflow_run.txt"), Path("metrics.json")


@otel_ml.step(inputs=[TEST, MODEL], outputs=[METRICS])
def evaluate() -> None:
    """Write the accuracy on rows that the model has not seen."""
    rows, labels = rows_and_labels(str(TEST))
    accuracy = float(joblib.load(MODEL).score(rows, labels))
    mlflow.log_metric("accuracy", accuracy)
    METRICS.write_text(json.dumps({"accuracy": accuracy}))


@hydra.main(config_path="../conf", config_name="config", version_base=None)
def main(config: DictConfig) -> None:
    """Run the stage."""
    mlflow.set_tracking_uri(config.mlflow.tracking_uri)
    with mlflow.start_run(run_id=RUN.read_text()):
        evaluate()


if __name__ == "__main__":
    main()
