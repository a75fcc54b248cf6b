"""What a call costs: otel_ml beside the stock SDK and other instrumentations, measured in one interleaved run."""
