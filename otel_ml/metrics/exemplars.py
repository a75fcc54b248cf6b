"""An exemplar in memory that other processes read, while its own process writes it."""

from __future__ import annotations

from typing import Any, Final

Memory = Any
"""A memoryview of 'q', 'Q' or 'd'; type checkers know one kind of item only, and that it cannot be set."""

RawExemplar = tuple[float, int, int, int]
"""Value, trace id, span id, and time in nanoseconds since the epoch; only readers format it."""

EXEMPLAR_WORDS: Final = 5
"""Words of an exemplar in shared memory: time, upper and lower half of the trace id, span id, value."""

_LOW: Final = 2**64 - 1
_LOOKS: Final = 8


def write_exemplar(words: Memory, doubles: Memory, at: int, exemplar: RawExemplar) -> None:
    """Let other processes see an exemplar. They take one whose time is set, and the same at a second look.

    Args:
        words: The memory as whole numbers.
        doubles: The same memory.
        at: First of its words.
        exemplar: What to write.
    """
    value, trace_id, span_id, now = exemplar
    words[at] = 0
    words[at + 1] = trace_id >> 64
    words[at + 2] = trace_id & _LOW
    words[at + 3] = span_id
    doubles[at + 4] = value
    words[at] = now


def read_exemplars(memory: memoryview, first: int, number: int) -> list[RawExemplar | None]:
    """Return the exemplars in a memory.

    Args:
        memory: Its bytes.
        first: First word of the first.
        number: How many there are.
    """
    words, doubles = memory.cast("Q"), memory.cast("d")
    end = first + number * EXEMPLAR_WORDS
    block = words[first:end].tolist()  # most have never been written
    return [
        _read(words, doubles, at) if any(block[at - first : at - first + EXEMPLAR_WORDS]) else None
        for at in range(first, end, EXEMPLAR_WORDS)
    ]


def _read(words: Memory, doubles: Memory, at: int) -> RawExemplar | None:
    where = slice(at, at + EXEMPLAR_WORDS)
    for _ in range(_LOOKS):
        found, value, again = words[where].tolist(), doubles[at + 4], words[where].tolist()
        if found == again and (found[0] or not any(found)):
            time, high, low, span_id, _ = found
            return (value, high << 64 | low, span_id, time) if time else None
    return None
