"""Add two ratios, and divide the rows into those to train with and those to test with."""

from __future__ import annotations

from pathlib import Path

import hydra
import pandas as pd
from omegaconf import DictConfig
from sklearn.model_selection import train_test_split

import otel_ml

CLEAN, TRAIN, TEST = Path("data/clean.csv"), Path("data/train.parquet"), Path("data/test.parquet")


@otel_ml.step(inputs=[CLEAN], outputs=[TRAIN, TEST])
def features(test_share: float, seed: int) -> None:
    """Write both parts.

    Args:
        test_share: Share of the rows that are kept for the test.
        seed: Decides which.
    """
    table = pd.read_csv(CLEAN)
    table["area per radius"] = table["mean area"] / table["mean radius"]
    table["worst to mean radius"] = table["worst radius"] / table["mean radius"]
    train, test = train_test_split(table, test_size=test_share, random_state=seed, stratify=table["target"])
    train.to_parquet(TRAIN)
    test.to_parquet(TEST)


@hydra.main(config_path="../conf", config_name="config", version_base=None)
def main(config: DictConfig) -> None:
    """Run the stage."""
    features(config.test_share, config.seed)


if __name__ == "__main__":
    main()
