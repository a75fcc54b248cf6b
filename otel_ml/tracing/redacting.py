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
    given_events, given_links = span.events, span.links
    events = [_event(redactor, event) for event in given_events]
    links = [_link(redactor, link) for link in given_links]
    name = _text(redactor, span.name)
    status = _status(redactor, span.status)
    unchanged = (
        attributes is given
        and name == span.name
        and status is span.status
        and all(new is old for new, old in zip(events, given_events, strict=True))
        and all(new is old for new, old in zip(links, given_links, strict=True))
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


class _Unmasked:
    """Remembers what needed no masking: names and versions are the same on each span, and a look costs microseconds."""

    def __init__(self, redactor: Redactor) -> None:
        self.redactor = redactor
        self._known: set[tuple[str, str]] = set()

    def covers(self, items: Mapping[str, Any]) -> bool:
        """Return whether nothing in a mapping needs masking, as far as that can be told without a copy."""
        if not self.redactor.repeatable:
            return False
        known, is_sensitive = self._known, self.redactor.is_sensitive
        for key, value in items.items():
            if type(value) is str:
                if (key, value) not in known and not self._learns(key, value):
                    return False
            elif not isinstance(value, (bool, int, float)) or is_sensitive(key):
                return False
        return True

    def _learns(self, key: str, value: str) -> bool:
        item = {key: value}
        if self.redactor.mapping(item) != item:
            return False
        if len(value) <= _LONGEST and len(self._known) < _MOST:
            self._known.add((key, value))
        return True


_LONGEST = 128
_MOST = 8192
_unmasked = _Unmasked(redaction.current())


def _mapping(redactor: Redactor, items: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    global _unmasked  # noqa: PLW0603  what is known belongs to the redactor in force
    if not items:
        return items
    if _unmasked.redactor is not redactor:
        _unmasked = _Unmasked(redactor)
    return items if _unmasked.covers(items) else redactor.mapping(items)


def _text(redactor: Redactor, text: str) -> str:
    """Mask a text of few different values, such as a span's name."""
    masked_text = _mapping(redactor, {"": text})
    return text if masked_text is None else str(masked_text.get("", redactor.text(text)))


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
