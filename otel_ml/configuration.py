"""`otel_ml.configure`: one call that decides what is set up, and replaces nothing."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

from otel_ml import runs
from otel_ml.environment_table import withdraw_unreadable_limits
from otel_ml.instruments import instruments
from otel_ml.loggers import own_logger
from otel_ml.options import Audit, Logs, Metrics, Redaction, Traces
from otel_ml.settings import Settings, resolve, state_directory
from otel_ml.telemetry import Telemetry, activate, active

_logger = own_logger()
_lock = threading.Lock()


def configure(
    *,
    service_name: str | None = None,
    service_version: str | None = None,
    environment: str | None = None,
    resource_attributes: Mapping[str, Any] | None = None,
    endpoint: str | None = None,
    headers: Mapping[str, str] | None = None,
    directory: str | Path | None = None,
    level: str | None = None,
    traces: Traces | Literal[False] | None = None,
    metrics: Metrics | Literal[False] | None = None,
    logs: Logs | Literal[False] | None = None,
    audit: Audit | Literal[False] | None = None,
    redaction: Redaction | Literal[False] | None = None,
) -> Telemetry:
    """Set up telemetry for this process: to local files, or to an OTLP endpoint when one is set.

    A provider or logging configuration that the application has set stays; what can be added to it is added, and one
    INFO line says so. Every value can also come from the environment (argument, `OTEL_ML_*`, `OTEL_*`, default).

    Args:
        service_name: Name of the service; default: name of the program.
        service_version: Its version.
        environment: Deployment environment, for example `production`.
        resource_attributes: Further attributes of the resource.
        endpoint: OTLP endpoint; default: `OTEL_EXPORTER_OTLP_ENDPOINT`, and local files without one.
        headers: Headers for the endpoint, for example a token.
        directory: Where local files go; default: `.otel_ml` under the working directory.
        level: Lowest log level kept; default `INFO`.
        traces: Options, or False for none.
        metrics: Options, or False for none.
        logs: Options, or False to leave logging alone.
        audit: Options of the audit trail, or False for none.
        redaction: What is masked beyond the defaults, or False to mask nothing.

    Returns:
        The telemetry of this process. Called again before `shutdown`, the same object.

    Raises:
        ConfigurationError: An argument is of the wrong type or cannot work. The message names it, and what would be
            right. Wrong environment variables are warned about once, and their defaults used.
    """
    arguments = {key: value for key, value in locals().items() if value is not None}
    settings = resolve(arguments)
    withdraw_unreadable_limits()  # also where it is disabled: the program may import the SDK itself
    with _lock:
        current = active()
        if current is not None and current.provisional and arguments and settings != current.settings:
            current.shutdown()  # what a program says itself goes before what was set up around it
            current = None
        if current is not None:
            if settings != current.settings:
                _warn_unchanged(settings, current.settings)
            return current
        telemetry = _inert(settings) if settings.disabled else _started(settings)
        telemetry.recipe = partial(configure, **arguments)
        activate(telemetry)
        return telemetry


def _warn_unchanged(new: Settings, old: Settings) -> None:
    names = [name for name in Settings.__dataclass_fields__ if getattr(new, name) != getattr(old, name)]
    names = [name for name in names if name != "origins"]
    _logger.warning(
        "otel_ml.configure was called again with other values (%s); the first configuration stays. "
        "Call telemetry.shutdown() before configuring anew.",
        ", ".join(names),
    )


def _started(settings: Settings) -> Telemetry:
    from otel_ml.pipelines import start  # noqa: PLC0415  brings in the SDK, of which a disabled program needs nothing

    return start(settings)


def _inert(settings: Settings) -> Telemetry:
    instruments.enabled = False
    folder = runs.folder_name(runs.process_run_id())
    return Telemetry(settings, state_directory(settings.directory) / folder, [], [], [])
