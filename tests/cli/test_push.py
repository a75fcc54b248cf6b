"""`otel-ml push` against a real OTLP receiver: everything arrives, once, whatever happens on the way."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from otel_ml import conventions
from otel_ml.cli import push as push_module
from otel_ml.cli.ledger import Ledger, PushError, locked
from otel_ml.cli.sender import Sender, base_url, retry_after, without_secrets
from otel_ml.errors import ConfigurationError
from receivers import Fault, OtlpReceiver, unused_port
from support import is_ambient


@pytest.fixture
def receiver():
    """A receiver that listens."""
    with OtlpReceiver() as running:
        yield running


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that pushes have waited; none of them really passes."""
    seconds: list[float] = []
    real = Sender

    def without_waiting(base, headers):
        return real(base, headers, pause=seconds.append)

    monkeypatch.setattr(push_module, "Sender", without_waiting)
    return seconds


@pytest.fixture
def run(record):
    """A run with spans, log lines and durations, written in several lines."""
    run = record(name="train", status="ok")
    for number in range(3):
        run.span(f"step-{number}", number, number + 1)
        run.log(number, f"line-{number}")
    run.duration(conventions.STEP_DURATION, 0.5, otel_ml__step__name="step-0")
    run.write_metrics()
    return run


def names(receiver: OtlpReceiver) -> list[str]:
    """The names of all spans that the receiver took, in order."""
    return [span.name for span in receiver.records("traces")]


def test_everything_recorded_arrives_as_it_was_written(run, state: Path, receiver: OtlpReceiver, cli) -> None:
    """Spans, log lines and metrics of a run are taken by a real receiver, each file's lines in their order."""
    result = cli("push", run.id, "--endpoint", receiver.http_url, "--dir", state)
    assert result.exit_code == 0, result.output
    assert names(receiver) == ["step-0", "step-1", "step-2"]
    assert [record.body.string_value for record in receiver.records("logs")] == ["line-0", "line-1", "line-2"]
    assert [metric.name for metric in receiver.records("metrics")] == [conventions.STEP_DURATION]
    assert "Sent 7 requests (traces 3, logs 3, metrics 1) of run train" in result.stdout
    assert {request.path for request in receiver.requests} == {"/v1/traces", "/v1/logs", "/v1/metrics"}


def test_a_second_push_sends_nothing(run, state: Path, receiver: OtlpReceiver, cli) -> None:
    """What was accepted is remembered in the run's folder, for this endpoint, where only the user can read it."""
    cli("push", run.id, "--endpoint", receiver.http_url, "--dir", state)
    again = cli("push", run.id, "--endpoint", f"{receiver.http_url}/v1/traces", "--dir", state)
    assert again.exit_code == 0
    assert "Nothing new in run train" in again.stdout
    assert len(receiver.requests) == 7
    ledger = run.folder / "pushed.json"
    assert stat.S_IMODE(ledger.stat().st_mode) == 0o600
    assert json.loads(ledger.read_text())[receiver.http_url][run.file("logs").name] == {
        "offset": run.file("logs").stat().st_size,
        "refused": 0,
    }


def test_another_endpoint_gets_everything(run, state: Path, receiver: OtlpReceiver, cli) -> None:
    """What one receiver has says nothing of another."""
    cli("push", run.id, "--endpoint", receiver.http_url, "--dir", state)
    with OtlpReceiver() as other:
        cli("push", run.id, "--endpoint", other.http_url, "--dir", state)
        assert names(other) == names(receiver)


def test_what_is_written_later_is_sent_later(run, state: Path, receiver: OtlpReceiver, cli) -> None:
    """A push of a run that goes on sends the new lines only."""
    cli("push", run.id, "--endpoint", receiver.http_url, "--dir", state)
    run.span("late", 5, 6)
    cli("push", run.id, "--endpoint", receiver.http_url, "--dir", state)
    assert names(receiver) == ["step-0", "step-1", "step-2", "late"]


def test_a_running_run_says_to_call_again(record, state: Path, receiver: OtlpReceiver, cli) -> None:
    """The user is told that there will be more."""
    run = record(name="train", status="running")
    run.span("step", 0, 1)
    assert "still going on" in cli("push", run.id, "--endpoint", receiver.http_url, "--dir", state).stdout


