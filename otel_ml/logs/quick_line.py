"""The line of an ordinary record, as nearly all are, made where it is logged.

So what waits for the listener is bytes and nothing else, which are neither masked nor encoded any more: the text is
like one that was found harmless before, and the rest was masked and encoded when its place in the code logged for the
first time. Every other record is the listener's.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Any, Final

import orjson

from otel_ml.logs.entries import ATOMS, INJECTED
from otel_ml.logs.extras import MAX_STRING
from otel_ml.logs.json_lines import RAW_CONTROLS
from otel_ml.logs.quick_record import FIELDS
from otel_ml.prefilter import HARMLESS, LONGEST_REMEMBERED, ZEROED

NAMES: Final = (*FIELDS, *INJECTED)
"""What a record has that our factory made, on top of nobody else's."""

TYPES_OF_PLACE: Final = (str, str, str, str, int)
"""Exactly these: True is equal to 1, but not the same in JSON."""


def quick_line(  # noqa: PLR0911
    fields: dict[str, Any], known: dict[Any, tuple[bytes, bytes]], shapes: dict[bytes, int] | None
) -> bytes | None:
    """Return the line of a record that has no extra and no exception; None when it has to go the other way.

    Its arguments are texts, numbers, booleans and None: no code of the caller's runs.

    Args:
        fields: What the record has.
        known: What `LineEncoder.parts` returned for each place, see `Places`.
        shapes: `Redactor.shapes`; None: any text may be shown.

    Raises:
        Exception: The record's format is wrong.
    """
    if len(fields) != len(NAMES) or tuple(fields) != NAMES:  # something was added, or another factory made it
        return None
    if fields["exc_info"] or fields["exc_text"] or fields["stack_info"]:
        return None
    code = fields["pathname"], fields["funcName"], fields["lineno"]
    place = fields["levelname"], fields["name"], code
    if tuple(map(type, (*place[:2], *code))) != TYPES_OF_PLACE:
        return None
    parts = known.get(place)
    made, message, arguments = fields["created"], fields["msg"], fields["args"]
    if parts is None or type(made) is not float or not 0 < made < 2**33 or type(message) is not str:
        return None
    if arguments:
        if type(arguments) is not tuple or not ATOMS.issuperset(map(type, arguments)):
            return None
        message %= arguments
    written = _as_json(message, shapes)
    ids = _ids(fields)
    if written is None or ids is None:
        return None
    micros = int(made * 1e6)
    begun = f'{{"timestamp":"{_shown(micros // 1_000_000)}.{micros % 1_000_000:06d}'
    return b"".join((begun.encode(), parts[0], written, ids.encode(), parts[1]))


def _as_json(message: str, shapes: dict[bytes, int] | None) -> bytes | None:
    try:
        written = message.encode()
    except UnicodeEncodeError:  # lone surrogates
        return None
    if shapes is None:
        harmless = len(message) <= MAX_STRING
    else:
        harmless = len(written) <= LONGEST_REMEMBERED and shapes.get(written.translate(ZEROED)) == HARMLESS
    return orjson.dumps(message) if harmless and not RAW_CONTROLS.search(written) else None


def _ids(fields: dict[str, Any]) -> str | None:
    """Return the part of a line with the ids, as our factory put them into the record; None when others did."""
    trace_id, span_id, run_id = fields["otelTraceID"], fields["otelSpanID"], fields["otelRunID"]
    if type(trace_id) is not str or type(span_id) is not str or type(run_id) is not str:
        return None
    ids = ""
    if trace_id != "0":
        sampled = fields["otelTraceSampled"]
        if type(sampled) is not bool or len(trace_id) != 32:
            return None
        if not (_is_alphanumeric(trace_id) and _is_alphanumeric(span_id)):
            return None
        ids = f',"trace_id":"{trace_id}","span_id":"{span_id}","trace_flags":"0{sampled:d}"'
    if run_id:
        if not run_id.isascii() or len(orjson.dumps(run_id)) != len(run_id) + 2:
            return None
        ids += f',"run_id":"{run_id}"'
    return ids


def _is_alphanumeric(text: str) -> bool:
    return text.isascii() and text.isalnum()


@lru_cache(maxsize=8)
def _shown(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
