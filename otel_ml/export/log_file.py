"""The exporter that writes log records to a local file, as OTLP-JSON lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult

from otel_ml.export.line_file import SignalFile
from otel_ml.export.otlp_json.logs import encode_logs


class FileLogExporter(LogRecordExporter):
    """Appends log records to `<directory>/logs-<pid>.jsonl`.

    A batch that cannot be written is lost; who called `export` counts it. The next one is tried anew.

    Args:
        directory: Made with mode 0700 when it is missing.
    """

    def __init__(self, directory: Path) -> None:
        self._file = SignalFile(directory, "logs")

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        """Write one line; FAILURE when it could not be written whole, and after `shutdown`."""
        written = self._file.write(encode_logs(batch)) if batch else True
        return LogRecordExportResult.SUCCESS if written else LogRecordExportResult.FAILURE

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Return True: each export has written all it was given."""
        return True

    def shutdown(self) -> None:
        """Close the file."""
        self._file.shutdown()
