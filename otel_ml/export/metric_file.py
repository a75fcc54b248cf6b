"""The exporter that writes metrics to a local file, as OTLP-JSON lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData

from otel_ml.export.line_file import SignalFile
from otel_ml.export.otlp_json.metrics import encode_metrics


class FileMetricExporter(MetricExporter):
    """Appends metrics to `<directory>/metrics-<pid>.jsonl`, cumulative as the collector's back ends want them.

    A collection that cannot be written is lost; who called `export` counts it. The next one is tried anew.

    Args:
        directory: Made with mode 0700 when it is missing.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._file = SignalFile(directory, "metrics")

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        """Write one line; FAILURE when it could not be written whole, and after `shutdown`."""
        written = self._file.write(encode_metrics(metrics_data)) if metrics_data.resource_metrics else True
        return MetricExportResult.SUCCESS if written else MetricExportResult.FAILURE

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Return True: each export has written all it was given."""
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Close the file."""
        self._file.shutdown()
