"""Look for good parameters with Optuna; MLflow shows how it went."""

from __future__ import annotations

import json
from pathlib import Path

import hydra
import mlflow
import optuna
from omegaconf import DictConfig
from sklearn.model_selection import cross_val_score

import otel_ml
from stages.model import pipeline, rows_and_labels

TRAIN, BEST = Path("data/train.parquet"), Path("data/best.json")


@otel_ml.step(inputs=[TRAIN], outputs=[BEST])
def tune(config: DictConfig) -> None:
    """Write the best parameters of some trials."""
    rows, labels = rows_and_labels(str(TRAIN))

    def accuracy(trial: optuna.Trial) -> float:
        parameters = {
            "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.5, log=True),
            "max_depth": trial.suggest_int("max_depth", 1, 4),
        }
        return float(cross_val_score(pipeline(config.seed, **parameters), rows, labels).mean())

    study = optuna.create_study(
        study_name="breast-cancer", direction="maximize", sampler=optuna.samplers.TPESampler(seed=config.seed)
    )
    study.optimize(accuracy, n_trials=config.trials)
    BEST.write_text(json.dumps(study.best_params))


@hydra.main(config_path="../conf", config_name="config", version_base=None)
def main(config: DictConfig) -> None:
    """Run the stage."""
    mlflow.set_tracking_uri(config.mlflow.tracking_uri)
    mlflow.set_experiment(config.mlflow.experiment)
    with mlflow.start_run(run_name="tune"):
        tune(config)


if __name__ == "__main__":
    main()