def test_an_interrupted_push_goes_on_where_it_stopped(run, state: Path, receiver: OtlpReceiver, cli, waits) -> None:
    """When the receiver goes away in the middle, nothing is lost and nothing is sent twice."""
    receiver.misbehave(Fault(), times=1)
    first = Ledger(run.folder, receiver.http_url)
    first.advance(run.file("traces"), len(run.file("traces").read_bytes().splitlines(keepends=True)[0]), refused=False)
    receiver.misbehave(Fault(status=503))
    result = cli("push", run.id, "--endpoint", receiver.http_url, "--dir", state)
    assert result.exit_code == 1
    assert "503" in result.stdout
    assert "goes on where it stopped" in result.stdout
    receiver.behave()
    assert cli("push", run.id, "--endpoint", receiver.http_url, "--dir", state).exit_code == 0
    assert names(receiver) == ["step-1", "step-2"]


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_endpoint_is_tried_again(run, state: Path, receiver: OtlpReceiver, cli, waits, status: int) -> None:
    """Codes that mean later are waited for, longer each time, and each line arrives once."""
    receiver.misbehave(Fault(status=status), times=2)
    assert cli("push", run.id, "--endpoint", receiver.http_url, "--dir", state).exit_code == 0
    assert waits == [0.5, 1.0]
    assert names(receiver) == ["step-0", "step-1", "step-2"]


def test_the_endpoint_may_say_how_long_to_wait(run, state: Path, receiver: OtlpReceiver, cli, waits) -> None:
    """`Retry-After` goes before our own pace."""
    receiver.misbehave(Fault(status=429, retry_after=7), times=1)
    assert cli("push", run.id, "--endpoint", receiver.http_url, "--dir", state).exit_code == 0
    assert waits == [7.0]


def test_a_wait_that_no_one_would_sit_through_ends_the_push(
    run, state: Path, receiver: OtlpReceiver, cli, waits
) -> None:
    """An endpoint that asks for an hour is told to the user, and not waited for."""
    receiver.misbehave(Fault(status=503, retry_after=3600))
    result = cli("push", run.id, "--endpoint", receiver.http_url, "--dir", state)
    assert result.exit_code == 1
    assert "asks to wait 3600 s" in result.stdout
    assert (waits, len(receiver.requests)) == ([], 1)


def test_tries_are_bounded(run, state: Path, receiver: OtlpReceiver, cli, waits) -> None:
    """An endpoint that stays busy is given up after four tries, for all signals."""
    receiver.misbehave(Fault(status=503))
    assert cli("push", run.id, "--endpoint", receiver.http_url, "--dir", state).exit_code == 1
    assert len(receiver.requests) == 4


def test_a_refused_line_is_skipped_and_the_rest_goes_on(run, state: Path, receiver: OtlpReceiver, cli) -> None:
    """400 is the fault of one line: it is reported, not sent again, and costs no other."""
    receiver.misbehave(Fault(status=400), times=1)
    result = cli("push", run.id, "--endpoint", receiver.http_url, "--dir", state)
    assert result.exit_code == 1
    assert f"{run.file('traces').name}, line at byte 0: the endpoint answered 400 Bad Request" in result.stdout
    assert names(receiver) == ["step-1", "step-2"]
    assert len(receiver.records("logs")) == 3
    again = cli("push", run.id, "--endpoint", receiver.http_url, "--dir", state)
    assert again.exit_code == 0
    assert "1 line could not be sent earlier" in again.stdout
    assert len(receiver.requests) == 7


def test_a_line_that_is_no_json_is_not_sent(run, state: Path, receiver: OtlpReceiver, cli) -> None:
    """Garbage in a file is reported without bothering the endpoint."""
    path = run.file("traces")
    path.write_bytes(b"\xffgarbage\n" + path.read_bytes())
    result = cli("push", run.id, "--endpoint", receiver.http_url, "--dir", state)
    assert result.exit_code == 1
    assert "line at byte 0: it is not OTLP-JSON; left out" in result.stdout
    assert names(receiver) == ["step-0", "step-1", "step-2"]


