"""Leave out what cannot be right: rows that occur twice, and measurements below zero."""

from __future__ import annotations

import logging
from pathlib import Path

import hydra
import pandas as pd
from omegaconf import DictConfig

import otel_ml

RAW, CLEAN = Path("data/raw.csv"), Path("data/clean.csv")

log = logging.getLogger("pipeline.clean")


@otel_ml.step(inputs=[RAW], outputs=[CLEAN])
def clean() -> None:
    """Write the rows that can be right."""
    raw = pd.read_csv(RAW)
    kept = raw[(raw.drop(columns="target") >= 0).all(axis=1)].drop_duplicates()
    log.info("kept %d of %d rows", len(kept), len(raw))
    kept.to_csv(CLEAN, index=False)


@hydra.main(config_path="../conf", config_name="config", version_base=None)
def main(config: DictConfig) -> None:
    """Run the stage."""
    clean()


if __name__ == "__main__":
    main()
