"""The log file of this process as an artifact of its runs of MLflow."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from otel_ml import health

if TYPE_CHECKING:
    from otel_ml.telemetry import Telemetry

FOLDER = "logs"
"""Folder of a run's artifacts that the files are in."""


@dataclass
class _Options:
    enabled: bool = True


options = _Options()
_last: list[Telemetry] = []


def remember() -> None:
    """Take note of the telemetry of this process: at its exit it may end before a run of MLflow does."""
    from otel_ml.telemetry import active  # noqa: PLC0415  the SDK loads when it is configured

    telemetry = active()
    if telemetry is not None:
        _last[:] = [telemetry]


def store(run_id: str) -> None:
    """Make the log file of this process, as it is now, an artifact of a run.

    Args:
        run_id: MLflow's.
    """
    remember()
    if not options.enabled or not _last:
        return
    telemetry = _last[0]
    _flush()
    import mlflow  # noqa: PLC0415  the program has imported it

    client = mlflow.MlflowClient()
    for path in _files(telemetry):
        try:
            client.log_artifact(run_id, str(path), FOLDER)
        except Exception as error:  # the store may be away: the run ends all the same
            health.warn_once("mlflow:log_file", "%s did not become an artifact of the MLflow run: %s", path.name, error)


def _flush() -> None:
    """Have what was logged so far written; an endpoint that spans go to is not waited for."""
    from otel_ml.logs.handler import Handler  # noqa: PLC0415  as above

    for handler in logging.getLogger().handlers:
        if isinstance(handler, Handler):
            handler.flush()


def _files(telemetry: Telemetry) -> list[Path]:
    """Return the log file and what was rotated out of it, oldest first."""
    from otel_ml.logs.files import base_name  # noqa: PLC0415  as above

    logs = telemetry.settings.logs
    if logs is None:
        return []
    own = f"{base_name(telemetry.settings.service_name)}.log" if logs.append else f"*-{os.getpid()}.log"
    return sorted((logs.directory or telemetry.directory).glob(f"{own}*"), key=lambda path: path.stat().st_mtime)
