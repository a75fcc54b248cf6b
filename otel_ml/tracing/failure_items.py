"""What an exception leaves on a span, the status ERROR and an event, without the SDK's constructors.

These check what is known here, and take locks for what nobody else has seen yet. It is compiled where that can be done.
"""

from __future__ import annotations

import sys
from _thread import allocate_lock
from collections import deque
from time import time_ns
from typing import Any, Final

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import Event, SpanLimits
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import Status, StatusCode

from otel_ml.primitives import blank

ERROR: Final = StatusCode.ERROR
EVENT: Final = "exception"
_PARTS: Final[tuple[tuple[object, set[str]], ...]] = (
    (Status(ERROR, "a"), {"_status_code", "_description"}),
    (Event("a", None, 1), {"_name", "_timestamp", "_attributes"}),
    (BoundedList(1), {"_dq", "_lock", "dropped"}),
    (BoundedAttributes(), {"_dict", "_immutable", "_lock", "dropped", "max_value_len", "maxlen"}),
)
IS_KNOWN: Final = all(getattr(part, "__dict__", {}).keys() == names for part, names in _PARTS)
"""Whether a release of the SDK has these names and no others; else its constructors are used."""


def room_for_event(limits: SpanLimits) -> int:
    """Return how many attributes an event may have that is made here; -1: none is to be made.

    Args:
        limits: Of the span.
    """
    most = limits.max_event_attributes
    if not IS_KNOWN or limits.max_events == 0 or limits.max_attribute_length is not None:
        return -1
    return sys.maxsize if most is None else most


def error_status(description: str) -> Status:
    """Return `Status(StatusCode.ERROR, description)`."""
    status: Any = blank(Status)
    status._status_code = ERROR
    status._description = description
    return status  # type: ignore[no-any-return]


def only_event(limits: SpanLimits, values: dict[str, Any]) -> BoundedList[Event]:
    """Return the list of events of a span that has one, which is about an exception and happens now.

    Args:
        limits: Of the span.
        values: Clean attributes, which nobody else keeps.
    """
    attributes: Any = blank(BoundedAttributes)
    attributes._dict = values
    attributes.maxlen = limits.max_event_attributes
    attributes.dropped = 0
    attributes.max_value_len = None
    attributes._lock = allocate_lock()
    attributes._immutable = True
    event: Any = blank(Event)
    event._name = EVENT
    event._timestamp = time_ns()
    event._attributes = attributes
    events: Any = blank(BoundedList)
    events.dropped = 0
    events._dq = deque((event,), limits.max_events)
    events._lock = allocate_lock()
    return events  # type: ignore[no-any-return]
