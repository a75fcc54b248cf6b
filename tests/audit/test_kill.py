"""kill -9 in a loop: what callers were told, beside what is on the disk.

Each turn starts a process that puts records from two threads and reports what it was told for each, kills it at a
random moment, and starts the next one in the same directory, which recovers what the one before left.
`OTEL_ML_REPEATS=200` makes it 200 turns for each durability; with `-rP` the figures are shown.
"""

from __future__ import annotations

import os
import random
import struct
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from audit.calls import ids, lines, program_environment, segments

from otel_ml.audit.reading.verify import verify
from otel_ml.audit.recovery import recover
from otel_ml.audit.writer import WINDOW

TURNS = int(os.environ.get("OTEL_ML_REPEATS", "6"))
REPORT = struct.Struct("=cqqd")  # what, number, monotonic nanoseconds, seconds late
_RECENT = 0.25

PROGRAM = """
    import os, random, struct, sys, threading, time
    from pathlib import Path
    from audit.calls import call, failure, started

    durability, first = sys.argv[1], int(sys.argv[2])
    report = struct.Struct("=cqqd")
    writer = started(Path("audit"), durability=durability, segment_bytes=300_000, sync_interval=0.05).writer

    def put(thread):
        dice, number = random.Random(first + thread), first + thread
        while True:
            is_failure = dice.random() < 0.1
            ticket = writer.put(failure(number) if is_failure else call(number))
            told = bool(ticket) if durability == "fast" else writer.wait(ticket)
            os.write(1, report.pack(b"t" if told else b"n", number, time.monotonic_ns(), 0.0))
            number += 2
            if dice.random() < 0.3:
                time.sleep(dice.random() * 0.003)

    # How late a thread is that only sleeps, and writes to a file that another one syncs: what the machine, not we,
    # makes a record wait.
    probe = os.open(f"probe-{os.getpid()}", os.O_WRONLY | os.O_CREAT)

    def pulse():
        while True:
            due = time.monotonic() + 0.001
            time.sleep(0.001)
            os.write(probe, b"." * 500)
            os.write(1, report.pack(b"p", 0, time.monotonic_ns(), time.monotonic() - due))

    def sync():
        while True:
            os.fdatasync(probe)
            time.sleep(0.05)

    writer.put(call(first + 999_999))
    assert writer.flush(30.0)
    for target, args in ((put, (0,)), (put, (1,)), (pulse, ()), (sync, ())):
        threading.Thread(target=target, args=args, daemon=True).start()
    time.sleep(60)
"""


@dataclass
class Turn:
    """What one process said before it was killed."""

    told: dict[int, int] = field(default_factory=dict)
    pulses: list[tuple[int, float]] = field(default_factory=list)
    first: int = 0
    last: int = 0

    def late(self) -> float:
        """Return how late threads were before the end, in seconds; one may still wait, even for its start."""
        recent = [late for at, late in self.pulses if at > self.last - _RECENT * 1e9]
        waiting = (self.last - max((at for at, _ in self.pulses), default=self.first)) / 1e9
        return max([*recent, waiting])


def run_and_kill(directory: Path, durability: str, first: int, seconds: float) -> Turn:
    command = [sys.executable, "-P", "-c", textwrap.dedent(PROGRAM), durability, str(first)]
    environment = {**os.environ, **program_environment(), "COVERAGE_PROCESS_START": ""}
    with subprocess.Popen(command, cwd=directory, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        said = process.stdout.read(REPORT.size)
        assert len(said) == REPORT.size, "the program did not start"
        deadline = time.monotonic() + seconds
        os.set_blocking(process.stdout.fileno(), False)
        while time.monotonic() < deadline:
            said += process.stdout.read() or b""
            time.sleep(0.001)
        process.kill()
        os.set_blocking(process.stdout.fileno(), True)
        said += process.stdout.read()
    turn = Turn()
    for what, number, at, late in REPORT.iter_unpack(said[: len(said) // REPORT.size * REPORT.size]):
        turn.first = turn.first or at
        turn.last = max(turn.last, at)
        if what == b"p":
            turn.pulses.append((at, late))
        elif what == b"t":
            turn.told[number] = at
    return turn


def kill_repeatedly(directory: Path, durability: str) -> list[Turn]:
    dice = random.Random()
    turns = []
    for turn in range(TURNS):
        turns.append(run_and_kill(directory, durability, turn * 1_000_000, dice.uniform(0.0, 0.5)))
    recover(directory / "audit")
    return turns


@pytest.mark.parametrize("durability", ["fast", "sync"])
def test_a_killed_process_loses_what_was_published_and_no_more(working_directory: Path, durability: str) -> None:
    """Fast: nothing that was 10 ms old. Sync: nothing that a caller was told. The chain holds after recovery."""
    turns = kill_repeatedly(working_directory, durability)
    directory = working_directory / "audit"
    found = ids(directory)
    on_disk = set(map(int, found))
    assert len(on_disk) == len(found)
    oldest, missing = 0.0, 0
    for turn in turns:
        ages = [(turn.last - at) / 1e9 for number, at in turn.told.items() if number not in on_disk]
        missing += len(ages)
        if durability == "sync":
            assert ages == []
        elif ages:
            late = turn.late()
            assert max(ages) <= WINDOW + late, f"{len(ages)} of {len(turn.told)}, threads {late * 1000:.1f} ms late"
            oldest = max(oldest, *ages)
    report = verify(directory)
    assert report, report
    assert all(path.suffix == ".jsonl" for path in segments(directory))
    cut = sum(line["event.name"] == "otel_ml.audit.recovered" for line in lines(directory))
    print(
        f"{durability}: {len(turns)} kills, {sum(len(turn.told) for turn in turns)} records told, {missing} missing, "
        f"the oldest {oldest * 1000:.1f} ms old; {cut} half lines cut off"
    )
