"""An entry as text for people.

Plain ANSI codes: rich would cost ten times a line's formatting, 50 ms of import, and wraps lines at the window's width.
"""

from __future__ import annotations

import os
import re
import time
from typing import IO

import orjson

from otel_ml.logs.entries import Entry

_DIM, _BOLD, _RESET = "\x1b[2m", "\x1b[1m", "\x1b[0m"
_COLOURS = ((50, "\x1b[1;31m"), (40, "\x1b[31m"), (30, "\x1b[33m"), (20, "\x1b[32m"), (0, "\x1b[36m"))
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")  # all but tab and newline
_PLAIN_WORD = re.compile(r"[^\s\"'=]+")


def has_colour(stream: IO[str]) -> bool:
    """Whether a stream is a terminal that may show colours (https://no-color.org)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and is_terminal(stream)


def is_terminal(stream: IO[str]) -> bool:
    """Whether a stream is an open terminal."""
    try:
        return stream.isatty()
    except (AttributeError, ValueError):  # not a real stream, or closed
        return False


class TextEncoder:
    """Makes readable lines: local time, level, logger, message, extras, the trace id's first eight characters.

    Further lines of a message, and stack traces, stand indented below. Control characters are shown escaped: what a
    user typed must not be able to drive the terminal.

    Args:
        colour: Whether ANSI colours are used.
    """

    def __init__(self, *, colour: bool) -> None:
        self._colour = colour

    def encode(self, entry: Entry) -> bytes:
        """Return the entry's lines, each with its newline."""
        second, rest = divmod(entry.time_ns, 1_000_000_000)
        clock = f"{time.strftime('%H:%M:%S', time.localtime(second))}.{rest // 1_000_000:03d}"
        first, *others = visible(entry.message).rstrip("\n").split("\n")
        parts = [
            self._paint(_DIM, clock),
            self._paint(_colour_of(entry.level), f"{visible(entry.level_name):<8}"),
            self._paint(_DIM, f"{visible(entry.logger):<20}"),
            self._paint(_BOLD, first) if entry.level >= 40 else first,
            *(f"{self._paint(_DIM, visible(key) + '=')}{_shown(value)}" for key, value in entry.extra.items()),
        ]
        if entry.trace_id:
            parts.append(self._paint(_DIM, f"trace={visible(entry.trace_id[:8])}"))
        lines = [" ".join(parts), *(f"    {line}" for line in others)]
        if entry.exception is not None:
            stacktrace = entry.exception.get("stacktrace", "").rstrip("\n")
            lines += [f"    {line}" for line in visible(stacktrace).split("\n")]
        return ("\n".join(line.rstrip() for line in lines) + "\n").encode("utf-8", "backslashreplace")

    def _paint(self, code: str, text: str) -> str:
        return f"{code}{text}{_RESET}" if self._colour else text


def visible(text: str) -> str:
    """Return text with control characters escaped, apart from tab and newline."""
    return _CONTROLS.sub(lambda match: match.group().encode("unicode_escape").decode(), text)


def _colour_of(level: int) -> str:
    return next((colour for least, colour in _COLOURS if level >= least), _COLOURS[-1][1])


def _shown(value: object) -> str:
    if isinstance(value, str) and _PLAIN_WORD.fullmatch(value):
        return visible(value)
    try:
        return visible(orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode())
    except TypeError:  # lone surrogates
        return visible(ascii(value))
