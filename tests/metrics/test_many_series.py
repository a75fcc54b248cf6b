"""A label with as many values as there are users: what it costs."""

from __future__ import annotations

import json
import textwrap

from receivers import unused_port
from support import run_python


def test_a_million_values_of_a_label_take_no_more_memory_than_the_bound_does() -> None:
    """Every value is counted, those above the bound in the overflow series, as `/metrics` shows."""
    done = run_python(
        textwrap.dedent(f"""
        port = {unused_port()}
        import json, urllib.request, otel_ml
        from pathlib import Path
        from opentelemetry import metrics
        from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse

        def resident():
            return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

        telemetry = otel_ml.configure(
            traces=False, logs=False, audit=False, metrics=otel_ml.Metrics(port=port, max_series=500)
        )
        meter = metrics.get_meter("test")
        counter, histogram = meter.create_counter("calls"), meter.create_histogram("took", "s")
        for number in range(10_000):
            counter.add(1, {{"user": str(number)}})
            histogram.record(0.5, {{"user": str(number)}})
        before = resident()
        for number in range(10_000, 1_000_000):
            counter.add(1, {{"user": str(number)}})
            histogram.record(0.5, {{"user": str(number)}})
        grown = resident() - before
        request = urllib.request.Request(
            f"http://127.0.0.1:{{port}}/metrics", headers={{"Accept": "application/openmetrics-text"}}
        )
        page = urllib.request.urlopen(request).read().decode()
        samples = [sample for family in parse(page) for sample in family.samples]
        calls = [s for s in samples if s.name == "calls_total"]
        counts = [s for s in samples if s.name == "took_seconds_count"]
        telemetry.shutdown()
        print(json.dumps([grown, len(calls), len(counts), sum(s.value for s in calls), sum(s.value for s in counts)]))
        """),
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    grown, calls, counts, called, counted = json.loads(done.stdout)
    assert (called, counted) == (1_000_000, 1_000_000)
    assert calls <= 501 and counts <= 501
    assert grown < 20 << 20
    print(f"{grown / 1e6:.1f} MB for the last 990 000 values")
