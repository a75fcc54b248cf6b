"""What a full, limited or forbidden disk and a fork do to local files: batches are lost, lines stay whole."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import threading

import pytest
from export.records import collected, log, names, own_file, spans
from opentelemetry.sdk._logs.export import LogRecordExportResult
from opentelemetry.sdk.metrics.export import MetricExportResult
from opentelemetry.sdk.trace.export import SpanExportResult

from otel_ml import health
from otel_ml.export.line_file import LineFile
from otel_ml.export.log_file import FileLogExporter
from otel_ml.export.metric_file import FileMetricExporter
from otel_ml.export.span_file import FileSpanExporter
from support import run_python

# A disk that is full

FULL_DISK = """
    import json, os, pathlib, sys
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext
    from otel_ml import health
    from otel_ml.export.span_file import FileSpanExporter

    directory = pathlib.Path(os.environ["DIRECTORY"])
    resource = Resource({"service.name": "shop"})
    def batch(name):
        return [ReadableSpan(name, SpanContext(1, 2, is_remote=False), resource=resource, attributes={"a": "x" * 3000})]
    exporter = FileSpanExporter(directory)
    results = []
"""


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 KiB."""
    directory = tmp_path / "small"
    directory.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(directory)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield directory
    subprocess.run(["umount", "-l", str(directory)], check=True)


def test_a_full_disk_costs_batches_and_nothing_else(small_disk, caplog):
    """On a full disk exports fail with one warning that says why, lines stay whole, and go on when there is room."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 40_000)
    exporter = FileSpanExporter(small_disk)
    results = [exporter.export(spans(f"{number}-{'x' * 3000}")) for number in range(20)]
    written = results.index(SpanExportResult.FAILURE)
    assert written > 0
    assert set(results[written:]) == {SpanExportResult.FAILURE}
    assert len(names(own_file(small_disk, "traces"))) == written
    warnings = [record.getMessage() for record in caplog.records if record.name == "otel_ml"]
    assert len(warnings) == 1
    assert str(own_file(small_disk, "traces")) in warnings[0]
    assert os.strerror(errno.ENOSPC) in warnings[0]

    ballast.unlink()
    assert exporter.export(spans("recovered")) is SpanExportResult.SUCCESS
    exporter.shutdown()
    assert names(own_file(small_disk, "traces"))[written:] == ["recovered"]


def test_threads_on_a_full_disk_do_not_cut_off_each_others_lines(small_disk):
    """Whatever several threads were told has been written is there and whole, when the disk runs full meanwhile."""
    file = LineFile(lambda: small_disk / "lines")
    accepted = []

    def write(thread):
        for number in range(300):
            line = f"{thread}-{number}-{'x' * (100 + 7 * thread)}\n".encode()
            try:
                file.write(line)
                accepted.append(line)
            except OSError as error:
                assert error.errno == errno.ENOSPC

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    file.close()
    assert 0 < len(accepted) < 1200
    assert sorted((small_disk / "lines").read_bytes().splitlines(keepends=True)) == sorted(accepted)


def test_a_file_size_limit_costs_batches_and_nothing_else(tmp_path):
    """A process whose files may not grow further keeps whole lines, and writes again when they may."""
    code = (
        FULL_DISK
        + """
    import resource as limits
    soft, hard = limits.getrlimit(limits.RLIMIT_FSIZE)
    limits.setrlimit(limits.RLIMIT_FSIZE, (10_000, hard))
    results += [exporter.export(batch(str(number))).name for number in range(5)]
    size = next(directory.iterdir()).stat().st_size
    limits.setrlimit(limits.RLIMIT_FSIZE, (soft, hard))
    results.append(exporter.export(batch("recovered")).name)
    print(json.dumps({"results": results, "size": size, "file": str(next(directory.iterdir()))}))
    """
    )
    done = run_python(code, env={"DIRECTORY": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    succeeded = report["results"].index("FAILURE")
    assert report["results"] == ["SUCCESS"] * succeeded + ["FAILURE"] * (5 - succeeded) + ["SUCCESS"]
    assert 0 < report["size"] < 10_000
    path = tmp_path / os.path.basename(report["file"])
    assert names(path) == [*(str(number) for number in range(succeeded)), "recovered"]
    assert done.stderr.count("cannot be written") == 1
    assert os.strerror(errno.EFBIG) in done.stderr


def test_a_directory_without_write_permission_costs_batches_and_nothing_else(tmp_path):
    """A directory that may not be written fails each export with one warning, and works once it may."""
    code = (
        FULL_DISK
        + """
    directory.chmod(0o500)
    was_root = os.geteuid() == 0
    if was_root:
        os.seteuid(65534)  # root may write anywhere
    results += [exporter.export(batch("lost")).name for _ in range(3)]
    if was_root:
        os.seteuid(0)
    directory.chmod(0o700)
    results.append(exporter.export(batch("recovered")).name)
    print(json.dumps(results))
    """
    )
    done = run_python(code, env={"DIRECTORY": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["FAILURE"] * 3 + ["SUCCESS"]
    assert done.stderr.count("cannot be written") == 1
    assert os.strerror(errno.EACCES) in done.stderr
    assert names(next(tmp_path.iterdir())) == ["recovered"]


def test_a_file_where_the_directory_should_be_costs_batches_and_nothing_else(tmp_path, caplog):
    """A path that cannot be a directory fails each export of each signal, with one warning a signal."""
    (tmp_path / "taken").write_text("a file")
    directory = tmp_path / "taken" / "run"
    traces, logs, metrics = FileSpanExporter(directory), FileLogExporter(directory), FileMetricExporter(directory)
    for _ in range(2):
        assert traces.export(spans("lost")) is SpanExportResult.FAILURE
        assert logs.export([log("lost")]) is LogRecordExportResult.FAILURE
        assert metrics.export(collected()) is MetricExportResult.FAILURE
    assert [record.name for record in caplog.records].count("otel_ml") == 3
    assert not health.dropped()  # who called export counts what failed


# Fork


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_child_writes_a_file_of_its_own(tmp_path):
    """After a fork, parent and child each write their own file, also when a thread was writing at that moment."""
    code = (
        FULL_DISK
        + """
    import threading
    exporter.export(batch("before"))
    held = exporter._file._file._lock
    with held:  # as a thread would hold it that does not exist in the child
        child = os.fork()
        if child == 0:
            ok = exporter.export(batch("child")).name == "SUCCESS"
            exporter.shutdown()
            os._exit(0 if ok else 1)
    exporter.export(batch("parent"))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    exporter.export(batch("after"))
    print(json.dumps({"status": status, "parent": os.getpid(), "child": child}))
    """
    )
    done = run_python(code, env={"DIRECTORY": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["status"] == 0
    assert names(tmp_path / f"traces-{report['parent']}.jsonl") == ["before", "parent", "after"]
    assert names(tmp_path / f"traces-{report['child']}.jsonl") == ["child"]
