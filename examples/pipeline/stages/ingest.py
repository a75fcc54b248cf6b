"""Take the data set that scikit-learn ships: 569 tumours, 30 measurements of each, benign or malignant."""

from __future__ import annotations

from pathlib import Path

import hydra
from omegaconf import DictConfig
from sklearn.datasets import load_breast_cancer

import otel_ml

RAW = Path("data/raw.csv")


@otel_ml.step(outputs=[RAW])
def ingest() -> None:
    """Write the data set as it is."""
    RAW.parent.mkdir(exist_ok=True)
    load_breast_cancer(as_frame=True).frame.to_csv(RAW, index=False)


@hydra.main(config_path="../conf", config_name="config", version_base=None)
def main(config: DictConfig) -> None:
    """Run the stage."""
    ingest()


if __name__ == "__main__":
    main()
