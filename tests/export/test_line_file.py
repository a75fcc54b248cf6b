"""Local files hold whole OTLP-JSON lines only, one file a signal and process."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import threading

import pytest
from export.records import collected, log, names, own_file, spans
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk._logs.export import LogRecordExportResult
from opentelemetry.sdk.metrics.export import MetricExportResult, MetricsData
from opentelemetry.sdk.trace.export import SpanExportResult

from otel_ml.export.line_file import LineFile
from otel_ml.export.log_file import FileLogExporter
from otel_ml.export.metric_file import FileMetricExporter
from otel_ml.export.span_file import FileSpanExporter
from receivers import read_file


def test_each_signal_goes_to_its_own_file(tmp_path):
    """Spans, log records and metrics are appended to one file each, a line an export."""
    traces, logs, metrics = FileSpanExporter(tmp_path), FileLogExporter(tmp_path), FileMetricExporter(tmp_path)
    assert traces.export(spans("a", "b")) is SpanExportResult.SUCCESS
    assert traces.export(spans("c")) is SpanExportResult.SUCCESS
    assert logs.export([log("text")]) is LogRecordExportResult.SUCCESS
    assert metrics.export(collected()) is MetricExportResult.SUCCESS
    assert traces.force_flush()
    assert logs.force_flush()
    assert metrics.force_flush()
    for exporter in (traces, logs, metrics):
        exporter.shutdown()
    assert names(own_file(tmp_path, "traces")) == ["a", "b", "c"]
    assert len(read_file("traces", own_file(tmp_path, "traces"))) == 2
    assert len(read_file("logs", own_file(tmp_path, "logs"))) == 1
    assert len(read_file("metrics", own_file(tmp_path, "metrics"))) == 1


def test_nothing_to_write_makes_no_file(tmp_path):
    """Empty batches succeed and leave the directory as it was."""
    assert FileSpanExporter(tmp_path).export([]) is SpanExportResult.SUCCESS
    assert FileLogExporter(tmp_path).export([]) is LogRecordExportResult.SUCCESS
    assert FileMetricExporter(tmp_path).export(MetricsData([])) is MetricExportResult.SUCCESS
    assert list(tmp_path.iterdir()) == []


def test_files_and_directories_are_private(tmp_path):
    """Directories that were missing are made with mode 0700 and files with 0600, however open the umask is."""
    former = os.umask(0)
    try:
        exporter = FileSpanExporter(tmp_path / "state" / "run")
        exporter.export(spans("a"))
        exporter.shutdown()
    finally:
        os.umask(former)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in sorted((tmp_path / "state").rglob("*"))]
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    assert modes == [0o700, 0o600]


def test_an_export_after_shutdown_fails(tmp_path):
    """After shutdown nothing is written any more, and the caller is told."""
    exporter = FileSpanExporter(tmp_path)
    exporter.export(spans("a"))
    exporter.shutdown()
    exporter.shutdown()
    assert exporter.export(spans("b")) is SpanExportResult.FAILURE
    assert names(own_file(tmp_path, "traces")) == ["a"]


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_an_application_that_closes_our_descriptor_costs_one_batch(tmp_path):
    """Descriptors that a daemonising application closes are opened anew by the batch after next."""
    file = LineFile(lambda: tmp_path / "lines")
    file.write(b"one\n")
    os.close(next(int(fd) for fd in os.listdir("/proc/self/fd") if _target(fd) == str(tmp_path / "lines")))
    with pytest.raises(OSError, match="Bad file descriptor"):
        file.write(b"two\n")
    file.write(b"three\n")
    file.close()
    assert (tmp_path / "lines").read_bytes() == b"one\nthree\n"


def _target(descriptor):
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return ""


def test_a_deleted_file_is_made_anew(tmp_path):
    """Someone who cleans up the run's folder loses what was there, not what comes after."""
    exporter = FileSpanExporter(tmp_path / "run")
    exporter.export(spans("before"))
    shutil.rmtree(tmp_path / "run")
    exporter.export(spans("after"))
    exporter.shutdown()
    assert names(own_file(tmp_path / "run", "traces")) == ["after"]


@given(torn=st.binary(min_size=1, max_size=20).filter(lambda data: not data.endswith(b"\n")))
def test_a_line_torn_by_a_crash_does_not_spoil_the_next(torn, tmp_path_factory):
    """A last line without an end, as a killed process leaves it, gets one before new lines follow."""
    path = tmp_path_factory.mktemp("torn") / "lines"
    path.write_bytes(b"whole\n" + torn)
    file = LineFile(lambda: path)
    file.write(b"next\n")
    file.close()
    assert path.read_bytes() == b"whole\n" + torn + b"\nnext\n"


def test_threads_do_not_mix_their_lines(tmp_path):
    """Lines that several threads write at once all arrive, each whole."""
    file = LineFile(lambda: tmp_path / "lines")
    lines = [[f"{thread}-{number}-{'x' * 5000}\n".encode() for number in range(50)] for thread in range(8)]
    threads = [threading.Thread(target=lambda own=own: [file.write(line) for line in own]) for own in lines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    file.close()
    written = (tmp_path / "lines").read_bytes().splitlines(keepends=True)
    assert sorted(written) == sorted(line for own in lines for line in own)


ENDLESS = """
import pathlib, sys
from otel_ml.export.line_file import LineFile

file = LineFile(lambda: pathlib.Path(sys.argv[1]))
while True:
    file.write(b"x" * 300_000 + b"\\n")
    print("written", flush=True)
"""


def test_a_killed_process_leaves_whole_lines(tmp_path):
    """A process that is killed in the middle of its work leaves all lines it had exported, each whole."""
    path = tmp_path / "lines"
    with subprocess.Popen([sys.executable, "-P", "-c", ENDLESS, str(path)], stdout=subprocess.PIPE) as process:
        reports = [process.stdout.readline() for _ in range(20)]
        process.kill()
    assert reports == [b"written\n"] * 20
    lines = path.read_bytes().split(b"\n")
    assert len(lines) > 20
    assert {len(line) for line in lines[:-1]} == {300_000}
