"""joblib's workers take the caller's context along, and what they record leaves them before they end."""

from __future__ import annotations

from collections.abc import Callable

from otel_ml import health
from otel_ml.luggage import Rider


def propagate(*riders: Rider) -> Callable[[], None]:
    """Have joblib's back ends take the caller's context, run and baggage to their workers, and set these up.

    `loky`, `threading` and `multiprocessing`, however they are chosen, and what is nested in them; `dask` and `ray`
    too. A worker process without telemetry of its own gets that of the process that calls, in the same run's folder or
    at the same endpoint, and delivers after each batch, because joblib kills workers.

    Args:
        riders: What goes along besides.

    Returns:
        A function that registers again what was registered before, unless somebody else has replaced ours since.
    """
    try:
        from otel_ml.integrations import joblib_backends  # noqa: PLC0415  joblib loads when it is used
    except ImportError as error:
        health.warn_once("joblib", "joblib cannot be watched (%s): pip install joblib", error)
        return _nothing
    return joblib_backends.register(riders)


def _nothing() -> None:
    """Undo what was not done."""
