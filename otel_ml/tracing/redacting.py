"""Masking of ended spans at the exit, whoever wrote them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link, Status

from otel_ml import redaction
from otel_ml.redaction import Redactor


def masked(span: ReadableSpan) -> ReadableSpan:
    """Return the span itself when nothing in it needs masking, else a masked copy."""
    redactor = redaction.current()
    given = span.attributes  # a new view each time it is read
    attributes = _mapping(redactor, given)
    events = [_event(redactor, event) for event in span.events]
    links = [_link(redactor, link) for link in span.links]
    name = redactor.text(span.name)
    status = _status(redactor, span.status)
    unchanged = (
        attributes is given
        and name == span.name
        and status is span.status
        and all(new is old for new, old in zip(events, span.events, strict=True))
        and all(new is old for new, old in zip(links, span.links, strict=True))
    )
    if unchanged:
        return span
    return ReadableSpan(
        name=name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=attributes,
        events=events,
        links=links,
        kind=span.kind,
        status=status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _mapping(redactor: Redactor, items: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if not items:
        return items
    new = redactor.mapping(items)
    same = len(new) == len(items) and all(new.get(key, items) is value for key, value in items.items())
    return items if same else new


def _event(redactor: Redactor, event: Event) -> Event:
    given = event.attributes
    attributes = _mapping(redactor, given)
    return event if attributes is given else Event(event.name, attributes, event.timestamp)


def _link(redactor: Redactor, link: Link) -> Link:
    given = link.attributes
    attributes = _mapping(redactor, given)
    return link if attributes is given else Link(link.context, attributes)


def _status(redactor: Redactor, status: Status) -> Status:
    if not status.description:
        return status
    description = redactor.text(status.description)
    return status if description == status.description else Status(status.status_code, description)
