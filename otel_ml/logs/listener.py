"""The consumer of the queue: masks each entry once, then gives it to every sink."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from otel_ml import health, redaction
from otel_ml.logs.entries import Entry
from otel_ml.unmasked import masked_text

Encoder = Callable[[Entry], bytes]
LineSink = Callable[[Sequence[bytes]], object]


class Listener:
    """Runs on the worker's thread.

    Args:
        lines: Encoders, each with the sinks that take its lines; one sink that fails does not cost the others.
        entries: Takes the masked entries that did not come from an exporter itself; None when nothing is exported.
    """

    def __init__(
        self, lines: Sequence[tuple[Encoder, Sequence[LineSink]]], entries: Callable[[Entry], object] | None
    ) -> None:
        self._lines = lines
        self._entries = entries

    def consume(self, batch: list[Entry]) -> None:
        """Mask and write a batch."""
        for entry in batch:
            mask(entry)
        for encode, sinks in self._lines:
            lines = _encoded(encode, batch)
            for sink in sinks if lines else ():
                try:
                    sink(lines)
                except Exception as error:
                    health.count_dropped("logs", "write_failed", len(lines))
                    health.internal_error("log sink", error)
        if self._entries is not None:
            for entry in batch:
                if not entry.internal:
                    self._entries(entry)


def mask(entry: Entry) -> None:
    """Mask everything in an entry that a caller wrote; when masking fails, nothing of it is left."""
    try:
        redactor = redaction.current()
        entry.message = redactor.text(entry.message)
        entry.logger = masked_text(entry.logger)
        if entry.extra:
            entry.extra = redactor.mapping(entry.extra)
        if entry.exception is not None:
            entry.exception = {
                key: text if key == "type" else redactor.text(text) for key, text in entry.exception.items()
            }
    except Exception as error:
        health.internal_error("redaction of a log record", error)
        entry.message, entry.extra, entry.exception = "[redaction failed]", {}, None


def _encoded(encode: Encoder, batch: list[Entry]) -> list[bytes]:
    lines = []
    for entry in batch:
        try:
            lines.append(encode(entry))
        except Exception as error:
            health.count_dropped("logs", "encode_failed")
            health.internal_error("log encoder", error)
    return lines
