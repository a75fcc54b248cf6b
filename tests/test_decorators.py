"""`step` and `inference` on everything that can be called."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import pickle
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import cloudpickle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import context, trace
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NoOpTracerProvider

import otel_ml
from otel_ml import capture
from otel_ml.instruments import instruments
from otel_ml.testing import CapturedTelemetry
from otel_ml.tracing.provider import TracerProvider


@otel_ml.step
def double(x: int) -> int:
    """Double it."""
    return 2 * x


class Model:
    version = "1.2.0"

    @otel_ml.step
    def method(self, x: int) -> int:
        return x + 1

    @otel_ml.step
    @classmethod
    def over_classmethod(cls, x: int) -> tuple[str, int]:
        return cls.__name__, x

    @classmethod
    @otel_ml.step
    def under_classmethod(cls, x: int) -> tuple[str, int]:
        return cls.__name__, x

    @otel_ml.step
    @staticmethod
    def over_staticmethod(x: int) -> int:
        return x

    @staticmethod
    @otel_ml.step("static")
    def under_staticmethod(x: int) -> int:
        return x

    @otel_ml.inference(model="callable", version=lambda self: self.version)
    def __call__(self, x: list[int]) -> list[int]:
        return x


def test_a_bare_decorator_makes_a_span_named_like_the_function(captured_telemetry: CapturedTelemetry) -> None:
    """The span has the function's name, its step name and its code location, and the call its result."""
    assert double(3) == 6
    span = captured_telemetry.span("double")
    span.has(attributes={"otel_ml.step.name": "double"}, status="UNSET")
    assert span.attributes["code.function.name"].endswith("test_decorators.double")
    assert captured_telemetry.duration_count("otel_ml.step.duration", otel_ml__step__name="double") == 1


def test_signature_name_and_documentation_are_untouched() -> None:
    """What tools read of a function is what it was before."""
    assert str(inspect.signature(double)) == "(x: 'int') -> 'int'"
    assert (double.__name__, double.__doc__, double.__module__) == ("double", "Double it.", __name__)


def test_methods_classmethods_and_staticmethods_keep_their_binding(captured_telemetry: CapturedTelemetry) -> None:
    """Whatever the order of decorators, the right first argument arrives."""
    model = Model()
    assert model.method(1) == 2
    assert model.over_classmethod(1) == Model.under_classmethod(1) == ("Model", 1)
    assert Model.over_staticmethod(1) == model.under_staticmethod(1) == 1
    assert [span.name for span in captured_telemetry.spans] == [
        "Model.method", "Model.over_classmethod", "Model.under_classmethod", "Model.over_staticmethod", "static",
    ]  # fmt: skip


def test_a_class_with_call_is_watched_and_its_version_read_from_the_instance(
    captured_telemetry: CapturedTelemetry,
) -> None:
    """`version=` as a function gets the instance of each call."""
    model = Model()
    model.version = "9"
    assert model([1, 2]) == [1, 2]
    captured_telemetry.span("predict callable").has(
        attributes={"otel_ml.model.version": "9", "otel_ml.input.rows": 2, "otel_ml.output.rows": 2}
    )


def test_inline_use_on_builtins_partials_and_callable_objects(captured_telemetry: CapturedTelemetry) -> None:
    """Anything callable can be wrapped where it is called."""

    class Adder:
        def __call__(self, x: int) -> int:
            return x + 1

    assert otel_ml.step(len)([1, 2]) == 2
    assert otel_ml.step(functools.partial(pow, 2))(3) == 8
    assert otel_ml.step(Adder())(1) == 2
    names = [span.name for span in captured_telemetry.spans]
    assert names[:2] == ["len", "pow"] and names[2].endswith("Adder")


def test_coroutines_stay_coroutine_functions(captured_telemetry: CapturedTelemetry) -> None:
    """An async step is awaited inside its span."""

    @otel_ml.step("load", attributes={"source": "s3"})
    async def load(x: int) -> int:
        await asyncio.sleep(0)
        with otel_ml.step("inner"):
            return x

    assert inspect.iscoroutinefunction(load)
    assert asyncio.run(load(4)) == 4
    outer = captured_telemetry.span("load").has(attributes={"source": "s3"})
    captured_telemetry.span("inner").has(parent=outer)


