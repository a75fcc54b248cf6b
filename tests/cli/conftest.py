"""Records runs as programs do, by the SDK and our own file exporters, but at times that a test chooses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from opentelemetry import trace
from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import AlwaysOnExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Status, StatusCode

from otel_ml import conventions, identity
from otel_ml.export.log_file import FileLogExporter
from otel_ml.export.metric_file import FileMetricExporter
from otel_ml.export.span_file import FileSpanExporter
from support import is_ambient

START = 1_795_365_588_000_000_000  # 2026-11-22 16:39:48 UTC
LEVELS = {"INFO": SeverityNumber.INFO, "WARNING": SeverityNumber.WARN, "ERROR": SeverityNumber.ERROR}


def nanoseconds(seconds: float) -> int:
    """Return the time so many seconds after the start of the recorded runs."""
    return START + round(seconds * 1e9)


class Recorder:
    """One run that is being recorded; its folder is `folder`, its id `id`."""

    def __init__(self, state: Path, run_id: str, **manifest):
        self.id = run_id
        self.folder = state / identity.folder_name(run_id)
        self.folder.mkdir(parents=True, exist_ok=True)
        if manifest:
            content = {"id": run_id, "pid": os.getpid(), "started": "2026-11-22T16:39:48.000Z", **manifest}
            (self.folder / "run.json").write_text(json.dumps(content))
        resource = Resource({"service.name": "tests"})
        self._tracers = TracerProvider(resource=resource)
        self._tracers.add_span_processor(SimpleSpanProcessor(FileSpanExporter(self.folder)))
        self._loggers = LoggerProvider(resource=resource)
        self._loggers.add_log_record_processor(SimpleLogRecordProcessor(FileLogExporter(self.folder)))
        self._reader = InMemoryMetricReader()
        self._meters = MeterProvider([self._reader], resource=resource, exemplar_filter=AlwaysOnExemplarFilter())
        self._histograms = {}

    def span(self, name: str, start: float, end: float, *, parent=None, error: Exception | None = None, **attributes):
        """Record a span; times are seconds. Children are recorded by giving what this returned as `parent`."""
        context = trace.set_span_in_context(parent) if parent is not None else trace.Context()
        span = self._tracers.get_tracer("tests").start_span(name, context, start_time=nanoseconds(start))
        span.set_attributes({key.replace("__", "."): value for key, value in attributes.items()})
        if error is not None:
            span.record_exception(error, timestamp=nanoseconds(end))
            span.set_attribute(conventions.ERROR_TYPE, type(error).__name__)
            span.set_status(Status(StatusCode.ERROR, str(error)))
        span.end(nanoseconds(end))
        return span

    def log(self, time: float, message: str, *, level: str = "INFO", span=None, attributes=None) -> None:
        """Record a log line."""
        self._loggers.get_logger("tests").emit(
            timestamp=nanoseconds(time),
            context=trace.set_span_in_context(span) if span is not None else trace.Context(),
            severity_number=LEVELS[level],
            severity_text=level,
            body=message,
            attributes=attributes,
        )

    def duration(self, metric: str, seconds: float, *, span=None, **attributes) -> None:
        """Record a duration."""
        bounds = conventions.INFERENCE_BUCKETS if metric == conventions.INFERENCE_DURATION else conventions.STEP_BUCKETS
        if metric not in self._histograms:
            meter = self._meters.get_meter(conventions.SCOPE)
            self._histograms[metric] = meter.create_histogram(
                metric, unit="s", explicit_bucket_boundaries_advisory=bounds
            )
        context = trace.set_span_in_context(span) if span is not None else trace.Context()
        self._histograms[metric].record(
            seconds, {key.replace("__", "."): value for key, value in attributes.items()}, context
        )

    def write_metrics(self) -> None:
        """Write the state of all durations, as a process does now and then and at its end."""
        FileMetricExporter(self.folder).export(self._reader.get_metrics_data())

    def rename(self, pid: int) -> None:
        """Let the files be those of another process."""
        for signal in ("traces", "logs", "metrics"):
            path = self.folder / f"{signal}-{os.getpid()}.jsonl"
            if path.exists():
                path.with_name(f"{signal}-{pid}.jsonl").write_bytes(path.read_bytes())
                path.unlink()  # not renamed: the exporter has it open, and would go on with it

    def file(self, signal: str) -> Path:
        """Return the file of this process."""
        return self.folder / f"{signal}-{os.getpid()}.jsonl"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory that holds no run yet."""
    directory = tmp_path / "state"
    directory.mkdir()
    return directory


@pytest.fixture
def record(state: Path):
    """Return a function that starts a recording; its keyword arguments are what `run.json` says, if there are any."""
    return lambda run_id=None, **manifest: Recorder(state, run_id or identity.uuid7(), **manifest)


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch):
    """Return a function that runs a command line in this process, 100 columns wide, without colours."""
    from otel_ml.cli.app import app

    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="session")
def command():
    """Return a function that runs the real command line in a process of its own, 100 columns wide, without colours."""
    hidden = ("COLUMNS", "LINES", "FORCE_COLOR")
    inherited = {name: value for name, value in os.environ.items() if not is_ambient(name) and name not in hidden}

    def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-W", "error", "-m", "otel_ml.cli.app", *map(str, arguments)],
            env={**inherited, "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8", **environment},
            capture_output=True, encoding="utf-8", timeout=120, check=False,
        )  # fmt: skip

    return run
