"""MLflow's own traces stay in MLflow: with an OTLP endpoint in the environment, which is ours, they would go there."""

from __future__ import annotations

import os

VARIABLE = "MLFLOW_ENABLE_OTLP_EXPORTER"
_set_here: list[str] = []


def keep() -> None:
    """Have them go to MLflow's store while spans of ours go to an OTLP endpoint; what the user has set holds."""
    from otel_ml.telemetry import active  # noqa: PLC0415  the SDK loads when it is configured

    telemetry = active()
    exports = telemetry is not None and "otlp" in telemetry.settings.exporters["traces"]
    if exports and VARIABLE not in os.environ:
        os.environ[VARIABLE] = "false"
        _set_here.append(VARIABLE)


def release() -> None:
    """Undo it."""
    while _set_here:
        os.environ.pop(_set_here.pop(), None)