def test_a_generator_stays_lazy_and_its_span_is_current_only_inside_it(captured_telemetry: CapturedTelemetry) -> None:
    """Between two items the consumer is in its own context."""
    started = []

    @otel_ml.step
    def rows(n: int) -> Iterator[int]:
        started.append(True)
        for i in range(n):
            with otel_ml.step("row"):
                yield i

    assert inspect.isgeneratorfunction(rows)
    iterator = rows(2)
    assert not started
    with otel_ml.step("consumer"):
        for _ in iterator:
            with otel_ml.step("use"):
                continue
    spans = captured_telemetry.spans
    by_name = {span.name: span for span in spans}
    generator = next(span for span in spans if span.name.endswith("rows"))
    generator.has(attributes={"otel_ml.items": 2}, parent=by_name["consumer"])
    assert {span.parent_id for span in spans if span.name == "use"} == {by_name["consumer"].span_id}
    assert {span.parent_id for span in spans if span.name == "row"} == {generator.span_id}


def test_generators_receive_what_is_sent_and_thrown_and_return_their_value(
    captured_telemetry: CapturedTelemetry,
) -> None:
    """The generator protocol goes through unchanged."""

    @otel_ml.step("echo")
    def echo() -> Any:
        received = yield "ready"
        try:
            yield received
        except KeyError:
            received = yield "caught"
        return received

    generator = echo()
    assert next(generator) == "ready"
    assert generator.send(1) == 1
    assert generator.throw(KeyError()) == "caught"
    with pytest.raises(StopIteration) as stopped:
        generator.send("end")
    assert stopped.value.value == "end"
    captured_telemetry.span("echo").has(status="UNSET")


def test_a_consumer_that_stops_early_ends_the_span_as_abandoned(captured_telemetry: CapturedTelemetry) -> None:
    """Closing a generator is not an error."""

    @otel_ml.step("endless")
    def endless() -> Iterator[int]:
        while True:
            yield 1

    generator = endless()
    next(generator)
    generator.close()  # type: ignore[attr-defined]
    captured_telemetry.span("endless").has(attributes={"otel_ml.status": "abandoned"}, status="UNSET")
    assert captured_telemetry.logs == []


def test_async_generators_keep_their_context_and_end_when_closed_in_another_task(
    captured_telemetry: CapturedTelemetry,
) -> None:
    """Closing from a task that never saw the span neither raises nor logs."""

    @otel_ml.step("stream")
    async def stream() -> AsyncIterator[str]:
        while True:
            with otel_ml.step("chunk"):
                await asyncio.sleep(0)
            yield "x"

    async def main() -> None:
        iterator = stream()
        assert await anext(iterator) == "x"
        assert await asyncio.create_task(iterator.__anext__()) == "x"
        await asyncio.create_task(iterator.aclose())  # type: ignore[attr-defined]

    asyncio.run(main())
    span = captured_telemetry.span("stream").has(attributes={"otel_ml.status": "abandoned", "otel_ml.items": 2})
    assert [chunk.parent_id for chunk in captured_telemetry.spans if chunk.name == "chunk"] == [span.span_id] * 2
    assert captured_telemetry.logs == []


def test_async_generators_receive_what_is_sent_and_thrown(captured_telemetry: CapturedTelemetry) -> None:
    """`asend` and `athrow` reach the generator."""

    @otel_ml.step("echo")
    async def echo() -> Any:
        received = yield "ready"
        try:
            yield received
        except KeyError:
            yield "caught"

    async def main() -> list[Any]:
        generator = echo()
        out = [await anext(generator), await generator.asend(1), await generator.athrow(KeyError())]
        with pytest.raises(StopAsyncIteration):
            await anext(generator)
        return out

    assert asyncio.run(main()) == ["ready", 1, "caught"]
    captured_telemetry.span("echo").has(status="UNSET")


def test_a_cancelled_task_is_cancelled_not_failed(captured_telemetry: CapturedTelemetry) -> None:
    """Cancellation is a status of its own, without an ERROR log."""

    @otel_ml.step("wait")
    async def wait() -> None:
        await asyncio.sleep(60)

    async def main() -> None:
        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    captured_telemetry.span("wait").has(attributes={"otel_ml.status": "cancelled"}, status="UNSET")
    assert captured_telemetry.logs == []


def test_an_exception_is_recorded_once_and_reraised_untouched(captured_telemetry: CapturedTelemetry) -> None:
    """The innermost span has the event and the log; the outer one only status and type; the object is the same."""
    error = ValueError("no such column")

    @otel_ml.step("inner")
    def inner() -> None:
        raise error

    @otel_ml.step("outer")
    def outer() -> None:
        inner()

    with pytest.raises(ValueError, match="no such column") as raised:
        outer()
    assert raised.value is error
    assert error.args == ("no such column",) and error.__cause__ is None
    inner_span = captured_telemetry.span("inner").has(attributes={"error.type": "ValueError"}, status="ERROR")
    outer_span = captured_telemetry.span("outer").has(attributes={"error.type": "ValueError"}, status="ERROR")
    assert [name for name, _ in inner_span.events] == ["exception"] and outer_span.events == []
    assert "no such column" in inner_span.events[0][1]["exception.stacktrace"]
    record = captured_telemetry.log("inner failed: ValueError: no such column")
    assert (record.level, record.span_id) == ("ERROR", inner_span.span_id)
    assert captured_telemetry.duration_count("otel_ml.step.duration", error__type="ValueError") == 2


