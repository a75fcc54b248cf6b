"""Spans on their way from the caller to the exporter."""
