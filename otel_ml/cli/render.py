"""How times, bars and foreign text look on a terminal, in a pipe, and without colours."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime

from rich.console import Console
from rich.text import Text

PIPE_WIDTH = 100
_EIGHTHS = "▏▎▍▌▋▊▉█"


def make_console(*, stderr: bool = False) -> Console:
    """Return a console on stdout or stderr: as wide as the terminal, 100 columns in a pipe or file.

    `NO_COLOR`, `FORCE_COLOR`, `COLUMNS` and `TERM=dumb` work as everywhere.
    """
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or os.environ.get("COLUMNS", "").isdigit() else PIPE_WIDTH
    return Console(stderr=stderr, width=width, highlight=False, markup=False, emoji=False)


def printable(text: str, limit: int = 400) -> str:
    """Return text of unknown origin on one line: no escape sequence in it can reach the terminal.

    Args:
        text: What a program logged or named.
        limit: Characters after which it is cut.
    """
    cut = text if len(text) <= limit else f"{text[: limit - 1]}…"
    if cut.isprintable():
        return cut
    return "".join(_visible(character) for character in cut)


def _visible(character: str) -> str:
    if character.isprintable():
        return character
    if character == "\n":
        return " ⏎ "
    return " " if character.isspace() else f"\\x{ord(character):02x}"


def duration(seconds: float) -> str:
    """Return a time span with three digits and its unit, for example `12.3 ms` or `2 min 03 s`."""
    if seconds >= 3599.5:
        hours, minutes = divmod(round(seconds / 60), 60)
        return f"{hours} h {minutes:02d} min"
    if seconds >= 59.95:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} min {rest:02d} s"
    for unit, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= unit * 0.9995:
            return f"{_three_digits(seconds / unit)} {name}"
    return f"{seconds * 1e9:.0f} ns" if seconds > 0 else "0 s"


def _three_digits(value: float) -> str:
    decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{decimals}f}"


def bound(seconds: float) -> str:
    """Return a bucket bound as it was written, for example `2.5 ms`."""
    for unit, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= unit * 0.9995:
            return f"{round(seconds / unit, 6):g} {name}"
    return f"{seconds:g} s"


def clock(nanoseconds: int) -> str:
    """Return the UTC time of day with milliseconds; empty for 0, which OTLP uses for unknown."""
    if nanoseconds <= 0:
        return ""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%H:%M:%S}.{rest // 1_000_000:03d}"
    except (OverflowError, ValueError, OSError):
        return "?"


def bar(share: float, width: int, *, ascii_only: bool = False) -> str:
    """Return a bar for a share of 0 to 1, precise to an eighth of a column; anything above 0 is visible."""
    share = min(max(share, 0.0), 1.0)
    if ascii_only:
        return "#" * max(round(share * width), int(share > 0))
    eighths = max(round(share * width * 8), int(share > 0))
    whole, rest = divmod(eighths, 8)
    return "█" * whole + (_EIGHTHS[rest - 1] if rest else "")


def position_bar(start: float, end: float, width: int, *, ascii_only: bool = False) -> str:
    """Return where an interval lies in its whole, as on a time line.

    Args:
        start: Share of the whole, 0 to 1, that lies before the interval.
        end: Share of the whole at the interval's end.
        width: Columns of the whole.
        ascii_only: Whether block characters cannot be shown.
    """
    first = min(int(min(max(start, 0.0), 1.0) * width), width - 1)
    last = max(min(round(min(max(end, 0.0), 1.0) * width), width), first + 1)
    filled, empty = ("#", ".") if ascii_only else ("━", "·")
    return empty * first + filled * (last - first) + empty * (width - last)


def heading(title: str, note: str = "") -> Text:
    """Return a section's title with a dimmed remark."""
    text = Text(f"\n{title}", style="bold")
    return text.append(f"  {note}", style="not bold dim") if note else text


def number(count: int, noun: str, plural: str = "") -> str:
    """Return a count with its noun, for example `1 span` or `1,204 spans`."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
