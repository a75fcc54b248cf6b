"""The `otel-ml` command; each command is a module of its own that is imported when it is used."""
