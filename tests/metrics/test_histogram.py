"""Cells: the same numbers as the SDK's histogram, from any number of threads."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
from bisect import bisect_left

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from otel_ml import health
from otel_ml.metrics.attributes import MAX_TEXT
from otel_ml.metrics.histogram import CellHistogram
from otel_ml.metrics.histogram_cells import HistogramCell, LockedHistogramCell
from support import run_python

BOUNDS = (0.001, 0.01, 0.1, 1.0)
SAMPLED = NonRecordingSpan(SpanContext(0xABC, 0xDEF, False, TraceFlags(1)))
UNSAMPLED = NonRecordingSpan(SpanContext(0xABC, 0xDEF, False, TraceFlags(0)))
CELLS = pytest.mark.parametrize("kind", [HistogramCell, LockedHistogramCell])


def histogram(bounds=BOUNDS, max_series=100, **options) -> CellHistogram:
    return CellHistogram("h", "s", "", bounds, scope=InstrumentationScope("test"), max_series=max_series, **options)


def counted(one: CellHistogram) -> dict[tuple, int]:
    return {tuple(c.attributes.items()): n for c in one.cells() if (n := c.snapshot().number)}


def sdk_point(values: list[float], bounds: tuple[float, ...]):
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    theirs = provider.get_meter("t").create_histogram("h", explicit_bucket_boundaries_advisory=bounds)
    for value in values:
        theirs.record(value)
    return reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics[0].data.data_points[0]


@given(
    bounds=st.lists(st.floats(0, 100), min_size=1, max_size=8, unique=True).map(lambda found: tuple(sorted(found))),
    data=st.data(),
)
def test_cells_count_as_a_naive_model_and_the_sdk_do(bounds: tuple[float, ...], data: st.DataObject) -> None:
    """Bucket counts, sum, least and most are those of the SDK's explicit buckets, a value on a bound included."""
    values = data.draw(st.lists(st.floats(0, 200) | st.sampled_from(bounds), min_size=1, max_size=30))
    ours = histogram(bounds)
    for value in values:
        ours.record(value)
    found, expected = ours.bind({}).snapshot(), sdk_point(values, bounds)
    naive = [sum(low < v <= high for v in values) for low, high in zip((-1, *bounds), (*bounds, math.inf), strict=True)]
    assert list(found.bucket_counts) == naive == list(expected.bucket_counts)
    assert (found.number, found.min, found.max) == (len(values), expected.min, expected.max)
    assert found.sum == pytest.approx(expected.sum)


@CELLS
def test_no_value_of_16_threads_is_lost(kind: type[HistogramCell]) -> None:
    """Counts and sum are exact although threads change as often as they can."""
    cell = kind({}, BOUNDS)
    start = threading.Barrier(16)

    def work() -> None:
        start.wait()
        for index in range(5_000):
            cell.observe(float(index % 4), SAMPLED)

    in_threads(work, 16)
    found = cell.snapshot()
    assert (found.number, found.sum, found.min, found.max) == (80_000, 120_000.0, 0.0, 3.0)


@CELLS
def test_a_reader_never_sees_half_of_a_value(kind: type[HistogramCell]) -> None:
    """While threads record ones, each snapshot's sum equals its count."""
    cell = kind({}, BOUNDS)
    torn: list[tuple[int, float]] = []

    def work() -> None:
        for _ in range(20_000):
            cell.observe(1.0, None)
            found = cell.snapshot()
            if found.number != found.sum:
                torn.append((found.number, found.sum))

    in_threads(work, 4)
    assert torn == []
    assert cell.snapshot().number == 80_000


def in_threads(work, number: int) -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work) for _ in range(number)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)


