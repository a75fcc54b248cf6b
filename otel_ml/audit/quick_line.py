"""The line of a call that went well and holds nothing unusual, as nearly all do: made on the caller's thread.

So what waits for the writer is bytes and nothing else: no object that the garbage collector has to look at, and nearly
nothing left to do while the writer holds the GIL. Every other call is `Encoder.body`'s.
"""

from __future__ import annotations

import re

from otel_ml.audit.record import MOST_BODY, OPENING

_UNUSUAL = re.compile(rb"[\x7f-\xff\r\n]")


def quick_line(  # noqa: PLR0917  on the way of each call, all of them always given
    record_id: str,
    started_ns: int,
    duration_ns: int,
    trace_id: int,
    span_id: int,
    flags: int,
    middle: bytes,
    features: bytes | None,
    prediction: bytes | None,
    mask: bytes,
) -> bytes | None:
    """Return the body of a call's line, the same as `Encoder.body` would; None when that one has to look at it.

    Args:
        record_id: Of the call, a UUID.
        started_ns: When it began, nanoseconds since the epoch.
        duration_ns: How long it took.
        trace_id: Of its trace; 0: there is none.
        span_id: Of its span.
        flags: Of its trace.
        middle: `Encoder.middle`.
        features: JSON, or None.
        prediction: JSON, or None.
        mask: `Encoder.mask`.
    """
    payload = b"" if features is None else b',"features":%b' % features
    if prediction is not None:
        payload += b',"prediction":%b' % prediction
    if mask in payload or _UNUSUAL.search(payload):
        return None
    trace = f',"trace_id":"{trace_id:032x}","span_id":"{span_id:016x}","trace_flags":{flags}' if trace_id else ""
    head = f'{started_ns},"duration_ms":{duration_ns // 1_000_000}.{duration_ns % 1_000_000:06d}{trace}'
    body = b'{"record_id":"%b"%b%b%b%b' % (record_id.encode(), OPENING, head.encode(), middle, payload)
    return body if len(body) <= MOST_BODY else None
