"""Places in the code that records come from, each with what all of its lines have in common.

The listener finds it, with masking and encoding, and the callers use it. It is compiled where that can be done.
"""

from __future__ import annotations

from typing import Any

from otel_ml.logs.entries import Entry
from otel_ml.logs.json_lines import LineEncoder, Place, escaped
from otel_ml.logs.quick_line import TYPES_OF_PLACE, quick_line
from otel_ml.redaction import Redactor
from otel_ml.redaction import current as current_redactor

_MOST = 4096

Known = dict[Place, tuple[bytes, bytes]]


class Places:
    """Makes lines where records are logged, from the second record of a place on.

    Args:
        encoder: Makes the lines of all other records, on the listener's thread.
    """

    __slots__ = ("_encoder", "_now")

    def __init__(self, encoder: LineEncoder) -> None:
        self._encoder = encoder
        # Redactor, places and shapes of texts, replaced as a whole: what is known belongs to the redactor in force.
        self._now: tuple[Redactor | None, Known, dict[bytes, int] | None] = (None, {}, None)

    def line(self, fields: dict[str, Any]) -> bytes | None:
        """Return the line of a record, or None, for the listener to make it.

        Args:
            fields: What the record has.

        Raises:
            Exception: The record is not what logging makes, or its format is wrong.
        """
        redactor, known, shapes = self._now
        return quick_line(fields, known, shapes) if redactor is current_redactor() else None

    def learn(self, place: Place, entry: Entry, redactor: Redactor) -> None:
        """Remember a place for the next record.

        Args:
            place: As the record has it.
            entry: The same record, masked.
            redactor: What masked it.
        """
        now = self._now
        if now[0] is not redactor or len(now[1]) >= _MOST:
            self._now = now = (redactor, {}, redactor.shapes)  # anew, not cleared: a caller may be between two looks
        known = now[1]
        level, logger, code = place
        if tuple(map(type, (level, logger, *code))) != TYPES_OF_PLACE or place in known or not redactor.asks_nobody:
            return
        if "importlib" in code[0] and "_bootstrap" in code[0]:  # logging takes no such file for its caller's
            return
        try:
            head, tail = self._encoder.parts((entry.level_name, entry.logger, entry.code))
        except TypeError:  # lone surrogates
            return
        known[place] = escaped(head), escaped(tail) + b"}\n"
