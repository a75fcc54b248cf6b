"""The stock OTLP exporters are made for the right place, and what happens to them is noticed."""

from __future__ import annotations

import logging

import pytest
from export.records import collected, log, spans
from hypothesis import given
from hypothesis import strategies as st

from otel_ml import health
from otel_ml.export.otlp import Endpoint, log_exporter, metric_exporter, protocol_of, span_exporter
from otel_ml.export.rejected import count_rejected
from receivers import GARBAGE, Fault, OtlpReceiver

PROTOCOLS = ["http/protobuf", "grpc"]
SIGNALS = ["traces", "logs", "metrics"]


@pytest.fixture
def receiver():
    """An OTLP receiver over HTTP and gRPC."""
    with OtlpReceiver() as running:
        yield running


def export(signal, endpoint=None):
    """Export one record of a signal and return the name of the result."""
    if signal == "traces":
        exporter, batch = span_exporter(endpoint), spans("span")
    elif signal == "logs":
        exporter, batch = log_exporter(endpoint), [log("text")]
    else:
        exporter, batch = metric_exporter(endpoint), collected()
    try:
        return exporter.export(batch).name
    finally:
        exporter.shutdown()


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_endpoint_given_in_code_is_used(receiver, protocol, signal):
    """Each signal goes over each protocol to the endpoint given, with the headers given."""
    endpoint = Endpoint(receiver.url(protocol), protocol, {"X-Api-Key": "secret"})
    assert export(signal, endpoint) == "SUCCESS"
    (request,) = receiver.requests
    assert (request.signal, request.protocol, len(request.records)) == (signal, protocol.partition("/")[0], 1)
    assert request.headers["x-api-key"] == "secret"


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize(("path", "expected"), [("", ""), ("/", ""), ("/otlp", "/otlp"), ("/a/b/", "/a/b")])
def test_the_path_of_a_base_url_is_kept(receiver, signal, path, expected):
    """Over HTTP the signal's path is appended to that of the base URL, with one slash."""
    assert export(signal, Endpoint(receiver.http_url + path)) == "SUCCESS"
    assert receiver.requests[0].path == f"{expected}/v1/{signal}"


def test_the_query_of_a_base_url_is_kept(receiver):
    """A query, in which some back ends take a key, stays behind the path."""
    assert export("traces", Endpoint(f"{receiver.http_url}/otlp?key=1")) == "SUCCESS"
    assert receiver.requests[0].path == "/otlp/v1/traces?key=1"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_headers_given_in_code_win_over_the_environment(receiver, protocol, monkeypatch):
    """Headers of argument and environment are merged; for one name, however written, the argument's value is sent."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "from-env=1,both=env")
    assert export("traces", Endpoint(receiver.url(protocol), protocol, {"Both": "argument"})) == "SUCCESS"
    headers = receiver.requests[0].headers
    assert (headers["from-env"], headers["both"]) == ("1", "argument")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_signals_own_headers_replace_the_general_ones(receiver, protocol, monkeypatch):
    """`OTEL_EXPORTER_OTLP_TRACES_HEADERS` is taken instead of the general variable, for spans only."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "kind=general")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "kind=own")
    for headers in (None, {"x": "1"}):
        for signal in ("traces", "logs"):
            assert export(signal, Endpoint(receiver.url(protocol), protocol, headers)) == "SUCCESS"
    assert [request.headers["kind"] for request in receiver.requests] == ["own", "general"] * 2


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_environment_alone_is_enough(receiver, protocol, signal, monkeypatch):
    """Without an endpoint in code, endpoint, protocol and headers come from the standard variables."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url(protocol))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "key=value")
    assert export(signal) == "SUCCESS"
    assert receiver.requests[0].protocol == protocol.partition("/")[0]
    assert receiver.requests[0].headers["key"] == "value"


def test_a_signals_own_variables_win(receiver, monkeypatch):
    """Endpoint and protocol of one signal can differ from those of the others; its endpoint is taken as it is."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.grpc_url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", f"{receiver.http_url}/special/v1/logs")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "http/protobuf")
    assert [export(signal) for signal in SIGNALS] == ["SUCCESS"] * 3
    assert [request.protocol for request in receiver.requests] == ["grpc", "http", "grpc"]
    assert receiver.requests[1].path == "/special/v1/logs"


def test_headers_without_a_url_go_where_the_environment_says(receiver, monkeypatch):
    """Headers given in code are sent to the endpoint that the environment names."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.http_url)
    assert export("traces", Endpoint.of(None, {"key": "value"})) == "SUCCESS"
    assert receiver.requests[0].headers["key"] == "value"


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
def test_compression_over_http_is_the_environments(receiver, compression, monkeypatch):
    """`OTEL_EXPORTER_OTLP_COMPRESSION` holds for an endpoint given in code too."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", compression)
    assert export("traces", Endpoint(receiver.http_url)) == "SUCCESS"
    assert receiver.requests[0].headers["content-encoding"] == compression
    assert [span.name for span in receiver.records("traces")] == ["span"]


