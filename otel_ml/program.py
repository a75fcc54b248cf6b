"""Setting up a program that knows nothing of otel_ml: at its start, from the environment alone."""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from otel_ml import exceptions
from otel_ml.configuration import configure
from otel_ml.loggers import own_logger

_NOT_OF_PROGRAM = ("PREFECT__SERVER_EPHEMERAL",)
"""Variables of processes that tools start beside a program for themselves: Prefect's temporary server.

For `opentelemetry-instrument`; `startup/sitecustomize` has them as well, and looks before it loads any of this.
"""


def start() -> None:
    """Do what `opentelemetry-instrument` does with our distro: configure, and load the instrumentations."""
    with _unseen_by_collector():
        configure_from_environment()
        from otel_ml.instrumentors import load_all  # noqa: PLC0415  not where OpenTelemetry loads them

        load_all()


@contextmanager
def _unseen_by_collector() -> Iterator[None]:
    """What is made here most often lives as long as the program: the collector does not look at it, now or later."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


def is_of_tool() -> bool:
    """Whether this process is none of the program's, but of a tool that the program uses."""
    return any(os.environ.get(name) for name in _NOT_OF_PROGRAM)


def configure_from_environment() -> None:
    """Configure such a program; a `configure` of its own with arguments replaces this."""
    configure().provisional = True
    _log_uncaught_exceptions()


def _log_uncaught_exceptions() -> None:
    """Log what ends the program, once, before Python prints it."""
    previous, previous_in_threads = sys.excepthook, threading.excepthook
    logger = own_logger("uncaught")

    def log(error: BaseException | None) -> None:
        if isinstance(error, Exception) and exceptions.first_time(error):
            kind, traceback = type(error), error.__traceback__
            logger.error("uncaught %s", exceptions.error_type(error), exc_info=(kind, error, traceback))

    def hook(kind: type[BaseException], error: BaseException, traceback: Any) -> None:
        log(error)
        previous(kind, error, traceback)

    def hook_in_threads(arguments: threading.ExceptHookArgs) -> None:
        log(arguments.exc_value)
        previous_in_threads(arguments)

    sys.excepthook, threading.excepthook = hook, hook_in_threads
