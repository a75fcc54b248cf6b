"""What is around the records of every signal: resources and scopes, whose bytes are made once."""

from __future__ import annotations

from typing import Final, NamedTuple

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_ml.export.otlp_json.values import text
from otel_ml.export.otlp_protobuf.values import key_value
from otel_ml.export.otlp_protobuf.wire import VARINTS, counted, utf8

_MOST: Final = 1024  # places that are kept; then all are forgotten

RECORD: Final = b"\x12"
"""Tag of a record in the message of its scope: the same for spans and log records."""

RECORD_HEADS: Final = tuple(RECORD + length for length in VARINTS)
"""The same with the length of the record, by that."""

_SCHEMA_URL = b"\x1a"


class Block(NamedTuple):
    """Records that are ready to be sent. Blocks that are joined are a request too.

    Args:
        number: How many records it holds.
        content: A whole request; empty when there are no records.
    """

    number: int
    content: bytes


class _About:
    """A resource as bytes: what comes before its scopes in their message, and what comes after."""

    __slots__ = ("end", "head")

    def __init__(self, resource: Resource) -> None:
        attributes = [counted(b"\x0a", key_value(*item)) for item in resource.attributes.items()]
        self.head = counted(b"\x0a", b"".join(attributes))
        self.end = counted(_SCHEMA_URL, utf8(text(resource.schema_url))) if resource.schema_url else b""


class Place:
    """Where records belong: a scope as bytes, and its resource."""

    __slots__ = ("about", "end", "head")

    def __init__(self, about: _About, scope: InstrumentationScope | None) -> None:
        self.about = about
        self.head = counted(b"\x0a", _scope(scope))
        self.end = counted(_SCHEMA_URL, utf8(text(scope.schema_url))) if scope and scope.schema_url else b""


class Places:
    """The places of one stream of records: equal resources and scopes share one, as in the official encoder.

    Hashing a resource serialises all its attributes. So a place is found by identity first.
    """

    def __init__(self) -> None:
        self._by_id: dict[tuple[int, int], tuple[Place, object, object]] = {}  # holds both, so that ids stay taken
        self._abouts: dict[Resource, _About] = {}
        self._places: dict[tuple[_About, InstrumentationScope | None], Place] = {}

    def of(self, resource: Resource, scope: InstrumentationScope | None) -> Place:
        """Return the place of what a scope makes about a resource."""
        found = self._by_id.get((id(resource), id(scope)))
        return found[0] if found is not None else self._find(resource, scope)

    def _find(self, resource: Resource, scope: InstrumentationScope | None) -> Place:
        if len(self._by_id) >= _MOST:
            # Anew, not cleared: another thread may be between finding one and using it.
            self._by_id, self._abouts, self._places = {}, {}, {}
        about = self._abouts.get(resource)
        if about is None:
            about = self._abouts.setdefault(resource, _About(resource))
        place = self._places.get((about, scope))
        if place is None:
            place = self._places.setdefault((about, scope), Place(about, scope))
        self._by_id[id(resource), id(scope)] = (place, resource, scope)
        return place


def request(records: dict[Place, list[bytes]]) -> bytes:
    """Return a request of records, which are whole fields or parts of them, by their places."""
    by_resource: dict[_About, list[bytes]] = {}
    for place, fields in records.items():
        scope = counted(b"\x12", b"".join([place.head, *fields, place.end]))
        by_resource.setdefault(place.about, []).append(scope)
    return b"".join(
        [counted(b"\x0a", b"".join([about.head, *scopes, about.end])) for about, scopes in by_resource.items()]
    )


def _scope(scope: InstrumentationScope | None) -> bytes:
    if scope is None:
        return b""
    name = counted(b"\x0a", utf8(text(scope.name))) if scope.name else b""
    version = counted(b"\x12", utf8(text(scope.version))) if scope.version else b""
    attributes = [counted(b"\x1a", key_value(*item)) for item in (scope.attributes or {}).items()]
    return b"".join([name, version, *attributes])
