"""The log pipeline: records of standard logging to JSON lines, a readable console and OTLP."""

from otel_ml.logs.setup import LogPipeline, start

__all__ = ["LogPipeline", "start"]
