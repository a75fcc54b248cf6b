from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logs.running import entry

from otel_ml.logs.console import TextEncoder, has_colour


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        super().isatty()  # raises when it is closed
        return True


def _shown(*, colour: bool = False, **fields: object) -> str:
    return TextEncoder(colour=colour).encode(entry(**fields)).decode()


def test_line_shows_time_level_logger_message_extras_and_short_trace_id() -> None:
    """A line has all that a person looks for, in columns, and the trace id's first eight characters."""
    line = _shown(message="loaded", extra={"rows": 3, "path": "a b"}, trace_id="4bf92f35" + 24 * "0", span_id="0" * 16)
    assert re.fullmatch(r'\d\d:\d\d:\d\d\.123 INFO     app +loaded rows=3 path="a b" trace=4bf92f35\n', line)
    critical = _shown(level_name="CRITICAL", level=50, message="loaded")
    assert critical.index("loaded") == line.index("loaded")


def test_exception_and_further_lines_stand_indented_below() -> None:
    """The first line stays one line; what follows is indented, a final newline of the message gives no empty line."""
    stack = "Traceback (most recent call last):\n  File x\nValueError: m\n"
    lines = _shown(message="one\ntwo\n", exception={"stacktrace": stack}).splitlines()
    assert lines[0].endswith("one")
    assert lines[1:] == ["    two", "    Traceback (most recent call last):", "      File x", "    ValueError: m"]


@pytest.mark.parametrize(("level", "code"), [(10, "36"), (20, "32"), (30, "33"), (40, "31"), (50, "1;31")])
def test_levels_have_colours(level: int, code: str) -> None:
    """Each level has its own colour, and without colour there is no escape sequence at all."""
    assert f"\x1b[{code}m" in _shown(colour=True, level=level)
    assert "\x1b" not in _shown(level=level)


def test_no_color_and_dumb_terminals_are_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal gets colours unless NO_COLOR or TERM=dumb says otherwise; anything else gets none."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert has_colour(Terminal())
    assert not has_colour(io.StringIO())
    closed = Terminal()
    closed.close()
    monkeypatch.setenv("TERM", "dumb")
    assert not has_colour(Terminal())
    monkeypatch.setenv("TERM", "xterm")
    assert not has_colour(closed)
    monkeypatch.setenv("NO_COLOR", "1")
    assert not has_colour(Terminal())


@given(
    st.text(st.characters(codec=None)), st.dictionaries(st.text(), st.text(st.characters(codec=None)) | st.integers())
)
def test_no_text_can_drive_the_terminal(message: str, extra: dict[str, object]) -> None:
    """Control characters of the caller's text, escape sequences among them, are shown and never sent."""
    text = _shown(message=message, extra=extra, exception={"stacktrace": message})
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]", text)
