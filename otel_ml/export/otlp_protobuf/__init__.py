"""Spans and log records to OTLP protobuf, without a protobuf object in between.

The official encoder makes a message object for each value, and takes some 15 us for a span of three attributes. What a
program sends differs little from one span to the next: the same names, keys, texts, resource and scope. Here their
bytes are kept, and a span is a few of them joined. What comes out is equal, as messages, to what
opentelemetry-exporter-otlp-proto-common makes of the same objects; where that gives up on a value or on a whole batch,
this does what `otel_ml.export.otlp_json` does: as little is lost as possible, and it is counted.

Metrics are left to the official encoder: they are sent once a minute.
"""

from otel_ml.export.otlp_protobuf.envelope import Block, Places
from otel_ml.export.otlp_protobuf.key_values import KeyValues
from otel_ml.export.otlp_protobuf.logs import LogEncoder, id_bytes
from otel_ml.export.otlp_protobuf.spans import SpanEncoder

__all__ = ["Block", "KeyValues", "LogEncoder", "Places", "SpanEncoder", "id_bytes"]
