"""What `otel-ml show` prints of a run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_ml import conventions
from otel_ml.cli import gather, render, tree
from otel_ml.cli.histogram import Histogram, Histograms
from otel_ml.cli.otlp_files import Exemplar, HistogramPoint, Span
from otel_ml.cli.recordings import find

START = 1_795_365_588_000_000_000
INFERENCE = {"otel_ml__model__name": "iris", "otel_ml__model__version": "1.2"}


def span_of(number: int, *, parent: int = 0, end: int = 10, name: str = "s", failed: bool = False) -> Span:
    """Return a span without a recording."""
    return Span("t", str(number), str(parent) if parent else "", name, 0, end, failed, "", {}, ())


def test_the_tree_shows_names_times_shares_and_attributes(record, state: Path, cli) -> None:
    """Each span has its line below its parent, with its duration, its place in the whole and its own attributes."""
    run = record(name="train", status="ok")
    root = run.span("run train", 0, 4)
    run.span("load", 0, 1, parent=root, source="s3", otel_ml__step__name="load")
    result = cli("show", "--dir", state)
    assert result.exit_code == 0
    trace_id = format(root.get_span_context().trace_id, "032x")
    span_id = format(root.get_span_context().span_id, "016x")
    assert re.search(rf"^Trace  {trace_id}$", result.stdout, re.MULTILINE)
    assert re.search(rf"^run train {span_id[:8]} +4\.00 s ━{{16}}", result.stdout, re.MULTILINE)
    assert re.search(r"^└── load [0-9a-f]{8} +1\.00 s ━{4}·{12}  source=s3$", result.stdout, re.MULTILINE)


def test_a_failed_span_says_which_exception(record, state: Path, cli) -> None:
    """Failure is in the tree, in the summary of failures, and in the table of times."""
    run = record(name="train", status="error")
    run.span("load", 0, 1, error=ValueError("no such table"))
    out = cli("show", "--dir", state).stdout
    assert re.search(r"load [0-9a-f]{8} .*ValueError", out)
    assert "Failures: 1\n  ValueError: no such table\n    in load" in out
    assert re.search(r"load +1 +1 +1\.00 s", out)


def test_failed_spans_are_red_on_a_terminal(record, state: Path, cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Colours say the same as the words, and NO_COLOR turns them off."""
    record(name="train", status="error").span("load", 0, 1, error=ValueError("x"))
    assert "\x1b" not in cli("show", "--dir", state).stdout
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[1;31mload" in cli("show", "--dir", state).stdout


def test_log_lines_carry_time_level_and_span(record, state: Path, cli) -> None:
    """A log line names the span that it was written in, by its short id and its name; in the order of time."""
    run = record(name="train", status="ok")
    span = run.span("load", 0, 1)
    run.log(0.75, "second", level="WARNING", span=span)
    run.log(0.25, "first")
    out = cli("show", "--dir", state).stdout
    short = format(span.get_span_context().span_id, "016x")[:8]
    first, second = (line for line in out.splitlines() if line.startswith("16:39:48."))
    assert first.split() == ["16:39:48.250", "INFO", "first"]
    assert second.split() == ["16:39:48.750", "WARNING", short, "load", "second"]
    assert "first" not in cli("show", "--dir", state, "--no-logs").stdout


def test_the_limit_keeps_the_lines_that_matter(record, state: Path, cli) -> None:
    """Of many log lines the warnings and then the newest are kept, and the user is told how many are not shown."""
    run = record(name="train", status="ok")
    run.log(0, "early warning", level="WARNING")
    for number in range(1, 10):
        run.log(number, f"line-{number}")
    out = cli("show", "--dir", state, "--limit", 3).stdout
    assert re.findall(r"early|line-\d", out) == ["early", "line-8", "line-9"]
    assert "7 further lines are not shown" in out
    assert cli("show", "--limit", 0).exit_code == 2


def test_a_failing_model_shows_its_masked_features(record, state: Path, cli) -> None:
    """The failure's log record says what the model was given; what is no number comes first."""
    run = record(name="serve", status="ok")
    span = run.span("predict iris", 0, 1, error=ValueError("could not convert"))
    trace_text = 'Traceback\n  File "app.py", line 3, in predict\n    float("x")\nValueError: could not convert\n'
    features = {f"f{number}": number for number in range(9)} | {"email": "[redacted]", "width": "x"}
    run.log(
        1, "predict iris failed", level="ERROR", span=span,
        attributes={
            conventions.EXCEPTION_TYPE: "ValueError", conventions.EXCEPTION_MESSAGE: "could not convert",
            conventions.EXCEPTION_STACKTRACE: trace_text, conventions.FEATURES: [features],
            conventions.MODEL_VERSION: "1.2",
        },
    )  # fmt: skip
    out = cli("show", "--dir", state).stdout
    assert "Failures: 1\n" in out, "the span's event and the log record are one failure"
    assert "    in predict iris v1.2\n    at app.py:3 in predict\n" in out
    assert "features (masked): email='[redacted]', width='x', f0=0, f1=1, f2=2, f3=3, and 5 more" in out


def test_failures_alike_are_counted_and_kinds_bounded(record, state: Path, cli) -> None:
    """Three times the same is one entry; after five kinds the rest is a number."""
    run = record(name="serve", status="ok")
    for number in range(9):
        run.span("load", number, number + 0.5, error=ValueError(f"kind {max(0, number - 2)}"))
    out = cli("show", "--dir", state).stdout
    assert "Failures: 9  2 other kinds are not shown" in out
    assert "ValueError: kind 0  (3 times)" in out


def test_the_table_ranks_by_own_time(record, state: Path, cli) -> None:
    """A step that only waits for its children is no bottleneck."""
    run = record(name="train", status="ok")
    root = run.span("outer", 0, 10)
    for number in range(3):
        run.span("inner", 3 * number, 3 * number + 3, parent=root)
    rows = [line.split() for line in cli("show", "--dir", state).stdout.splitlines() if "%" in line]
    assert [row[:6] for row in rows] == [
        ["inner", "3", "3.00", "s", "9.00", "s"],
        ["outer", "1", "10.0", "s", "1.00", "s"],
    ]


def test_own_time_counts_children_of_other_processes(record, state: Path) -> None:
    """A child whose file is read after its parent's still takes its time off the parent."""
    run = record(name="train", status="ok")
    root = run.span("outer", 0, 10)
    run.rename(1)
    run.span("worker", 1, 9, parent=root)
    found = gather.gather(find(None, state), lines_kept=0)
    assert found.processes == 2
    assert found.names["outer"].own == pytest.approx(2.0)


def test_own_time_is_right_for_spans_that_are_not_kept(record, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Statistics do not depend on how many spans fit into memory."""
    monkeypatch.setattr(gather, "SPANS_KEPT", 2)
    run = record(name="serve", status="ok")
    tracer = run._tracers.get_tracer("tests")
    for number in range(10):  # children end, and are written, before their parents
        parent = tracer.start_span("predict", start_time=START + number * 10**9)
        run.span("look up", number, number + 0.25, parent=parent)
        parent.end(START + number * 10**9 + 10**9)
    found = gather.gather(find(None, state), lines_kept=0)
    assert found.spans.left_out == 18
    assert found.names["predict"].own == pytest.approx(7.5)
    assert found.names["look up"].own == pytest.approx(2.5)


def test_latency_is_shown_as_histogram_with_percentiles_and_exemplars(record, state: Path, cli) -> None:
    """Bars, estimated percentiles, failures, and the spans of the slowest bucket come from the metric file."""
    run = record(name="serve", status="ok")
    slow = run.span("predict iris", 0, 0.2)
    for _ in range(19):
        run.duration(conventions.INFERENCE_DURATION, 0.002, **INFERENCE)
    run.duration(conventions.INFERENCE_DURATION, 0.2, span=slow, error__type="ValueError", **INFERENCE)
    run.write_metrics()
    run.write_metrics()  # the later state of a cumulative series stands for all before
    out = cli("show", "--dir", state).stdout
    assert "Latency of predict iris 1.2  20 calls, 1 failed" in out
    assert re.search(r"^ +1 ms - 2\.5 ms +█{44} +19 +95%$", out, re.MULTILINE)
    assert re.search(r"^ +2\.5 ms - 5 ms +0 +0%$", out, re.MULTILINE)
    context = slow.get_span_context()
    assert f"slow: 200 ms in trace {context.trace_id:032x} span {context.span_id:016x}" in out
    assert "max 200 ms" in out


def test_durations_of_several_processes_are_added(record, state: Path) -> None:
    """Workers that serve the same model are one histogram."""
    run = record()
    run.duration(conventions.INFERENCE_DURATION, 0.002, **INFERENCE)
    for pid in (1, 2, 3):
        run.write_metrics()
        run.rename(pid)
    [histogram] = gather.gather(find(None, state), lines_kept=0).histograms.merged()
    assert (histogram.title, histogram.count) == ("iris 1.2", 3)


def test_deltas_are_summed_and_other_metrics_left_alone() -> None:
    """With delta temporality each point counts; a metric that is no duration of ours does not."""
    found = Histograms()
    for time in (1, 2):
        found.add("f", HistogramPoint(conventions.STEP_DURATION, {}, 0, time, True, (1.0,), (2, 1), 3.0, 0.1, 2.0, ()))
    found.add("f", HistogramPoint("http.server.duration", {}, 0, 1, False, (1.0,), (2, 1), 3.0, 0.1, 2.0, ()))
    [histogram] = found.merged()
    assert histogram.counts == [4, 2]


def test_a_restarted_process_adds_to_what_it_counted_before() -> None:
    """Two series of one file with different start times are both part of the whole."""
    found = Histograms()
    for start, counts in ((0, (5, 0)), (100, (1, 1))):
        state = (False, (1.0,), counts, 0.0, None, None, ())
        found.add("metrics-1.jsonl", HistogramPoint(conventions.STEP_DURATION, {}, start, start + 50, *state))
    assert found.merged()[0].counts == [6, 1]


@given(st.lists(st.floats(0.00001, 20), min_size=1, max_size=60), st.floats(0, 1))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(values: list[float], share: float) -> None:
    """The estimate is off by less than a bucket and never outside what was seen."""
    bounds = conventions.INFERENCE_BUCKETS

    def bucket(value: float) -> int:
        return next((index for index, bound in enumerate(bounds) if value <= bound), len(bounds))

    counts = [sum(bucket(value) == index for value in values) for index in range(len(bounds) + 1)]
    histogram = Histogram("m", "t", bounds, counts, min=min(values), max=max(values))
    estimate = histogram.quantile(share)
    rank = max(1, -(-round(share * len(values) * 1e9) // 1_000_000_000))
    true = sorted(values)[min(rank, len(values)) - 1]
    assert min(values) <= estimate <= max(values)
    edges = (0.0, *bounds, float("inf"))
    assert edges[bucket(true)] <= estimate <= edges[bucket(true) + 1]


def test_exemplars_are_those_of_the_slowest_bucket_in_use() -> None:
    """What is slow is shown first, and once."""
    fast, slow, slower = Exemplar(0.1, "a", "1"), Exemplar(1.5, "b", "2"), Exemplar(1.9, "c", "3")
    histogram = Histogram("m", "t", (1.0, 2.0), [5, 3, 0], exemplars=[fast, slow, slower, slow])
    assert histogram.slowest() == [slower, slow]


def test_an_orphan_is_shown_with_a_remark(record, state: Path, cli) -> None:
    """A span whose parent never arrived stands at the root and says so."""
    run = record(name="train", status="interrupted")
    parent = run.span("lost", 0, 4)
    run.file("traces").unlink()
    run.span("kept", 1, 2, parent=parent)
    out = cli("show", "--dir", state, "--no-logs").stdout
    assert "lost" not in out
    assert re.search(r"^kept .*parent [0-9a-f]{8} never arrived", out, re.MULTILINE)


def test_spans_that_are_their_own_ancestors_are_still_shown() -> None:
    """Damaged ids that form a circle cost the nesting, not the spans."""
    spans = [span_of(1, parent=2), span_of(2, parent=1), span_of(3, parent=3), span_of(4, parent=2)]
    roots = tree.build(spans)
    assert sorted(node.span.span_id for node in tree.walk(roots)) == ["1", "2", "3", "4"]
    assert all(node.orphan for node in roots)


def test_a_deep_recursion_is_drawn_without_one(record, state: Path, cli) -> None:
    """A thousand spans inside each other are no stack overflow, and the lines stay readable."""
    run = record(name="deep", status="ok")
    span = None
    for depth in range(1000):
        span = run.span(f"level-{depth}", depth, 2000 - depth, parent=span)
    result = cli("show", "--dir", state, "--limit", 30)
    assert result.exit_code == 0
    assert "level-29" in result.stdout
    assert "level-31 " not in result.stdout
    assert max(len(line) for line in result.stdout.splitlines() if "level-" in line) <= 100


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 50), st.booleans()), max_size=60), st.integers(1, 20))
def test_what_is_drawn_is_bounded_and_connected(shape: list[tuple[int, int, bool]], limit: int) -> None:
    """Never more spans than the limit, never one without all that it is in, and never none."""
    spans = [
        span_of(number, parent=parent, end=length, name=f"n{number % 3}", failed=failed)
        for number, (parent, length, failed) in enumerate(shape, start=1)
    ]
    roots = tree.build(spans)
    nodes = list(tree.walk(roots))
    assert len(nodes) == len(spans)
    chosen = tree.choose(roots, limit)
    assert len(chosen) <= limit
    assert all(id(node.parent) in chosen for node in nodes if id(node) in chosen and node.parent is not None)


def test_many_alike_are_one_line(record, state: Path, cli) -> None:
    """Hundreds of calls of one name do not bury the others."""
    run = record(name="serve", status="ok")
    root = run.span("serve", 0, 10)
    for number in range(50):
        run.span("predict", number * 0.1, number * 0.1 + 0.01, parent=root)
    run.span("rare", 9, 9.001, parent=root)
    out = cli("show", "--dir", state, "--limit", 40).stdout
    assert len(re.findall(r"── predict ", out)) == 4
    assert "... 46 more predict: median 10.0 ms, 460 ms in all" in out
    assert re.search(r"── rare ", out)


def test_memory_is_bounded_and_the_user_told(record, state: Path, cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more spans than are kept, the failed, the roots and the longest are shown, and all are counted."""
    monkeypatch.setattr(gather, "SPANS_KEPT", 10)
    run = record(name="serve", status="ok")
    root = run.span("serve", 0, 1000)
    for number in range(100):
        run.span("predict", number, number + 1 + number / 100, parent=root)
    run.span("predict", 5, 5.001, parent=root, error=ValueError("x"))
    out = cli("show", "--dir", state).stdout
    assert "102 spans" in out
    assert "The 10 longest and failed of 102 spans were looked at." in out
    assert "ValueError" in out
    assert re.search(r"predict +101 +1 ", out), "statistics are of all spans"


def test_text_from_programs_cannot_reach_the_terminal_as_commands(record, state: Path, cli) -> None:
    """Escape sequences in names, messages and attributes are shown, not obeyed; markup is text."""
    evil = "x\x1b]0;owned\x07\x9b31m[bold]y[/bold]\u202e"
    run = record(name=evil, status=evil, command=[evil])
    record("evil-1", name=evil, status=evil)
    record("evil-2", name=evil, status="ok")
    span = run.span(evil, 0, 1, error=ValueError(evil), key=evil)
    run.log(0.5, evil, span=span)
    out = cli("show", run.id, "--dir", state).stdout + str(cli("show", "evil-", "--dir", state).exception)
    assert "may mean any of 2 runs" in out
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(out)
    assert "[bold]" in out


@given(st.text(max_size=300))
def test_printable_text_is_one_bounded_line(text: str) -> None:
    """Whatever the text, it stays on its line and inside its bound."""
    shown = render.printable(text, 50)
    assert shown.isprintable()
    assert shown == text or not text.isprintable() or len(text) > 50


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (5e-9, "5 ns"), (0.0004121, "412 µs"), (0.00999, "9.99 ms"), (0.9999, "1.00 s"), (12.34, "12.3 s"),
        (59.99, "1 min 00 s"), (123, "2 min 03 s"), (3599.9, "1 h 00 min"), (7260, "2 h 01 min"),
    ],
)  # fmt: skip
def test_durations_have_three_digits_and_a_unit(seconds: float, text: str) -> None:
    """Times are short, and no rounding shows 60 seconds or 1000 milliseconds."""
    assert render.duration(seconds) == text


