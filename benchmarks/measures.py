"""How a subject is measured, inside its worker process. Times are nanoseconds."""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable
from itertools import repeat
from pathlib import Path
from typing import Any

from benchmarks.exporters import DiscardingSpanExporter
from benchmarks.workload import FEATURES, Subject

Measurement = dict[str, Any]

_MORE_FILLINGS = 3
_SLICE = 100  # calls: some 40 ms of the longest
_AFTER_SWITCH = 30  # calls until the interpreter has specialised its code again


def calls(subject: Subject, number: int) -> Measurement:
    """Time `number` calls, and the CPU of all threads until everything they recorded has left the process."""
    if subject.switch is not None:
        return _turns(subject, number, subject.switch)
    call, before = subject.call, DiscardingSpanExporter.exported
    gc.collect()
    cpu, wall = time.process_time_ns(), time.perf_counter_ns()
    for features in repeat(FEATURES, number):
        call(features)
    wall = time.perf_counter_ns() - wall
    subject.flush()
    cpu = time.process_time_ns() - cpu
    return {"wall": wall / number, "cpu": cpu / number, **_lost(subject, number, before)}


def _turns(subject: Subject, number: int, switch: Callable[[bool], object]) -> Measurement:
    """Time calls with the instrumentation and as many `without`, in slices that take turns in this process.

    The call takes a hundred times as long as what is measured, and two processes, or two seconds of one, differ by
    more than that: slices that follow each other see the same machine and the same memory. Times are medians of them.
    """
    before, slices = DiscardingSpanExporter.exported, max(1, number // _SLICE)
    found: dict[bool, list[Measurement]] = {False: [], True: []}
    gc.collect()
    for index in range(2 * slices):
        on = (index + index // 2) % 2 == 1  # off on, on off: neither always comes first
        switch(on)
        for features in repeat(FEATURES, _AFTER_SWITCH):
            subject.call(features)
        subject.flush()
        found[on].append(_slice(subject))
    switch(True)
    recorded = slices * (_SLICE + _AFTER_SWITCH)
    lost, without = _lost(subject, recorded, before), {**_medians(found[False]), "lost": 0}
    return {**_medians(found[True]), **lost, "without": without}


def _slice(subject: Subject) -> Measurement:
    cpu, wall = time.process_time_ns(), time.perf_counter_ns()
    for features in repeat(FEATURES, _SLICE):
        subject.call(features)
    wall = time.perf_counter_ns() - wall
    subject.flush()
    return {"wall": wall / _SLICE, "cpu": (time.process_time_ns() - cpu) / _SLICE}


def _medians(slices: list[Measurement]) -> Measurement:
    return {key: statistics.median(one[key] for one in slices) for key in ("wall", "cpu")}


def latency(subject: Subject, number: int) -> Measurement:
    """Time each of `number` calls by itself; `exported` is the share that was exported meanwhile."""
    call, before, clock = subject.call, DiscardingSpanExporter.exported, time.perf_counter_ns
    times = [0] * number
    gc.collect()
    for index in range(number):
        started = clock()
        call(FEATURES)
        times[index] = clock() - started
    exported = DiscardingSpanExporter.exported - before
    subject.flush()
    times.sort()
    return {
        "p50": times[number // 2],
        "p99": times[int(number * 0.99)],
        "p999": times[int(number * 0.999)],
        "max": times[-1],
        "exported": exported / number,
        **_lost(subject, number, before),
    }


def backlog(subject: Subject, number: int) -> Measurement:
    """Let `number` spans wait for export, and take their size and what they cost the garbage collector.

    The queue is filled and emptied several times, and the shortest collections are compared: a busy machine makes a
    collection half as long again, whatever waits. Memory is the growth of the resident set when it is filled first, so
    it includes the queue and what the allocator rounds up.
    """
    subject.call(FEATURES)
    subject.flush()
    before = DiscardingSpanExporter.exported
    pauses = _Pauses()
    empty, objects, resident = [_full_collection()], len(gc.get_objects()), _resident_bytes()
    _record(subject, number, pauses)
    waiting = number - (DiscardingSpanExporter.exported - before)
    resident = _resident_bytes() - resident
    full, objects = [_full_collection()], len(gc.get_objects()) - objects
    for _ in range(_MORE_FILLINGS):
        subject.flush()
        empty.append(_full_collection())
        _record(subject, number, pauses)
        full.append(_full_collection())
    subject.flush()
    return {
        "waiting": waiting,
        "bytes_per_span": resident / number,
        "objects_per_span": objects / number,
        "gc_per_span": sum(pauses.lengths) / number / (1 + _MORE_FILLINGS),
        "longest_pause": max(pauses.lengths, default=0),
        "collection_empty": min(empty),
        "collection_waiting": min(full),
        **_lost(subject, number * (1 + _MORE_FILLINGS), before),
    }


def _record(subject: Subject, number: int, pauses: _Pauses) -> None:
    gc.callbacks.append(pauses)
    for features in repeat(FEATURES, number):
        subject.call(features)
    gc.callbacks.remove(pauses)


KINDS = {"calls": calls, "latency": latency, "backlog": backlog}


class _Pauses:
    """A callback of the garbage collector that takes the length of each of its runs."""

    def __init__(self) -> None:
        self.lengths: list[int] = []
        self._started = 0

    def __call__(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "start":
            self._started = time.perf_counter_ns()
        else:
            self.lengths.append(time.perf_counter_ns() - self._started)


def _full_collection() -> float:
    """Shortest of twenty full collections, after one that frees what is there to free: noise only makes them longer."""
    gc.collect()
    lengths = []
    for _ in range(20):
        started = time.perf_counter_ns()
        gc.collect()
        lengths.append(time.perf_counter_ns() - started)
    return min(lengths)


def _resident_bytes() -> int:
    """Resident set of this process; 0 where the kernel does not tell."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0


def _lost(subject: Subject, number: int, before: int) -> Measurement:
    expected = number * subject.spans_per_call
    return {"lost": max(0, expected - (DiscardingSpanExporter.exported - before))}
