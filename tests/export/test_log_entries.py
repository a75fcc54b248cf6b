"""Log entries as bytes are what they are as log records of the SDK."""

from __future__ import annotations

import logging
from unittest import mock

import pytest
from export import samples
from hypothesis import given
from hypothesis import strategies as st
from logs.conftest import clean_logging  # noqa: F401  a fixture
from logs.running import entry
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.sdk.resources import Resource

from otel_ml import health
from otel_ml.export.otlp import Endpoint, log_exporter
from otel_ml.logs import otlp, start
from otel_ml.logs.entries import Entry
from otel_ml.logs.otlp import OtlpSink, to_log_record
from otel_ml.options import Logs
from receivers import Fault, OtlpReceiver

RESOURCE = Resource({"service.name": "shop"})
hex_ids = st.sampled_from(
    ["", "0" * 32, "0" * 16, "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "abc", "0", "no hex"]
)
keys = samples.keys | st.sampled_from(["event.name", "otel.event.name"])
failures = st.fixed_dictionaries({"type": samples.text, "message": samples.text, "stacktrace": samples.text})
entries = st.builds(
    Entry,
    time_ns=samples.uint64,
    level=st.integers(-5, 120),
    level_name=st.sampled_from(["INFO", "WARNING", "CRITICAL"]) | samples.text,
    logger=samples.text,
    message=samples.text,
    trace_id=hex_ids,
    span_id=hex_ids.filter(lambda value: len(value) < 17),
    trace_flags=st.sampled_from([0, 1]),
    run_id=st.none() | samples.text,
    extra=st.dictionaries(keys, samples.values, max_size=4),
    exception=st.none() | failures,
    code=st.tuples(samples.text, samples.text, st.integers(0, 10**6)),
)


@pytest.fixture
def receiver():
    """An OTLP receiver over HTTP and gRPC."""
    with OtlpReceiver() as running:
        yield running


@given(st.lists(entries, max_size=4))
def test_entries_equal_the_official_encoding(batch):
    """Any entries read as the message that the official encoder makes of their log records."""
    sink = OtlpSink(log_exporter(Endpoint("http://127.0.0.1:9")), RESOURCE, queue_size=10)
    with mock.patch.object(otlp.time, "time_ns", return_value=7):
        expected = encode_logs([to_log_record(item, RESOURCE) for item in batch])
        block = sink._encode(batch)
    read = ExportLogsServiceRequest.FromString(block.content)
    equal = read.SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True)
    assert equal, (str(read)[:1000], str(expected)[:1000])  # pytest's own explanation takes minutes
    assert block.number == len(batch)


@pytest.mark.usefixtures("clean_logging")
@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_what_is_logged_arrives(receiver, protocol):
    """From `logging` to an endpoint, masked, by its own thread."""
    pipeline = start(
        Logs(format="none", level="INFO"), service="shop", resource=RESOURCE, directory=None,
        exporter=log_exporter(Endpoint(receiver.url(protocol), protocol)), set_level=True,
    )  # fmt: skip
    logging.getLogger("app").info("to %s", "ada@example.org", extra={"password": "hunter2", "rows": 5})
    assert pipeline.close(30.0)
    (record,) = [item for item in receiver.records("logs") if item.body.string_value.startswith("to ")]
    assert record.body.string_value == "to [redacted]"
    shown = {item.key: item.value for item in record.attributes}
    assert shown["password"].string_value == "[redacted]" and shown["rows"].int_value == 5


def test_an_entry_that_cannot_be_encoded_costs_only_itself(receiver):
    """It is counted, and the others of its block are sent."""
    sink = OtlpSink(log_exporter(Endpoint(receiver.http_url)), RESOURCE, queue_size=10)
    sink.put(entry(code=()))
    sink.put(entry(message="good"))
    assert sink.close(30.0)
    assert [record.body.string_value for record in receiver.records("logs")] == ["good"]
    assert health.dropped() == {("logs", "encode_failed"): 1}


def test_a_refused_request_is_counted(receiver):
    """With the number of its records."""
    receiver.misbehave(Fault(status=400))
    sink = OtlpSink(log_exporter(Endpoint(receiver.http_url)), RESOURCE, queue_size=10)
    for _ in range(3):
        sink.put(entry())
    assert sink.close(30.0)
    assert health.dropped() == {("logs", "export_failed"): 3}
