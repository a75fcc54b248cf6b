"""What `configure` starts: resource, folder of the run, and a pipeline a signal with its destinations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource

from otel_ml import health, processes, propagation, runs, threads
from otel_ml.errors import Error
from otel_ml.instruments import instruments
from otel_ml.loggers import own_logger
from otel_ml.manifest import Manifest
from otel_ml.redaction import Redactor
from otel_ml.redaction import current as current_redactor
from otel_ml.redaction import use as use_redactor
from otel_ml.settings import Settings, state_directories, state_directory, writable_directory
from otel_ml.telemetry import Pipeline, Telemetry

_logger = own_logger()


def start(settings: Settings) -> Telemetry:
    """Start every signal that is wanted, and carry the context everywhere.

    Args:
        settings: What `configure` decided on.

    Raises:
        ConfigurationError: An option cannot work.
    """
    instruments.enabled = True
    options = settings.redaction
    use_redactor(Redactor(options) if options is not None else Redactor.off())
    run_id = runs.process_run_id()
    directory, manifest = _local_directory(settings, run_id)
    resource = _resource(settings)
    pipelines: list[Pipeline] = []
    notes: list[str] = []
    on_close: list[Callable[[], None]] = []
    if settings.traces is not None:
        _guard("traces", lambda: pipelines.append(_traces(settings, resource, directory, manifest)))
    if settings.metrics is not None:
        _guard("metrics", lambda: pipelines.append(_metrics(settings, resource, directory)))
    if settings.audit is not None:
        _guard("audit", lambda: pipelines.append(_audit(settings, resource)))
    if settings.logs is not None:  # last: its pipeline also carries what the others have to say while they end
        _guard("logs", lambda: pipelines.append(_logs(settings, resource, directory)))
    instruments.bind()
    notes += [note for pipeline in pipelines if (note := getattr(pipeline, "note", ""))]
    on_close += _propagate_everywhere()
    if manifest is not None:
        on_close.append(lambda: manifest.finish("error" if runs.any_failed() else "ok"))
    for note in notes:
        _logger.info("otel_ml.configure: %s", note)
    return Telemetry(settings, directory, pipelines, notes, on_close)


def _guard(signal: str, start: Callable[[], None]) -> None:
    """Start one signal; an error that is not the caller's costs that signal only."""
    try:
        start()
    except Error:
        raise
    except Exception as error:
        health.internal_error(f"start of {signal}", error)


def _local_directory(settings: Settings, run_id: str) -> tuple[Path, Manifest | None]:
    """Return this process's folder, and its manifest when a signal is written there."""
    local = any("file" in names for names in settings.exporters.values())
    state = writable_directory(state_directories(settings.directory)) if local else None
    directory = (state or state_directory(settings.directory)) / runs.folder_name(run_id)
    if state is None:
        return directory, None
    directory.mkdir(mode=0o700, exist_ok=True)
    return directory, Manifest(directory, run_id, settings.service_name)


def _resource(settings: Settings) -> Resource:
    attributes: dict[str, Any] = {"service.instance.id": str(uuid4()), **settings.resource_attributes}
    attributes["service.name"] = settings.service_name
    if settings.service_version is not None:
        attributes["service.version"] = settings.service_version
    if settings.environment is not None:
        attributes["deployment.environment.name"] = settings.environment
    resource, redactor = Resource.create(attributes), current_redactor()
    return Resource(redactor.mapping(resource.attributes), resource.schema_url)


def _traces(settings: Settings, resource: Resource, directory: Path, manifest: Manifest | None) -> Pipeline:
    from otel_ml.export import destinations  # noqa: PLC0415  each signal loads what it needs, and may fail alone
    from otel_ml.spans import setup as trace_setup  # noqa: PLC0415

    assert settings.traces is not None  # noqa: S101  the caller checked; for the type checker
    on_run = (lambda run: manifest.add_run(run.id, run.name)) if manifest is not None else (lambda run: None)
    return trace_setup.start(
        settings.traces,
        resource=resource,
        exporters=destinations.span_exporters(settings, directory),
        on_run=on_run,
        foreign_export=settings.endpoint is not None or "file" in settings.exporters["traces"],
    )


def _metrics(settings: Settings, resource: Resource, directory: Path) -> Pipeline:
    from otel_ml.export import destinations  # noqa: PLC0415
    from otel_ml.metrics import setup as metric_setup  # noqa: PLC0415

    assert settings.metrics is not None  # noqa: S101
    return metric_setup.start(
        settings.metrics,
        resource=resource,
        exporter=destinations.metric_exporter(settings, directory),
        prometheus=settings.prometheus,
    )


def _logs(settings: Settings, resource: Resource, directory: Path) -> Pipeline:
    from otel_ml.export import destinations  # noqa: PLC0415
    from otel_ml.logs import setup as log_setup  # noqa: PLC0415

    assert settings.logs is not None  # noqa: S101
    return log_setup.start(
        settings.logs,
        service=settings.service_name,
        resource=resource,
        directory=settings.logs.directory or (directory if "file" in settings.exporters["logs"] else None),
        exporter=destinations.log_exporter(settings, directory),
        set_level=settings.level_given,
    )


def _audit(settings: Settings, resource: Resource) -> Pipeline:
    from otel_ml.audit.recording import Recording  # noqa: PLC0415  not every program has an audit trail

    assert settings.audit is not None  # noqa: S101
    wanted = state_directory(settings.directory)
    own = settings.audit.directory is not None
    state = wanted if own else writable_directory(state_directories(settings.directory))
    mask = "[redacted]" if settings.redaction is None else settings.redaction.mask
    return Recording(settings.audit, (state or wanted) / "audit", resource.attributes, mask)


def _propagate_everywhere() -> list[Callable[[], None]]:
    """Carry the context into threads and processes, and take the one that a parent process left in the environment."""
    undo = [threads.propagate(), processes.propagate()]
    if not trace.get_current_span().get_span_context().is_valid:
        context_api.attach(propagation.extract_environment(propagation.inherited_environment()))
    return undo