def test_an_empty_run_says_what_that_means(record, state: Path, cli) -> None:
    """A run without a file is no error: it is new, or it was cut off."""
    record(status="running", name="fresh", pid=os.getpid())
    assert "Nothing has been written yet" in cli("show", "--dir", state).stdout
    record(status="ok", name="quiet")
    assert "no span ended and no line was logged" in cli("show", "quiet", "--dir", state).stdout
    run = record()
    run.file("traces").write_bytes(b'{"resourceSp')
    result = cli("show", run.id, "--dir", state)
    assert result.exit_code == 0
    assert "the process ended before anything was finished" in result.stdout
    assert "the last line is incomplete" in result.stdout


def test_one_run_of_several_in_a_folder_is_shown_alone(record, state: Path, cli) -> None:
    """A process that did two runs has both in its folder; asked for the second, only that one is shown."""
    run = record(status="ok", name="first", runs={"inner-id": "second"})
    for run_id, name in ((run.id, "one"), ("inner-id", "two")):
        span = run.span(name, 0, 1, otel_ml__run__id=run_id)
        run.log(0.5, f"line of {name}", span=span, attributes={conventions.RUN_ID: run_id})
    out = cli("show", "second", "--dir", state).stdout
    assert out.startswith("run second")
    assert "line of two" in out
    assert "line of one" not in out
    assert "1 span, 1 log line" in out
    both = cli("show", "first", "--dir", state).stdout
    assert "line of one" in both
    assert "line of two" in both


