"""Stack traces as masked text: each place in the code is rendered and masked once.

`traceback` looks at every file, reads the lines and works out the markers below them anew for each exception, which is
most of what recording one costs. A place, that is a code object and an instruction in it, says the same each time. It
is compiled where that can be done.
"""

from __future__ import annotations

import traceback
from types import CodeType, TracebackType
from typing import Final

from otel_ml.redaction import Redactor

HEADER: Final = "Traceback (most recent call last):\n"
_MOST_PLACES: Final = 1024
_LONGEST_PLACE: Final = 4096
# Of these `traceback` says more than their message: the place in the source, suggestions, what is inside them.
_SPECIAL: Final = (SyntaxError, AttributeError, NameError, ImportError, BaseExceptionGroup)


class _Places:
    """What is known of places, as one redactor masks it.

    A place is found by what it is, not by what it is equal to: code that two files have in common is equal, but for the
    files. The code is kept with its text, so that no other one gets its id.
    """

    __slots__ = ("redactor", "texts")

    def __init__(self, redactor: Redactor) -> None:
        self.redactor = redactor
        self.texts: dict[tuple[int, int, int], tuple[CodeType, str]] = {}

    def text_of(self, trace: TracebackType, code: CodeType, line: int) -> str:
        """Return the text of a frame, rendered when its place is new."""
        place = (id(code), trace.tb_lasti, line)  # with the line: a traceback can be made up
        known = self.texts.get(place)
        if known is not None:
            return known[1]
        text = self.redactor.text("".join(traceback.format_tb(trace, limit=1)))
        if len(text) <= _LONGEST_PLACE:
            if len(self.texts) >= _MOST_PLACES:  # code that is made at run time would fill the memory
                self.texts.clear()
            self.texts[place] = (code, text)
        return text


_places = _Places(Redactor.off())


def render(
    error: BaseException, message: str, trace: TracebackType | None, redactor: Redactor, limit: int
) -> str | None:
    """Return the text that `traceback.format_exception` gives, masked; None when that has to be asked.

    It has to be where there is more than frames and a message: a cause or context, notes, a group, a syntax error, a
    suggestion; more frames than `limit`; a frame that is repeated; a redactor that may not be asked less often.

    Args:
        error: The exception.
        message: Its text, masked.
        trace: The first frame to show.
        redactor: Masks the text of frames.
        limit: Largest number of frames.
    """
    if isinstance(error, _SPECIAL) or not redactor.repeatable or getattr(error, "__notes__", None):
        return None
    if error.__cause__ is not None or (error.__context__ is not None and not error.__suppress_context__):
        return None
    frames = _frames(trace, redactor, limit)
    if frames is None:
        return None
    kind = type(error)
    name = kind.__qualname__
    if kind.__module__ not in ("__main__", "builtins"):
        name = f"{kind.__module__}.{name}"
    return "".join((HEADER if frames else "", *frames, f"{name}: {message}\n" if message else f"{name}\n"))


def _frames(trace: TracebackType | None, redactor: Redactor, limit: int) -> list[str] | None:
    global _places  # noqa: PLW0603  replaced as a whole: other threads may still render for another redactor
    places = _places
    if places.redactor is not redactor:
        places = _places = _Places(redactor)
    frames: list[str] = []
    code_before: CodeType | None = None
    line_before = 0
    while trace is not None:
        code, line = trace.tb_frame.f_code, trace.tb_lineno
        repeated = code_before is not None and line == line_before and _is_like(code, code_before)
        if repeated or len(frames) == limit:
            return None
        frames.append(places.text_of(trace, code, line))
        code_before, line_before, trace = code, line, trace.tb_next
    return frames


def _is_like(code: CodeType, other: CodeType) -> bool:
    """Whether `traceback` takes two pieces of code for one."""
    return code is other or (code.co_filename, code.co_name) == (other.co_filename, other.co_name)
