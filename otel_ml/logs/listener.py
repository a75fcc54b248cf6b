"""The consumer of the queue: masks each entry once, then gives it to every sink."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from otel_ml import health, redaction
from otel_ml.logs.entries import Entry
from otel_ml.logs.places import Places
from otel_ml.logs.simple_records import Captured, from_captured
from otel_ml.redaction import Redactor
from otel_ml.unmasked import masked_text

_MOST_LOGGERS = 4096

Encoder = Callable[[Entry], bytes]
LineSink = Callable[[Sequence[bytes]], object]


class Listener:
    """Runs on the worker's thread.

    Args:
        lines: Encoders, each with the sinks that take its lines; one sink that fails does not cost the others.
        entries: Takes the masked entries that did not come from an exporter itself; None when nothing is exported.
        places: Is told of each place that logs, so that callers make lines; None: there is more to do than lines.
    """

    def __init__(
        self, lines: Sequence[tuple[Encoder, Sequence[LineSink]]], entries: Callable[[Entry], object] | None,
        places: Places | None = None,
    ) -> None:  # fmt: skip
        self._lines = lines
        self._entries = entries
        self._places = places
        self._loggers = _MaskedLoggers(redaction.current())

    def consume(self, queued: list[Captured | bytes | Entry]) -> None:
        """Mask and write a batch."""
        if self._loggers.redactor is not redaction.current():
            self._loggers = _MaskedLoggers(redaction.current())
        batch = [item if isinstance(item, bytes) else self._masked(item) for item in queued]
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
                if not isinstance(entry, bytes) and not entry.internal:
                    self._entries(entry)

    def _masked(self, item: Captured | Entry) -> Entry:
        if isinstance(item, Entry):
            mask(item, self._loggers)
            return item
        entry = from_captured(item)
        mask(entry, self._loggers)
        if self._places is not None:
            _, _, level_name, logger, *_, code = item
            self._places.learn((level_name, logger, code), entry, self._loggers.redactor)
        return entry


class _MaskedLoggers(dict[str, str]):
    """Names of loggers as they are shown: there are few, and they recur."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self.redactor = redactor

    def __missing__(self, name: str) -> str:
        shown = masked_text(name)
        if self.redactor.repeatable and len(self) < _MOST_LOGGERS:
            self[name] = shown
        return shown


def mask(entry: Entry, loggers: Mapping[str, str]) -> None:
    """Mask everything in an entry that a caller wrote; when masking fails, nothing of it is left.

    Args:
        entry: The entry, which is changed.
        loggers: The name of each logger as it is shown.
    """
    try:
        redactor = redaction.current()
        entry.message = redactor.text(entry.message)
        entry.logger = loggers[entry.logger]
        if entry.extra:
            entry.extra = redactor.mapping(entry.extra)
        if entry.exception is not None:
            entry.exception = {
                key: text if key == "type" else redactor.text(text) for key, text in entry.exception.items()
            }
    except Exception as error:
        health.internal_error("redaction of a log record", error)
        entry.message, entry.extra, entry.exception = "[redaction failed]", {}, None


def _encoded(encode: Encoder, batch: list[Entry | bytes]) -> list[bytes]:
    lines = []
    for entry in batch:
        try:
            lines.append(entry if isinstance(entry, bytes) else encode(entry))
        except Exception as error:
            health.count_dropped("logs", "encode_failed")
            health.internal_error("log encoder", error)
    return lines
