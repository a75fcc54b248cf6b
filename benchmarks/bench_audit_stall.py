"""What a disk that stops for 30 seconds costs the callers of the audit trail, and what it costs the trail.

Run as root with `python benchmarks/bench_audit_stall.py`. The trail is on an ext4 file system of its own, in a file,
which is frozen (as a snapshot of a volume does it) while threads go on making watched calls at a steady rate: every
write and sync waits in the kernel. Printed for the time before, during and after: how many calls, and percentiles of
their duration; how far behind its time the latest call began, by how much the process grew, what was dropped, which
failures are missing, and what `verify` says in the end.

`--queue` is smaller than the default so that the stall is longer than what the queue holds: drops are part of it.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import otel_ml
from otel_ml import health
from otel_ml.audit.reading.verify import verify

FREEZE, THAW = 0xC0045877, 0xC0045878  # FIFREEZE, FITHAW
PHASES = ("before", "during", "after")
FAILURES = 50  # one call of so many fails


class Refused(Exception):
    """What a call raises that fails."""


@otel_ml.inference(model="fraud", version="1.2.0")
def predict(features: dict[str, Any]) -> float:
    """Predict, or fail."""
    if features["number"] % FAILURES == 0:
        raise Refused("no")
    return 0.25


@dataclass
class Measured:
    """What one thread saw."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: {phase: [] for phase in PHASES})
    failed: int = 0
    late: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PHASES, 0.0))


class Clock:
    """Which phase it is, and whether it is over."""

    phase = "before"
    is_over = False


def call_steadily(clock: Clock, rate: float, first: int, step: int, measured: Measured) -> None:
    """Make calls at a steady rate until it is over; each call has a number of its own."""
    features = {f"feature_{number}": number * 1.25 for number in range(10)}
    due, number = time.perf_counter(), first
    while not clock.is_over:
        phase = clock.phase
        measured.late[phase] = max(measured.late[phase], time.perf_counter() - due)
        begin = time.perf_counter()
        with suppress(Refused):
            predict({**features, "number": number})
        measured.seconds[phase].append(time.perf_counter() - begin)
        measured.failed += number % FAILURES == 0
        number += step
        due += 1.0 / rate
        time.sleep(max(0.0, due - time.perf_counter()))


@contextmanager
def ext4(folder: Path, megabytes: int) -> Iterator[Path]:
    """Give the mount point of a file system of its own."""
    image, point = folder / "disk.ext4", folder / "disk"
    point.mkdir()
    with image.open("wb") as file:
        file.truncate(megabytes << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(point)], check=True)
    try:
        yield point
    finally:
        subprocess.run(["umount", "-l", str(point)], check=True)


@contextmanager
def frozen(point: Path) -> Iterator[None]:
    """Freeze a file system for the time of a block."""
    descriptor = os.open(point, os.O_RDONLY)
    fcntl.ioctl(descriptor, FREEZE, struct.pack("I", 0))
    try:
        yield
    finally:
        fcntl.ioctl(descriptor, THAW, struct.pack("I", 0))
        os.close(descriptor)


class Memory(threading.Thread):
    """Looks at what the process takes, ten times a second."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(daemon=True)
        self._clock = clock
        self.most = dict.fromkeys(PHASES, 0)

    def run(self) -> None:
        """Look until it is over."""
        while not self._clock.is_over:
            resident = int(Path("/proc/self/statm").read_text().split()[1]) * 4096
            self.most[self._clock.phase] = max(self.most[self._clock.phase], resident)
            time.sleep(0.1)


def stall(point: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Run the phases, and return what was seen."""
    telemetry = otel_ml.configure(
        service_name="stall", directory=point.parent / "state", traces=False, logs=otel_ml.Logs(format="none"),
        audit=otel_ml.Audit(directory=point / "audit", queue_size=given.queue),
    )  # fmt: skip
    clock = Clock()
    memory = Memory(clock)
    measured = [Measured() for _ in range(given.threads)]
    threads = [
        threading.Thread(
            target=call_steadily, args=(clock, given.rate / given.threads, number, given.threads, measured[number])
        )
        for number in range(given.threads)
    ]
    for thread in [memory, *threads]:
        thread.start()
    time.sleep(given.around)
    clock.phase = "during"
    with frozen(point):
        time.sleep(given.seconds)
    clock.phase = "after"
    time.sleep(given.around)
    clock.is_over = True
    for thread in threads:
        thread.join()
    calls = sum(len(seconds) for one in measured for seconds in one.seconds.values())
    figures: dict[str, Any] = {"delivered": telemetry.shutdown(timeout=30.0), "calls": calls}
    figures["failed_calls"] = sum(one.failed for one in measured)
    for phase in PHASES:
        seconds = sorted(second for one in measured for second in one.seconds[phase])
        micro = {f"p{100 * q:g}": round(seconds[int(q * len(seconds))] * 1e6, 1) for q in (0.5, 0.99, 0.999)}
        late = max(one.late[phase] for one in measured)
        figures[phase] = {"calls": len(seconds), **micro, "max": round(seconds[-1] * 1e6), "late_ms": round(late * 1e3)}
    figures["grown_bytes"] = memory.most["during"] - memory.most["before"]
    return figures


def recorded(directory: Path) -> dict[str, Any]:
    """Return what the trail says after it."""
    lines = [
        json.loads(line) for path in sorted(directory.glob("*-0*.jsonl")) for line in path.read_text().splitlines()
    ]
    predictions = [line for line in lines if line["event.name"] == "otel_ml.prediction"]
    gaps = [line["lost"] for line in lines if line["event.name"] == "otel_ml.audit.gap"]
    return {
        "records": len(predictions),
        "failures": sum(line["otel_ml.status"] == "error" for line in predictions),
        "lost_says_the_trail": sum(number for lost in gaps for number in lost.values()),
        "lost_says_the_counter": sum(number for (signal, _), number in health.dropped().items() if signal == "audit"),
        "verified": bool(verify(directory)),
    }


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rate", type=float, default=1000.0, help="calls a second, all threads")
    arguments.add_argument("--threads", type=int, default=4)
    arguments.add_argument("--seconds", type=float, default=30.0, help="how long the disk stops")
    arguments.add_argument("--around", type=float, default=15.0, help="seconds before and after that")
    arguments.add_argument("--queue", type=int, default=20_000, help="records that may wait")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder, ext4(Path(folder), 512) as point:
        figures = stall(point, given) | recorded(point / "audit")
    for name, value in figures.items():
        print(f"{name:24} {value}")
    complete = figures["records"] + figures["lost_says_the_trail"] == figures["calls"]
    if not (complete and figures["verified"] and figures["failures"] == figures["failed_calls"]):
        raise SystemExit("the trail is not whole")


if __name__ == "__main__":
    main()
