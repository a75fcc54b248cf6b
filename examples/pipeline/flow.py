"""The whole pipeline as a flow of Prefect: reproduce what changed, and say how good the model is.

otel-ml run --name pipeline -- python flow.py [ARGUMENTS OF dvc repro]
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

from prefect import flow, task

import otel_ml

log = logging.getLogger("pipeline.flow")


@task
def reproduce(arguments: list[str]) -> None:
    """Have DVC run the stages whose inputs changed; its process is set up like this one."""
    with otel_ml.run("repro"):
        subprocess.run(["dvc", "repro", *arguments], check=True)


@task
def accuracy() -> float:
    """Read how good the model is."""
    found: float = json.loads(Path("metrics.json").read_text())["accuracy"]
    log.info("accuracy %.3f", found)
    return found


@flow(name="breast-cancer")
def pipeline(arguments: list[str]) -> float:
    """Run it all."""
    reproduce(arguments)
    return accuracy()


if __name__ == "__main__":
    pipeline(sys.argv[1:])
