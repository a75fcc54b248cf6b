"""Spans and log records at a constant rate, over OTLP/HTTP: requests are encoded once, then get new ids and times."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import numpy as np
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from stack.otlp_requests import pairs

TRACES, SPANS = 200, 5  # in one request
LOGS = 500
ERRORS = 2  # traces of a request that have an error
NAMES = ("POST /predict", "choose", "score", "predict credit", "decide")
_MARK = 0x7A


class Template:
    """An encoded request whose ids and times are replaced each time that it is sent."""

    def __init__(self, encoded: bytes, ids: list[list[bytes]], times: dict[int, int]) -> None:
        self._bytes = np.frombuffer(encoded, np.uint8)
        self._ids = [np.array([_positions(encoded, one) for one in same]) for same in ids]
        self._times = [
            (np.array(_positions(encoded, mark.to_bytes(8, "little"))), offset) for mark, offset in times.items()
        ]

    def fresh(self, random: np.random.Generator) -> bytes:
        """Return the request with ids that nobody has had, and with times of now."""
        request = self._bytes.copy()
        for positions in self._ids:
            number, places, width = positions.shape
            new = random.integers(0, 256, (number, 1, width), np.uint8)
            request[positions] = np.broadcast_to(new, (number, places, width))
        now = time.time_ns()
        for positions, offset in self._times:
            request[positions] = np.frombuffer((now + offset).to_bytes(8, "little"), np.uint8)
        return request.tobytes()


def _positions(encoded: bytes, mark: bytes) -> list[list[int]]:
    """Return, for each place where a mark stands, the indexes of its bytes."""
    found, start = [], encoded.find(mark)
    while start >= 0:
        found.append(list(range(start, start + len(mark))))
        start = encoded.find(mark, start + 1)
    return found


def spans_template(service: str = "flood") -> Template:
    """Return a request of 1,000 spans in 200 traces of five, of which two have an error."""
    marks = np.random.default_rng(1)
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.extend(pairs({"service.name": service}))
    scope = resource.scope_spans.add()
    scope.scope.name = "otel_ml"
    begin, end = _mark(1), _mark(2)
    ids: list[list[bytes]] = [[], [], []]
    for number in range(TRACES):
        trace = marks.bytes(16)
        root = marks.bytes(8)
        ids[0].append(trace)
        ids[1].append(root)
        for index, name in enumerate(NAMES):
            own = root if not index else marks.bytes(8)
            if index:
                ids[2].append(own)
            scope.spans.append(
                Span(
                    trace_id=trace,
                    span_id=own,
                    parent_span_id=b"" if not index else root,
                    name=name,
                    kind=Span.SPAN_KIND_SERVER if not index else Span.SPAN_KIND_INTERNAL,
                    start_time_unix_nano=begin,
                    end_time_unix_nano=end,
                    attributes=pairs(
                        {
                            "otel_ml.step.name": name,
                            "otel_ml.model.name": "credit",
                            "otel_ml.model.version": "1" if number % 5 else "2",
                            "otel_ml.input.rows": 1,
                            "code.function.name": f"service.CreditModel.{name.split()[0].lower()}",
                        }
                    ),
                    status=Status(code=Status.STATUS_CODE_ERROR if number < ERRORS and index == 3 else 0),
                )
            )
    return Template(request.SerializeToString(), ids, {begin: -3_000_000, end: 0})


def logs_template(service: str = "flood") -> Template:
    """Return a request of 500 log records."""
    marks = np.random.default_rng(2)
    request = ExportLogsServiceRequest()
    resource = request.resource_logs.add()
    resource.resource.attributes.extend(pairs({"service.name": service}))
    scope = resource.scope_logs.add()
    scope.scope.name = "credit.api"
    ids: list[list[bytes]] = [[], []]
    times = {}
    for number in range(LOGS):
        record = scope.log_records.add()
        record.trace_id, record.span_id = marks.bytes(16), marks.bytes(8)
        ids[0].append(record.trace_id)
        ids[1].append(record.span_id)
        record.time_unix_nano = record.observed_time_unix_nano = _mark(10 + number)
        times[record.time_unix_nano] = number
        record.severity_number, record.severity_text = 9, "INFO"
        record.body.string_value = f"version 1 scored {number} applicants, declined {number // 3}"
        record.attributes.extend(
            pairs({"code.function.name": "predict", "code.line.number": 128, "applicants": number})
        )
    return Template(request.SerializeToString(), ids, times)


def _mark(number: int) -> int:
    return (_MARK << 56) | (_MARK << 48) | (number << 8) | _MARK


@dataclass
class Sent:
    """What became of the requests of one sender.

    Args:
        requests: Requests that were answered, by status; 0 is no answer.
        late: Longest time, seconds, by which a request left after it was due.
    """

    requests: Counter[int] = field(default_factory=Counter)
    late: float = 0.0


def send(url: str, path: str, template: Template, token: str, every: float, seconds: float) -> Sent:
    """Send a request every so many seconds for a time; one that is due while another waits follows at once."""
    sent, random = Sent(), np.random.default_rng()
    address = urlsplit(url)
    headers = {"Content-Type": "application/x-protobuf", "Authorization": f"Bearer {token}"}
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    start = time.monotonic()
    for number in range(round(seconds / every)):
        due = start + number * every
        time.sleep(max(0.0, due - time.monotonic()))
        sent.late = max(sent.late, time.monotonic() - due)
        try:
            connection.request("POST", path, template.fresh(random), headers)
            answer = connection.getresponse()
            body = answer.read()
            sent.requests[answer.status if not body.strip(b"\n\0") else -1] += 1  # a partial success has a body
        except OSError:
            connection.close()
            sent.requests[0] += 1
    connection.close()
    return sent


def together(senders: list[Callable[[], Sent]]) -> list[Sent]:
    """Run senders at once, each on a thread of its own."""
    results: dict[int, Sent] = {}
    threads = [
        threading.Thread(target=lambda place, one: results.update({place: one()}), args=(place, one))
        for place, one in enumerate(senders)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [results[place] for place in range(len(senders))]
