"""Counter cells: what the SDK's counter says, from any number of threads."""

from __future__ import annotations

import math
import sys
import threading
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.metrics import Observation
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, Counter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExporter,
    MetricExportResult,
    MetricReader,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_ml import conventions, health
from otel_ml.metrics.counter import CellCounter, CounterCell, LockedCounterCell
from otel_ml.metrics.meter import MeterProvider
from otel_ml.metrics.readers import ExportingReader

CELLS = pytest.mark.parametrize("kind", [CounterCell, LockedCounterCell])
# Delta: the SDK forgets its attribute sets at each collection, so that the bound is one of each interval; cells stay.
LIMITS = {AggregationTemporality.CUMULATIVE: 3, AggregationTemporality.DELTA: 100}


class SdkReader(MetricReader):
    def __init__(self, temporality: AggregationTemporality):
        super().__init__(
            preferred_temporality={Counter: temporality}, cardinality_limits={Counter: LIMITS[temporality]}
        )

    def _receive_metrics(self, metrics_data, timeout_millis=10_000, **kwargs):
        self.data = metrics_data

    def shutdown(self, timeout_millis=30_000, **kwargs):
        pass


class Exporter(MetricExporter):
    def export(self, metrics_data, timeout_millis=10_000, **kwargs):
        self.data = metrics_data
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis=10_000):
        return True

    def shutdown(self, timeout_millis=30_000, **kwargs):
        pass


class Theirs:
    """The SDK's own counter, provider and reader."""

    def __init__(self, temporality: AggregationTemporality):
        self.sink = self.reader = SdkReader(temporality)
        self.provider = sdk.MeterProvider(
            [self.reader], exemplar_filter=AlwaysOffExemplarFilter(), shutdown_on_exit=False
        )
        self.start()

    def start(self):
        # The SDK calls no reader when there is nothing to say; of the two sides, this is so on ours only.
        self.provider.get_meter("x").create_observable_counter("always", [lambda _: [Observation(1)]])
        self.counter = self.provider.get_meter(conventions.SCOPE).create_counter("c", "{row}", "rows")

    def collect(self):
        """Return the counter's metric without its points, and its points by attributes."""
        self.reader.collect()
        found = [
            (scope.scope, metric)
            for scope in self.sink.data.resource_metrics[0].scope_metrics
            for metric in scope.metrics
            if metric.name == "c"
        ]
        if not found:
            return None, {}
        ((scope, metric),) = found
        about = scope, metric.unit, metric.description, metric.data.aggregation_temporality, metric.data.is_monotonic
        assert type(metric.data) is Sum
        for point in metric.data.data_points:
            assert point.start_time_unix_nano <= point.time_unix_nano
            assert list(point.exemplars) == []
        return about, {typed(point.attributes): point.value for point in metric.data.data_points}


class Ours(Theirs):
    """Cells behind the reader of the distro."""

    def __init__(self, temporality: AggregationTemporality):
        self.sink = Exporter(preferred_temporality={Counter: temporality})
        self.provider = MeterProvider(Resource({}), AlwaysOffExemplarFilter(), max_series=LIMITS[temporality])
        self.start()
        assert isinstance(self.counter, CellCounter)
        self.reader = ExportingReader(
            self.sink, self.provider.instruments, interval=10_000, max_series=LIMITS[temporality]
        )
        self.provider.add_metric_reader(self.reader)


def typed(attributes):
    return tuple(sorted((name, type(value).__name__, value) for name, value in attributes.items()))


