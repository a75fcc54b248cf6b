from otel_ml.primitives cimport blank
from otel_ml.tracing.starter cimport Starter
