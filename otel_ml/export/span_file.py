"""The exporter that writes spans to a local file, as OTLP-JSON lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otel_ml.export.line_file import SignalFile
from otel_ml.export.otlp_json.traces import encode_spans


class FileSpanExporter(SpanExporter):
    """Appends spans to `<directory>/traces-<pid>.jsonl`.

    A batch that cannot be written is lost; who called `export` counts it. The next one is tried anew.

    Args:
        directory: Made with mode 0700 when it is missing.
    """

    def __init__(self, directory: Path) -> None:
        self._file = SignalFile(directory, "traces")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Write one line; FAILURE when it could not be written whole, and after `shutdown`."""
        written = self._file.write(encode_spans(spans)) if spans else True
        return SpanExportResult.SUCCESS if written else SpanExportResult.FAILURE

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Return True: each export has written all it was given."""
        return True

    def shutdown(self) -> None:
        """Close the file."""
        self._file.shutdown()
