"""Prefect: its flows and tasks in our log pipeline, labelled inside, and in one trace with Prefect's own spans."""

from otel_ml.integrations.prefect.instrumentor import PrefectInstrumentor, instrument, uninstrument

__all__ = ["PrefectInstrumentor", "instrument", "uninstrument"]
