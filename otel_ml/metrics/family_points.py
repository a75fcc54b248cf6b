"""What a scrape shows: the sum over the family, whichever of its processes answers."""

from __future__ import annotations

import json
import os
import threading
import weakref
from collections.abc import Mapping
from dataclasses import replace
from time import time_ns
from typing import Any

from opentelemetry.sdk.metrics.export import AggregationTemporality, Histogram, Metric, MetricsData, Sum
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_ml.metrics.family import Family
from otel_ml.metrics.histogram_cells import Snapshot
from otel_ml.metrics.points import Instruments, histogram_point, new_exemplars, number_point, with_metrics
from otel_ml.metrics.publishing import Publisher
from otel_ml.metrics.totals import HISTOGRAM, LEVEL, Total, description_of, totals

_OF_ONE_PROCESS = ("service.instance.id", "process.")


class FamilyPoints:
    """Puts the family's numbers in the place of this process's own.

    Gauges cannot be summed: those of the process that answers are shown.

    Args:
        instruments: Returns the instruments that keep cells.
        family: The processes that count together.
    """

    def __init__(self, instruments: Instruments, family: Family) -> None:
        self._instruments = instruments
        self._family = family
        self._publisher = Publisher(family)
        self._publishing = threading.RLock()
        if hasattr(os, "register_at_fork"):
            weak_begin = weakref.WeakMethod(self.begin_in_child)
            os.register_at_fork(after_in_child=lambda: (begin := weak_begin()) and begin())

    def begin_in_child(self) -> None:
        """Count from zero in a forked child."""
        self._publishing = threading.RLock()
        self._publisher.begin_in_child()

    def publish(self, data: MetricsData) -> set[tuple[InstrumentationScope, str]]:
        """Let the other processes see what the SDK's instruments counted; return which of them can be summed."""
        with self._publishing:
            return self._publisher.publish(data)

    def add_to(self, data: MetricsData) -> MetricsData:
        """Return what the SDK collected in this process, with the sums over the family where there are any."""
        if not data.resource_metrics:
            return data
        summed = self.publish(data)
        found = totals(self._family.records())
        self._add_private(found)
        first, *rest = data.resource_metrics
        scopes = [
            replace(scope, metrics=[m for m in scope.metrics if (scope.scope, m.name) not in summed])
            for scope in first.scope_metrics
        ]
        resource = first.resource if self._family.is_alone else _common(first.resource)
        own = MetricsData(resource_metrics=[replace(first, resource=resource, scope_metrics=scopes), *rest])
        return with_metrics(own, _metrics(found))

    def _add_private(self, found: dict[bytes, Total]) -> None:
        """Add cells for which there was no room where others can see them."""
        for instrument in self._instruments():
            for cell in instrument.cells():
                if not cell.is_private:
                    continue
                snapshot = cell.snapshot()
                if isinstance(snapshot, Snapshot):
                    if snapshot.number:
                        total = found.setdefault(
                            instrument.key(cell.attributes), Total([0] * len(snapshot.bucket_counts))
                        )
                        total.add(snapshot.bucket_counts, snapshot.sum, snapshot.exemplars)
                elif snapshot.whole is not None:
                    total = found.setdefault(instrument.key(cell.attributes), Total([0]))
                    total.add([snapshot.whole], snapshot.other)


def _metrics(found: Mapping[bytes, Total]) -> list[tuple[InstrumentationScope, Metric]]:
    """Return sums as metrics, the series of an instrument together."""
    now = time_ns()
    described = [(description_of(key), total) for key, total in sorted(found.items())]
    groups: dict[str, list[tuple[Mapping[str, Any], Total]]] = {}
    for about, total in described:
        name = json.dumps({key: value for key, value in about.items() if key != "attributes"}, sort_keys=True)
        groups.setdefault(name, []).append((about, total))
    return [_metric(group, now) for group in groups.values()]


def _metric(group: list[tuple[Mapping[str, Any], Total]], now: int) -> tuple[InstrumentationScope, Metric]:
    about = group[0][0]
    kind = about["kind"]
    data: Any
    if kind == HISTOGRAM:
        points = [_histogram_point(each, total, now) for each, total in group]
        data = Histogram(points, AggregationTemporality.CUMULATIVE)
    else:
        numbers = [number_point(each["attributes"], total.counts[0], total.sum, 0, now) for each, total in group]
        data = Sum(numbers, AggregationTemporality.CUMULATIVE, is_monotonic=kind != LEVEL)
    name, version, schema_url = about["scope"]
    scope = InstrumentationScope(name, version, schema_url)
    return scope, Metric(about["name"], about["description"], about["unit"], data)


def _histogram_point(about: Mapping[str, Any], total: Total, now: int) -> Any:
    counts = tuple(total.counts)
    exemplars = tuple(total.exemplars) or (None,) * len(counts)
    snapshot = Snapshot(0, counts, total.sum, None, None, exemplars)
    return histogram_point(about["attributes"], about["bounds"], snapshot, new_exemplars(exemplars), now)


def _common(resource: Resource) -> Resource:
    """Return what is true of the whole family, so that `target_info` does not change with who answers."""
    kept = {name: value for name, value in resource.attributes.items() if not name.startswith(_OF_ONE_PROCESS)}
    return Resource(kept, resource.schema_url)
