"""A real OTLP receiver on the loopback interface, over HTTP and gRPC, that can be told to misbehave.

Construct an `OtlpReceiver` (a context manager), send to its `http_url` or `grpc_url`, and `wait("traces", 3)` for three
Span messages. `misbehave(Fault(status=503), times=1)` makes it answer badly.
"""

from __future__ import annotations

import base64
import gzip
import json
import socket
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
from google.protobuf import json_format
from google.rpc.error_details_pb2 import RetryInfo
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

REQUESTS = {
    "traces": trace_service_pb2.ExportTraceServiceRequest,
    "logs": logs_service_pb2.ExportLogsServiceRequest,
    "metrics": metrics_service_pb2.ExportMetricsServiceRequest,
}
RESPONSES = {
    "traces": trace_service_pb2.ExportTraceServiceResponse,
    "logs": logs_service_pb2.ExportLogsServiceResponse,
    "metrics": metrics_service_pb2.ExportMetricsServiceResponse,
}
SERVICES = {
    "traces": trace_service_pb2.DESCRIPTOR.services_by_name["TraceService"].full_name,
    "logs": logs_service_pb2.DESCRIPTOR.services_by_name["LogsService"].full_name,
    "metrics": metrics_service_pb2.DESCRIPTOR.services_by_name["MetricsService"].full_name,
}
LEVELS = {  # fields from a request down to its records
    "traces": ("resource_spans", "scope_spans", "spans"),
    "logs": ("resource_logs", "scope_logs", "log_records"),
    "metrics": ("resource_metrics", "scope_metrics", "metrics"),
}
REJECTED = {"traces": "rejected_spans", "logs": "rejected_log_records", "metrics": "rejected_data_points"}
GRPC_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
}
GARBAGE = b"\xff\xff<html>this is no OTLP</html>"


@dataclass(frozen=True)
class Fault:
    """What to do instead of a good answer; over gRPC a status becomes the code that the specification maps it to.

    `hang` never answers, until the receiver is closed. `close` closes the connection without an answer; a gRPC server
    has no way to, so there the call ends as UNAVAILABLE, which is what a client sees when the connection goes.
    `rejected` accepts the request, with a partial success that says so many records were not taken.
    """

    status: int = 200
    retry_after: float | None = None
    garbage: bool = False
    hang: bool = False
    close: bool = False
    rejected: int = 0
    message: str = ""


@dataclass
class Received:
    """One request as it arrived."""

    signal: str
    protocol: str  # "http" or "grpc"
    path: str
    headers: dict[str, str]  # names in lower case; over gRPC the metadata
    message: object
    accepted: bool
    records: list = field(default_factory=list)


class OtlpReceiver:
    """Listens from construction to `close` on ports of its own."""

    def __init__(self):
        self.requests: list[Received] = []
        self._changed = threading.Condition()
        self._fault: Fault | None = None
        self._faults_left: int | None = None
        self._released = threading.Event()
        self._http = _HttpServer(self)
        self._http_thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._http_thread.start()
        self._grpc_threads = ThreadPoolExecutor(max_workers=8)
        self._grpc = grpc.server(self._grpc_threads, options=[("grpc.so_reuseport", 0)])
        self._grpc.add_generic_rpc_handlers([_grpc_service(self, signal) for signal in SERVICES])
        self.grpc_port = self._grpc.add_insecure_port("127.0.0.1:0")
        self._grpc.start()
        self.http_port = self._http.server_address[1]
        self.http_url = f"http://127.0.0.1:{self.http_port}"
        self.grpc_url = f"http://127.0.0.1:{self.grpc_port}"

    def __enter__(self) -> OtlpReceiver:
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def url(self, protocol: str) -> str:
        """Base URL for `http/protobuf` or `grpc`."""
        return self.grpc_url if protocol == "grpc" else self.http_url

    def close(self) -> None:
        """Stop listening, drop all connections, and end calls that hang."""
        self._released.set()
        self._grpc.stop(0).wait()
        self._grpc_threads.shutdown()
        self._http.shutdown()
        self._http.server_close()
        self._http.drop_connections()
        self._http_thread.join()

    def misbehave(self, fault: Fault, times: int | None = None) -> None:
        """Answer with `fault`: the next `times` requests, or all until `behave`."""
        with self._changed:
            self._fault, self._faults_left = fault, times

    def behave(self) -> None:
        """Answer well again."""
        with self._changed:
            self._fault = None

    def records(self, signal: str) -> list:
        """All Span, LogRecord or Metric messages that were accepted so far."""
        with self._changed:
            return [
                record for item in self.requests if item.accepted and item.signal == signal for record in item.records
            ]

    def wait(self, signal: str, number: int, timeout: float = 20.0) -> list:
        """Wait for so many accepted records of a signal and return all that are there then."""
        self.wait_until(lambda: len(self.records(signal)) >= number, f"{number} records of {signal}", timeout)
        return self.records(signal)

    def wait_for_requests(self, number: int, timeout: float = 20.0) -> list[Received]:
        """Wait for so many requests of any signal, answered well or not."""
        self.wait_until(lambda: len(self.requests) >= number, f"{number} requests", timeout)
        return list(self.requests)

    def wait_until(self, condition, what: str, timeout: float) -> None:
        """Wait until `condition()` is true, looking again whenever a request has come in."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while not condition():
                if not self._changed.wait(deadline - time.monotonic()):
                    seen = [(item.protocol, item.signal, len(item.records), item.accepted) for item in self.requests]
                    raise AssertionError(f"no {what} within {timeout} s; received: {seen}")

    def receive(self, signal: str, protocol: str, path: str, headers: dict[str, str], message) -> Fault:
        """Keep a request and return how to answer it."""
        with self._changed:
            fault = self._fault or Fault()
            if self._fault is not None and self._faults_left is not None:
                self._faults_left -= 1
                self._fault = self._fault if self._faults_left > 0 else None
            accepted = fault.status == 200 and not (fault.hang or fault.close or fault.garbage)
            self.requests.append(
                Received(signal, protocol, path, headers, message, accepted, records_of(signal, message))
            )
            self._changed.notify_all()
        if fault.hang:
            self._released.wait()
        return fault

    def answer(self, signal: str, fault: Fault) -> bytes:
        """Body of a good answer, or of the one that the fault asks for."""
        if fault.garbage:
            return GARBAGE
        response = RESPONSES[signal]()
        if fault.rejected or fault.message:
            setattr(response.partial_success, REJECTED[signal], fault.rejected)
            response.partial_success.error_message = fault.message
        return response.SerializeToString()


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, receiver: OtlpReceiver):
        super().__init__(("127.0.0.1", 0), _HttpHandler)
        self.receiver = receiver
        self.connections: set[socket.socket] = set()

    def drop_connections(self) -> None:
        for connection in list(self.connections):
            with suppress(OSError):  # the client was faster
                connection.shutdown(socket.SHUT_RDWR)


class _HttpHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _HttpServer

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        with suppress(OSError):  # the client has gone
            super().finish()

    def log_message(self, *arguments) -> None:
        """The test's output is no place for an access log."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        signal = self.path.partition("?")[0].rpartition("/v1/")[2]
        if signal not in REQUESTS:
            self._answer(404, b"no such path")
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            message = _parsed(signal, body, headers)
        except Exception as error:
            self._answer(400, repr(error).encode())
            return
        receiver = self.server.receiver
        fault = receiver.receive(signal, "http", self.path, headers, message)
        if fault.close or fault.hang:
            self.close_connection = True
            return
        content = receiver.answer(signal, fault) if fault.status == 200 else b"told to answer so"
        self._answer(fault.status, content, fault.retry_after)

    def _answer(self, status: int, content: bytes, retry_after: float | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(content)))
        if retry_after is not None:
            self.send_header("Retry-After", f"{retry_after:g}")
        self.end_headers()
        self.wfile.write(content)


