"""From settings to exporters: local files, OTLP, the console, or an exporter that another package registered."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otel_ml import health
from otel_ml.export import otlp
from otel_ml.settings import Settings, Signal

if TYPE_CHECKING:  # each signal loads what it needs, and may fail alone
    from opentelemetry.sdk._logs.export import LogRecordExporter
    from opentelemetry.sdk.metrics.export import MetricExporter
    from opentelemetry.sdk.trace.export import SpanExporter


def span_exporters(settings: Settings, directory: Path) -> list[SpanExporter]:
    """Return the span exporters that the settings name; one that cannot be made is left out with a warning."""
    made = [_make("traces", name, settings, directory) for name in settings.exporters["traces"]]
    return [exporter for exporter in made if exporter is not None]


def metric_exporter(settings: Settings, directory: Path) -> MetricExporter | None:
    """Return the metric exporter that the settings name first, or None."""
    exporter: MetricExporter | None = _first("metrics", settings, directory)
    return exporter


def log_exporter(settings: Settings, directory: Path) -> LogRecordExporter | None:
    """Return the log exporter that the settings name first, or None."""
    exporter: LogRecordExporter | None = _first("logs", settings, directory)
    return exporter


def _first(signal: Signal, settings: Settings, directory: Path) -> Any:
    names = settings.exporters[signal]
    if len(names) > 1:
        health.warn_once(
            f"exporters:{signal}", "OTEL_%s_EXPORTER: expected one exporter for %s, received %s. The first is used.",
            signal.upper(), signal, ",".join(names),
        )  # fmt: skip
    return _make(signal, names[0], settings, directory) if names else None


def _make(signal: Signal, name: str, settings: Settings, directory: Path) -> Any:
    try:
        if name == "file":
            return _file(signal, directory)
        if name == "otlp":
            return _OTLP[signal](otlp.Endpoint.of(settings.endpoint, settings.headers))
        return _registered(signal, name)
    except Exception as error:  # a wrong certificate path, a broken plug-in: the other signals go on
        health.warn_once(
            f"exporter:{signal}:{name}", "the %s exporter %r could not be made (%s: %s); %s are not exported.",
            signal, name, type(error).__name__, error, signal,
        )  # fmt: skip
        return None


_OTLP = {"traces": otlp.span_exporter, "metrics": otlp.metric_exporter, "logs": otlp.log_exporter}


def _file(signal: Signal, directory: Path) -> Any:
    if signal == "traces":
        from otel_ml.export.span_file import FileSpanExporter  # noqa: PLC0415

        return FileSpanExporter(directory)
    if signal == "metrics":
        from otel_ml.export.metric_file import FileMetricExporter  # noqa: PLC0415

        return FileMetricExporter(directory)
    from otel_ml.export.log_file import FileLogExporter  # noqa: PLC0415

    return FileLogExporter(directory)


def _registered(signal: Signal, name: str) -> Any:
    """Load an exporter by the entry point that the standard `OTEL_*_EXPORTER` variables name, `console` among them."""
    found = list(entry_points(group=f"opentelemetry_{signal}_exporter", name=name))
    if not found:
        known = sorted({entry.name for entry in entry_points(group=f"opentelemetry_{signal}_exporter")})
        raise LookupError(f"no such exporter is installed; known are file, {', '.join(known)}")
    return found[0].load()()
