"""Whatever a program does with tracers, it sees the same with ours as with the SDK's."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from opentelemetry.sdk import trace as sdk
from tracing.programs import Program, programs
from tracing.worlds import LockedProvider, accelerated, first_difference, frozen_clock, observed

from otel_ml.tracing.provider import TracerProvider

EXAMPLES = int(os.environ.get("OTEL_ML_EXAMPLES", "510"))
"""Programs that are run; more of them by hand: `OTEL_ML_EXAMPLES=20000 pytest tests/tracing/test_equivalence.py`."""


@pytest.fixture(autouse=True, scope="module")
def clock() -> Iterator[None]:
    """Let time stand still: what both write down is the same then."""
    with frozen_clock():
        yield


@pytest.mark.parametrize("make_provider", [TracerProvider, LockedProvider, accelerated])
@settings(max_examples=EXAMPLES // 3, suppress_health_check=list(HealthCheck))
@given(program=programs)
def test_every_program_sees_what_it_sees_with_the_sdk(
    make_provider: Callable[..., sdk.TracerProvider], program: Program
) -> None:
    """Spans, exports, contexts, exceptions and log lines are the same, in the same order."""
    difference = first_difference(observed(sdk.TracerProvider, program), observed(make_provider, program))
    assert not difference, difference