def test_a_torn_last_line_waits_for_its_rest(run, state: Path, receiver: OtlpReceiver, cli) -> None:
    """A line that is still being written is sent by the push after it is complete."""
    path = run.file("traces")
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    first = cli("push", run.id, "--endpoint", receiver.http_url, "--dir", state)
    assert first.exit_code == 0
    assert "the last line is incomplete and was not sent" in first.stdout
    path.write_bytes(whole)
    cli("push", run.id, "--endpoint", receiver.http_url, "--dir", state)
    assert names(receiver) == ["step-0", "step-1", "step-2"]


def test_what_the_receiver_did_not_take_is_reported(run, state: Path, receiver: OtlpReceiver, cli) -> None:
    """A partial success is no success, and is not sent again."""
    receiver.misbehave(Fault(rejected=1, message="too old"), times=1)
    result = cli("push", run.id, "--endpoint", receiver.http_url, "--dir", state)
    assert result.exit_code == 1
    assert "the endpoint rejected 1 of its items: too old" in result.stdout
    assert len(receiver.requests) == 7


def test_a_warning_of_the_receiver_is_passed_on(run, state: Path, receiver: OtlpReceiver, cli) -> None:
    """A message without rejected items is a remark and no failure."""
    receiver.misbehave(Fault(message="slow down"), times=1)
    result = cli("push", run.id, "--endpoint", receiver.http_url, "--dir", state)
    assert result.exit_code == 0
    assert "the endpoint says: slow down" in result.stdout


@pytest.mark.parametrize(
    ("status", "advice"), [(401, "--header"), (403, "--header"), (404, "OTLP/HTTP"), (415, "JSON")]
)
def test_a_wrong_endpoint_ends_a_signal_with_advice(
    run, state: Path, receiver: OtlpReceiver, cli, status: int, advice: str
) -> None:
    """What no other request would change is said once a signal, and nothing is marked as sent."""
    receiver.misbehave(Fault(status=status))
    result = cli("push", run.id, "--endpoint", receiver.http_url, "--dir", state)
    assert result.exit_code == 1
    assert result.stdout.count(f"answered {status}") == 3
    assert advice in result.stdout
    assert len(receiver.requests) == 3
    receiver.behave()
    assert cli("push", run.id, "--endpoint", receiver.http_url, "--dir", state).exit_code == 0
    assert len(names(receiver)) == 3


def test_an_endpoint_for_traces_only_gets_traces(run, state: Path, cli) -> None:
    """A trace store answers 404 for the other signals; the traces are sent all the same."""
    with HttpServer(lambda path: (200 if path == "/v1/traces" else 404, {}, b"{}")) as server:
        result = cli("push", run.id, "--endpoint", server.url, "--dir", state)
    assert result.exit_code == 1
    assert "Sent 3 requests (traces 3)" in result.stdout
    assert "Does this URL belong to an OTLP/HTTP receiver for logs?" in result.stdout


def test_an_error_of_the_server_is_not_tried_again(run, state: Path, receiver: OtlpReceiver, cli, waits) -> None:
    """500 is not among what the specification lets us repeat; the line is kept for a later push."""
    receiver.misbehave(Fault(status=500))
    assert cli("push", run.id, "--endpoint", receiver.http_url, "--dir", state).exit_code == 1
    assert (waits, len(receiver.requests)) == ([], 3)
    receiver.behave()
    cli("push", run.id, "--endpoint", receiver.http_url, "--dir", state)
    assert len(names(receiver)) == 3


