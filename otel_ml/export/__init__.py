"""Where telemetry leaves the process: OTLP over HTTP or gRPC, or OTLP-JSON in local files."""
