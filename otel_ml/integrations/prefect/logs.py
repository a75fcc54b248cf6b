"""Prefect's logging beside ours: one level, each line once on a console, each exception once with its stack trace."""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable
from types import ModuleType

from otel_ml import conventions, exceptions, health
from otel_ml.logs.entries import KNOWN_EXCEPTION
from otel_ml.options import Logs

_FIRST = "prefect"
"""Logger that says that a server is started, before there is any run."""

_LOGGERS = (_FIRST, "prefect.flow_runs", "prefect.task_runs", "prefect.engine")
"""Loggers that say how runs of Prefect go, and that its engine logs exceptions with."""

_NAMES = {"flow_run_id": conventions.PREFECT_FLOW_RUN_ID, "task_run_id": conventions.PREFECT_TASK_RUN_ID}
"""What Prefect puts on these records, and what we call it."""

_CLIENT = ("httpx",)
"""Loggers of what Prefect speaks to its server with."""

_adopted: list[Callable[[], None]] = []
"""What undoes changes of the application's logging."""

_MANY = 1000
_run_ids: dict[str, str] = {}
"""Ids of the runs that flow runs were, the newest last: Prefect says how a flow run ended when it has left it."""


def watch() -> Callable[[], None]:
    """See the records of Prefect's engine before handlers do; return a function that undoes it."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_mark)

    def undo() -> None:
        for name in _LOGGERS:
            logging.getLogger(name).removeFilter(_mark)
        while _adopted:
            _adopted.pop()()

    return undo


def remember(flow_run_id: str, run_id: str) -> None:
    """Note which run a flow run is."""
    while len(_run_ids) >= _MANY:
        del _run_ids[next(iter(_run_ids))]
    _run_ids[flow_run_id] = run_id


def _mark(record: logging.LogRecord) -> bool:
    """Put labels on a record that Prefect makes outside of the run, and mark an exception that has been logged."""
    try:
        fields = record.__dict__
        if record.name == _FIRST:
            adopt()
        for theirs, ours in _NAMES.items():
            if isinstance(fields.get(theirs), str):
                fields[ours] = fields[theirs]
        if not fields.get("otelRunID"):
            fields["otelRunID"] = _run_ids.get(str(fields.get("flow_run_id")), "")
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not exceptions.first_time(error):
            fields[KNOWN_EXCEPTION] = True
    except Exception as error:
        health.internal_error("log records of Prefect", error)
    return True


def adopt() -> None:
    """Let the level that was configured hold again, where Prefect has set up the root logger; see `watch` for its end.

    Prefect's level is WARNING there, and its client stays there, which tells of every request at INFO. Prefect's
    console stays, but where our stream was asked for by name: each line would stand there twice.
    """
    options = _options()
    root = logging.getLogger()
    consoles = [handler for handler in root.handlers if type(handler).__name__ == "PrefectConsoleHandler"]
    if options is None or not consoles:  # the application has a configuration of its own
        return
    if root.level == logging.WARNING:
        _set_level(root, options.level)
        for name in _CLIENT:
            logger = logging.getLogger(name)
            if logger.level == logging.NOTSET:
                _set_level(logger, logging.WARNING)
    if options.format in ("json", "console"):
        for handler in consoles:
            root.removeHandler(handler)
            _adopted.append(functools.partial(root.addHandler, handler))


def after_import(module: ModuleType) -> Callable[[], None]:
    """Adopt what the import of `prefect.main` has set up; return a function that does nothing: `watch` undoes it."""
    adopt()
    return lambda: None


def _options() -> Logs | None:
    """Return how our pipeline was configured; None: it was not."""
    module = sys.modules.get("otel_ml.telemetry")  # not loaded here: it brings the SDK
    telemetry = None if module is None else module.active()
    return None if telemetry is None else telemetry.settings.logs


def _set_level(logger: logging.Logger, level: int | str) -> None:
    before = logger.level
    logger.setLevel(level)
    ours = logger.level

    def restore() -> None:
        if logger.level == ours:
            logger.setLevel(before)

    _adopted.append(restore)
