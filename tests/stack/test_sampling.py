"""Which traces the gateway keeps, and what it counted of all of them before it dropped any."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_ml import conventions
from receivers import Fault, OtlpReceiver
from stack.otlp_requests import SERVICE, facts, gateway_into, send, span, traces

FEW = {
    "OTEL_ML_SAMPLING_PERCENTAGE": "1",
    "OTEL_ML_SAMPLING_WAIT": "3s",
    "OTEL_ML_SAMPLING_WAIT_AFTER_ROOT": "1s",
    "OTEL_ML_SAMPLING_KEEP_MODELS": "fraud|rare-.*",
}


def calls(stores: OtlpReceiver) -> Counter[str]:
    """Return how many spans the span metrics counted by name: the last report of each series, added up."""
    latest: dict[str, tuple[str, int]] = {}
    for item in list(stores.requests):
        for of_resource in item.message.resource_metrics if item.signal == "metrics" else ():
            for metric in of_resource.scope_metrics[0].metrics:
                for point in metric.sum.data_points:
                    series = f"{of_resource.resource}{sorted(facts(point.attributes).items())}"
                    latest[series] = (facts(point.attributes)["span.name"], point.as_int)
    counted: Counter[str] = Counter()
    for name, value in latest.values():
        counted[name] += value
    return counted


def trace_of(*names: str, model: str = "credit", **last: Any) -> list[Span]:
    """Return the spans of one trace; `last` makes the last of them special."""
    trace_id = secrets.token_bytes(16)
    root = span(names[0], trace_id=trace_id)
    rest = [
        span(name, trace_id=trace_id, parent_span_id=root.span_id, attributes={conventions.MODEL_NAME: model})
        for name in names[1:-1]
    ]
    end = span(names[-1], trace_id=trace_id, parent_span_id=root.span_id, **last)
    return [root, *rest, end]


def sent_in_halves(kinds: list[list[Span]]) -> list[list[Span]]:
    """Return two requests' spans: of each trace the one half with its root, and the other."""
    return [[one for trace in kinds for one in trace[::2]], [one for trace in kinds for one in trace[1::2]]]


def test_at_one_percent_what_matters_is_kept_whole(tmp_path: Path) -> None:
    """Errors, slow traces, rare models and runs stay, each span once; of the rest little does, but all is counted."""
    plain = [trace_of("plain", "score", "decide") for _ in range(400)]
    errors = [trace_of("failing", "score", "decide", error="broken") for _ in range(20)]
    slow = [trace_of("slow", "score", "decide", seconds=1.2) for _ in range(20)]
    rare = [trace_of("rare", "score", "decide", model=model) for model in ("fraud", "rare-7") for _ in range(10)]
    nearly = [trace_of("nearly rare", "score", "decide", model="fraudulent") for _ in range(20)]
    run_id, run_trace = {conventions.RUN_ID: "0190a5b0-3c5c-7b1e-9d3a-5f2f0c1b2a3d"}, secrets.token_bytes(16)
    late = [span("late", trace_id=errors[0][0].trace_id, parent_span_id=errors[0][0].span_id)]
    epochs = [span("epoch", trace_id=run_trace, attributes=run_id) for _ in range(5)]
    with OtlpReceiver() as stores, gateway_into(stores, tmp_path, **FEW) as server:
        for half in sent_in_halves([*plain, *errors, *slow, *rare, *nearly]):
            assert send(server, traces(half)).is_success
        for epoch in epochs:  # over a time in which a decision on the trace would have been made several times
            assert send(server, traces([epoch])).is_success
            time.sleep(2)
        assert send(server, traces(late)).is_success
        kept = [trace for kind in (errors, slow, rare) for trace in kind]
        must = {one.span_id for trace in kept for one in trace} | {one.span_id for one in (*epochs, *late)}
        stores.wait_until(lambda: {one.span_id for one in stores.records("traces")} >= must, "all that matters", 60)
        arrived = Counter(one.span_id for one in stores.records("traces"))
        assert set(arrived.values()) == {1}, "a span came twice"
        of_rest = {one.trace_id for one in stores.records("traces")} & {trace[0].trace_id for trace in plain + nearly}
        assert len(of_rest) < 30, "1 % of 420 is 4"
        for trace in (trace for trace in plain + nearly if trace[0].trace_id in of_rest):
            assert {one.span_id for one in trace} <= set(arrived), "a trace is kept whole or not at all"
        everything = Counter(one.name for trace in (*plain, *kept, *nearly, epochs, late) for one in trace)
        stores.wait_until(lambda: calls(stores) == everything, f"exactly {everything}", 30)


