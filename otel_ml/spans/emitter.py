"""From an ended span to the queue, in one append. It is compiled where that can be done."""

from __future__ import annotations

from typing import Any

from otel_ml.inbox import Inbox
from otel_ml.primitives import untrack
from otel_ml.tracing.span_state import SpanState


class Emitter:
    """Queues sampled spans.

    Args:
        inbox: Of the queue.
    """

    __slots__ = ("_inbox",)

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    def emit(self, span: Any) -> None:
        """Queue an ended span when it is sampled."""
        if isinstance(span, SpanState):
            state = span
            if state._sampled:
                untrack(span)  # an ended span holds plain values; what takes it out of the queue may track it again
                inbox = self._inbox
                if len(inbox.queue) < inbox.quiet:  # `put`, without the look whether a sub-class has another one
                    inbox.append(span)
                else:
                    inbox.put(span)
            return
        context = span.context
        if context is not None and context.trace_flags.sampled:
            self._inbox.put(span)
