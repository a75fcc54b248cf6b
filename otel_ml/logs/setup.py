"""Starts the log pipeline and ends it."""

from __future__ import annotations

import logging
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from opentelemetry.sdk._logs.export import LogRecordExporter
from opentelemetry.sdk.resources import Resource

from otel_ml.logs import api_records, short_way
from otel_ml.logs.basic_config import BasicConfig
from otel_ml.logs.console import TextEncoder, has_colour, is_terminal
from otel_ml.logs.entries import Entry
from otel_ml.logs.files import LogFile
from otel_ml.logs.handler import Handler
from otel_ml.logs.json_lines import LineEncoder
from otel_ml.logs.listener import Encoder, LineSink, Listener
from otel_ml.logs.otlp import OtlpSink
from otel_ml.logs.places import Places
from otel_ml.logs.records import RecordFactory
from otel_ml.logs.simple_records import Captured
from otel_ml.logs.streams import StreamSink
from otel_ml.options import Logs
from otel_ml.worker import BatchWorker


def start(
    options: Logs,
    *,
    service: str,
    resource: Resource,
    directory: Path | None,
    exporter: LogRecordExporter | None,
    set_level: bool,
) -> LogPipeline:
    """Start writing what standard logging makes.

    An application that gave the root logger handlers before keeps them with their levels and formats; the stream is
    then written to only when `format` asks for it by name.

    Args:
        options: Level, format, stream, file and queue.
        service: Value of `service` in each line, and beginning of the file's name.
        resource: Resource of exported records.
        directory: Where the log file goes; None: no file.
        exporter: Where records are exported to; None: nowhere. It is shut down with the pipeline.
        set_level: Whether `options.level` was asked for. If not, it is used only where the application left the root
            logger as Python makes it.
    """
    configured = _is_configured()
    pipeline = LogPipeline(options, service, resource, directory, exporter, owns_stream=not _has_handlers())
    pipeline.attach(resource, options.level if set_level or not configured else None)
    if configured and not pipeline.note:
        pipeline.note = "logs: your logging configuration stays; our handler was added to the root logger"
    return pipeline


class LogPipeline:
    """Queue, listener, sinks and handler; `start` makes it."""

    def __init__(
        self, options: Logs, service: str, resource: Resource, directory: Path | None,
        exporter: LogRecordExporter | None, *, owns_stream: bool,
    ) -> None:  # fmt: skip
        self._file = LogFile(directory, service, options) if directory is not None else None
        self._otlp = OtlpSink(exporter, resource, options.queue_size) if exporter is not None else None
        encoder = LineEncoder(service)
        lines = _line_sinks(options, encoder, self._file, owns_stream=owns_stream)
        only_lines = self._otlp is None and [encode for encode, _ in lines] == [encoder.encode]
        places = Places(encoder) if only_lines else None
        listener = Listener(lines, self._otlp.put if self._otlp is not None else None, places)
        batch = min(512, options.queue_size)
        self._worker: BatchWorker[Captured | bytes | Entry] = BatchWorker(
            "logs", listener.consume, queue_size=options.queue_size, batch_size=batch, interval=0.1
        )
        self.note = api_records.connect(resource, self._otlp.put) if self._otlp is not None else ""
        self._handler = Handler(self._worker.put, lambda: self._worker.flush(1.0), places)
        self._closed: bool | None = None

    def attach(self, resource: Resource, level: str | None) -> None:
        """Put the handler on the root logger.

        Args:
            resource: Names the service on each record.
            level: Level for the root logger; None leaves it.
        """
        root = logging.getLogger()
        self._levels = (root.level, root.level)
        if level is not None:
            root.setLevel(level)
            self._levels = (self._levels[0], root.level)
        self._captured = not _captures_warnings()
        logging.captureWarnings(True)
        self._factory = RecordFactory(self._handler, resource)
        self._basic_config = BasicConfig(self._handler)
        root.addHandler(self._handler)
        self._close_short_way = short_way.open_up(self._factory, self._handler)

    def wake(self) -> None:
        """Have the threads look at their queues now."""
        self._worker.wake()
        if self._otlp is not None:
            self._otlp.wake()

    def flush(self, timeout: float) -> bool:
        """Wait until everything logged before is written and exported; False when `timeout` seconds were not enough."""
        deadline = time.monotonic() + timeout
        flushed = self._worker.flush(timeout)
        if self._otlp is not None:
            flushed = self._otlp.flush(max(0.0, deadline - time.monotonic())) and flushed
        return flushed

    def close(self, timeout: float) -> bool:
        """Restore what `start` changed in logging, then write what is queued; safe to call twice.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            False when records were lost.
        """
        if self._closed is not None:
            return self._closed
        self._closed = False
        deadline = time.monotonic() + timeout
        self._detach()
        api_records.disconnect()
        written = self._worker.close(timeout)
        exported = self._otlp is None or self._otlp.close(max(0.0, deadline - time.monotonic()))
        if self._file is not None and written:  # else the writer may still be in the middle of a write
            self._file.close(max(0.0, deadline - time.monotonic()))
        self._closed = written and exported
        return self._closed

    def _detach(self) -> None:
        self._close_short_way()
        self._basic_config.restore()
        self._factory.restore()
        if self._captured:
            logging.captureWarnings(False)
        before, ours = self._levels
        root = logging.getLogger()
        if root.level == ours:
            root.setLevel(before)


def _line_sinks(
    options: Logs, encoder: LineEncoder, file: LogFile | None, *, owns_stream: bool
) -> list[tuple[Encoder, list[LineSink]]]:
    """Pair each encoder with its sinks; file and stream share the JSON lines."""
    json_sinks: list[LineSink] = [file.write] if file is not None else []
    sinks: list[tuple[Encoder, list[LineSink]]] = [(encoder.encode, json_sinks)]
    stream: IO[str] | None = getattr(sys, options.stream)
    wanted = options.format in ("json", "console") or (options.format == "auto" and owns_stream)
    if stream is not None and wanted:
        sink = StreamSink(stream).write
        write = _unless_application_shows(sink) if options.format == "auto" else sink
        if options.format == "console" or (options.format == "auto" and is_terminal(stream)):
            sinks.append((TextEncoder(colour=has_colour(stream)).encode, [write]))
        else:
            json_sinks.append(write)
    return [(encode, targets) for encode, targets in sinks if targets]


def _unless_application_shows(write: LineSink) -> LineSink:
    """Fall silent once the program has configured a console of its own: each line is shown once."""

    def write_unless(lines: Sequence[bytes]) -> None:
        if not _has_handlers():
            write(lines)

    return write_unless


def _has_handlers() -> bool:
    """Whether the application gave the root logger handlers; OpenTelemetry's own and ours show nothing to anyone."""
    return any(
        type(handler) is not logging.NullHandler
        and not type(handler).__module__.startswith(("opentelemetry.", "otel_ml."))
        for handler in logging.getLogger().handlers
    )


def _is_configured() -> bool:
    return _has_handlers() or logging.getLogger().level != logging.WARNING


def _captures_warnings() -> bool:
    return getattr(warnings.showwarning, "__module__", None) == "logging"