def _parsed(signal: str, body: bytes, headers: dict[str, str]):
    if headers.get("content-type") == "application/json":
        return parse_line(signal, _unpacked(body, headers))
    return REQUESTS[signal].FromString(_unpacked(body, headers))


def _unpacked(body: bytes, headers: dict[str, str]) -> bytes:
    encoding = headers.get("content-encoding", "identity")
    if encoding == "gzip":
        return gzip.decompress(body)
    if encoding == "deflate":
        return zlib.decompress(body)
    if encoding != "identity":
        raise ValueError(f"content encoding {encoding}")
    return body


def _grpc_service(receiver: OtlpReceiver, signal: str) -> grpc.GenericRpcHandler:
    def export(request, context: grpc.ServicerContext) -> bytes:
        metadata = {str(key): str(value) for key, value in context.invocation_metadata()}
        fault = receiver.receive(signal, "grpc", SERVICES[signal], metadata, request)
        if fault.retry_after is not None:
            info = RetryInfo()
            info.retry_delay.FromNanoseconds(int(fault.retry_after * 1e9))
            context.set_trailing_metadata([("google.rpc.retryinfo-bin", info.SerializeToString())])
        if fault.close or fault.hang:
            context.abort(grpc.StatusCode.UNAVAILABLE, "connection closed")
        if fault.status != 200:
            context.abort(GRPC_CODES[fault.status], "told to answer so")
        return receiver.answer(signal, fault)

    handler = grpc.unary_unary_rpc_method_handler(export, REQUESTS[signal].FromString, lambda content: content)
    return grpc.method_handlers_generic_handler(SERVICES[signal], {"Export": handler})


def records_of(signal: str, message) -> list:
    """The Span, LogRecord or Metric messages in a request, in order."""
    outer, inner, leaf = LEVELS[signal]
    return [record for group in getattr(message, outer) for by in getattr(group, inner) for record in getattr(by, leaf)]


def parse_line(signal: str, line: bytes | str):
    """The request that a line of OTLP-JSON stands for, as protobuf's own JSON reader understands it."""
    request = json.loads(line)
    _ids_to_base64(request)
    return json_format.ParseDict(request, REQUESTS[signal]())


def read_file(signal: str, path: Path) -> list:
    """The requests in a file of OTLP-JSON lines; each line has to be whole."""
    content = path.read_bytes()
    assert content.endswith(b"\n"), f"the last line of {path} is torn"
    return [parse_line(signal, line) for line in content.split(b"\n")[:-1]]


def _ids_to_base64(node) -> None:
    """OTLP says hex for ids where protobuf's JSON mapping says base64."""
    if isinstance(node, list):
        for item in node:
            _ids_to_base64(item)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key in {"traceId", "spanId", "parentSpanId"}:
                node[key] = base64.b64encode(bytes.fromhex(value)).decode()
            else:
                _ids_to_base64(value)


def unused_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
