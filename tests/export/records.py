"""Plain records to export, where their content does not matter."""

from __future__ import annotations

import os

from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext

from receivers import read_file, records_of

RESOURCE = Resource({"service.name": "shop"})


def spans(*names):
    """Spans with these names."""
    return [ReadableSpan(name, SpanContext(1, 2, is_remote=False), resource=RESOURCE) for name in names]


def names(path):
    """Names of the spans in a file."""
    return [span.name for request in read_file("traces", path) for span in records_of("traces", request)]


def log(body):
    """A log record."""
    return ReadableLogRecord(LogRecord(body=body), RESOURCE)


def collected():
    """What a reader collects from one counter."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], RESOURCE, shutdown_on_exit=False)
    provider.get_meter("meter").create_counter("calls").add(1)
    data = reader.get_metrics_data()
    provider.shutdown()
    return data


def own_file(directory, signal):
    """Path of this process's file."""
    return directory / f"{signal}-{os.getpid()}.jsonl"
