"""The sum over the processes of a family: what they count now, and what those counted that died."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from otel_ml.metrics.counter import COUNTER_WORDS
from otel_ml.metrics.exemplars import EXEMPLAR_WORDS, RawExemplar, read_exemplars
from otel_ml.metrics.slot import Record

COUNTER: Final = "counter"
HISTOGRAM: Final = "histogram"
_LOOKS: Final = 8
LEVEL: Final = "level"
"""What rises and falls, such as requests under way: a process that died has none."""


class Total:
    """One series, added up.

    Args:
        counts: Whole numbers: values in each bucket, or what was added to a counter.

    Attributes:
        sum: Sum of the values, or what was added to a counter in other numbers.
        exemplars: The last exemplar of each bucket.
    """

    def __init__(self, counts: list[int]) -> None:
        self.counts = counts
        self.sum = 0.0
        self.exemplars: list[RawExemplar | None] = []

    def add(self, counts: Sequence[int], total: float, exemplars: Sequence[RawExemplar | None] = ()) -> None:
        """Add one process's numbers."""
        self.counts = [old + new for old, new in zip(self.counts, counts, strict=True)]
        self.sum += total
        both = zip(self.exemplars, exemplars, strict=True) if self.exemplars else ((None, new) for new in exemplars)
        self.exemplars = [_later(old, new) for old, new in both] if exemplars else self.exemplars


@lru_cache(maxsize=20_000)
def description_of(key: bytes) -> Mapping[str, Any]:
    """Return what a series' key says of instrument and attributes."""
    found: dict[str, Any] = json.loads(key)
    found["attributes"] = {name: _frozen(value) for name, value in found["attributes"].items()}
    return found


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def totals(records: Iterable[tuple[Record, bool]]) -> dict[bytes, Total]:
    """Return the sum of each series.

    Args:
        records: Each with whether its process lives.
    """
    found: dict[bytes, Total] = {}
    for record, lives in records:
        kind = description_of(record.key)["kind"]
        if kind == LEVEL and not lives:
            continue
        words = len(record.numbers) // 8
        if kind == HISTOGRAM:
            buckets = (words - 1) // (1 + EXEMPLAR_WORDS)
            counts, total = _steady(record.numbers, slice(1, buckets + 1), 0)
            exemplars = read_exemplars(record.numbers, 1 + buckets, buckets)
        elif words == COUNTER_WORDS:
            counts, total = _steady(record.numbers, slice(0, 1), 1)
            exemplars = []
        else:
            continue
        found.setdefault(record.key, Total([0] * len(counts))).add(counts, total, exemplars)
    return found


def _steady(numbers: memoryview, counts: slice, sum_at: int) -> tuple[list[int], float]:
    """Return counts and sum of the same moment, unless values come faster than they can be read."""
    words, doubles = numbers.cast("q"), numbers.cast("d")
    found = words[counts].tolist()
    for _ in range(_LOOKS):
        total, before, found = doubles[sum_at], found, words[counts].tolist()
        if found == before:
            break
    return found, total


def _later(one: RawExemplar | None, other: RawExemplar | None) -> RawExemplar | None:
    if one is None or other is None:
        return one or other
    return one if one[3] > other[3] else other


def forget_levels(records: Iterable[Record]) -> None:
    """Set to zero what a process that died had under way; who takes over its memory has none of it."""
    for record in records:
        if description_of(record.key)["kind"] == LEVEL:
            record.numbers[:] = bytes(record.numbers.nbytes)
