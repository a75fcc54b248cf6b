"""Exporters that count what they are given and send nothing, and the entry points under which they are found."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

NAME = "benchmark"
ENTRY_POINTS = f"""\
[opentelemetry_traces_exporter]
{NAME} = {__name__}:DiscardingSpanExporter
{NAME}_encoded = {__name__}:EncodedSpanExporter
[opentelemetry_metrics_exporter]
{NAME} = {__name__}:DiscardingMetricExporter
"""


class DiscardingSpanExporter(SpanExporter):
    """Counts spans. The count is the class's: a worker process has one exporter, made by whoever reads its name."""

    exported: ClassVar[int] = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        DiscardingSpanExporter.exported += len(spans)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Have nothing to close."""


class EncodingSpanExporter(DiscardingSpanExporter):
    """Turns spans into OTLP bytes, as a real exporter does before it sends them."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        encode_spans(spans).SerializeToString()
        return super().export(spans)


class EncodedSpanExporter(DiscardingSpanExporter):
    """Takes what our own encoder made, as the OTLP exporters do, and sends it nowhere."""

    takes_encoded = True


class DiscardingMetricExporter(MetricExporter):
    def export(self, metrics_data: Any, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Have nothing to close."""


def use_for_traces(*, encoding: bool = False) -> None:
    """Have whoever follows the standard variables send its spans and metrics to the exporters above."""
    folder = Path(f"{__package__}-0.dist-info").absolute()
    folder.mkdir(exist_ok=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {__package__}\nVersion: 0\n", "utf-8")
    (folder / "entry_points.txt").write_text(ENTRY_POINTS, "utf-8")
    sys.path.append(str(folder.parent))
    importlib.invalidate_caches()
    os.environ["OTEL_TRACES_EXPORTER"] = f"{NAME}_encoded" if encoding else NAME
    os.environ["OTEL_METRICS_EXPORTER"] = NAME
    os.environ["OTEL_LOGS_EXPORTER"] = "none"
