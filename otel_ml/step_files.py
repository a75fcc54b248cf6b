"""A step's inputs and outputs: described on its span, in a log record each, and beside what it wrote."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import Span

from otel_ml import artifacts, conventions, health
from otel_ml.execution import current_run
from otel_ml.instruments import instruments
from otel_ml.loggers import own_logger
from otel_ml.operations import Operation, Spec

_logger = own_logger("artifact")
_LONGEST_JSON = 8192
_API = trace.ProxyTracerProvider.__module__

Described = list[tuple[str, dict[str, Any]]]


class FileSpec(Spec):
    """What is known of a step that reads or writes files.

    Args:
        span_name: Name of the step and of its span.
        logger: Logger of the failure record.
        histogram: Returns the duration histogram in use.
        attributes: On every span.
        metric_attributes: On every duration.
        code: File, line and name of the decorated function.
        inputs: Paths that are described before the step begins.
        outputs: Paths that are described when it has ended without a failure.
    """

    __slots__ = ("inputs", "outputs")

    def __init__(  # noqa: PLR0917  a spec with two more
        self,
        span_name: str,
        logger: logging.Logger,
        histogram: Callable[[], Any],
        attributes: Mapping[str, Any],
        metric_attributes: dict[str, Any],
        code: tuple[str, int, str],
        inputs: Sequence[str],
        outputs: Sequence[str],
    ) -> None:
        super().__init__(span_name, logger, histogram, attributes, metric_attributes, code)
        self.inputs = inputs
        self.outputs = outputs

    def __reduce__(self) -> tuple[Any, ...]:
        return FileSpec, (
            self.span_name, self.logger, self.histogram, dict(self.attributes), self.metric_attributes, self.code,
            self.inputs, self.outputs,
        )  # fmt: skip

    def start(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Operation:
        """Describe the inputs, then begin: the time that this takes is not the step's."""
        operation = FileStep.__new__(FileStep)
        operation._of = self
        operation._returned = False
        inputs = _described(self.inputs)
        operation.begin(self, self.attributes, self.series)
        _tell(operation.span, self.span_name, inputs, conventions.ARTIFACT_READ)
        return operation


class FileStep(Operation):
    """One call under way of a step that reads or writes files."""

    __slots__ = ("_of", "_returned")

    _of: FileSpec
    _returned: bool

    def stop(self, result: object) -> None:
        """End a call that returned; its outputs are described."""
        self._returned = True
        Operation.stop(self, result)

    def _end_span(self) -> None:  # the duration has been taken when this is called
        if self._returned:
            outputs = _described(self._of.outputs)
            _tell(self.span, self._of.span_name, outputs, conventions.ARTIFACT_WRITTEN)
            _save(self._of.span_name, outputs)
        Operation._end_span(self)


def _described(paths: Sequence[str]) -> Described:
    """Describe files, unless nobody would hear of it."""
    try:
        if not paths or not (_logger.isEnabledFor(logging.INFO) or _spans_are_recorded()):
            return []
        return [(path, artifacts.describe(path)) for path in paths]
    except Exception as error:
        health.internal_error("description of files", error)
        return []


def _spans_are_recorded() -> bool:
    """Whether a tracer provider is set; those of the API record nothing."""
    return any(type(of).__module__ != _API for of in (trace.get_tracer_provider(), instruments.tracer))


def _tell(span: Span, step: str, described: Described, event: str) -> None:
    """Put descriptions on the span, and log one record each."""
    if not described:
        return
    read = event == conventions.ARTIFACT_READ
    key = conventions.STEP_INPUTS_DESCRIBED if read else conventions.STEP_OUTPUTS_DESCRIBED
    try:
        span.set_attribute(key, _compact([description for _, description in described]))
        for _, description in described:
            there = "sha256" in description or "size" in description
            _logger.log(
                logging.INFO if there else logging.WARNING,
                "step %s %s %s: %s",
                step,
                "reads" if read else "wrote",
                description["path"],
                _in_words(description),
                extra={conventions.EVENT_NAME: event, conventions.ARTIFACT: description},
            )
    except Exception as error:  # an application's handler may raise
        health.internal_error("description of files", error)


def _save(step: str, described: Described) -> None:
    """Write metadata beside what is there.

    In a stage of DVC the run is left out: DVC hashes what is in a folder, and a folder that is another one after each
    run would never be up to date.
    """
    try:
        run = current_run()
        by: dict[str, str] = {"step": step}
        if run is not None and "DVC_STAGE" not in os.environ:
            by["run_id"] = run.id
        for path, description in described:
            if "size" in description:
                artifacts.save_metadata(path, {**description, **by})
    except Exception as error:
        health.internal_error("metadata of files", error)


def _in_words(description: Mapping[str, Any]) -> str:
    if description.get("missing"):
        return "missing"
    if "size" not in description:
        return str(description.get("error"))
    counts = [f"{description[key]:,} {key}" for key in ("files", "rows", "columns") if key in description]
    return ", ".join([f"{description['size']:,} bytes", *counts])


def _compact(descriptions: list[dict[str, Any]]) -> str:
    """Return JSON of bounded length: without schemas where they are too long, then without what is too much."""
    text = _json(descriptions)
    if len(text) > _LONGEST_JSON:
        descriptions = [{key: item[key] for key in item if key != "schema"} for item in descriptions]
        text = _json(descriptions)
    while len(text) > _LONGEST_JSON:
        descriptions = descriptions[: len(descriptions) // 2]
        text = _json(descriptions)
    return text


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