class HttpServer:
    """An HTTP server that answers as `respond(path)` says: status, headers, body."""

    def __init__(self, respond):
        self.paths: list[str] = []
        self.bodies: list[bytes] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                outer.paths.append(self.path)
                outer.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                status, headers, body = respond(self.path)
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", "Content-Length": len(body), **headers}.items():
                    self.send_header(name, str(value))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                """Stay quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((302, {"Location": "http://login.example/"}, b""), "It redirects to http://login.example/"),
        ((200, {"Content-Type": "text/html"}, b"<html>please log in</html>"), "answered with a web page"),
        ((404, {}, b'{"code": 5, "message": "no such\\ntenant"}'), "404 Not Found: no such tenant"),
    ],
)
def test_what_is_no_receiver_is_recognised(run, state: Path, cli, answer: tuple, said: str) -> None:
    """A login page or a redirect is not taken for a success, and headers are not carried elsewhere."""
    with HttpServer(lambda path: answer) as server:
        result = cli("push", run.id, "--endpoint", server.url, "--dir", state)
    assert result.exit_code == 1
    assert said in result.stdout
    assert len(server.paths) == 3
    assert not (run.folder / "pushed.json").exists()


@pytest.mark.parametrize(
    "body",
    [b"", b"ok", b"[]", b"{}", b'{"partialSuccess": null}', b'{"partialSuccess": {"rejectedSpans": "x"}}', b"\xff"],
)
def test_any_other_good_answer_is_a_success(run, state: Path, cli, body: bytes) -> None:
    """Receivers answer 200 with all kinds of bodies."""
    with HttpServer(lambda path: (200, {}, body)) as server:
        assert cli("push", run.id, "--endpoint", server.url, "--dir", state).exit_code == 0


def test_a_partial_success_in_json_is_read(run, state: Path, cli) -> None:
    """The specification wants the answer in the request's own encoding, with 64-bit numbers as text."""
    body = b'{"partialSuccess": {"rejectedSpans": "2", "rejectedLogRecords": 3, "errorMessage": "no"}}'
    with HttpServer(lambda path: (200, {}, body)) as server:
        result = cli("push", run.id, "--endpoint", server.url, "--dir", state)
    assert result.exit_code == 1
    assert "rejected 2 of its items: no" in result.stdout
    assert "rejected 3 of its items: no" in result.stdout


def test_a_base_path_is_kept(run, state: Path, cli) -> None:
    """A gateway may have its receiver below a path."""
    with HttpServer(lambda path: (200, {}, b"{}")) as server:
        cli("push", run.id, "--endpoint", f"{server.url}/otlp/", "--dir", state)
    assert set(server.paths) == {"/otlp/v1/traces", "/otlp/v1/logs", "/otlp/v1/metrics"}
    assert server.bodies[0] == run.file("traces").read_bytes().splitlines(keepends=True)[0]


def test_an_endpoint_that_is_not_there_is_said_after_a_few_tries(run, state: Path, cli, waits) -> None:
    """Nobody listening is said in words that a user understands, and nothing is marked as sent."""
    result = cli("push", run.id, "--endpoint", f"http://127.0.0.1:{unused_port()}", "--dir", state)
    assert result.exit_code == 1
    assert "the endpoint cannot be reached (Connection refused), 4 times" in result.stdout
    assert waits == [0.5, 1.0, 2.0]
    assert not (run.folder / "pushed.json").exists()


def test_a_connection_that_breaks_is_tried_again(run, state: Path, receiver: OtlpReceiver, cli, waits) -> None:
    """A receiver that hangs up without an answer may be restarting."""
    receiver.misbehave(Fault(close=True), times=1)
    assert cli("push", run.id, "--endpoint", receiver.http_url, "--dir", state).exit_code == 0
    assert waits == [0.5]


