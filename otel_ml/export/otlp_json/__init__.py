"""SDK objects to OTLP-JSON lines, the format that the collector's `otlp_json_file` receiver reads.

One line is one `Export*ServiceRequest` in protobuf's JSON mapping with OTLP's own rules: ids in lower-case hex,
64-bit integers as strings, enums as numbers, NaN and the infinities as strings. Each line says what
opentelemetry-exporter-otlp-proto-common would put on the wire for the same objects.
"""
