"""Reads OTLP-JSON lines into small typed records, whatever state the file was left in."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import orjson

Signal = Literal["traces", "logs", "metrics"]
SIGNALS: tuple[Signal, ...] = ("traces", "logs", "metrics")

_LONGEST_LINE = 64 * 1024 * 1024
_STATUS_ERROR = 2
_DELTA = 1


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened during a span, for example an exception."""

    name: str
    time_ns: int
    attributes: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Span:
    """One finished operation; ids are lower-case hex, empty when absent."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    start_ns: int
    end_ns: int
    failed: bool
    status: str
    attributes: dict[str, Any] = field(compare=False)
    events: tuple[Event, ...] = field(compare=False)

    @property
    def seconds(self) -> float:
        """Duration; 0 when the clock went backwards meanwhile."""
        return max(0, self.end_ns - self.start_ns) * 1e-9


@dataclass(frozen=True, slots=True)
class LogLine:
    """One log record."""

    time_ns: int
    severity: int
    level: str
    message: str
    trace_id: str
    span_id: str
    attributes: dict[str, Any] = field(compare=False)


@dataclass(frozen=True, slots=True, order=True)
class Exemplar:
    """One value that a histogram was given, and the span in which."""

    value: float
    trace_id: str
    span_id: str


@dataclass(frozen=True, slots=True)
class HistogramPoint:
    """The state of one histogram series at one time."""

    metric: str
    attributes: dict[str, Any]
    start_ns: int
    time_ns: int
    delta: bool
    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float
    min: float | None
    max: float | None
    exemplars: tuple[Exemplar, ...]


def read_lines(path: Path, problems: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the requests of one file, one a line, without holding more than a line in memory.

    Args:
        path: The file.
        problems: Takes a sentence for each thing that could not be read.
    """
    unreadable = 0
    try:
        with path.open("rb") as file:
            for line in iter(lambda: file.readline(_LONGEST_LINE), b""):
                content = parse(line)
                if content is not None:
                    yield content
                elif not line.endswith(b"\n"):
                    problems.append(f"{path.name}: the last line is incomplete (still being written, or cut off)")
                elif line.strip():
                    unreadable += 1
    except OSError as error:
        problems.append(f"{path.name} cannot be read: {error.strerror or error}")
    if unreadable:
        lines = "1 line is" if unreadable == 1 else f"{unreadable} lines are"
        problems.append(f"{path.name}: {lines} not OTLP-JSON and left out")


def parse(line: bytes) -> dict[str, Any] | None:
    """Return the JSON object in a line, or None."""
    try:
        content = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return content if isinstance(content, dict) else None


def spans(request: dict[str, Any]) -> Iterator[Span]:
    """Yield the spans of an export request."""
    for item in _items(request, "resourceSpans", "scopeSpans", "spans"):
        status = item.get("status")
        status = status if isinstance(status, dict) else {}
        yield Span(
            trace_id=_text(item.get("traceId")).lower(),
            span_id=_text(item.get("spanId")).lower(),
            parent_id=_text(item.get("parentSpanId")).lower(),
            name=_text(item.get("name")) or "(no name)",
            start_ns=_int(item.get("startTimeUnixNano")),
            end_ns=_int(item.get("endTimeUnixNano")),
            failed=status.get("code") in (_STATUS_ERROR, "STATUS_CODE_ERROR"),
            status=_text(status.get("message")),
            attributes=_attributes(item),
            events=tuple(
                Event(_text(event.get("name")), _int(event.get("timeUnixNano")), _attributes(event))
                for event in _dicts(item.get("events"))
            ),
        )


def log_lines(request: dict[str, Any]) -> Iterator[LogLine]:
    """Yield the log records of an export request."""
    for item in _items(request, "resourceLogs", "scopeLogs", "logRecords"):
        body = _value(item.get("body"))
        severity = _int(item.get("severityNumber"))
        yield LogLine(
            time_ns=_int(item.get("timeUnixNano")) or _int(item.get("observedTimeUnixNano")),
            severity=severity,
            level=_text(item.get("severityText")) or _level(severity),
            message=body if isinstance(body, str) else "" if body is None else str(body),
            trace_id=_text(item.get("traceId")).lower(),
            span_id=_text(item.get("spanId")).lower(),
            attributes=_attributes(item),
        )


def histogram_points(request: dict[str, Any]) -> Iterator[HistogramPoint]:
    """Yield the points of all explicit-bucket histograms of an export request."""
    for metric in _items(request, "resourceMetrics", "scopeMetrics", "metrics"):
        histogram = metric.get("histogram")
        if not isinstance(histogram, dict):
            continue
        delta = histogram.get("aggregationTemporality") in (_DELTA, "AGGREGATION_TEMPORALITY_DELTA")
        for point in _dicts(histogram.get("dataPoints")):
            bounds = tuple(_float(value) or 0.0 for value in _list(point.get("explicitBounds")))
            counts = tuple(_int(value) for value in _list(point.get("bucketCounts")))
            if len(counts) != len(bounds) + 1:
                continue
            yield HistogramPoint(
                metric=_text(metric.get("name")),
                attributes=_attributes(point),
                start_ns=_int(point.get("startTimeUnixNano")),
                time_ns=_int(point.get("timeUnixNano")),
                delta=delta,
                bounds=bounds,
                counts=counts,
                sum=_float(point.get("sum")) or 0.0,
                min=_float(point.get("min")),
                max=_float(point.get("max")),
                exemplars=tuple(_exemplars(point)),
            )


def _exemplars(point: dict[str, Any]) -> Iterator[Exemplar]:
    for exemplar in _dicts(point.get("exemplars")):
        value = _float(exemplar.get("asDouble", exemplar.get("asInt")))
        trace_id = _text(exemplar.get("traceId")).lower()
        if value is not None and trace_id:
            yield Exemplar(value, trace_id, _text(exemplar.get("spanId")).lower())


def _items(request: dict[str, Any], resources: str, scopes: str, items: str) -> Iterator[dict[str, Any]]:
    for resource in _dicts(request.get(resources)):
        for scope in _dicts(resource.get(scopes)):
            yield from _dicts(scope.get(items))


def _attributes(item: dict[str, Any]) -> dict[str, Any]:
    return {_text(pair.get("key")): _value(pair.get("value")) for pair in _dicts(item.get("attributes"))}


def _value(value: Any) -> Any:
    """Return an OTLP `AnyValue` as plain data; None for an unknown kind."""
    if not isinstance(value, dict) or not value:
        return None
    kind, content = next(iter(value.items()))
    if kind == "intValue":
        return _int(content)
    if kind == "doubleValue":
        return _float(content)
    if kind == "arrayValue" and isinstance(content, dict):
        return [_value(entry) for entry in _dicts(content.get("values"))]
    if kind == "kvlistValue" and isinstance(content, dict):
        return {_text(pair.get("key")): _value(pair.get("value")) for pair in _dicts(content.get("values"))}
    return content if kind in ("stringValue", "boolValue", "bytesValue") else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in _list(value) if isinstance(entry, dict)]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _int(value: Any) -> int:
    """Read an int64, which the JSON mapping writes as a string; 0 for what is none."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return 0


def _float(value: Any) -> float | None:
    """Read a double; the JSON mapping writes those that are not finite as strings."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) or isinstance(value, str) else None


def _level(severity: int) -> str:
    for least, name in ((21, "CRITICAL"), (17, "ERROR"), (13, "WARNING"), (9, "INFO"), (1, "DEBUG")):
        if severity >= least:
            return name
    return ""