def test_a_failing_model_logs_its_masked_features(captured_telemetry: CapturedTelemetry) -> None:
    """What caused the failure is in the log, personal data is not."""

    @otel_ml.inference(model="fraud", version="1.2.0", feature_version="7")
    def predict(features: dict[str, Any]) -> float:
        return features["income"] / features["children"]  # type: ignore[no-any-return]

    with pytest.raises(ZeroDivisionError):
        predict({"income": 10.5, "children": 0, "email": "ada@example.org", "password": "hunter2"})
    record = captured_telemetry.log("predict fraud failed")
    features = record.attributes["otel_ml.features"]
    assert features["income"] == 10.5 and features["children"] == 0
    assert "ada@example.org" not in str(record) and "hunter2" not in str(record)
    assert record.attributes["otel_ml.model.version"] == "1.2.0"
    assert record.attributes["otel_ml.feature.version"] == "7"


@pytest.mark.parametrize(("code", "status"), [(None, "UNSET"), (0, "UNSET"), (3, "ERROR")])
def test_system_exit_is_a_failure_only_with_a_code(
    captured_telemetry: CapturedTelemetry, code: int | None, status: str
) -> None:
    """Leaving the program on purpose is not an error."""
    with pytest.raises(SystemExit), otel_ml.step("leave"):
        raise SystemExit(code)
    captured_telemetry.span("leave").has(status=status)


def test_one_context_manager_may_be_nested_and_shared_by_threads_and_tasks(
    captured_telemetry: CapturedTelemetry,
) -> None:
    """State belongs to the entry, not to the object."""
    shared = otel_ml.step("shared")
    barrier = threading.Barrier(4)

    def work() -> None:
        with shared as outer, shared as inner:
            barrier.wait()
            assert outer is not inner

    async def task() -> None:
        async with shared:
            await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(*(task() for _ in range(5)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asyncio.run(main())
    spans = captured_telemetry.spans
    assert len(spans) == 4 * 2 + 5
    assert sum(span.parent_id is not None for span in spans) == 4


def test_recursion_nests(captured_telemetry: CapturedTelemetry) -> None:
    """Each call of a recursive step is a child of the call around it."""

    @otel_ml.step("down")
    def down(n: int) -> int:
        return n if n == 0 else down(n - 1)

    assert down(3) == 0
    spans = captured_telemetry.spans
    assert [span.parent_id for span in spans[:-1]] == [span.span_id for span in spans[1:]]


def test_pickle_and_cloudpickle_send_decorated_functions() -> None:
    """A module's function pickles by name, and one of `__main__` by value, as joblib's workers need it."""
    assert pickle.loads(pickle.dumps(double))(2) == 4
    code = (
        "import cloudpickle, sys, otel_ml\n"
        "@otel_ml.inference(model='m', version='1')\n"
        "def predict(x): return [v + 1 for v in x]\n"
        "sys.stdout.buffer.write(cloudpickle.dumps(predict))\n"
    )
    sent = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout
    assert cloudpickle.loads(sent)([1]) == [2]


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda: otel_ml.step(3), r"step\(name\): expected a name or a function, received 3"),  # type: ignore[call-overload]
        (lambda: otel_ml.step("x", attributes=3), r"step\(attributes=\): expected a mapping"),  # type: ignore[call-overload]
        (lambda: otel_ml.step("x", inputs="a.csv"), r"expected a list of paths, received 'a.csv'"),
        (lambda: otel_ml.inference(model="m", version=1), r"inference\(version=\): expected a string or a function"),  # type: ignore[call-overload]
        (lambda: otel_ml.inference(model="m", prediction=1), r"inference\(prediction=\)"),  # type: ignore[call-overload]
        (lambda: otel_ml.inference(model="m", features="y")(double), r"expected one of the parameters x, received 'y'"),
        (lambda: otel_ml.inference(model="m", features=4)(double), r"expected a parameter's name or a function"),  # type: ignore[call-overload]
    ],
)
def test_wrong_arguments_say_what_would_be_right(use: Any, message: str) -> None:
    """A mistake is told where it is made, not at the first call."""
    with pytest.raises(otel_ml.ConfigurationError, match=message):
        use()


