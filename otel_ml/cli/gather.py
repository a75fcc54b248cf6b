"""One pass over a run's files into what `show` prints, with bounded memory however long the run was."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from otel_ml import conventions
from otel_ml.cli import otlp_files
from otel_ml.cli.histogram import Histograms
from otel_ml.cli.otlp_files import LogLine, Span
from otel_ml.cli.recordings import Selection

Item = TypeVar("Item")

SPANS_KEPT = 10_000
FAILURES_KEPT = 200
NAMES_KEPT = 1_000
PARENTS_KEPT = 200_000
ERROR_SEVERITY = 17
WARNING_SEVERITY = 13
_OTHER_NAMES = "(other names)"


class Best(Generic[Item]):
    """Keeps the items of highest rank, and counts all.

    Args:
        size: Items kept.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._heap: list[tuple[tuple[float, ...], int, Item]] = []
        self._order = itertools.count()  # decides between equal ranks, so that items are never compared
        self.total = 0

    def add(self, rank: tuple[float, ...], item: Item) -> None:
        """Offer an item."""
        self.total += 1
        entry = (rank, -next(self._order), item)
        if len(self._heap) < self._size:
            heapq.heappush(self._heap, entry)
        elif self._size:
            heapq.heappushpop(self._heap, entry)

    @property
    def items(self) -> list[Item]:
        """What was kept, best first."""
        return [item for _, _, item in sorted(self._heap, key=lambda entry: entry[:2], reverse=True)]

    @property
    def left_out(self) -> int:
        """How many were not kept."""
        return self.total - len(self._heap)


@dataclass(slots=True)
class NameStatistics:
    """All spans of one name, in seconds; `own` is time not spent in child spans."""

    calls: int = 0
    failed: int = 0
    total: float = 0.0
    own: float = 0.0
    longest: float = 0.0


@dataclass(frozen=True, slots=True)
class Failure:
    """One exception, with what the log record of a failing model says about its input."""

    time_ns: int
    trace_id: str
    span_id: str
    type: str
    message: str
    stacktrace: str
    attributes: dict[str, Any] = field(compare=False)


class Gathered:
    """What was found in a run's files.

    Args:
        lines_kept: Log lines kept: warnings and errors first, then the newest.
    """

    def __init__(self, lines_kept: int) -> None:
        self.spans: Best[Span] = Best(SPANS_KEPT)
        self.logs: Best[LogLine] = Best(lines_kept)
        self.failures: Best[Failure] = Best(FAILURES_KEPT)
        self.names: dict[str, NameStatistics] = {}
        self.histograms = Histograms()
        self.failed_spans = 0
        self.processes = 0
        self.problems: list[str] = []
        self._child_time: dict[tuple[str, str], float] = {}
        self._logged: set[str] = set()

    def add_span(self, span: Span) -> None:
        """Take one span into account."""
        self.failed_spans += span.failed
        self.spans.add((2 if span.failed else 1 if not span.parent_id else 0, span.seconds), span)
        statistics = self._statistics(span.name)
        statistics.calls += 1
        statistics.failed += span.failed
        statistics.total += span.seconds
        statistics.longest = max(statistics.longest, span.seconds)
        # A span is written when it ends, so its children come before it and their time is known here.
        statistics.own += max(0.0, span.seconds - self._child_time.pop((span.trace_id, span.span_id), 0.0))
        parent = (span.trace_id, span.parent_id)
        if span.parent_id and (parent in self._child_time or len(self._child_time) < PARENTS_KEPT):
            self._child_time[parent] = self._child_time.get(parent, 0.0) + span.seconds
        for event in span.events:
            if span.failed and event.name == "exception" and span.span_id not in self._logged:
                self._add_failure(event.time_ns, span.trace_id, span.span_id, {**span.attributes, **event.attributes})

    def add_log(self, line: LogLine) -> None:
        """Take one log record into account."""
        important = 2 if line.severity >= ERROR_SEVERITY else 1 if line.severity >= WARNING_SEVERITY else 0
        self.logs.add((important, line.time_ns), line)
        if line.severity >= ERROR_SEVERITY and conventions.EXCEPTION_TYPE in line.attributes:
            if line.span_id and len(self._logged) < PARENTS_KEPT:
                self._logged.add(line.span_id)
            self._add_failure(line.time_ns, line.trace_id, line.span_id, line.attributes)

    def settle(self) -> None:
        """Correct the own time of spans whose children were in the files of another process."""
        for span in self.spans.items:
            children = self._child_time.pop((span.trace_id, span.span_id), 0.0)
            if children and span.name in self.names:
                statistics = self.names[span.name]
                statistics.own = max(0.0, statistics.own - min(children, span.seconds))

    def _statistics(self, name: str) -> NameStatistics:
        known = name if name in self.names or len(self.names) < NAMES_KEPT else _OTHER_NAMES
        return self.names.setdefault(known, NameStatistics())

    def _add_failure(self, time_ns: int, trace_id: str, span_id: str, attributes: dict[str, Any]) -> None:
        def text(key: str) -> str:
            value = attributes.get(key)
            return value if isinstance(value, str) else ""

        failure = Failure(
            time_ns, trace_id, span_id, text(conventions.EXCEPTION_TYPE) or "exception",
            text(conventions.EXCEPTION_MESSAGE), text(conventions.EXCEPTION_STACKTRACE), attributes,
        )  # fmt: skip
        self.failures.add((-time_ns,), failure)


def gather(selection: Selection, *, lines_kept: int) -> Gathered:
    """Read all files of a run.

    Args:
        selection: The folder, or one run of several in it.
        lines_kept: Log lines kept.
    """
    found = Gathered(lines_kept)
    recording, run_id = selection.recording, selection.run_id
    for path in recording.files("logs"):  # before the traces: a logged exception says more than a span's event
        for request in otlp_files.read_lines(path, found.problems):
            for line in otlp_files.log_lines(request):
                if run_id is None or line.attributes.get(conventions.RUN_ID) == run_id:
                    found.add_log(line)
    for path in recording.files("traces"):
        for request in otlp_files.read_lines(path, found.problems):
            for span in otlp_files.spans(request):
                if run_id is None or span.attributes.get(conventions.RUN_ID) == run_id:
                    found.add_span(span)
    for path in recording.files("metrics"):
        for request in otlp_files.read_lines(path, found.problems):
            for point in otlp_files.histogram_points(request):
                found.histograms.add(path.name, point)
    found.processes = len(
        {path.stem.partition("-")[2] for signal in otlp_files.SIGNALS for path in recording.files(signal)}
    )
    found.settle()
    return found
