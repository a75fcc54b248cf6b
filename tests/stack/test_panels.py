"""Every query of every dashboard, and all that the rules read, has data once the example has been under load."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator

import pytest

from stack import tempo
from stack.panel_queries import Asker, Query, Sources, panel_queries, rule_selectors, variable_queries

pytestmark = pytest.mark.xdist_group("stack")

WAIT = 120  # seconds, for all tests here together: rules are evaluated, and applications export, every minute
LOOK_BACK = 1800
MODELS = 3  # at most, after the load

# Selectors of rules that a healthy stack, an hour old at most, has no series for.
ABSENT = {
    r"otel_ml:inference_steady:rate1h": "needs a full hour of traffic",
    r"otel_ml:audit_(written|unshipped):increase1h": "needs an hour of records",
    r"otelcol_exporter_(send|enqueue)_failed_.*": "exists after the first failure",
    r"loki_discarded_samples_total.*": "exists after the first discarded line",
    r"tempo_.*": "comes from Tempo, after its first discarded span",
}


@pytest.fixture(scope="module")
def deadline() -> float:
    return time.monotonic() + WAIT


@pytest.fixture
def asker(loaded_stack, deadline) -> Callable[[bool], Iterator[Asker]]:
    """Returns askers, one after another, until there is no more time to wait."""

    def until_deadline(every: bool) -> Iterator[Asker]:
        tempo_url = loaded_stack.tempo.url if tempo.is_real() else None
        sources = Sources(loaded_stack.prometheus.url, loaded_stack.loki.url, tempo_url)
        while True:
            for turn in range(MODELS):
                yield Asker(sources, time.time() - LOOK_BACK, time.time(), every, turn)
            if time.monotonic() > deadline:
                return
            time.sleep(2)

    return until_deadline


@pytest.mark.parametrize("every", [True, False], ids=["all", "each"])
@pytest.mark.parametrize("query", [*variable_queries(), *panel_queries()], ids=str)
def test_query_has_data(query: Query, every: bool, asker) -> None:
    """A panel shows something, and a choice has values, with "All" chosen and with every single value chosen."""
    if query.needs_tempo and not tempo.is_real():
        pytest.skip(tempo.WHY_SKIPPED)
    assert any(one.has_data(query) for one in asker(every)), query.expression


@pytest.mark.parametrize("query", [query for query in panel_queries() if query.exemplar], ids=str)
def test_exemplars_lead_to_traces(query: Query, asker) -> None:
    """A dot in a graph of durations opens a trace."""
    assert any("trace_id" in labels for one in asker(True) for labels in one.exemplars(query)), query.expression


@pytest.mark.parametrize(("rule", "selector"), list(rule_selectors()))
def test_rules_read_data(rule: str, selector: str, asker) -> None:
    """No rule waits for a series that nothing sends: the alert would never fire."""
    reasons = [reason for pattern, reason in ABSENT.items() if re.fullmatch(pattern, selector)]
    if reasons:
        pytest.skip(f"{selector} {reasons[0]}")
    assert any(one.selected(selector) for one in asker(True)), f"{rule} reads {selector}, which has no data"
