"""The one processor of ours that a provider holds, and the functions that it stands for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

OnStart = Callable[[Any, Context | None], object]
OnEnd = Callable[[Any], object]


class SwitchProcessor(SpanProcessor):
    """Hands spans to the pipeline that is active; to none after it was closed.

    A processor cannot be taken off a provider again, and a provider can be set once a process: this is what lets
    `configure` be called anew after `shutdown`. Our own tracer knows it, and calls the functions itself.

    Args:
        starters: Called with each span that started and its parent's context (None: the current one).
        emitters: Called with each span that ended.
        targets: What is flushed and shut down with the provider.
    """

    def __init__(
        self,
        starters: tuple[OnStart, ...] = (),
        emitters: tuple[OnEnd, ...] = (),
        targets: tuple[SpanProcessor, ...] = (),
    ) -> None:
        self.starters = starters
        self.emitters = emitters
        self.targets = targets

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Call each starter."""
        for start in self.starters:
            start(span, parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        """Call each emitter."""
        for emit in self.emitters:
            emit(span)

    def open(
        self, starters: tuple[OnStart, ...], emitters: tuple[OnEnd, ...], targets: tuple[SpanProcessor, ...]
    ) -> None:
        """Hand spans to these from now on."""
        self.starters, self.emitters, self.targets = starters, emitters, targets

    def close(self) -> tuple[SpanProcessor, ...]:
        """Hand spans to nobody from now on, and return what was flushed with the provider."""
        targets = self.targets
        self.open((), (), ())
        return targets

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Flush each target."""
        return all([target.force_flush(timeout_millis) for target in self.targets])

    def shutdown(self) -> None:
        """Shut each target down; called when the application shuts its provider down."""
        for target in self.close():
            target.shutdown()


NOBODY: Final = SwitchProcessor()
"""Stands for a provider without processors."""
