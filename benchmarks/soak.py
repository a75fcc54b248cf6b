"""`python -m benchmarks.soak`: full speed for minutes, to an endpoint that is down at first.

A decorated function is called as fast as it goes. The endpoint, a real OTLP receiver over HTTP in a process of its own,
does not exist for the first part: connections are refused. Then it does. What has to hold, or the exit code is 1:

- memory is flat once it is warm, down and up;
- drops are counted, and nothing else is missing: what the receiver took and what was dropped are what was made. A
  request that is answered too late may be sent again, or be counted as lost although it arrived; both are told apart;
- export resumes when the endpoint is there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MIB = 1024 * 1024
DOWN = 0.4  # part of the time during which nobody listens
WARM = 0.15  # part of the time after which memory has to be flat
FLAT = 24 * MIB  # what it may grow from then on: noise of the allocator, and one request more or less under way
CALLS_PER_LOOK = 1000


@dataclass
class Sample:
    """What was the case at one moment."""

    seconds: float
    resident: int
    made: int
    dropped: int
    received: int

    def __str__(self) -> str:
        return (
            f"{self.seconds:7.1f} s  {self.resident / MIB:7.1f} MiB  made {self.made:>11,}"
            f"  dropped {self.dropped:>11,}  received {self.received:>11,}"
        )


@dataclass
class Soak:
    """What a run came to."""

    seconds: float
    up_at: float = 0.0
    samples: list[Sample] = field(default_factory=list)
    made: int = 0
    dropped: int = 0
    received: int = 0
    dropped_while_down: int = 0
    repeated: int = 0  # arrived once more, because the first answer was late; not in `received`
    given_up: int = 0  # dropped as not delivered while the receiver was there: it may have taken them all the same

    @property
    def growth(self) -> int:
        """Bytes that memory grew by, from when it was warm to its peak after that."""
        warm = [sample.resident for sample in self.samples if sample.seconds >= WARM * self.seconds]
        return max(warm) - warm[0]

    def problems(self) -> list[str]:
        """Return what does not hold."""
        found = []
        if self.growth > FLAT:
            found.append(f"memory grew by {self.growth / MIB:.1f} MiB")
        missing = self.made - self.dropped - self.received
        if missing > 0:
            found.append(f"{missing} of {self.made} spans are neither received nor counted as dropped")
        if -missing > self.given_up:
            found.append(f"{-missing} spans were received and counted as dropped, or received twice as different bytes")
        if self.dropped_while_down == 0:
            found.append("nothing was dropped while the endpoint was down: the run was too short for its queue")
        after = [sample.received for sample in self.samples if sample.seconds > self.up_at]
        if len(set(after)) < 3:
            found.append("export did not resume")
        return found


def soak(seconds: float, queue_size: int, batch_size: int, every: float) -> Soak:
    """Run for so many seconds.

    Args:
        seconds: How long.
        queue_size: `Traces.queue_size`.
        batch_size: `Traces.batch_size`.
        every: Seconds between two samples.
    """
    import otel_ml  # noqa: PLC0415  the receiver's process needs none of it

    @otel_ml.step(attributes={"ml.model.name": "churn"})
    def work(number: int) -> int:
        return number + 1

    port = unused_port()
    telemetry = otel_ml.configure(
        endpoint=f"http://127.0.0.1:{port}",
        logs=otel_ml.Logs(format="none"),
        traces=otel_ml.Traces(queue_size=queue_size, batch_size=batch_size),
    )
    result = Soak(seconds, up_at=DOWN * seconds)
    receiver: subprocess.Popen[bytes] | None = None
    started = looked = time.monotonic()
    end = started + seconds
    failed = 0
    try:
        while (now := time.monotonic()) < end:
            for number in range(CALLS_PER_LOOK):
                work(number)
            result.made += CALLS_PER_LOOK
            if receiver is None and now - started >= result.up_at:
                result.dropped_while_down = dropped()
                receiver = start_receiver(port)
                failed = dropped("export_failed")
                end += time.monotonic() - now
            if now - looked >= every:
                looked = now
                result.samples.append(sample(now - started, result.made, port if receiver is not None else None))
                print(result.samples[-1], flush=True)
        telemetry.shutdown(timeout=60.0)
        result.dropped = dropped()
        result.given_up = dropped("export_failed") - failed
        result.received, result.repeated = taken(port)
    finally:
        if receiver is not None:
            receiver.kill()
            receiver.wait()
    return result


def sample(seconds: float, made: int, port: int | None) -> Sample:
    """Return what is the case now; `port` is None while there is no receiver."""
    return Sample(seconds, resident(), made, dropped(), 0 if port is None else taken(port)[0])


def dropped(reason: str | None = None) -> int:
    """Return how many spans otel_ml counted as lost, for one reason or for any."""
    from otel_ml import health  # noqa: PLC0415

    lost = {why: number for (signal, why), number in health.dropped().items() if signal == "traces"}
    return sum(lost.values()) if reason is None else lost.get(reason, 0)


def resident() -> int:
    """Return the bytes of memory that this process has now."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def unused_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# The receiver


def start_receiver(port: int) -> subprocess.Popen[bytes]:
    """Start the receiver and wait until it answers."""
    process = subprocess.Popen([sys.executable, "-P", __file__, "--receive", str(port)])
    for _ in range(600):
        try:
            taken(port)
            return process
        except OSError:
            time.sleep(0.05)
    raise TimeoutError("the receiver did not start")


def taken(port: int) -> tuple[int, int]:
    """Ask the receiver how many spans it has taken, and how many of them once more."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as answer:
        found = json.load(answer)
    return found["spans"], found["repeated"]


def receive(port: int) -> None:
    """Be the receiver, until killed."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest  # noqa: PLC0415

    counting, counts, seen = threading.Lock(), {"spans": 0, "repeated": 0}, set[bytes]()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            """Print nothing."""

        def do_GET(self) -> None:
            with counting:
                self._answer(json.dumps(counts).encode(), "application/json")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path.endswith("/v1/traces"):
                request = ExportTraceServiceRequest.FromString(body)
                number = sum(len(scope.spans) for resource in request.resource_spans for scope in resource.scope_spans)
                digest = hashlib.blake2b(body, digest_size=16).digest()
                with counting:
                    counts["repeated" if digest in seen else "spans"] += number
                    seen.add(digest)
            self._answer(b"", "application/x-protobuf")

        def _answer(self, content: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


def main() -> int:
    """Do what the command line says; 1 when something does not hold."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="default 10")
    parser.add_argument("--queue-size", type=int, default=100_000, help="spans that may wait; default 100000")
    parser.add_argument("--batch-size", type=int, default=512, help="spans in one request; default 512")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two lines; default 5")
    parser.add_argument("--receive", type=int, metavar="PORT", help=argparse.SUPPRESS)
    arguments: Any = parser.parse_args()
    if arguments.receive is not None:
        receive(arguments.receive)
    result = soak(arguments.minutes * 60, arguments.queue_size, arguments.batch_size, arguments.every)
    print(
        f"made {result.made:,} = received {result.received:,} + dropped {result.dropped:,};"
        f" memory grew by {result.growth / MIB:.1f} MiB once warm;"
        f" {result.repeated} arrived twice, {result.given_up} were given up while the receiver was there"
    )
    problems = result.problems()
    print("\n".join(f"FAILED: {problem}" for problem in problems) or "all of it holds")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