def test_a_receiver_that_never_answers_ends_the_push(
    run, state: Path, receiver: OtlpReceiver, cli, waits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each try has its time, and their number is bounded."""
    monkeypatch.setattr("otel_ml.cli.sender.TIMEOUT", (5.0, 0.05))
    receiver.misbehave(Fault(hang=True))
    result = cli("push", run.id, "--endpoint", receiver.http_url, "--dir", state)
    assert result.exit_code == 1
    assert "no answer in time" in result.stdout


def test_headers_come_from_option_and_environment(
    run, state: Path, receiver: OtlpReceiver, cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token on the command line goes before one in the environment; the content type is always ours."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.http_url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=blue,authorization=Basic%20old")
    arguments = ("--header", "Authorization=Bearer a=b", "--header", "content-type=text/plain")
    result = cli("push", run.id, *arguments, "--dir", state)
    assert result.exit_code == 0, result.output
    headers = receiver.requests[0].headers
    assert (headers["x-tenant"], headers["authorization"]) == ("blue", "Bearer a=b")
    assert headers["content-type"] == "application/json"


@pytest.mark.parametrize("header", ["novalue", "=secret", "bad name=secret", "x-key=sec\r\nret: 1", "x-key=sécret"])
def test_a_wrong_header_is_named_without_its_value(run, state: Path, cli, header: str) -> None:
    """What may be a secret is not printed."""
    result = cli("push", run.id, "--endpoint", "http://localhost:1", "--header", header, "--dir", state)
    assert isinstance(result.exception, ConfigurationError)
    assert "--header" in str(result.exception)
    assert "cret" not in str(result.exception)


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [
        ("http://localhost:4317", "Port 4317 speaks gRPC"),
        ("localhost:4318", "expected an OTLP/HTTP URL"),
        ("grpc://localhost:4318", "expected an OTLP/HTTP URL"),
        ("http://", "expected an OTLP/HTTP URL"),
        ("http://localhost:port", "expected an OTLP/HTTP URL"),
    ],
)
def test_an_endpoint_that_cannot_work_is_refused_at_once(
    run, state: Path, cli, monkeypatch: pytest.MonkeyPatch, endpoint: str, said: str
) -> None:
    """The message says what would be right, and which of option and variable is meant."""
    result = cli("push", run.id, "--endpoint", endpoint, "--dir", state)
    assert said in str(result.exception)
    assert str(result.exception).startswith("--endpoint: ")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    result = cli("push", run.id, "--dir", state)
    assert str(result.exception).startswith("OTEL_EXPORTER_OTLP_ENDPOINT: ")


def test_without_an_endpoint_both_ways_to_give_one_are_named(run, state: Path, cli) -> None:
    """A newcomer learns what is missing."""
    result = cli("push", run.id, "--dir", state)
    assert isinstance(result.exception, ConfigurationError)
    assert "Give --endpoint, or set OTEL_EXPORTER_OTLP_ENDPOINT." in str(result.exception)


def test_secrets_in_a_url_are_neither_shown_nor_stored(run, state: Path, receiver: OtlpReceiver, cli) -> None:
    """User, password and query of the endpoint stay out of output and ledger; they are used."""
    url = receiver.http_url.replace("http://", "http://user:pass@") + "?token=secret"
    result = cli("push", run.id, "--endpoint", url, "--dir", state)
    assert result.exit_code == 0, result.output
    assert receiver.requests[0].headers["authorization"].startswith("Basic ")
    assert receiver.requests[0].path == "/v1/traces?token=secret"
    assert not {"pass@", "secret"} & set((result.stdout + (run.folder / "pushed.json").read_text()).split())
    assert "secret" not in result.stdout + (run.folder / "pushed.json").read_text()


@pytest.mark.parametrize("content", ["{torn", "[]", '{"http://x": 3}'])
def test_a_damaged_ledger_is_not_overwritten(run, state: Path, receiver: OtlpReceiver, cli, content: str) -> None:
    """Whether everything is sent again is the user's decision."""
    (run.folder / "pushed.json").write_text(content)
    result = cli("push", run.id, "--endpoint", receiver.http_url, "--dir", state)
    assert isinstance(result.exception, PushError)
    assert "Delete it to send everything again" in str(result.exception)
    assert (run.folder / "pushed.json").read_text() == content
    assert receiver.requests == []


def test_a_damaged_entry_starts_that_file_anew(run, receiver: OtlpReceiver) -> None:
    """An entry without numbers is as good as none."""
    path = run.file("traces")
    (run.folder / "pushed.json").write_text(json.dumps({"http://x": {path.name: {"offset": "far"}}}))
    assert Ledger(run.folder, "http://x").offset(path) == 0


def test_a_file_that_became_shorter_is_sent_from_its_start(run, state: Path, receiver: OtlpReceiver, cli) -> None:
    """A replaced file is a new file."""
    cli("push", run.id, "--endpoint", receiver.http_url, "--dir", state)
    path = run.file("traces")
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[2])
    cli("push", run.id, "--endpoint", receiver.http_url, "--dir", state)
    assert names(receiver)[3:] == ["step-2"]


def test_two_pushes_of_one_run_do_not_run_at_once(run, state: Path, receiver: OtlpReceiver, cli) -> None:
    """The second one says so and sends nothing."""
    with locked(run.folder):
        result = cli("push", run.id, "--endpoint", receiver.http_url, "--dir", state)
    assert isinstance(result.exception, PushError)
    assert "Another push" in str(result.exception)
    assert receiver.requests == []
    assert cli("push", run.id, "--endpoint", receiver.http_url, "--dir", state).exit_code == 0


