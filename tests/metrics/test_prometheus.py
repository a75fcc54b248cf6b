"""What `/metrics` says, read back by prometheus_client's own parsers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from otel_ml.metrics import names
from otel_ml.metrics.prometheus import PrometheusCollector


class Bench:
    def __init__(self, views=()):
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider(
            [self.reader], Resource({"service.name": "s", "a": "\ud800"}), views=views, shutdown_on_exit=False
        )
        self.meter = self.provider.get_meter("app")
        self.registry = CollectorRegistry(support_collectors_without_names=True)
        self.registry.register(PrometheusCollector(self.reader.get_metrics_data))

    def openmetrics(self) -> dict:
        return {family.name: family for family in parse_openmetrics(generate_openmetrics(self.registry).decode())}

    def samples(self) -> dict:
        return {
            (s.name, tuple(sorted(s.labels.items()))): s.value for f in self.openmetrics().values() for s in f.samples
        }


def test_every_instrument_of_an_application_is_shown() -> None:
    """Names, units, types and values follow OpenTelemetry's compatibility specification."""
    bench = Bench()
    bench.meter.create_counter("jobs.done", unit="{job}").add(3, {"queue.name": "a", "ok": True})
    bench.meter.create_up_down_counter("open.files").add(-2)
    bench.meter.create_gauge("temperature", unit="Cel").set(21.5)
    bench.meter.create_observable_counter("read", [lambda _: [Observation(9)]], unit="By")
    bench.meter.create_histogram("wait", unit="s", explicit_bucket_boundaries_advisory=[1, 2]).record(2)
    types = {name: family.type for name, family in bench.openmetrics().items()}
    assert types == {
        "target": "info", "jobs_done": "counter", "open_files": "gauge", "temperature_celsius": "gauge",
        "read_bytes": "counter", "wait_seconds": "histogram",
    }  # fmt: skip
    samples = bench.samples()
    assert samples["jobs_done_total", (("ok", "true"), ("queue_name", "a"))] == 3
    assert samples["wait_seconds_bucket", (("le", "1.0"),)] == 0
    assert samples["wait_seconds_bucket", (("le", "2.0"),)] == 1
    assert samples["target_info", (("a", "?"), ("service_name", "s"))] == 1
    assert list(parse_text(generate_latest(bench.registry).decode()))


def test_exemplars_of_the_sdk_are_shown_too() -> None:
    """On the bucket that their value is in, and on counters; gauges cannot have one."""
    bench = Bench()
    histogram = bench.meter.create_histogram("wait", explicit_bucket_boundaries_advisory=[1, 2])
    with TracerProvider(shutdown_on_exit=False).get_tracer("t").start_as_current_span("s") as span:
        histogram.record(1.5)
        bench.meter.create_counter("done").add(1)
        bench.meter.create_up_down_counter("open").add(1)
    found = {
        s.labels.get("le", s.name): s.exemplar for f in bench.openmetrics().values() for s in f.samples if s.exemplar
    }
    context = span.get_span_context()
    ids = {"trace_id": format(context.trace_id, "032x"), "span_id": format(context.span_id, "016x")}
    assert {key: exemplar.labels for key, exemplar in found.items()} == {"2.0": ids, "done_total": ids}
    assert found["2.0"].value == 1.5


@given(st.lists(st.tuples(st.text(min_size=1, max_size=12), st.text(max_size=12)), max_size=4), st.text(max_size=12))
def test_any_labels_and_description_can_be_read_back(attributes: list[tuple[str, str]], description: str) -> None:
    """Line ends, quotes, lone surrogates and names that become equal do not break the page."""
    bench = Bench()
    bench.meter.create_counter("c", description=description).add(1, dict(attributes))
    bench.meter.create_histogram("h", explicit_bucket_boundaries_advisory=[1]).record(
        1, {"le": "mine", **dict(attributes)}
    )
    page = bench.openmetrics()
    assert page["c"].samples[0].value == 1
    assert page["h"].type == "histogram"


def test_names_that_become_equal_do_not_break_the_page(caplog: pytest.LogCaptureFixture) -> None:
    """The first keeps the name; what cannot be told from it is left out, and said once each."""
    bench = Bench()
    bench.meter.create_counter("a.b").add(1)
    bench.provider.get_meter("other").create_counter("a_b").add(2)
    bench.provider.get_meter("other").create_counter("a_b", description="again").add(4, {"x": "y"})
    bench.meter.create_gauge("a.b").set(8)
    bench.meter.create_gauge("a_b_total").set(16)
    assert {key: value for key, value in bench.samples().items() if key[0] != "target_info"} == {
        ("a_b_total", ()): 1, ("a_b_total", (("x", "y"),)): 4,
    }  # fmt: skip
    bench.samples()
    left_out = [record.getMessage() for record in caplog.records if record.name == "otel_ml"]
    assert len(left_out) == len(set(left_out)) == 3


def test_what_the_format_does_not_know_is_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    """An exponential histogram is skipped; everything else is there."""
    bench = Bench([View(instrument_name="wide", aggregation=ExponentialBucketHistogramAggregation())])
    bench.meter.create_histogram("wide").record(1)
    bench.meter.create_counter("c").add(1)
    assert set(bench.openmetrics()) == {"target", "c"}
    assert "wide is not on /metrics" in caplog.text


def test_a_collection_that_fails_is_an_empty_page(caplog: pytest.LogCaptureFixture) -> None:
    """The scrape succeeds, and the reason is logged."""

    def fail():
        raise TimeoutError("too slow")

    assert list(PrometheusCollector(fail).collect()) == []
    assert "too slow" in caplog.text


@pytest.mark.parametrize(
    ("unit", "expected"),
    [("s", "seconds"), ("By/s", "bytes_per_second"), ("{row}", ""), ("1", ""), ("%", "percent"), ("foo bar", "foo_bar"),
     ("{x}/s", "per_second"), ("", "")],
)  # fmt: skip
def test_units_are_spelt_out(unit: str, expected: str) -> None:
    """As Prometheus asks: base units in words, annotations left out."""
    assert names.unit_name(unit).strip("_") == expected
