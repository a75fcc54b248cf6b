"""The receiver that other tests rely on takes what clients send, and misbehaves as told."""

from __future__ import annotations

import socket

import grpc
import pytest
import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest as Request
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse as Response
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

from receivers import Fault, OtlpReceiver, parse_line, unused_port

LINE = b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"a","traceId":"%s","spanId":"%s"}]}]}]}' % (
    b"0af7651916cd43dd8448eb211c80319c",
    b"b7ad6b7169203331",
)


@pytest.fixture
def receiver():
    """An OTLP receiver over HTTP and gRPC."""
    with OtlpReceiver() as running:
        yield running


def post(receiver, body, path="/v1/traces", **headers):
    with requests.post(receiver.http_url + path, data=body, headers=headers, timeout=30) as answer:
        return answer


def call(receiver):
    with grpc.insecure_channel(f"127.0.0.1:{receiver.grpc_port}") as channel:
        return TraceServiceStub(channel).Export(parse_line("traces", LINE), timeout=30)


def test_json_and_protobuf_are_the_same_request(receiver):
    """OTLP-JSON with hex ids and protobuf both end as the same message."""
    message = parse_line("traces", LINE)
    post(receiver, LINE, **{"Content-Type": "application/json"})
    post(receiver, message.SerializeToString(), **{"Content-Type": "application/x-protobuf"})
    call(receiver)
    assert [request.message for request in receiver.requests] == [message] * 3
    assert receiver.wait("traces", 3)[0].trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [("/v1/nothing", {}, 404), ("/v1/traces", {}, 400), ("/v1/traces", {"Content-Encoding": "br"}, 400)],
)
def test_what_is_no_otlp_is_refused(receiver, path, headers, status):
    """A wrong path, a body that is no request and an unknown encoding are refused and not kept."""
    assert post(receiver, b"\xff\xff", path, **headers).status_code == status
    assert receiver.requests == []


def test_faults_end_after_their_number(receiver):
    """A fault for so many requests is followed by good answers, one without a number ends with `behave`."""
    body = parse_line("traces", LINE).SerializeToString()
    receiver.misbehave(Fault(status=429, retry_after=7), times=2)
    answers = [post(receiver, body) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].headers["Retry-After"] == "7"
    receiver.misbehave(Fault(status=500))
    assert [post(receiver, body).status_code for _ in range(2)] == [500, 500]
    receiver.behave()
    assert post(receiver, body).status_code == 200
    assert [request.accepted for request in receiver.requests] == [False, False, True, False, False, True]
    assert len(receiver.records("traces")) == 2


def test_a_partial_success_is_told(receiver):
    """Both protocols say how many records were rejected and why."""
    receiver.misbehave(Fault(rejected=2, message="full"))
    over_http = Response.FromString(post(receiver, Request().SerializeToString()).content)
    assert over_http == call(receiver)
    assert (over_http.partial_success.rejected_spans, over_http.partial_success.error_message) == (2, "full")


def test_a_closed_connection_is_an_error_for_the_client(receiver):
    """Told to close, the receiver leaves the client without an answer."""
    receiver.misbehave(Fault(close=True))
    with pytest.raises(requests.ConnectionError):
        post(receiver, Request().SerializeToString())
    with pytest.raises(grpc.RpcError) as error:
        call(receiver)
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE


def test_waiting_for_what_never_comes_says_what_came(receiver):
    """A wait that ends in vain names the requests that did arrive."""
    post(receiver, Request().SerializeToString())
    with pytest.raises(AssertionError, match=r"no 1 records of traces .*\('http', 'traces', 0, True\)"):
        receiver.wait("traces", 1, timeout=0.01)


def test_an_unused_port_is_dead():
    """Nobody listens on the port that stands for a dead endpoint."""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", unused_port()))
