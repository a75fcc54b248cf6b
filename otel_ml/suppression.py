"""Code that no instrumentation shall watch: what sends telemetry, above all.

It sets and reads what `opentelemetry.instrumentation.utils` does, so each sees the other's. That module is not imported
for it, because it loads `wrapt`, and with it asyncio.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from opentelemetry import context

_PLAIN_KEY: Final = "suppress_instrumentation"
_KEYS: Final[tuple[str, str]] = (getattr(context, "_SUPPRESS_INSTRUMENTATION_KEY", _PLAIN_KEY), _PLAIN_KEY)
"""The API's key, a private name that a release may not have, and that of older instrumentations."""


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
