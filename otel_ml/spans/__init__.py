"""Ended spans on their way to an exporter, and what `configure` does with the tracer provider."""
