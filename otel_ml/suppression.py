"""Code that no instrumentation shall watch: what sends telemetry, above all.

It sets and reads what `opentelemetry.instrumentation.utils` does, so each sees the other's. That module is not imported
for it, because it loads `wrapt`, and with it asyncio.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from opentelemetry import context
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY

_KEYS: Final = (_SUPPRESS_INSTRUMENTATION_KEY, "suppress_instrumentation")
"""The API's key, and that of older instrumentations, which the other module sets too."""


@contextmanager
def suppress_instrumentation() -> Iterator[None]:
    """Have instrumentations let pass what is done inside, unwatched."""
    suppressed = context.get_current()
    for key in _KEYS:
        suppressed = context.set_value(key, True, suppressed)
    token = context.attach(suppressed)
    try:
        yield
    finally:
        context.detach(token)


def is_instrumentation_enabled() -> bool:
    """Whether nobody has suppressed instrumentation here."""
    current = context.get_current()
    return not any(context.get_value(key, current) for key in _KEYS)
