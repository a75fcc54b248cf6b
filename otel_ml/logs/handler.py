"""The logging handlers: build an entry on the caller's thread and queue it, nothing else."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from threading import get_ident
from typing import Any

from otel_ml import health
from otel_ml.logs import entries
from otel_ml.logs.entries import Entry, Problem
from otel_ml.logs.places import Places
from otel_ml.logs.simple_records import Captured, captured
from otel_ml.suppression import is_instrumentation_enabled
from otel_ml.worker import exporting_threads

_REPEAT_AFTER = 60.0  # seconds until an exporter's message is written again
_EXPORTERS = ("opentelemetry", "urllib3", "requests", "grpc")


class Handler(logging.Handler):
    """The handler on the root logger.

    It takes no lock and never raises. `close` does nothing: a non-incremental `dictConfig` closes every handler in
    the process, also those that stay.

    Args:
        put: Takes a captured record, its line or an entry without blocking.
        flush: Waits a little for what is queued.
        places: Makes lines; None: nobody wants lines and nothing else.
    """

    def __init__(
        self, put: Callable[[Captured | bytes | Entry], object], flush: Callable[[], object],
        places: Places | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self._places = places
        self._put = put
        self._flush = flush
        self._thread = threading.local()
        self._repeats = _Repeats()

    def handle(self, record: logging.LogRecord) -> bool:
        """Queue a record, unless a filter that the application put on this handler rejects it."""
        if self.filters:
            try:
                kept = self.filter(record)
            except Exception as error:
                self._report(record, [Problem("bad_filter", error)])
                kept = True
            if not kept:
                return False
            if isinstance(kept, logging.LogRecord):  # Python 3.12: a filter may replace the record
                record = kept
        try:
            fields = record.__dict__
            taken = None if _is_internal(fields["name"]) else _taken(fields, self._places)
        except Exception:  # nothing is lost: `emit` says what is wrong with the record
            taken = None
        if taken is not None:
            self._put(taken)
        else:
            self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record of any kind."""
        thread = self._thread
        nested = getattr(thread, "building", False)
        thread.building = True
        try:
            internal = _is_internal(record.name)
            if internal and not self._repeats.allows(record):
                health.count_dropped("logs", "repeated_export_message")
                return
            entry, problems = entries.from_record(record, nested=nested)
            entry.internal = internal
            self._put(entry)
        except Exception as error:
            problems = [Problem("bad_record", error)]
        finally:
            thread.building = nested
        if problems and not nested:
            self._report(record, problems)

    def flush(self) -> None:
        """Wait a little until what is queued has been written."""
        self._flush()

    def close(self) -> None:
        """Do nothing; `LogPipeline.close` ends the pipeline."""

    @staticmethod
    def _report(record: logging.LogRecord, problems: list[Problem]) -> None:
        for problem in problems:
            health.count_dropped("logs", problem.reason)
            health.warn_once(
                f"logs:{problem.reason}:{record.pathname}:{record.lineno}",
                "logs: part of a record of logger %s (%s:%s) was lost: %s raised %s",
                record.name, record.pathname, record.lineno, problem.reason, type(problem.error).__name__,
            )  # fmt: skip


class Relay(logging.Handler):
    """Stands for the root's handler on a logger that does not propagate but has handlers of its own.

    It passes a record on only while no handler of ours further up gets it too, so that switching `propagate` on
    again writes no record twice.
    """

    def __init__(self, main: Handler, logger: logging.Logger) -> None:
        super().__init__()
        self.main = main
        self._logger = logger

    def handle(self, record: logging.LogRecord) -> bool:
        """Pass a record to the root's handler."""
        logger = self._logger
        while logger.propagate and logger.parent is not None:
            logger = logger.parent
            if any(is_ours(handler, self.main) for handler in logger.handlers):
                return False
        return self.main.handle(record)

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record to the root's handler."""
        self.main.emit(record)

    def close(self) -> None:
        """Do nothing, as `Handler.close`."""


def _taken(fields: dict[str, Any], places: Places | None) -> Captured | bytes | None:
    """Return what waits of a record: its line, or what the listener makes one of; None: it is not a simple one."""
    line = None if places is None else places.line(fields)
    return captured(fields) if line is None else line


def _is_internal(name: object) -> bool:
    """Whether an exporter made the record while exporting: on a thread of ours, or with instrumentation suppressed.

    Args:
        name: Of the record's logger.
    """
    if exporting_threads and get_ident() in exporting_threads:
        return True
    return str(name).startswith(_EXPORTERS) and not is_instrumentation_enabled()


def is_ours(handler: logging.Handler, main: Handler) -> bool:
    """Whether a handler on a logger brings records to `main`."""
    return handler is main or (type(handler) is Relay and handler.main is main)


class _Repeats:
    """Lets each message of an exporter through once a minute: one that fails says so at every batch."""

    def __init__(self) -> None:
        self._next: dict[tuple[str, str], float] = {}

    def allows(self, record: logging.LogRecord) -> bool:
        key = (record.name, record.msg if type(record.msg) is str else type(record.msg).__name__)
        now = time.monotonic()
        if self._next.get(key, now) > now:
            return False
        if len(self._next) >= 256:
            self._next.clear()
        self._next[key] = now + _REPEAT_AFTER
        return True
