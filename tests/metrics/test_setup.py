"""The pipeline: whose provider, how often, how long; in processes of their own, for a provider can be set once."""

from __future__ import annotations

import pytest

from support import run_python

PRELUDE = """
import json, os, threading, time, urllib.request, urllib.error
import otel_ml
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider as SdkProvider
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from otel_ml import conventions, health
from otel_ml.instruments import instruments
from otel_ml.metrics.setup import start
from otel_ml.options import Metrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse

class Exporter(MetricExporter):
    def __init__(self, act=lambda: MetricExportResult.SUCCESS, **options):
        super().__init__(**options)
        self.batches, self.ends, self.act = [], 0, act
    def export(self, metrics_data, timeout_millis=10_000, **kwargs):
        self.batches.append(metrics_data)
        return self.act()
    def force_flush(self, timeout_millis=10_000):
        return True
    def shutdown(self, timeout_millis=30_000, **kwargs):
        self.ends += 1
    def points(self, name, batch=-1):
        return [p for r in self.batches[batch].resource_metrics for s in r.scope_metrics for m in s.metrics
                if m.name == name for p in m.data.data_points]

RESOURCE = Resource.create({"service.name": "test"})
NAME = conventions.INFERENCE_DURATION
def begin(exporter=None, prometheus=False, **options):
    return start(Metrics(**options), resource=RESOURCE, exporter=exporter, prometheus=prometheus)
def record(value, **attributes):
    instruments.inference_duration.record(value, attributes)
def get(port, path="/metrics", accept="application/openmetrics-text", **headers):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Accept": accept, **headers})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.headers["Content-Type"], answer.read().decode()
def bucket_count(text):
    name = "otel_ml_inference_duration_seconds_bucket"
    return {s.labels["le"]: s for f in parse(text) for s in f.samples if s.name == name}
"""


