"""Events and links of a span."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import Event, EventBase
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import Link, SpanContext

from otel_ml.clean_attributes import CleanAttributes
from otel_ml.tracing import sdk_layout
from otel_ml.tracing.span_layout import SpanLayout

_logger = logging.getLogger("opentelemetry.sdk.trace")  # applications filter the SDK's warnings by its name


class SpanItems(SpanLayout):
    """The part of a span that holds lists."""

    __slots__ = ()

    @property
    def events(self) -> Sequence[Event]:
        """The events."""
        return tuple(self._event_list or ())

    @property
    def links(self) -> Sequence[Link]:
        """The links."""
        return tuple(self._link_list or ())

    def _event_attributes(self, attributes: Mapping[str, Any] | None) -> BoundedAttributes:
        limits = self._shared.limits
        most, longest = limits.max_event_attributes, limits.max_attribute_length
        if type(attributes) is CleanAttributes and longest is None and (most is None or len(attributes) <= most):
            return sdk_layout.bounded(dict(attributes), 0, most, longest, immutable=True)
        return BoundedAttributes(most, attributes, max_value_len=longest, immutable=True)

    def _link_attributes(self, attributes: Mapping[str, Any] | None) -> BoundedAttributes:
        limits = self._shared.limits
        return BoundedAttributes(
            limits.max_link_attributes, attributes, max_value_len=limits.max_attribute_length, immutable=True
        )

    def _put_links(self, links: Sequence[Link]) -> None:
        valid: list[Link] = []
        for link in links:
            if link and sdk_layout.is_valid_link(link.context, link.attributes):  # type: ignore[truthy-bool]
                link._attributes = self._link_attributes(link.attributes)
                valid.append(link)
        self._link_list = BoundedList.from_seq(self._shared.limits.max_links, valid)

    def add_event(self, name: str, attributes: Mapping[str, Any] | None = None, timestamp: int | None = None) -> None:
        """Add an event; `timestamp` in nanoseconds since the epoch, default now."""
        self._add_event(Event(name=name, attributes=self._event_attributes(attributes), timestamp=timestamp))

    def _add_event(self, event: EventBase) -> None:
        self._append("_add_event", self._events, event)

    def add_link(self, context: SpanContext, attributes: Mapping[str, Any] | None = None) -> None:
        """Add a link, unless it says nothing."""
        if sdk_layout.is_valid_link(context, attributes):
            self._add_link(Link(context=context, attributes=self._link_attributes(attributes)))

    def _add_link(self, link: Link) -> None:
        self._append("_add_link", self._links, link)

    def _append(self, method: str, items: Any, item: object) -> None:
        with self._lock_of_slow_writes():
            if self._end_time is None:
                items.append(item)
                return
        self._warn_ended(method)

    @staticmethod
    def _warn_ended(method: str) -> None:
        _logger.warning("Tried calling %s on an ended span.", method)