def test_features_by_name_and_by_function_and_predictions_by_function(captured_telemetry: CapturedTelemetry) -> None:
    """Rows are those of what the caller calls features and prediction."""

    @otel_ml.inference(model="named", features="x", prediction=lambda result: result["scores"])
    def named(request_id: str, *, x: list[int]) -> dict[str, Any]:
        return {"scores": [0.5] * len(x)}

    @otel_ml.inference(model="computed", features=lambda request: request["rows"])
    def computed(request: dict[str, Any]) -> int:
        return 1

    named("r1", x=[1, 2, 3])
    computed({"rows": [[1, 2]]})
    captured_telemetry.span("predict named").has(attributes={"otel_ml.input.rows": 3, "otel_ml.output.rows": 3})
    captured_telemetry.span("predict computed").has(attributes={"otel_ml.input.rows": 1})


def test_a_hook_of_the_caller_that_raises_does_not_reach_the_call(captured_telemetry: CapturedTelemetry) -> None:
    """Errors in `version=`, `features=` and `prediction=` are survived and said."""

    def broken(*args: Any) -> Any:
        raise RuntimeError("hook")

    @otel_ml.inference(model="m", version=broken, features=broken, prediction=broken)
    def predict(x: int) -> int:
        return x

    assert predict(5) == 5
    captured_telemetry.span("predict m").has(status="UNSET")


def test_disabled_telemetry_is_a_plain_call(captured_telemetry: CapturedTelemetry) -> None:
    """With `OTEL_SDK_DISABLED` nothing is recorded, for any kind of function."""

    @otel_ml.step
    def numbers() -> Iterator[int]:
        yield 1

    @otel_ml.step
    async def coroutine() -> int:
        return 2

    @otel_ml.step
    async def stream() -> AsyncIterator[int]:
        yield 3

    async def consume() -> list[int]:
        return [item async for item in stream()]

    instruments.enabled = False
    assert (double(1), list(numbers()), asyncio.run(coroutine()), asyncio.run(consume())) == (2, [1], 2, [3])
    assert [span.name for span in captured_telemetry.spans if "stream" not in span.name] == []


def test_a_class_is_refused_with_a_hint() -> None:
    """A class that became a function would break `isinstance`."""

    class Model:
        def __call__(self) -> int:
            return 1

    with pytest.raises(otel_ml.ConfigurationError, match="Decorate the methods of the class"):
        otel_ml.step(Model)
    with pytest.raises(
        otel_ml.ConfigurationError, match=r"step\(\.\.\.\)\(function\): expected a function, received 3"
    ):
        otel_ml.step("x")(3)  # type: ignore[call-overload]


def test_the_methods_of_a_cache_stay() -> None:
    """`functools.lru_cache` below a step can still be cleared."""

    @otel_ml.step
    @functools.lru_cache
    def cached(x: int) -> int:
        return x

    assert cached(1) == cached(1) == 1
    assert cached.cache_info().hits == 1  # type: ignore[attr-defined]


def test_leaving_a_block_more_often_than_it_was_entered_does_nothing(captured_telemetry: CapturedTelemetry) -> None:
    """A mistake in somebody's ExitStack does not become an exception of ours, nor end another thread's span."""
    shared = otel_ml.step("shared")
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with shared:
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    thread.start()
    inside.wait(10)
    shared.__exit__(None, None, None)
    assert captured_telemetry.spans == []
    leave.set()
    thread.join()
    captured_telemetry.span("shared").has(status="UNSET")


def test_a_block_shared_by_tasks_without_spans_to_tell_them_apart(caplog: pytest.LogCaptureFixture) -> None:
    """Without an SDK all spans are the same object; each task still leaves what it entered."""
    instruments.bind(NoOpTracerProvider())
    shared = otel_ml.step("shared")

    async def task(turns: int) -> None:
        async with shared:
            for _ in range(turns):
                await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(*(task(turns) for turns in (1, 2, 3)))

    try:
        asyncio.run(main())
    finally:
        instruments.bind()
    assert caplog.records == []


def test_a_block_that_leaves_something_attached_still_ends_its_own_span(captured_telemetry: CapturedTelemetry) -> None:
    """Found by its span where the context is another one, and by its order where both are."""
    shared = otel_ml.step("shared")
    with shared:
        context.attach(context.set_value("left", 1))
    with shared:
        context.attach(trace.set_span_in_context(trace.NonRecordingSpan(trace.SpanContext(1, 2, is_remote=False))))
    assert [span.name for span in captured_telemetry.spans] == ["shared", "shared"]