@CELLS
def test_a_signal_handler_may_record_while_a_value_is_recorded(kind: type[HistogramCell]) -> None:
    """Neither deadlocks on the other, and both values count."""
    cell = kind({}, BOUNDS)

    class Interrupting(NonRecordingSpan):
        def get_span_context(self) -> SpanContext:
            os.kill(os.getpid(), signal.SIGUSR1)
            return super().get_span_context()

    before = signal.signal(signal.SIGUSR1, lambda *_: cell.observe(2.0, None))
    try:
        cell.observe(1.0, Interrupting(SAMPLED.get_span_context()))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert cell.snapshot().sum == 3.0


@pytest.mark.parametrize("amount", [-0.1, math.nan, math.inf, -math.inf, "much", None, 10**400])
def test_what_is_no_duration_is_dropped_and_counted(amount: object) -> None:
    """It changes no number, and nothing is raised."""
    ours = histogram()
    ours.record(amount)
    assert counted(ours) == {}
    assert health.dropped() == {("metrics", "invalid_value"): 1}


@pytest.mark.parametrize("amount", [1, True, np.float64(1), np.int64(1)])
def test_any_number_counts_as_a_float(amount: float) -> None:
    """What is kept is Python's own float, which every encoder takes."""
    ours = histogram()
    ours.record(amount)
    found = ours.bind(None).snapshot()
    assert [type(value) for value in (found.sum, found.min)] == [float, float]
    assert found.sum == 1.0


def test_values_that_are_equal_but_not_of_a_type_are_series_of_their_own() -> None:
    """True, 1 and 1.0 are equal to Python, not to OTLP; the order of attributes does not matter."""
    ours = histogram()
    for value in (True, 1, 1.0, "1"):
        ours.record(1, {"a": value})
        ours.record(1, {"a": value})
    ours.record(1, {"b": "x", "a": "y"})
    ours.record(1, {"a": "y", "b": "x"})
    assert [n for cell in ours.cells() if (n := cell.snapshot().number)] == [2, 2, 2, 2, 2]


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError

    def __hash__(self) -> int:
        raise RuntimeError


@pytest.mark.parametrize(
    ("attributes", "kept"),
    [
        ({"a": [1, 2]}, {"a": (1, 2)}),
        ({"a": np.int64(3), "b": np.bool_(True), "c": np.str_("x")}, {"a": 3, "b": True, "c": "x"}),
        ({"a": np.zeros(3), "b": "kept"}, {"b": "kept"}),
        ({"a": Hostile(), "b": "kept"}, {"b": "kept"}),
        ({1: "x", "": "y", "b": "kept"}, {"b": "kept"}),
        ({"a": "\ud800"}, {"a": "?"}),
        ({"a": "x" * 10_000_000}, {"a": "x" * MAX_TEXT}),
        ({"a": 2**70}, {"a": str(2**70)}),
        ({"a": object}, {}),
        (["no", "mapping"], {}),
        (7, {}),
    ],
    ids=range(11),
)
def test_odd_attributes_cost_themselves_only(attributes: object, kept: dict[str, object]) -> None:
    """The value is counted, with what of its attributes can be one, and always in the same series."""
    ours = histogram()
    ours.record(0.5, attributes)
    ours.record(0.5, attributes)
    assert counted(ours) == {tuple(kept.items()): 2}


def test_nan_as_an_attribute_is_one_series() -> None:
    """Although it equals nothing, itself included."""
    ours = histogram()
    ours.record(1, {"a": float("nan")})
    ours.record(1, {"a": float("nan")})
    assert list(counted(ours).values()) == [2]


def test_attribute_sets_above_the_bound_share_a_series(caplog: pytest.LogCaptureFixture) -> None:
    """The bound holds, no value is lost, and it is said once; sets that were there before go on as they were."""
    ours = histogram(max_series=3)
    for number in range(10):
        ours.record(1, {"user": str(number)})
    ours.record(1, {"user": "0"})
    assert counted(ours) == {
        (("user", "0"),): 2, (("user", "1"),): 1, (("user", "2"),): 1, (("otel.metric.overflow", True),): 7,
    }  # fmt: skip
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_bound_cell_is_the_one_that_record_uses() -> None:
    """It can be kept for ever: a reset empties it and leaves it in place."""
    ours = histogram()
    cell = ours.bind({"a": "b"})
    cell.observe(1.0, None)
    ours.reset()
    ours.record(0.5, {"a": "b"})
    assert cell is ours.bind({"a": "b"})
    assert (cell.snapshot().number, cell.snapshot().sum) == (1, 0.5)


