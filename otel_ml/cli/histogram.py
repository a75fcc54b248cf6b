"""Latency histograms from a run's metric files: merged over processes, with estimated percentiles."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.text import Text

from otel_ml import conventions
from otel_ml.cli import render
from otel_ml.cli.otlp_files import Exemplar, HistogramPoint

DURATIONS = {
    conventions.INFERENCE_DURATION: (conventions.MODEL_NAME, conventions.MODEL_VERSION),
    conventions.STEP_DURATION: (conventions.STEP_NAME,),
}
_ENOUGH_FOR_BARS = 5
_SHOWN = 4
_EXEMPLARS_SHOWN = 3
_EXEMPLARS_KEPT = 20
_BAR_WIDTH = 44


@dataclass(slots=True)
class Histogram:
    """A distribution of durations, in seconds, over all series that differ in nothing but their failure.

    Args:
        metric: Name of the metric.
        title: What was timed.
        bounds: Upper bounds of all buckets but the last, ascending.
        counts: Calls in each bucket.
    """

    metric: str
    title: str
    bounds: tuple[float, ...]
    counts: list[int]
    failed: int = 0
    min: float | None = None
    max: float | None = None
    exemplars: list[Exemplar] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Calls in all buckets."""
        return sum(self.counts)

    def add(self, point: HistogramPoint) -> None:
        """Add one series' final state."""
        self.counts = [mine + other for mine, other in zip(self.counts, point.counts, strict=True)]
        if conventions.ERROR_TYPE in point.attributes:
            self.failed += sum(point.counts)
        self.min = min((value for value in (self.min, point.min) if value is not None), default=None)
        self.max = max((value for value in (self.max, point.max) if value is not None), default=None)
        self.exemplars += point.exemplars

    def slowest(self) -> list[Exemplar]:
        """Return the exemplars of the slowest bucket in which there are calls, slowest first."""
        last = max((index for index, count in enumerate(self.counts) if count), default=0)
        low = self.bounds[last - 1] if last else float("-inf")
        return sorted({exemplar for exemplar in self.exemplars if exemplar.value > low}, reverse=True)

    def quantile(self, share: float) -> float:
        """Estimate a quantile by assuming that calls are spread evenly in their bucket.

        Args:
            share: 0 to 1, for example 0.95.

        Returns:
            Seconds, never outside the smallest and largest value seen; 0 without any call.
        """
        rank = share * self.count
        below = 0
        for index, count in enumerate(self.counts):
            if count and below + count >= rank:
                low, high = self._edges(index)
                return low + (high - low) * min(1.0, max(0.0, (rank - below) / count))
            below += count
        return 0.0

    def _edges(self, index: int) -> tuple[float, float]:
        """Return a bucket's bounds, narrowed to what was really seen."""
        low = self.bounds[index - 1] if index else 0.0
        high = self.bounds[index] if index < len(self.bounds) else max(self.max or 0.0, low)
        low = max(low, self.min) if self.min is not None else low
        high = min(high, self.max) if self.max is not None else high
        return min(low, high), high


class Histograms:
    """Collects the duration series of any number of files: the last state of a cumulative one, the sum of deltas."""

    def __init__(self) -> None:
        self._last: dict[tuple[Any, ...], HistogramPoint] = {}

    def add(self, source: str, point: HistogramPoint) -> None:
        """Take a point into account.

        Args:
            source: File that it was read from: series of different processes are different.
            point: The point.
        """
        if point.metric not in DURATIONS:
            return
        # A restarted process counts from 0 again with another start time, and adds to what was before.
        moment = point.time_ns if point.delta else point.start_ns
        key = (source, point.metric, repr(sorted(point.attributes.items())), moment)
        known = self._last.get(key)
        if known is not None:
            last = max(known, point, key=lambda each: each.time_ns)
            # The SDK hands each exemplar out once, so earlier states have those that the last one lacks.
            exemplars = sorted({*known.exemplars, *point.exemplars}, reverse=True)[:_EXEMPLARS_KEPT]
            point = dataclasses.replace(last, exemplars=tuple(exemplars))
        self._last[key] = point

    def merged(self) -> list[Histogram]:
        """Return one histogram a model version and step, inference first, most calls first."""
        result: dict[tuple[Any, ...], Histogram] = {}
        for point in self._last.values():
            title = " ".join(str(point.attributes[key]) for key in DURATIONS[point.metric] if key in point.attributes)
            key = (point.metric, title, point.bounds)
            if key not in result:
                result[key] = Histogram(point.metric, title or "(other series)", point.bounds, [0] * len(point.counts))
            result[key].add(point)
        order = list(DURATIONS)
        filled = [histogram for histogram in result.values() if histogram.count]
        return sorted(filled, key=lambda histogram: (order.index(histogram.metric), -histogram.count, histogram.title))


def render_histograms(histograms: list[Histogram], console: Console) -> None:
    """Print those histograms that have enough calls to have a shape."""
    shaped = [histogram for histogram in histograms if histogram.count >= _ENOUGH_FOR_BARS]
    for histogram in shaped[:_SHOWN]:
        console.print(_title(histogram))
        for line in _bars(histogram, ascii_only=console.options.ascii_only):
            console.print(line)
        for exemplar in histogram.slowest()[:_EXEMPLARS_SHOWN]:
            where = render.printable(f"trace {exemplar.trace_id} span {exemplar.span_id}", 80)
            console.print(Text(f"  slow: {render.duration(exemplar.value)} in {where}", style="dim"))
    if len(shaped) > _SHOWN:
        console.print(Text(f"  and {render.number(len(shaped) - _SHOWN, 'further histogram')}", style="dim"))


def _title(histogram: Histogram) -> Text:
    verb = "predict " if histogram.metric == conventions.INFERENCE_DURATION else ""
    failed = f", {histogram.failed:,} failed" if histogram.failed else ""
    text = render.heading(
        f"Latency of {verb}{render.printable(histogram.title, 60)}", f"{render.number(histogram.count, 'call')}{failed}"
    )
    text.append("\n ")
    for share in (0.5, 0.95, 0.99):
        text.append(f" p{share * 100:.0f} ", style="dim").append(f"≈ {render.duration(histogram.quantile(share))}  ")
    if histogram.max is not None:
        text.append(" max ", style="dim").append(render.duration(histogram.max))
    return text


def _bars(histogram: Histogram, *, ascii_only: bool) -> Iterator[Text]:
    filled = [index for index, count in enumerate(histogram.counts) if count]
    most = max(histogram.counts)
    for index in range(filled[0], filled[-1] + 1):
        count = histogram.counts[index]
        low = render.bound(histogram.bounds[index - 1]) if index else "0"
        high = render.bound(histogram.bounds[index]) if index < len(histogram.bounds) else "more"
        line = Text(f"  {low:>7} - {high:<7} ", style="dim")
        line.append(
            f"{render.bar(count / most, _BAR_WIDTH, ascii_only=ascii_only):<{_BAR_WIDTH}}", style="not dim cyan"
        )
        yield line.append(f" {count:>7,} {count / histogram.count:>5.0%}", style="not dim")
