"""Power loss: what callers were told, beside what is on a real disk that lost its power.

The trail is on an ext4 of its own. At a random moment that file system is shut down as a power cut would do it: what is
on the disk stays, what the kernel has not written yet is gone, its journal in memory too. Then the process is killed,
the disk mounted anew, and the next process recovers the trail. `OTEL_ML_REPEATS=50` makes it 50 turns for each
durability; with `-rP` the figures are shown.
"""

from __future__ import annotations

import os
import random
import struct
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from audit.calls import ids, program_environment, segments
from audit.disks import Disk, mounted

from otel_ml.audit.reading.verify import verify
from otel_ml.audit.recovery import recover
from otel_ml.options import Audit

TURNS = int(os.environ.get("OTEL_ML_REPEATS", "3"))
REPORT = struct.Struct("=cqq")  # what, number, monotonic nanoseconds

PROGRAM = """
    import os, struct, sys, threading, time
    from pathlib import Path
    from audit.calls import call, failure, started

    durability, first = sys.argv[1], int(sys.argv[2])
    report = struct.Struct("=cqq")
    writer = started(Path("disk/audit"), durability=durability, segment_bytes=3_000_000).writer

    def put(thread):
        number = first + thread
        while True:
            ticket = writer.put(failure(number) if number % 10 == 0 else call(number))
            told = bool(ticket) if durability == "fast" else writer.wait(ticket)
            os.write(1, report.pack(b"t" if told else b"n", number, time.monotonic_ns()))
            number += 2
            time.sleep(0.001)

    def sync():  # how long the disk takes, whoever asks
        probe = os.open("disk/probe", os.O_WRONLY | os.O_CREAT)
        while True:
            begin = time.monotonic_ns()
            try:
                os.write(probe, b"." * 500)
                os.fdatasync(probe)
            except OSError:
                return
            os.write(1, report.pack(b"s", time.monotonic_ns() - begin, time.monotonic_ns()))
            time.sleep(0.02)

    writer.put(call(first + 999_999))
    assert writer.flush(30.0)
    for target, args in ((put, (0,)), (put, (1,)), (sync, ())):
        threading.Thread(target=target, args=args, daemon=True).start()
    time.sleep(60)
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with mounted(tmp_path) as disk:
        if disk is None:
            pytest.skip("needs the right to mount a file system")
        yield disk


def run_and_cut(disk: Disk, folder: Path, durability: str, first: int, seconds: float) -> tuple[dict[int, int], float]:
    """Return what callers were told before the power went, with its age in ns, and the slowest sync in seconds."""
    command = [sys.executable, "-P", "-c", textwrap.dedent(PROGRAM), durability, str(first)]
    environment = {**os.environ, **program_environment(), "COVERAGE_PROCESS_START": ""}
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        said = process.stdout.read(REPORT.size)
        deadline = time.monotonic() + seconds
        os.set_blocking(process.stdout.fileno(), False)
        while time.monotonic() < deadline:
            said += process.stdout.read() or b""
            time.sleep(0.001)
        begin = time.monotonic_ns()
        disk.lose_power()
        end = time.monotonic_ns()
        process.kill()
        os.set_blocking(process.stdout.fileno(), True)
        said += process.stdout.read()
    reports = list(REPORT.iter_unpack(said[: len(said) // REPORT.size * REPORT.size]))
    disk.unmount()
    disk.mount()
    slowest = max((number for what, number, at in reports if what == b"s"), default=0) / 1e9
    # With "fast" a put is good before anything is written, so those after the cut count for nothing. With "sync" every
    # one that was told of counts, but for the few ms in which the kernel shuts the file system down: without power
    # nobody would have been told, and a sync that was under way may return 0 then.
    before = {
        number: end - at
        for what, number, at in reports
        if what == b"t" and (at < begin or (durability == "sync" and at > end))
    }
    return before, slowest


@pytest.mark.parametrize("durability", ["fast", "sync"])
def test_power_loss_costs_what_was_published_and_no_more(disk: Disk, tmp_path: Path, durability: str) -> None:
    """Fast: nothing older than the interval of syncs. Sync: nothing that a caller was told. The chain holds."""
    dice = random.Random()
    turns = [run_and_cut(disk, tmp_path, durability, turn * 1_000_000, dice.uniform(1.2, 3.0)) for turn in range(TURNS)]
    directory = disk.directory / "audit"
    recover(directory)
    found = ids(directory)
    on_disk = set(map(int, found))
    assert len(on_disk) == len(found)
    told, missing, oldest = 0, 0, 0.0
    for turn, (ages, slowest) in enumerate(turns):
        assert turn * 1_000_000 + 999_999 in on_disk, "what a flush had confirmed is missing"
        told += len(ages)
        lost = [age / 1e9 for number, age in ages.items() if number not in on_disk]
        missing += len(lost)
        if durability == "sync":
            assert lost == []
        elif lost:
            oldest = max(oldest, *lost)
            assert max(lost) <= Audit().sync_interval + 2 * slowest, f"a sync took {slowest * 1000:.0f} ms"
    report = verify(directory)
    assert report, report
    assert all(path.suffix == ".jsonl" for path in segments(directory))
    assert told > 100 * TURNS
    print(
        f"{durability}: {TURNS} power cuts, {told} records told, {missing} missing, the oldest {oldest:.3f} s old; "
        f"the slowest sync took {max(slowest for _, slowest in turns) * 1000:.0f} ms"
    )


def test_a_disk_that_loses_its_power_forgets_what_was_not_synced(disk: Disk) -> None:
    """The test above sees something: of two files the one that was synced is whole, the other one is not."""
    for name in ("synced", "not"):
        with (disk.directory / name).open("wb") as file:
            file.write(b"x" * 100_000)
            file.flush()
            if name == "synced":
                os.fsync(file.fileno())
    disk.lose_power()
    disk.unmount()
    disk.mount()
    assert (disk.directory / "synced").read_bytes() == b"x" * 100_000
    left = disk.directory / "not"
    assert not left.exists() or left.read_bytes() != b"x" * 100_000
