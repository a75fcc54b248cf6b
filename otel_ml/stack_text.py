"""Stack traces as masked text: each place in the code is rendered and masked once.

`traceback` looks at every file, reads the lines and works out the markers below them anew for each exception, which is
most of what recording one costs. A place, that is a code object and an instruction in it, says the same each time.
"""

from __future__ import annotations

import traceback
from types import CodeType, TracebackType
from typing import Final

from otel_ml.redaction import Redactor

HEADER: Final = "Traceback (most recent call last):\n"
_MOST_PLACES: Final = 1024
# Of these `traceback` says more than their message: the place in the source, suggestions, what is inside them.
_SPECIAL: Final = (SyntaxError, AttributeError, NameError, ImportError, BaseExceptionGroup)

_places: dict[tuple[CodeType, int], str] = {}
_places_of: Redactor | None = None


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
    global _places_of  # noqa: PLW0603  what is known is masked by the redactor in force
    if _places_of is not redactor:
        _places.clear()
        _places_of = redactor
    frames: list[str] = []
    before: TracebackType | None = None
    while trace is not None:
        code = trace.tb_frame.f_code
        repeated = before is not None and before.tb_frame.f_code is code and before.tb_lineno == trace.tb_lineno
        if repeated or len(frames) == limit:
            return None
        place = (code, trace.tb_lasti)
        frames.append(_places.get(place) or _rendered(place, trace, redactor))
        before, trace = trace, trace.tb_next
    return frames


def _rendered(place: tuple[CodeType, int], trace: TracebackType, redactor: Redactor) -> str:
    text = redactor.text("".join(traceback.format_tb(trace, limit=1)))
    if len(_places) >= _MOST_PLACES:  # code that is made at run time would fill the memory
        _places.clear()
    _places[place] = text
    return text