def test_compression_over_grpc_is_the_environments(receiver, monkeypatch):
    """Requests that gRPC compresses arrive."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    assert export("traces", Endpoint(receiver.grpc_url, "grpc")) == "SUCCESS"
    assert [span.name for span in receiver.records("traces")] == ["span"]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost:4317", "grpc"),
        ("https://collector:4317/", "grpc"),
        ("http://localhost:4318", "http/protobuf"),
        ("https://collector", "http/protobuf"),
        (None, "http/protobuf"),
        ("http://localhost:port", "http/protobuf"),
    ],
)
def test_the_default_protocol_follows_the_port(url, expected):
    """Port 4317 means gRPC, everything else HTTP."""
    assert protocol_of(Endpoint(url), "traces") == expected


@pytest.mark.parametrize("url", ["http://collector:4317", "collector:4317"])
def test_the_default_protocol_follows_the_port_in_the_environment(url, monkeypatch):
    """The port counts in an endpoint from the environment too, also in the form without a scheme."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
    assert protocol_of(Endpoint(), "traces") == "grpc"


def test_a_protocol_in_the_environment_wins_over_the_port(monkeypatch):
    """`OTEL_EXPORTER_OTLP_PROTOCOL` decides where it is set, and a protocol in code decides before it."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", " GRPC ")
    assert protocol_of(Endpoint("http://localhost:4318"), "traces") == "grpc"
    assert protocol_of(Endpoint("http://localhost:4318", "http/protobuf"), "traces") == "http/protobuf"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf")
    assert protocol_of(Endpoint("http://localhost:4317"), "traces") == "http/protobuf"


@given(st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=1))
def test_a_wrong_protocol_is_one_warning_and_the_default(value):
    """Any other protocol is said once, with its variable, and the default is used."""
    if value.lower() in PROTOCOLS:
        return
    health.reset()
    said = []
    handler = logging.Handler()
    handler.emit = said.append
    logging.getLogger("otel_ml").addHandler(handler)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", value)
            assert [protocol_of(Endpoint("http://localhost:4318"), "logs") for _ in range(2)] == ["http/protobuf"] * 2
            assert protocol_of(Endpoint("http://localhost:4317"), "logs") == "grpc"
    finally:
        logging.getLogger("otel_ml").removeHandler(handler)
    (record,) = said
    assert record.getMessage().startswith("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL: expected http/protobuf or grpc")


def test_headers_do_not_show_in_the_repr():
    """Keys that headers hold do not get into a log by printing the endpoint."""
    assert "secret" not in repr(Endpoint("http://localhost", headers={"api-key": "secret"}))


# Answers


@pytest.mark.parametrize("signal", SIGNALS)
def test_rejected_records_are_counted_over_http(receiver, signal, caplog):
    """A partial success is counted, and its reason said once."""
    receiver.misbehave(Fault(rejected=3, message="too old"))
    assert export(signal, Endpoint(receiver.http_url)) == "SUCCESS"
    assert export(signal, Endpoint(receiver.http_url)) == "SUCCESS"
    assert health.dropped() == {(signal, "rejected"): 6}
    assert [record.getMessage().endswith("too old") for record in caplog.records if record.name == "otel_ml"] == [True]


def test_a_warning_of_the_receiver_is_no_loss(receiver):
    """A partial success with a message and nothing rejected is not counted."""
    receiver.misbehave(Fault(rejected=0, message="use the new path"))
    assert export("traces", Endpoint(receiver.http_url)) == "SUCCESS"
    assert not health.dropped()


def test_an_answer_that_is_not_otlp_is_said_once(receiver, caplog):
    """A server that answers 200 with something else, as a wrong port does, is pointed out."""
    receiver.misbehave(Fault(garbage=True))
    for _ in range(2):
        assert export("traces", Endpoint(receiver.http_url)) == "SUCCESS"
    assert ["is it an OTLP receiver?" in item.getMessage() for item in caplog.records if item.name == "otel_ml"] == [
        True
    ]


@pytest.mark.parametrize("signal", SIGNALS)
@given(body=st.binary(max_size=40) | st.just(GARBAGE))
def test_any_answer_is_survived(signal, body):
    """Reading an answer never raises, whatever it holds."""
    count_rejected(signal, body)


@pytest.mark.parametrize("status", [400, 401, 500])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_refusal_is_a_failure_without_another_try(receiver, protocol, status):
    """Answers that will not change fail the export at once."""
    receiver.misbehave(Fault(status=status))
    assert export("traces", Endpoint(receiver.url(protocol), protocol)) == "FAILURE"
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("fault", [Fault(status=429, retry_after=0.05), Fault(status=503, retry_after=0.05)])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_receiver_that_is_busy_is_tried_again(receiver, protocol, fault):
    """An overloaded receiver gets the same records again when it asked to."""
    receiver.misbehave(fault, times=1)
    assert export("traces", Endpoint(receiver.url(protocol), protocol)) == "SUCCESS"
    assert [request.accepted for request in receiver.requests] == [False, True]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_connection_that_closes_is_opened_again(receiver, protocol):
    """A receiver that drops the connection once, as when it restarts, costs nothing."""
    receiver.misbehave(Fault(close=True), times=1)
    assert export("traces", Endpoint(receiver.url(protocol), protocol)) == "SUCCESS"
    assert [request.accepted for request in receiver.requests] == [False, True]