def test_each_bucket_keeps_the_last_exemplar_of_a_sampled_span() -> None:
    """Values outside spans, and of spans that are not sampled, leave it as it is."""
    ours = histogram()
    for value, span in ((0.05, SAMPLED), (0.06, SAMPLED), (0.07, UNSAMPLED), (0.5, UNSAMPLED), (0.08, None)):
        ours.record(value, {}, trace.set_span_in_context(span) if span else None)
    found = ours.bind({}).snapshot().exemplars
    assert [raw and (raw[0], raw[1], raw[2]) for raw in found] == [
        None, None, (0.06, 0xABC, 0xDEF), None, None,
    ]  # fmt: skip
    assert bisect_left(BOUNDS, 0.06) == 2


def test_exemplars_can_be_switched_off() -> None:
    """As OTEL_METRICS_EXEMPLAR_FILTER=always_off asks."""
    ours = histogram(exemplars=False)
    ours.record(0.5, {}, trace.set_span_in_context(SAMPLED))
    assert set(ours.bind({}).snapshot().exemplars) == {None}


def test_a_forked_child_counts_from_zero() -> None:
    """What its parent counted is the parent's to tell."""
    done = run_python(
        """
        import os
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope
        from otel_ml.metrics.counter import CellCounter
        from otel_ml.metrics.histogram import CellHistogram
        scope = InstrumentationScope("test")
        time = CellHistogram("h", "s", "", (0.1, 1.0), scope=scope, max_series=10)
        rows = CellCounter("c", "", "", scope=scope, max_series=10)
        time.record(1); rows.add(1)
        child = os.fork()
        if not child:
            time.record(0.5); rows.add(5)
            os._exit(0 if (time.bind({}).snapshot().sum, rows.bind({}).snapshot().whole) == (0.5, 5) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert (time.bind({}).snapshot().sum, rows.bind({}).snapshot().whole) == (1.0, 1)
        """
    )
    assert done.returncode == 0, done.stderr


class PlainSpan(NonRecordingSpan):
    """Keeps its ids as the fast span does."""

    __slots__ = ("_span_id", "_trace_flags", "_trace_id")

    def __init__(self, context: SpanContext, trace_id: int | None = None):
        super().__init__(context)
        self._trace_id = context.trace_id if trace_id is None else trace_id
        self._span_id, self._trace_flags = context.span_id, context.trace_flags


class StrangeSpan(PlainSpan):
    """Has slots of these names that say something else."""

    __slots__ = ()


def test_ids_are_taken_from_slots_only_where_they_are_the_contexts() -> None:
    """Whatever kinds of span alternate, and whether they are sampled."""
    ours = histogram()
    strange = StrangeSpan(SAMPLED.get_span_context(), trace_id=1)
    other = SpanContext(0x123, 0x456, False, TraceFlags(1))
    for span, expected in (
        (PlainSpan(SAMPLED.get_span_context()), 0xABC),
        (PlainSpan(other), 0x123),
        (PlainSpan(UNSAMPLED.get_span_context()), 0x123),
        (strange, 0xABC),
        (PlainSpan(other), 0x123),
        (strange, 0xABC),
        (SAMPLED, 0xABC),
        (PlainSpan(other), 0x123),
        (trace.INVALID_SPAN, 0x123),
    ):
        ours.record(0.5, {}, trace.set_span_in_context(span))
        raw = ours.bind({}).snapshot().exemplars[bisect_left(BOUNDS, 0.5)]
        assert raw is not None and raw[1] == expected