def check(code: str, **options) -> str:
    import textwrap

    done = run_python(PRELUDE + textwrap.dedent(code), **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_same_cells_go_to_the_exporter_and_to_metrics() -> None:
    """Both show count and exemplar; OTLP gives an exemplar once, a scrape gives the last one always."""
    check(
        """
        exporter = Exporter()
        pipeline = begin(exporter, prometheus=True, port=0)
        tracer = TracerProvider(shutdown_on_exit=False).get_tracer("t")
        with tracer.start_as_current_span("s") as span:
            record(0.0005)
        assert pipeline.flush(5) and pipeline.flush(5)
        first, second = exporter.points(NAME, 0)[0], exporter.points(NAME, 1)[0]
        assert (first.count, second.count) == (1, 1)
        assert [e.trace_id for e in first.exemplars] == [span.get_span_context().trace_id]
        assert list(second.exemplars) == []
        for _ in range(2):
            kind, text = get(pipeline.port)
            sample = bucket_count(text)["0.0005"]  # the bound is included
            assert sample.value == 1
            assert sample.exemplar.labels["trace_id"] == format(span.get_span_context().trace_id, "032x")
            assert sample.exemplar.value == 0.0005
        assert kind.startswith("application/openmetrics-text")
        kind, text = get(pipeline.port, accept="text/html, */*")
        assert kind.startswith("text/plain") and "trace_id" not in text and 'le="0.0005"' in text
        assert "otel_ml_dropped_total" in text
        assert pipeline.close(5)
        """
    )


def test_the_temporality_that_an_exporter_prefers_holds_for_cells() -> None:
    """Delta points say what is new since the collection before, and nothing when nothing is."""
    check(
        """
        from opentelemetry.sdk.metrics import Histogram
        from opentelemetry.sdk.metrics.export import AggregationTemporality
        exporter = Exporter(preferred_temporality={Histogram: AggregationTemporality.DELTA})
        pipeline = begin(exporter)
        record(0.25); record(0.5)
        pipeline.flush(5)
        record(1.0)
        pipeline.flush(5)
        pipeline.flush(5)
        (one,), (two,), three = (exporter.points(NAME, i) for i in range(3))
        assert (one.count, one.sum, two.count, two.sum, three) == (2, 0.75, 1, 1.0, [])
        assert two.start_time_unix_nano == one.time_unix_nano
        scopes = exporter.batches[0].resource_metrics[0].scope_metrics
        (metric,) = [m for s in scopes for m in s.metrics if m.name == NAME]
        assert metric.data.aggregation_temporality is AggregationTemporality.DELTA
        """
    )


def test_otlp_encoders_take_delta_points() -> None:
    """Least and most of a span of time are not known; they are left out."""
    check(
        """
        from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
        from opentelemetry.sdk.metrics import Histogram
        from opentelemetry.sdk.metrics.export import AggregationTemporality
        from otel_ml.export.otlp_json.metrics import encode_metrics as json_metrics
        exporter = Exporter(preferred_temporality={Histogram: AggregationTemporality.DELTA})
        pipeline = begin(exporter)
        record(0.25); pipeline.flush(5); record(0.5); pipeline.flush(5)
        message = encode_metrics(exporter.batches[1])
        scopes = message.resource_metrics[0].scope_metrics
        (point,) = [p for s in scopes for m in s.metrics if m.name == NAME for p in m.histogram.data_points]
        assert point.count == 1 and not point.HasField("min")
        assert json_metrics(exporter.batches[1])
        """
    )


def test_it_exports_at_its_interval() -> None:
    """Without anybody asking."""
    check(
        """
        exporter = Exporter()
        begin(exporter, interval=0.05)
        record(1)
        deadline = time.monotonic() + 20
        while len(exporter.batches) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(exporter.batches) >= 3
        """
    )


def test_it_can_be_started_again() -> None:
    """The provider stays, with the new resource, and counts from zero; the old exporter is left alone."""
    check(
        """
        first, second = Exporter(), Exporter()
        pipeline = begin(first)
        record(1)
        assert pipeline.close(5) and pipeline.close(5)
        provider = metrics.get_meter_provider()
        record(1)
        again = start(Metrics(), resource=Resource.create({"service.name": "other"}), exporter=second, prometheus=False)
        assert metrics.get_meter_provider() is provider
        record(1)
        assert again.close(5)
        assert (first.ends, second.ends) == (1, 1)
        assert [p.count for p in second.points(NAME)] == [1]
        assert second.batches[-1].resource_metrics[0].resource.attributes["service.name"] == "other"
        assert [thread.name for thread in threading.enumerate() if not thread.daemon] == ["MainThread"]
        """
    )


def test_an_applications_provider_stays_and_gets_our_readers() -> None:
    """Its own reader goes on, ours see the same, and closing takes ours off again."""
    check(
        """
        reader, exporter = InMemoryMetricReader(), Exporter()
        own = SdkProvider([reader], shutdown_on_exit=False)
        metrics.set_meter_provider(own)
        pipeline = begin(exporter, prometheus=True, port=0)
        assert metrics.get_meter_provider() is own and "stays" in pipeline.note
        record(0.2)
        assert 'otel_ml_inference_duration_seconds_count' in get(pipeline.port)[1]
        assert pipeline.close(5)
        assert [p.count for p in exporter.points(NAME)] == [1]
        record(0.2)
        names = {m.name for s in reader.get_metrics_data().resource_metrics[0].scope_metrics for m in s.metrics}
        assert NAME in names
        assert begin(Exporter()).close(5)
        """
    )


def test_a_provider_of_another_kind_is_left_alone() -> None:
    """It takes no readers; that is said, the exporter is shut down, and recording goes on."""
    check(
        """
        metrics.set_meter_provider(metrics.NoOpMeterProvider())
        exporter = Exporter()
        pipeline = begin(exporter, prometheus=True, port=0)
        assert "NoOpMeterProvider stays" in pipeline.note
        record(1)
        assert pipeline.port is None and pipeline.flush(1) and pipeline.close(1) and exporter.ends == 1
        """
    )


@pytest.mark.parametrize("act", ["MetricExportResult.FAILURE", "1 / 0"])
def test_what_could_not_be_exported_is_counted_and_said_once(act: str) -> None:
    """A failing exporter is no exception of the caller's, and the thread lives on."""
    output = check(
        f"""
        exporter = Exporter(lambda: {act})
        pipeline = begin(exporter)
        record(1)
        assert not pipeline.flush(5) and not pipeline.flush(5)
        assert health.dropped()["metrics", "export_failed"] >= 2
        exporter.act = lambda: MetricExportResult.SUCCESS
        assert pipeline.flush(5) and pipeline.close(5)
        """
    )
    assert len(output.strip().splitlines()) == 1


def test_an_exporter_that_hangs_holds_nobody_up() -> None:
    """Neither who flushes, nor who shuts down, nor the end of the program; and not the application's own flush."""
    check(
        """
        pipeline = begin(Exporter(lambda: threading.Event().wait()))
        record(1)
        started = time.monotonic()
        assert not pipeline.flush(0.2)
        assert not metrics.get_meter_provider().force_flush(200)
        assert not pipeline.close(0.2)
        assert time.monotonic() - started < 10
        """,
        timeout=30,
    )


def test_a_flush_of_the_global_provider_reaches_our_exporter() -> None:
    """Runtimes that freeze a process, and know OpenTelemetry only, flush so."""
    check(
        """
        exporter = Exporter()
        begin(exporter)
        record(1)
        assert metrics.get_meter_provider().force_flush()
        assert [p.count for p in exporter.points(NAME)] == [1]
        metrics.get_meter_provider().shutdown()
        assert exporter.ends == 1
        """
    )


def test_a_port_in_use_is_said_and_survived() -> None:
    """The program goes on without /metrics; a second start with a free port has it."""
    output = check(
        """
        import socket
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0)); taken.listen()
            port = taken.getsockname()[1]
            pipeline = begin(prometheus=True, port=port)
            assert pipeline.port is None and pipeline.close(1)
        pipeline = begin(prometheus=True, port=port)
        assert pipeline.port == port and get(port)
        pipeline.close(1)
        again = begin(prometheus=True, port=port)  # closing frees it
        assert get(port) and again.close(1)
        assert begin(prometheus=True, port=0, host="no such host..").port is None
        """
    )
    assert "/metrics cannot be served on 127.0.0.1" in output


def test_the_server_answers_for_metrics_only_and_survives_bad_requests() -> None:
    """Other paths are 404, other methods 405, a senseless Accept is an answer, a broken client is counted."""
    check(
        """
        import socket
        pipeline = begin(prometheus=True, port=0)
        record(0.5)
        def status(**request):
            try:
                get(pipeline.port, **request)
                return 200
            except urllib.error.HTTPError as error:
                return error.code
        paths = ("/", "/metrics/x", "/metrics", "/metrics/", "/metrics?name[]=target_info")
        assert [status(path=path) for path in paths] == [404, 404, 200, 200, 200]
        assert status(accept="application/openmetrics-text; version=x.y; escaping=?") == 500
        with socket.create_connection(("127.0.0.1", pipeline.port)) as client:
            client.sendall(b"nonsense\\r\\n\\r\\n")
            client.recv(1000)
        assert status() == 200
        request = urllib.request.Request(f"http://127.0.0.1:{pipeline.port}/metrics", data=b"x", method="POST")
        try:
            urllib.request.urlopen(request)
        except urllib.error.HTTPError as error:
            assert error.code == 405
        _, text = get(pipeline.port, path="/metrics?name[]=otel_ml_inference_duration_seconds_count")
        assert "otel_ml_inference_duration_seconds_count" in text and "_bucket" not in text
        assert pipeline.registry.get_sample_value("otel_ml_inference_duration_seconds_count") == 1
        pipeline.close(1)
        """
    )


def test_mounted_applications_show_the_pipeline_of_the_moment() -> None:
    """Mounted before anything was configured, they are empty, then filled, then empty; counters are whole."""
    check(
        """
        import asyncio, io
        from otel_ml.metrics import asgi_app, wsgi_app
        asgi, wsgi = asgi_app(), wsgi_app()
        async def scrape():
            sent = []
            async def receive(): return {"type": "http.request"}
            async def send(message): sent.append(message)
            await asgi({"type": "http", "method": "GET", "path": "/metrics/", "query_string": b"",
                        "headers": [(b"accept", b"application/openmetrics-text")]}, receive, send)
            assert sent[0]["status"] == 200
            return sent[1]["body"].decode()
        def scrape_wsgi():
            answer = []
            body = wsgi({"REQUEST_METHOD": "GET", "PATH_INFO": "", "QUERY_STRING": ""}, lambda *a: answer.append(a))
            assert answer[0][0] == "200 OK"
            return b"".join(body).decode()
        assert asyncio.run(scrape()) == "# EOF\\n"
        pipeline = begin()
        record(0.5)
        instruments.inference_rows.add(7)
        text = asyncio.run(scrape())
        assert bucket_count(text)["0.5"].value == 1
        assert "otel_ml_inference_rows_total 7.0" in text and "otel_ml_inference_rows_total 7.0" in scrape_wsgi()
        pipeline.close(1)
        assert asyncio.run(scrape()) == "# EOF\\n"
        """
    )


def test_a_forked_child_exports_its_own_and_leaves_the_port_to_its_parent() -> None:
    """It starts from zero, exports at the interval, and does not listen in its parent's place."""
    check(
        """
        import signal, socket
        exporter = Exporter()
        pipeline = begin(exporter, prometheus=True, port=0, interval=0.05)
        port = pipeline.port
        record(1); record(1)
        child = os.fork()
        if not child:
            exporter.batches.clear()
            record(0.5)
            deadline = time.monotonic() + 20
            while not (exporter.batches and exporter.points(NAME)) and time.monotonic() < deadline:
                time.sleep(0.01)
            ok = [p.count for p in exporter.points(NAME)] == [1] and pipeline.port is None
            ok = pipeline.close(5) and ok
            os._exit(0 if ok else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert bucket_count(get(port)[1])["1.0"].value == 3  # the page is of both
        ready, tell = os.pipe()
        sleeper = os.fork()
        if not sleeper:
            os.write(tell, b"x")  # what a fork does in its child has been done
            time.sleep(60)
            os._exit(0)
        try:
            os.read(ready, 1)
            pipeline.close(1)
            with socket.socket() as free:
                free.settimeout(2)
                assert free.connect_ex(("127.0.0.1", port)) != 0  # the child does not listen in its place
        finally:
            os.kill(sleeper, signal.SIGKILL)
            os.waitpid(sleeper, 0)
        """
    )


def test_losses_are_counted_from_zero() -> None:
    """So that the first one shows as a rise; readers see them by signal and reason."""
    check(
        """
        exporter = Exporter()
        pipeline = begin(exporter)
        pipeline.flush(5)
        assert {p.value for p in exporter.points(conventions.DROPPED)} == {0}
        health.count_dropped("traces", "queue_full", 3)
        pipeline.flush(5)
        wanted = {conventions.SIGNAL: "traces", conventions.REASON: "queue_full"}
        assert [p.value for p in exporter.points(conventions.DROPPED) if dict(p.attributes) == wanted] == [3]
        """
    )


def test_a_wrong_exemplar_filter_is_a_warning_and_the_default() -> None:
    """The standard variable is honoured; a typo does not cost the metrics."""
    output = check("begin(); record(1)", env={"OTEL_METRICS_EXEMPLAR_FILTER": "sometimes"})
    assert "OTEL_METRICS_EXEMPLAR_FILTER" in output
    check(
        """
        exporter = Exporter()
        pipeline = begin(exporter)
        with TracerProvider(shutdown_on_exit=False).get_tracer("t").start_as_current_span("s"):
            record(1)
        pipeline.flush(5)
        assert [list(p.exemplars) for p in exporter.points(NAME)] == [[]]
        """,
        env={"OTEL_METRICS_EXEMPLAR_FILTER": "always_off"},
    )