@pytest.mark.parametrize("percentage", ["100", "100.0"])
def test_at_all_percent_nothing_is_lost_by_a_kill(tmp_path: Path, percentage: str) -> None:
    """What was acknowledged while the store was away is in the queue, not in memory; each span comes once."""
    kinds = [trace_of("plain", "score", "decide") for _ in range(100)]
    kinds += [[span("epoch", attributes={conventions.RUN_ID: "a"})], trace_of("failing", "decide", error="x")]
    everything = [one for trace in kinds for one in trace]
    with OtlpReceiver() as stores:
        stores.misbehave(Fault(status=503))
        with gateway_into(stores, tmp_path, OTEL_ML_SAMPLING_PERCENTAGE=percentage) as server:
            for half in sent_in_halves(kinds):
                assert send(server, traces(half)).is_success
            server.kill()
            stores.behave()
            server.start().wait()
            stores.wait("traces", len(everything), timeout=60)
            time.sleep(1)  # in which a duplicate would come
            arrived = Counter(one.span_id for one in stores.records("traces"))
            assert arrived == Counter(one.span_id for one in everything)
            assert send(server, traces(everything)).is_success
            counted = Counter(one.name for one in everything)
            stores.wait_until(lambda: calls(stores) == counted, f"exactly {counted} since the restart", 30)
            assert "tail_sampling_new_trace_id" not in _own_metrics(server.url), (
                "the counter appears with the first trace"
            )


def test_span_metrics_have_the_labels_of_the_design(tmp_path: Path) -> None:
    """They name service, version, environment, model or step, but no process: a restart forks no series."""
    attributes = {conventions.MODEL_NAME: "credit", conventions.MODEL_VERSION: "2", conventions.INPUT_ROWS: 3}
    failed = {conventions.STEP_NAME: "clean", conventions.ERROR_TYPE: "ValueError"}
    with OtlpReceiver() as stores, gateway_into(stores, tmp_path) as server:
        for instance in ("one", "two"):
            resource = {**SERVICE, "service.version": "1.2.3", "service.instance.id": instance, "process.pid": 7}
            spans = [span(attributes=attributes, seconds=0.0004), span("clean", attributes=failed, error="bad")]
            assert send(server, traces(spans, resource)).is_success
        stores.wait_until(lambda: calls(stores) == Counter({"predict credit": 2, "clean": 2}), "four calls", 30)
        last = [item for item in stores.requests if item.signal == "metrics"][-1].message
        (of_resource,) = last.resource_metrics
        assert facts(of_resource.resource.attributes) == {
            "service.name": "credit-api",
            "service.version": "1.2.3",
            "deployment.environment.name": "production",
        }
        metrics = {metric.name: metric for metric in of_resource.scope_metrics[0].metrics}
        duration = metrics["traces.span.metrics.duration"]
        points = {facts(point.attributes)["span.name"]: point for point in duration.histogram.data_points}
        labels = facts(points["predict credit"].attributes)
        assert labels.pop("collector.instance.id") == "gateway", "the same after a restart; HOSTNAME keeps two apart"
        assert labels == {
            "service.name": "credit-api",
            "span.name": "predict credit",
            "span.kind": "SPAN_KIND_UNSPECIFIED",
            "status.code": "STATUS_CODE_UNSET",
            conventions.MODEL_NAME: "credit",
            conventions.MODEL_VERSION: "2",
        }
        of_error = facts(points["clean"].attributes)
        assert of_error[conventions.STEP_NAME] == "clean" and of_error[conventions.ERROR_TYPE] == "ValueError"
        assert duration.unit == "s"
        bounds = list(points["predict credit"].explicit_bounds)
        assert bounds[0] == 0.0001 and bounds[-1] == 3600.0 and set(conventions.INFERENCE_BUCKETS) <= set(bounds)
        assert points["predict credit"].bucket_counts[2] == 2, "0.4 ms is between 0.25 and 0.5"
        exemplars = [
            exemplar
            for item in stores.requests
            if item.signal == "metrics"
            for metric in item.message.resource_metrics[0].scope_metrics[0].metrics
            for point in metric.histogram.data_points
            for exemplar in point.exemplars
        ]
        assert {one.trace_id for one in exemplars} == {one.trace_id for one in stores.records("traces")}


def _own_metrics(url: str) -> str:
    return httpx.get(f"{url}/metrics", timeout=10).text
