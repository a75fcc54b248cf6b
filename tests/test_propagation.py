from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import baggage, trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

from otel_ml import propagation
from support import run_python

SPAN_CONTEXTS = st.builds(
    SpanContext,
    trace_id=st.integers(1, 2**128 - 1),
    span_id=st.integers(1, 2**64 - 1),
    is_remote=st.just(True),
    trace_flags=st.sampled_from([TraceFlags(0), TraceFlags(1)]),
    trace_state=st.sampled_from([TraceState(), TraceState([("vendor", "a1"), ("other", "b2")])]),
)
BAGGAGE = st.dictionaries(
    st.from_regex(r"[a-z][a-z0-9._-]{0,20}", fullmatch=True),
    st.text(st.characters(min_codepoint=33, max_codepoint=0x24FF, exclude_categories=("Cs", "Z", "C")), max_size=20),
    max_size=5,
)


def context_of(span: SpanContext, entries: dict[str, str]) -> Context:
    context = trace.set_span_in_context(NonRecordingSpan(span), Context())
    for name, value in entries.items():
        context = baggage.set_baggage(name, value, context)
    return context


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Let a test set variables, and check afterwards that no export is left over."""
    yield monkeypatch
    assert propagation._exported == [] and propagation._original == {}


@given(SPAN_CONTEXTS, BAGGAGE)
def test_what_was_injected_is_extracted(span: SpanContext, entries: dict[str, str]) -> None:
    """Trace, state and baggage of any context come back from the environment that it was put into."""
    variables: dict[str, str] = {}
    propagation.inject_environment(variables, context_of(span, entries))
    found = propagation.extract_environment(variables)
    assert trace.get_current_span(found).get_span_context() == span
    assert dict(baggage.get_all(found)) == entries
    assert set(variables) <= {"TRACEPARENT", "TRACESTATE", "BAGGAGE"}


def test_what_another_context_left_is_removed() -> None:
    """A new trace does not go with an old trace state or old baggage; other variables stay."""
    span = SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=TraceFlags(1))
    variables = {"TRACESTATE": "old=1", "BAGGAGE": "old=1", "PATH": "/bin"}
    propagation.inject_environment(variables, context_of(span, {}))
    assert variables == {"PATH": "/bin", "TRACEPARENT": f"00-{0xABC:032x}-{0xDEF:016x}-01"}


def test_the_run_id_goes_along() -> None:
    """A context with the baggage of a run sets `OTEL_ML_RUN_ID`."""
    variables: dict[str, str] = {}
    propagation.inject_environment(variables, baggage.set_baggage("otel_ml.run.id", "r-1", Context()))
    assert variables == {"BAGGAGE": "otel_ml.run.id=r-1", "OTEL_ML_RUN_ID": "r-1"}


@pytest.mark.parametrize("value", ["", "nonsense", "00-0-0-00", "x" * 100_000])
def test_a_broken_environment_is_an_empty_context(value: str) -> None:
    """A variable that no propagator understands is no context, and no exception."""
    found = propagation.extract_environment({"TRACEPARENT": value, "TRACESTATE": value, "BAGGAGE": value})
    assert not trace.get_current_span(found).get_span_context().is_valid
    assert not baggage.get_all(found)


def test_extraction_adds_to_the_context_given() -> None:
    """Values of the given context stay."""
    found = propagation.extract_environment({"BAGGAGE": "a=1"}, Context({"key": "kept"}))
    assert found["key"] == "kept" and baggage.get_all(found) == {"a": "1"}


def test_by_default_the_process_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an argument `os.environ` is the carrier."""
    monkeypatch.setenv("BAGGAGE", "a=1")
    assert baggage.get_all(propagation.extract_environment()) == {"a": "1"}


NAMES = ("TRACEPARENT", "TRACESTATE", "BAGGAGE", "OTEL_ML_RUN_ID")


@pytest.mark.parametrize("before", [{}, {"TRACESTATE": "outer=1", "OTEL_ML_RUN_ID": "outer"}])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_exports_end_in_any_order(before: dict[str, str], order: tuple[int, ...], environ: pytest.MonkeyPatch) -> None:
    """Children see the newest export that has not ended; after the last one the environment is as it was."""
    for name, value in before.items():
        environ.setenv(name, value)
    original = dict(os.environ)
    exports = []
    for number in range(1, 4):
        span = SpanContext(number, number, is_remote=False, trace_flags=TraceFlags(1))
        exports.append(propagation.export_environment(context_of(span, {"otel_ml.run.id": f"run-{number}"})))
        assert os.environ["OTEL_ML_RUN_ID"] == f"run-{number}"
        assert propagation.inherited_environment() == original
    for position, index in enumerate(order):
        propagation.withdraw_environment(exports[index])
        left = sorted(set(range(3)) - set(order[: position + 1]))
        if left:
            assert {name: os.environ.get(name) for name in NAMES} == {**dict.fromkeys(NAMES), **exports[left[-1]]}
    assert dict(os.environ) == original


def test_the_configured_propagators_are_used() -> None:
    """`OTEL_PROPAGATORS=tracecontext` writes no baggage; the run id has a variable of its own."""
    done = run_python(
        """
        from opentelemetry import baggage
        from opentelemetry.context import Context
        from otel_ml import propagation
        variables = {"BAGGAGE": "inherited=1"}
        propagation.inject_environment(variables, baggage.set_baggage("otel_ml.run.id", "r-1", Context()))
        assert variables == {"BAGGAGE": "inherited=1", "OTEL_ML_RUN_ID": "r-1"}, variables
        """,
        env={"OTEL_PROPAGATORS": "tracecontext"},
    )
    assert done.returncode == 0, done.stderr


def test_any_propagators_fields_become_variables() -> None:
    """A field such as `x-b3-traceid` goes through `X_B3_TRACEID`, both ways."""
    done = run_python("""
        from opentelemetry import context, propagate
        from opentelemetry.propagators.textmap import TextMapPropagator, default_getter, default_setter
        from otel_ml import propagation

        class B3(TextMapPropagator):
            fields = {"x-b3-traceid"}
            def extract(self, carrier, context=None, getter=default_getter):
                values = getter.get(carrier, "x-b3-traceid")
                assert "X_B3_TRACEID" in getter.keys(carrier)
                return type(context)({**context, "trace": values[0]})
            def inject(self, carrier, context=None, setter=default_setter):
                setter.set(carrier, "x-b3-traceid", context["trace"])

        propagate.set_global_textmap(B3())
        variables = {}
        propagation.inject_environment(variables, context.Context({"trace": "80f1"}))
        assert variables == {"X_B3_TRACEID": "80f1"}, variables
        assert propagation.extract_environment(variables)["trace"] == "80f1"
    """)
    assert done.returncode == 0, done.stderr