def test_entering_and_leaving_by_many_threads_loses_no_block(captured_telemetry: CapturedTelemetry) -> None:
    """One object, eight threads, nested twice."""
    shared = otel_ml.step("shared")

    def work() -> None:
        for _ in range(100):
            with shared, shared:
                pass

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert len(captured_telemetry.spans) == 8 * 100 * 2


def test_a_disabled_block_is_nothing(captured_telemetry: CapturedTelemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    """No span, no duration, and the span that it hands out takes everything."""
    monkeypatch.setattr(instruments, "enabled", False)
    with otel_ml.step("off") as span:
        span.set_attribute("a", 1)
    assert captured_telemetry.spans == []
    assert captured_telemetry.duration_count("otel_ml.step.duration") == 0


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.integers(0, 3),
            st.sampled_from([[], [1], [[1, 2]], [[1, 2], [3, 4]], [[1], [2]], {"a": 1}, {"a": 1, "b": 2}, 5, "x"]),
        ),
        max_size=12,
    )
)
def test_what_is_kept_between_calls_is_never_that_of_another(calls: list[tuple[int, int, Any]]) -> None:
    """Versions, rows and columns of each call are its own, in any order of calls."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instruments.bind(provider)

    @otel_ml.inference(model="m", version=lambda call: call[0], feature_version=lambda call: call[1], features="x")
    def predict(call: Any, x: Any) -> Any:
        return None

    expected = []
    try:
        for version, feature_version, features in calls:
            predict((version, feature_version), features)
            rows, columns = capture.rows_and_columns(features)
            shape = {"otel_ml.input.rows": rows, "otel_ml.input.columns": columns}
            versions = {"otel_ml.model.version": str(version), "otel_ml.feature.version": str(feature_version)}
            expected.append({**versions, **{key: value for key, value in shape.items() if value is not None}})
    finally:
        instruments.bind()
    found = [dict(span.attributes or {}) for span in exporter.get_finished_spans()]
    for attributes in found:
        del attributes["otel_ml.model.name"], attributes["code.function.name"]
    assert found == expected


def test_attributes_of_one_call_do_not_reach_the_next(captured_telemetry: CapturedTelemetry) -> None:
    """What the function puts on its span stays there, though calls share what they have in common."""

    @otel_ml.inference(model="m", version="1")
    def predict(x: list[int]) -> None:
        trace.get_current_span().set_attribute("otel_ml.input.rows", 99)
        trace.get_current_span().set_attribute("mine", x[0])

    predict([1])
    predict([2])
    first, second = (span.attributes for span in captured_telemetry.spans)
    assert (first.pop("mine"), second.pop("mine")) == (1, 2)
    assert first == second


def test_features_are_logged_though_their_version_cannot_be_had(captured_telemetry: CapturedTelemetry) -> None:
    """A hook that raises costs what it would have said, and nothing else."""

    def broken(*args: Any) -> Any:
        raise RuntimeError("hook")

    @otel_ml.inference(model="m", version=broken, feature_version="7")
    def predict(features: dict[str, int]) -> float:
        return 1 / features["children"]

    with pytest.raises(ZeroDivisionError):
        predict({"children": 0})
    record = captured_telemetry.log("predict m failed")
    assert record.attributes["otel_ml.features"] == {"children": 0}
    assert record.attributes["otel_ml.feature.version"] == "7"


def test_only_inferences_count_rows(captured_telemetry: CapturedTelemetry) -> None:
    """A step takes no series of the row counter, of which there is a limited number."""
    rows = instruments.inference_rows
    cells = getattr(rows, "cells", None)
    double(2)
    with pytest.raises(TypeError):
        double(None)  # type: ignore[arg-type]
    if cells is not None:
        assert not any("otel_ml.step.name" in cell.attributes for cell in cells())
    assert captured_telemetry.points("otel_ml.inference.rows") == []


def test_failures_of_different_types_are_counted_apart(captured_telemetry: CapturedTelemetry) -> None:
    """Each has its own series of the histogram; the calls that return have another."""

    @otel_ml.step("mixed")
    def mixed(error: Exception | None) -> None:
        if error is not None:
            raise error

    for error in (None, ValueError(), KeyError(), ValueError()):
        with contextlib.suppress(ValueError, KeyError):
            mixed(error)
    counts = [
        captured_telemetry.duration_count("otel_ml.step.duration", error__type=kind)
        for kind in ("ValueError", "KeyError")
    ]
    assert counts == [2, 1]
    assert captured_telemetry.duration_count("otel_ml.step.duration", otel_ml__step__name="mixed") == 4