AMOUNTS = (
    st.integers(-3, 2**40)
    | st.integers(0, 2**20).map(lambda eighths: eighths / 8)  # sums are exact, in whatever order
    | st.sampled_from([True, 0, 0.0, -0.5, math.nan, math.inf, np.int64(3), np.float64(0.25), 2**53 + 1])
)
ATTRIBUTES = st.sampled_from([None, {}, {"a": "x"}, {"a": 1}, {"a": True}, {"a": 1.0}, {"b": "y", "a": "x"}])
PROGRAMS = st.lists(st.none() | st.tuples(AMOUNTS, ATTRIBUTES), max_size=12)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("temporality", LIMITS)
@given(program=PROGRAMS)
def test_a_reader_sees_what_the_sdks_counter_would_say(
    temporality: AggregationTemporality, program: list[tuple[float, dict] | None]
) -> None:
    """Values, whole or not, attribute sets, the series above the bound, and at each collection what is new."""
    ours, theirs = Ours(temporality), Theirs(temporality)
    is_delta = temporality is AggregationTemporality.DELTA
    for action in (*program, None):
        if action is not None:
            amount, attributes = action
            for side in (ours, theirs):
                side.counter.add(amount, attributes)
            continue
        (about, found), (expected_about, expected) = ours.collect(), theirs.collect()
        if is_delta:  # a zero that was added says nothing new
            expected = {key: value for key, value in expected.items() if value or key in found}
        assert found == pytest.approx(expected, rel=1e-15)  # the SDK adds whole numbers to floats as floats
        for key, value in expected.items():
            if isinstance(value, (int, np.integer)):
                assert type(found[key]) is int and found[key] == value
        assert {type(value) for value in found.values()} <= {int, float}
        if found:
            assert about == expected_about


def counter(max_series=100) -> CellCounter:
    return CellCounter("c", "", "", scope=InstrumentationScope("test"), max_series=max_series)


@pytest.mark.parametrize("amount", [-1, -0.1, math.nan, math.inf, "much", None, object()])
def test_what_cannot_be_added_is_dropped_and_counted(amount: object) -> None:
    """It changes no number and makes no series, and nothing is raised; bound cells refuse it too."""
    ours = counter()
    ours.add(amount, {"a": "b"})
    ours.bind({}).add(amount)
    assert [cell.snapshot().whole for cell in ours.cells()] == [None, None]
    assert health.dropped() == {("metrics", "invalid_value"): 2}


@pytest.mark.parametrize("amount", [2, 2.0, np.int8(2), np.float32(2), Fraction(2), Decimal(2)])
def test_any_number_becomes_pythons_own(amount: float) -> None:
    """Whole ones stay whole."""
    ours = counter()
    ours.add(amount)
    whole, other = ours.bind(None).snapshot()[1:]
    assert whole + other == 2
    assert (type(whole), type(other)) == (int, float)


def test_a_count_above_64_bits_is_a_float_for_otlp() -> None:
    """Which its encoders could not take otherwise, and would fail for all other metrics too."""
    ours = Ours(AggregationTemporality.CUMULATIVE)
    ours.counter.add(2**63 - 1)
    assert list(ours.collect()[1].values()) == [2**63 - 1]
    ours.counter.add(1)
    assert [type(value) for value in ours.collect()[1].values()] == [float]


@CELLS
def test_nothing_that_16_threads_add_is_lost(kind: type[CounterCell]) -> None:
    """While a reader looks, who never sees less than before."""
    cell = kind({})
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def work() -> None:
        for _ in range(5_000):
            cell.add(1)
            cell.add(0.5)

    try:
        threads = [threading.Thread(target=work) for _ in range(16)]
        for thread in threads:
            thread.start()
        seen = [0]
        while any(thread.is_alive() for thread in threads):
            seen.append(cell.snapshot().whole or 0)
        assert seen == sorted(seen)
    finally:
        sys.setswitchinterval(before)
    assert cell.snapshot()[1:] == (80_000, 40_000.0)


def test_an_attribute_set_above_the_bound_is_counted_as_overflow() -> None:
    """Nothing is lost, and a bound cell is the one that `add` uses."""
    ours = counter(max_series=2)
    cell = ours.bind({"n": "0"})
    for number in range(5):
        ours.add(1, {"n": str(number)})
    assert {tuple(c.attributes.items()): c.snapshot().whole for c in ours.cells()} == {
        (("n", "0"),): 1, (("n", "1"),): 1, (("otel.metric.overflow", True),): 3,
    }  # fmt: skip
    assert cell.snapshot().whole == 1
    ours.reset()
    cell.add(7)
    assert ours.bind({"n": "0"}).snapshot().whole == 7
