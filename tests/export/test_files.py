"""Local files hold whole OTLP-JSON lines only, whatever happens to the disk or to the process."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExportResult
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricExportResult, MetricsData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import SpanContext

from otel_ml import health
from otel_ml.export.files import FileLogExporter, FileMetricExporter, FileSpanExporter, LineFile
from receivers import read_file, records_of
from support import run_python

RESOURCE = Resource({"service.name": "shop"})


def spans(*names):
    return [ReadableSpan(name, SpanContext(1, 2, is_remote=False), resource=RESOURCE) for name in names]


def names(path):
    return [span.name for request in read_file("traces", path) for span in records_of("traces", request)]


def log(body):
    return ReadableLogRecord(LogRecord(body=body), RESOURCE)


def collected():
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], RESOURCE, shutdown_on_exit=False)
    provider.get_meter("meter").create_counter("calls").add(1)
    data = reader.get_metrics_data()
    provider.shutdown()
    return data


def own_file(directory, signal):
    return directory / f"{signal}-{os.getpid()}.jsonl"


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
from otel_ml.export.files import LineFile

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


# A disk that is full

FULL_DISK = """
    import json, os, pathlib, sys
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext
    from otel_ml import health
    from otel_ml.export.files import FileSpanExporter

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
