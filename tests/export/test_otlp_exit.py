"""Exporters at the end of a process, and across a fork, with endpoints that answer late, never or not at all."""

from __future__ import annotations

import json
import threading

import pytest
from export.records import spans

from otel_ml.export.otlp import Endpoint, span_exporter
from receivers import Fault, OtlpReceiver, unused_port
from support import run_python

PROTOCOLS = ["http/protobuf", "grpc"]


@pytest.fixture
def receiver():
    """An OTLP receiver over HTTP and gRPC."""
    with OtlpReceiver() as running:
        yield running


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_shutdown_ends_the_waiting_between_two_tries(protocol, monkeypatch):
    """While an exporter waits to try a dead endpoint again, for minutes, shutdown makes it give up."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "600")
    with OtlpReceiver() as receiver:
        receiver.misbehave(Fault(status=503, retry_after=300))
        _shut_down_in_flight(receiver, protocol)


def test_shutdown_ends_a_grpc_call_that_is_never_answered(receiver, monkeypatch):
    """Over gRPC, shutdown also ends a call to an endpoint that never answers."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "600")
    receiver.misbehave(Fault(hang=True))
    _shut_down_in_flight(receiver, "grpc")


def _shut_down_in_flight(receiver, protocol):
    exporter = span_exporter(Endpoint(receiver.url(protocol), protocol))
    results = []
    thread = threading.Thread(target=lambda: results.append(exporter.export(spans("late")).name), daemon=True)
    thread.start()
    receiver.wait_for_requests(1)
    exporter.shutdown()
    thread.join(timeout=60)
    assert results == ["FAILURE"]


NEVER_ANSWERED = """
    import os, threading
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext
    from otel_ml.export.otlp import Endpoint, span_exporter
    from otel_ml.worker import BatchWorker

    exporter = span_exporter(Endpoint(os.environ["URL"], os.environ["PROTOCOL"]))
    worker = BatchWorker("traces", exporter.export, queue_size=10, batch_size=10, interval=0.01)
    worker.put(ReadableSpan("span", SpanContext(1, 2, is_remote=False), resource=Resource({})))
    worker.close(0.5)
    exporter.shutdown()
"""


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_endpoint_that_never_answers_does_not_hold_up_the_exit(receiver, protocol):
    """A process ends although its last export waits for an answer that would be awaited for ten minutes."""
    receiver.misbehave(Fault(hang=True))
    env = {"URL": receiver.url(protocol), "PROTOCOL": protocol, "OTEL_EXPORTER_OTLP_TIMEOUT": "600"}
    done = run_python(NEVER_ANSWERED, env=env, timeout=60)
    assert done.returncode == 0, done.stderr
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_endpoint_where_nobody_listens_does_not_hold_up_the_exit(protocol):
    """A process ends although its last export would be tried again for ten minutes."""
    url = f"http://127.0.0.1:{unused_port()}"
    done = run_python(
        NEVER_ANSWERED, env={"URL": url, "PROTOCOL": protocol, "OTEL_EXPORTER_OTLP_TIMEOUT": "600"}, timeout=60
    )
    assert done.returncode == 0, done.stderr


FORKS = """
    import faulthandler, json, os, threading
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext
    from otel_ml.export.otlp import Endpoint, span_exporter

    resource, attributes = Resource({}), {"a": "x" * 2000}
    def batch(name):
        return [ReadableSpan(name, SpanContext(1, 2, is_remote=False), resource=resource, attributes=attributes)]

    exporter = span_exporter(Endpoint(os.environ["URL"], os.environ["PROTOCOL"]))
    stop = threading.Event()
    results = [exporter.export(batch("parent")).name]
    def keep_exporting():
        while not stop.is_set():
            results.append(exporter.export(batch("parent")).name)
    thread = threading.Thread(target=keep_exporting)
    if os.environ["DURING"]:
        thread.start()
    statuses = []
    for number in range(8):
        child = os.fork()
        if child == 0:
            faulthandler.dump_traceback_later(30, exit=True)
            done = [exporter.export(batch(f"child-{number}")).name for _ in range(3)]
            os._exit(0 if done == ["SUCCESS"] * 3 else 3)
        statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        results.append(exporter.export(batch("parent")).name)
    stop.set()
    if thread.is_alive():
        thread.join()
    print(json.dumps({"statuses": statuses, "results": sorted(set(results)), "parent": len(results)}))
"""


# Not gRPC during an export: its core does not survive a fork while a thread is inside it.
@pytest.mark.parametrize(("protocol", "during"), [("http/protobuf", "yes"), ("http/protobuf", ""), ("grpc", "")])
def test_forked_children_export_too(receiver, protocol, during):
    """Children forked between or, over HTTP, during exports have connections of their own: nothing mixes or hangs."""
    env = {"URL": receiver.url(protocol), "PROTOCOL": protocol, "DURING": during}
    done = run_python(FORKS, env=env, timeout=120)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["statuses"] == [0] * 8, done.stderr
    assert report["results"] == ["SUCCESS"]
    names = sorted(span.name for span in receiver.records("traces"))
    children = [f"child-{number}" for number in range(8)] * 3
    assert names == sorted([*children, *["parent"] * report["parent"]])
    assert all(request.accepted for request in receiver.requests)
