"""Masking of ended spans at the exit, whoever wrote them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import is_
from typing import Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import Link, Status

from otel_ml import redaction
from otel_ml.tracing.sdk_layout import UNSET, values_of
from otel_ml.tracing.span import Span
from otel_ml.unmasked import masked_mapping, masked_text


def masked(span: ReadableSpan) -> ReadableSpan:
    """Return the span itself when nothing in it needs masking, else a masked copy."""
    if isinstance(span, Span) and _is_harmless(span):
        return span
    given, given_events, given_links = span.attributes, span.events, span.links  # a new view each time they are read
    attributes = masked_mapping(given)
    events = [_event(event) for event in given_events]
    links = [_link(link) for link in given_links]
    name = masked_text(span.name)
    status = _status(span.status)
    unchanged = (
        attributes is given
        and name == span.name
        and status is span.status
        and all(map(is_, events, given_events))
        and all(map(is_, links, given_links))
    )
    if unchanged:
        return span
    return ReadableSpan(
        name=name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=_counting(attributes, span.dropped_attributes),
        events=_bounded(events, span.dropped_events),
        links=_bounded(links, span.dropped_links),
        kind=span.kind,
        status=status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _is_harmless(span: Span) -> bool:
    """Whether one of our own spans needs no masking, as far as a look at the few things that most spans have tells."""
    if span._link_list is not None or (span._status is not UNSET and _status(span._status) is not span._status):
        return False
    if span._event_list is not None:
        for event in span._event_list:
            if not _is_harmless_event(event):
                return False
    values = span._values
    return masked_text(span._name) == span._name and (not values or masked_mapping(values) is values)


def _is_harmless_event(event: Event) -> bool:
    attributes = event.attributes
    if attributes:
        if type(attributes) is not BoundedAttributes:
            return False
        values = values_of(attributes)  # read as a mapping of the SDK's, each would cost a lock and a call
        if masked_mapping(values) is not values:
            return False
    return masked_text(event.name) == event.name


def _event(event: Event) -> Event:
    given = event.attributes
    attributes, name = masked_mapping(given), masked_text(event.name)
    if attributes is given and name == event.name:
        return event
    return Event(name, _counting(attributes, event.dropped_attributes), event.timestamp)


def _link(link: Link) -> Link:
    given = link.attributes
    attributes = masked_mapping(given)
    return link if attributes is given else Link(link.context, _counting(attributes, link.dropped_attributes))


def _counting(attributes: Mapping[str, Any] | None, dropped: int) -> Mapping[str, Any] | None:
    """Return attributes that still know how many were dropped; plain ones do not."""
    if not dropped:
        return attributes
    counting = BoundedAttributes(attributes=dict(attributes or {}))
    counting.dropped += dropped
    return counting


def _bounded(items: list[Any], dropped: int) -> Sequence[Any]:
    """Return events or links that still know how many were dropped."""
    if not dropped:
        return items
    bounded: BoundedList[Any] = BoundedList.from_seq(len(items), items)
    bounded.dropped = dropped
    return bounded


def _status(status: Status) -> Status:
    if not status.description:
        return status
    description = redaction.current().text(status.description)
    return status if description == status.description else Status(status.status_code, description)