def test_progress_that_cannot_be_kept_ends_the_push(
    run, state: Path, receiver: OtlpReceiver, cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk the push stops instead of sending the same again next time without end."""

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("otel_ml.cli.ledger.json.dump", full)
    result = cli("push", run.id, "--endpoint", receiver.http_url, "--dir", state)
    assert isinstance(result.exception, PushError)
    assert "No space left on device" in str(result.exception)
    assert len(receiver.requests) == 1
    assert not list(run.folder.glob(".pushed.json.[0-9]*"))


def test_a_run_without_files_says_so(record, state: Path, receiver: OtlpReceiver, cli) -> None:
    """Nothing recorded is nothing sent, and no failure."""
    run = record(name="empty", status="ok")
    result = cli("push", run.id, "--endpoint", receiver.http_url, "--dir", state)
    assert result.exit_code == 0
    assert "nothing was recorded in it" in result.stdout


def test_an_unreadable_file_is_reported_and_the_others_sent(run, state: Path, receiver: OtlpReceiver, cli) -> None:
    """One file that cannot be opened does not keep the others back."""
    run.file("logs").unlink()
    run.file("logs").mkdir()
    result = cli("push", run.id, "--endpoint", receiver.http_url, "--dir", state)
    assert result.exit_code == 1
    assert f"{run.file('logs').name} cannot be read: Is a directory" in result.stdout
    assert len(names(receiver)) == 3


def test_retry_after_is_read_as_seconds_or_date() -> None:
    """Both forms of the header are understood; anything else, and a time that has passed, is no wait."""
    later = datetime.now(UTC) + timedelta(seconds=100)
    assert retry_after("12") == 12.0
    assert retry_after(format_datetime(later)) == pytest.approx(100, abs=5)
    assert retry_after("Wed, 21 Oct 2015 07:28:00 -0000") == 0.0
    assert (retry_after("soon"), retry_after(None), retry_after("-1")) == (None, None, None)


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://localhost:4318", "http://localhost:4318"),
        ("http://localhost:4318/", "http://localhost:4318"),
        ("https://x.example/otlp/v1/logs", "https://x.example/otlp"),
        ("https://u:p@x.example/a/?k=1#f", "https://u:p@x.example/a?k=1"),
    ],
)
def test_the_base_url_is_what_comes_before_the_signal(url: str, base: str) -> None:
    """A signal's own URL stands for the whole endpoint."""
    assert base_url(url) == base
    assert "u:p" not in without_secrets(base)


def test_the_real_command_pushes_and_exits(run, state: Path, receiver: OtlpReceiver, command) -> None:
    """The installed command, in a process of its own: exit codes and messages as documented."""
    good = command("push", run.id, "--dir", state, "--endpoint", receiver.http_url)
    assert (good.returncode, good.stderr) == (0, "")
    assert len(names(receiver)) == 3
    wrong = command("push", run.id, "--dir", state, "--endpoint", "http://localhost:4317")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("otel-ml: --endpoint: expected an OTLP/HTTP URL")


def test_a_killed_push_is_continued(record, state: Path, receiver: OtlpReceiver) -> None:
    """After `kill -9` in the middle the next push sends the rest; the line under way may arrive twice, no other."""
    run = record(name="long", status="ok")
    for number in range(600):
        run.span(f"step-{number}", number, number + 1)
    environ = {key: value for key, value in os.environ.items() if not is_ambient(key)}
    arguments = ["push", run.id, "--dir", str(state), "--endpoint", receiver.http_url]
    command = [sys.executable, "-P", "-m", "otel_ml.cli.app", *arguments]
    with subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL) as process:
        receiver.wait("traces", 20)
        process.kill()
    before = len(receiver.records("traces"))
    assert before < 600, "killed too late to prove anything"
    subprocess.run(command, env=environ, stdout=subprocess.DEVNULL, timeout=60, check=True)
    sent = names(receiver)
    assert set(sent) == {f"step-{number}" for number in range(600)}
    assert len(sent) <= 601
