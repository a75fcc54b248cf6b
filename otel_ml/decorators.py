"""`step` and `inference`: what can be known at decoration is computed here, once."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar, overload

from otel_ml import conventions
from otel_ml.errors import ConfigurationError
from otel_ml.instruments import instruments
from otel_ml.loggers import own_logger
from otel_ml.operations import Spec
from otel_ml.predictions import PredictionSpec, feature_getter
from otel_ml.step_files import FileSpec
from otel_ml.steps import Step

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
Version = str | Callable[[Any], object]

_step_logger = own_logger("step")
_inference_logger = own_logger("inference")


@overload
def step(name: classmethod[T, P, R], /) -> classmethod[T, P, R]: ...
@overload
def step(name: staticmethod[P, R], /) -> staticmethod[P, R]: ...
@overload
def step(name: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def step(
    name: str | None = None,
    *,
    attributes: Mapping[str, Any] | None = None,
    inputs: Sequence[str | os.PathLike[str]] = (),
    outputs: Sequence[str | os.PathLike[str]] = (),
) -> Step: ...
def step(
    name: Any = None,
    *,
    attributes: Mapping[str, Any] | None = None,
    inputs: Sequence[str | os.PathLike[str]] = (),
    outputs: Sequence[str | os.PathLike[str]] = (),
) -> Any:
    """Watch a pipeline step: a span, its duration as a histogram, and an ERROR log when it raises.

    Use it bare (`@step`), called (`@step("load")`), inline (`step(f)(x)`), or as a context manager, sync or async
    (`with step("train") as span:`). It takes functions, coroutine functions, generators, async generators, methods,
    classmethods, staticmethods and callable objects, and leaves result, exception, laziness and signature as they are.

    Args:
        name: Name of the step; default: the function's qualified name without its enclosing functions.
        attributes: Put on every span of the step.
        inputs: Paths that the step reads: on the span, and described there and in an INFO record each, with size,
            SHA-256, and for tables rows, columns and schema.
        outputs: Paths that the step writes: the same when it has returned, and saved beside each as `<path>.meta.json`.
            Files are read where the step is called, an async one too, but not when nothing is set up to record it.

    Returns:
        The wrapped function when used bare or inline, else an object that is a decorator and a context manager.

    Raises:
        ConfigurationError: An argument is of the wrong type.
    """
    if name is not None and not isinstance(name, str):
        return step()(_decorable("step", name))
    _check_attributes("step", attributes)
    files = {
        key: _paths(key, paths)
        for key, paths in ((conventions.STEP_INPUTS, inputs), (conventions.STEP_OUTPUTS, outputs))
        if paths
    }

    def spec_for(function: Callable[..., Any] | None) -> Spec:
        return step_spec(name or _title(function, "step"), function, attributes or {}, files)

    return Step(spec_for)


def step_spec(
    title: str, function: Callable[..., Any] | None, attributes: Mapping[str, Any], files: Mapping[str, list[str]]
) -> Spec:
    """Return what begins each call of a step.

    Args:
        title: Name of the step.
        function: What is decorated; None for a block.
        attributes: Of every span.
        files: What it reads and writes, by the name of the attribute that has the paths.
    """
    every = {conventions.STEP_NAME: title, **_code_attributes(function), **attributes, **files}
    of_metric, code = {conventions.STEP_NAME: title}, _code(function)
    if not files:
        return Spec(title, _step_logger, _step_histogram, every, of_metric, code)
    inputs, outputs = (files.get(key, []) for key in (conventions.STEP_INPUTS, conventions.STEP_OUTPUTS))
    return FileSpec(title, _step_logger, _step_histogram, every, of_metric, code, inputs, outputs)


@overload
def inference(model: classmethod[T, P, R], /) -> classmethod[T, P, R]: ...
@overload
def inference(model: staticmethod[P, R], /) -> staticmethod[P, R]: ...
@overload
def inference(model: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def inference(
    model: str | None = None,
    *,
    version: Version | None = None,
    feature_version: Version | None = None,
    features: str | Callable[..., object] | None = None,
    prediction: Callable[[Any], object] | None = None,
    attributes: Mapping[str, Any] | None = None,
    audit: bool = True,
    subject: str | Callable[..., object] | None = None,
) -> Step: ...
def inference(
    model: Any = None,
    *,
    version: Version | None = None,
    feature_version: Version | None = None,
    features: str | Callable[..., object] | None = None,
    prediction: Callable[[Any], object] | None = None,
    attributes: Mapping[str, Any] | None = None,
    audit: bool = True,
    subject: str | Callable[..., object] | None = None,
) -> Any:
    """Watch an inference call: a span with rows and columns, its duration, and an ERROR log with features on failure.

    The features of that log are masked and bounded. It is used in the same ways as `step`.

    Args:
        model: Name of the model; default: the function's name.
        version: Its version, or a function of the call's first argument (`lambda self: self.version`).
        feature_version: Version of the feature definitions, given in the same two ways.
        features: Name of the parameter that holds the features, or a function of the call's arguments that returns
            them; default: the first parameter that is not `self` or `cls`.
        prediction: Function of the result that returns the prediction; default: the result.
        attributes: Put on every span of the call.
        audit: Whether the call belongs into the audit trail, if `configure` has set one up.
        subject: Name of the parameter that says whom the call is about, or a function of the call's arguments that
            returns it. The audit trail keeps a pseudonym of it.

    Returns:
        The wrapped function when used bare or inline, else an object that is a decorator and a context manager.

    Raises:
        ConfigurationError: An argument is of the wrong type, or `features` or `subject` names no parameter of the
            function.
    """
    if model is not None and not isinstance(model, str):
        return inference()(_decorable("inference", model))
    _check_attributes("inference", attributes)
    for option, value in (("version", version), ("feature_version", feature_version)):
        if value is not None and not isinstance(value, str) and not callable(value):
            raise ConfigurationError(f"inference({option}=)", value, "a string or a function of the first argument")
    if prediction is not None and not callable(prediction):
        raise ConfigurationError("inference(prediction=)", prediction, "a function of the result")

    def spec_for(function: Callable[..., Any] | None) -> PredictionSpec:
        title = model or _title(function, "model")
        base = Spec(
            span_name=f"predict {title}",
            logger=_inference_logger,
            histogram=_inference_histogram,
            attributes={conventions.MODEL_NAME: title, **_code_attributes(function), **(attributes or {})},
            metric_attributes={conventions.MODEL_NAME: title},
            code=_code(function),
        )
        return PredictionSpec(
            base, version, feature_version, feature_getter(function, features), prediction, audit,
            None if subject is None else feature_getter(function, subject, option="inference(subject=)"),
        )  # fmt: skip

    return Step(spec_for)


def _step_histogram() -> Any:
    return instruments.step_duration


def _inference_histogram() -> Any:
    return instruments.inference_duration


def _decorable(decorator: str, target: object) -> Any:
    if not callable(target) and not isinstance(target, (classmethod, staticmethod)):
        raise ConfigurationError(f"{decorator}(name)", target, "a name or a function")
    return target


def _check_attributes(decorator: str, attributes: object) -> None:
    if attributes is not None and not isinstance(attributes, Mapping):
        raise ConfigurationError(f"{decorator}(attributes=)", attributes, "a mapping of names to values")


def _paths(option: str, paths: object) -> list[str]:
    if isinstance(paths, (str, bytes)) or not isinstance(paths, Sequence):
        raise ConfigurationError(option, paths, "a list of paths")
    return [os.fspath(path) for path in paths]


def _named(function: Callable[..., Any]) -> Callable[..., Any]:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _title(function: Callable[..., Any] | None, default: str) -> str:
    if function is None:
        return default
    named = _named(function)
    qualified = getattr(named, "__qualname__", None) or type(named).__qualname__
    return str(qualified).rpartition("<locals>.")[2]


def _code_attributes(function: Callable[..., Any] | None) -> dict[str, str]:
    if function is None:
        return {}
    named = _named(function)
    qualified = getattr(named, "__qualname__", None) or type(named).__qualname__
    return {conventions.CODE_FUNCTION_NAME: f"{named.__module__}.{qualified}"}


def _code(function: Callable[..., Any] | None) -> tuple[str, int, str]:
    code = getattr(_named(function), "__code__", None) if function is not None else None
    return (code.co_filename, code.co_firstlineno, code.co_name) if code is not None else ("", 0, "")