def test_commit_and_seed_are_in_the_heading(record, state: Path, cli) -> None:
    """What a run was made from is seen at once."""
    run = record(status="ok", name="train")
    run.span("run train", 0, 1, vcs__ref__head__revision="0123456789abcdef", otel_ml__run__git__dirty=True,
             otel_ml__run__seed=7)  # fmt: skip
    assert "commit 0123456789 (changed), seed 7" in cli("show", "--dir", state).stdout


def test_next_commands_name_this_run(record, state: Path, cli) -> None:
    """What to do next can be copied: it has the run's own id and folder."""
    run = record(status="ok", name="train")
    out = cli("show", "--dir", state).stdout
    assert f"otel-ml push {run.id} --endpoint http://localhost:4318" in out
    assert f"ls {run.folder}" in out


def test_in_a_pipe_it_is_plain_and_100_columns_wide(record, state: Path, command) -> None:
    """Output that is no terminal has no colours, and no line that is cut at 80 columns."""
    run = record(status="ok", name="train")
    run.span("load", 0, 1)
    run.log(0.5, "word " * 30)
    result = command("show", "--dir", state)
    assert result.returncode == 0, result.stderr
    assert "\x1b" not in result.stdout, "colours in a pipe"
    folded = [line for line in result.stdout.splitlines() if "word" in line]
    assert 90 < max(len(line.rstrip()) for line in folded) <= 100


def test_a_terminal_without_unicode_gets_ascii(record, state: Path, command) -> None:
    """Bars and guides are ASCII where nothing else can be shown, and a foreign letter is no crash."""
    run = record(status="ok", name="train")
    run.log(0.5, "Grüße", span=run.span("load", 0, 1))
    result = command("show", "--dir", state, PYTHONIOENCODING="ascii")
    assert result.returncode == 0, result.stderr
    assert result.stdout.isascii()
    assert "################" in result.stdout
    assert "Gr??e" in result.stdout


def test_a_reader_that_stops_early_is_no_traceback(record, state: Path) -> None:
    """`otel-ml show | head -1` ends quietly."""
    run = record(status="ok", name="train")
    for number in range(300):
        run.log(number, json.dumps({"number": number}))
    command = f"{sys.executable} -P -m otel_ml.cli.app show --limit 300 --dir {state} | head -1"
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert result.stdout.startswith("run train")
    assert "Traceback" not in result.stderr
    assert result.stderr == ""
