"""The log pipeline: records of standard logging to JSON lines, a readable console and OTLP."""
