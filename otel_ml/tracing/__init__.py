"""The tracer: a drop-in for the SDK's that keeps on the caller's way only what a span needs."""
