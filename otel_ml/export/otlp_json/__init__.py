"""SDK objects to OTLP-JSON lines, the format that the collector's `otlp_json_file` receiver reads.

One line is one `Export*ServiceRequest` in protobuf's JSON mapping with OTLP's own rules: ids in lower-case hex,
64-bit integers as strings, enums as numbers, NaN and the infinities as strings. Each line says what
opentelemetry-exporter-otlp-proto-common would put on the wire for the same objects.
"""

from otel_ml.export.otlp_json.logs import encode_logs
from otel_ml.export.otlp_json.metrics import encode_metrics
from otel_ml.export.otlp_json.traces import encode_spans

__all__ = ["encode_logs", "encode_metrics", "encode_spans"]
