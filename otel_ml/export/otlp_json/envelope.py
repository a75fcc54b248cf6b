"""What is around the records of every signal: resources and scopes, the line itself, and the care for odd records."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

import orjson
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_ml.export.left_out import leave_out
from otel_ml.export.otlp_json.values import Json, attributes, text

K = TypeVar("K")
V = TypeVar("V")
Record = TypeVar("Record")


class Groups(Generic[K, V]):
    """Values by key, where keys are compared with `==`, once for each key object.

    A dict will not do: hashing a Resource serialises all its attributes, for every record again.

    Args:
        new: Makes the value for a key that was not seen before.
    """

    def __init__(self, new: Callable[[], V]) -> None:
        self._new = new
        self._by_id: dict[int, tuple[K, V]] = {}  # holds the key too, so that its id stays taken
        self.items: list[tuple[K, V]] = []

    def of(self, key: K) -> V:
        """Return the value of `key`."""
        seen = self._by_id.get(id(key))
        if seen is not None:
            return seen[1]
        group = next((item for item in self.items if item[0] == key), None)
        if group is None:
            group = (key, self._new())
            self.items.append(group)
        self._by_id[id(key)] = (key, group[1])
        return group[1]


Scopes = Groups[InstrumentationScope | None, list[Json]]


def scopes() -> Scopes:
    """Return an empty grouping of records by scope."""
    return Groups(list)


def attempt(signal: str, record: Record, encode: Callable[[Record], Json]) -> Json | None:
    """Encode one record; None, counted and said once, when that is not possible."""
    try:
        return encode(record)
    except Exception as error:  # whatever one record holds, the others have to arrive
        leave_out(signal, error)
        return None


def encode_each(signal: str, records: Iterable[Record], encode: Callable[[Record], Json]) -> list[Json]:
    """Encode records, less those that cannot be."""
    encoded = (attempt(signal, record, encode) for record in records)
    return [item for item in encoded if item is not None]


def resource(value: Resource) -> Json:
    """Encode what a Resource* message holds beside its scopes."""
    encoded: Json = {"resource": {"attributes": attributes(value.attributes)}}
    if value.schema_url:
        encoded["schemaUrl"] = text(value.schema_url)
    return encoded


def scope(value: InstrumentationScope | None) -> Json:
    """Encode what a Scope* message holds beside its records."""
    if value is None:
        return {"scope": {}}
    inner: Json = {"name": text(value.name)}
    if value.version:
        inner["version"] = text(value.version)
    if value.attributes:
        inner["attributes"] = attributes(value.attributes)
    encoded: Json = {"scope": inner}
    if value.schema_url:
        encoded["schemaUrl"] = text(value.schema_url)
    return encoded


def line(request: Json) -> bytes:
    """Serialise a request as one line with its end."""
    try:
        return orjson.dumps(request, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError:  # the only cause left: a string that is not Unicode
        return orjson.dumps(_with_escapes(request), option=orjson.OPT_APPEND_NEWLINE)


def _with_escapes(node: Any) -> Any:
    r"""Copy a JSON tree with each lone surrogate spelled out, so that `\udc80` can still be read."""
    if isinstance(node, dict):
        return {key: _with_escapes(item) for key, item in node.items()}
    if isinstance(node, list):
        return [_with_escapes(item) for item in node]
    if isinstance(node, str):
        return node.encode("utf-8", "backslashreplace").decode("utf-8")
    return node
