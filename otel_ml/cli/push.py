"""`otel-ml push`: sends a recorded run to an OTLP/HTTP endpoint, each line once."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from opentelemetry.util.re import parse_env_headers
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from otel_ml.cli import render
from otel_ml.cli.ledger import Ledger, locked
from otel_ml.cli.otlp_files import SIGNALS, Signal, parse
from otel_ml.cli.recordings import Recording, find
from otel_ml.cli.sender import Reply, Sender, base_url, without_secrets
from otel_ml.errors import ConfigurationError

_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_HEADERS = "OTEL_EXPORTER_OTLP_HEADERS"


@dataclass(slots=True)
class Outcome:
    """What a push did.

    Args:
        sent: Requests that were accepted, by signal.
        problems: What was not sent and why, for the user.
        notes: What the user should know, though nothing went wrong.
        stopped: Whether the endpoint was given up.
    """

    sent: Counter[Signal] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    stopped: bool = False


def push(reference: str, *, endpoint: str | None, headers: list[str], directory: Path | None) -> int:
    """Send what has not been sent of a run to this endpoint yet, and report.

    Args:
        reference: The run; see `recordings.find`.
        endpoint: Base URL; None: `OTEL_EXPORTER_OTLP_ENDPOINT`.
        headers: `name=value` texts, on top of `OTEL_EXPORTER_OTLP_HEADERS`.
        directory: State directory, or None for the default ones.

    Returns:
        1 when something could not be sent, else 0.

    Raises:
        ConfigurationError: Endpoint or a header cannot work.
        RunNotFoundError: No run, or more than one, is meant.
        PushError: Another push of it is under way, or what was sent cannot be kept.
    """
    base = _base_url(endpoint)
    merged = {**parse_env_headers(os.environ.get(_HEADERS, ""), liberal=True), **_headers(headers)}
    recording = find(reference, directory).recording
    console = render.make_console()
    with locked(recording.folder), Sender(base, merged) as sender:
        ledger = Ledger(recording.folder, without_secrets(base))
        outcome = _send_all(recording, sender, ledger)
    _report(recording, without_secrets(base), outcome, console)
    return 1 if outcome.problems else 0


def _base_url(given: str | None) -> str:
    if given:
        return base_url(given)
    endpoint = os.environ.get(_ENDPOINT, "").strip()
    if not endpoint:
        hint = f"Give --endpoint, or set {_ENDPOINT}."
        raise ConfigurationError("--endpoint", given, "an OTLP/HTTP URL such as http://localhost:4318", hint)
    return base_url(endpoint, _ENDPOINT)


def _headers(texts: list[str]) -> Mapping[str, str]:
    """Read `name=value` texts; what is wrong with one is said without its value, which may be a secret."""
    result = {}
    for text in texts:
        name, separator, value = text.partition("=")
        name, value = name.strip(), value.strip()
        if not separator or not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
            raise ConfigurationError("--header", f"{name}=...", "NAME=VALUE, for example x-api-key=abc")
        if not value.isprintable() or not value.isascii():
            raise ConfigurationError("--header", f"{name}=...", "a value of printable ASCII characters")
        result[name.lower()] = value
    return result


@dataclass(slots=True)
class _Transfer:
    sender: Sender
    ledger: Ledger
    outcome: Outcome
    advance: Callable[[int], None]

    def send_file(self, signal: Signal, path: Path) -> bool:
        """Send what is new in one file; False when this signal cannot be sent at all."""
        earlier = self.ledger.refused(path)
        if earlier:
            self.outcome.notes.append(f"{path.name}: {render.number(earlier, 'line')} could not be sent earlier")
        for line, end in _new_lines(path, self.ledger.offset(path), self.outcome):
            valid = parse(line) is not None
            reply = self.sender.send(signal, line) if valid else Reply("refused", "it is not OTLP-JSON")
            if reply.verdict in ("wrong_endpoint", "unavailable"):
                self.outcome.problems.append(f"{signal} from {path.name} on: {reply.detail}")
                self.outcome.stopped = reply.verdict == "unavailable"
                return False
            self._note(path, end - len(line), reply)
            self.outcome.sent[signal] += reply.verdict == "accepted"
            self.ledger.advance(path, end, refused=reply.verdict == "refused")
            self.advance(len(line))
        return True

    def _note(self, path: Path, offset: int, reply: Reply) -> None:
        place = f"{path.name}, line at byte {offset}"
        if reply.verdict == "refused":
            self.outcome.problems.append(f"{place}: {reply.detail}; left out")
        elif reply.rejected:
            why = f": {reply.detail}" if reply.detail else ""
            self.outcome.problems.append(f"{place}: the endpoint rejected {reply.rejected:,} of its items{why}")
        elif reply.detail:
            self.outcome.notes.append(f"{place}: the endpoint says: {reply.detail}")


def _send_all(recording: Recording, sender: Sender, ledger: Ledger) -> Outcome:
    outcome = Outcome()
    files = {signal: recording.files(signal) for signal in SIGNALS}
    total = sum(path.stat().st_size - ledger.offset(path) for paths in files.values() for path in paths)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    console = render.make_console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("sending", total=total)
        transfer = _Transfer(sender, ledger, outcome, lambda size: progress.advance(task, size))
        for signal, paths in files.items():
            all(transfer.send_file(signal, path) for path in paths)  # stops at the first that says False
            if outcome.stopped:
                break
    if not any(files.values()):
        outcome.notes.append("nothing was recorded in it")
    return outcome


def _new_lines(path: Path, offset: int, outcome: Outcome) -> Iterator[tuple[bytes, int]]:
    """Yield whole lines from an offset on, each with the offset of its end."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            for line in file:
                offset += len(line)
                if not line.endswith(b"\n"):
                    outcome.notes.append(f"{path.name}: the last line is incomplete and was not sent")
                else:
                    yield line, offset
    except OSError as error:
        outcome.problems.append(f"{path.name} cannot be read: {error.strerror}")


def _report(recording: Recording, endpoint: str, outcome: Outcome, console: Console) -> None:
    what = f"run {recording.name} ({recording.id})" if recording.name else f"run {recording.id}"
    if outcome.sent:
        counts = ", ".join(f"{signal} {number:,}" for signal, number in outcome.sent.items() if number)
        requests = render.number(outcome.sent.total(), "request")
        message = f"Sent {requests} ({counts}) of {what} to {endpoint}."
    elif outcome.problems:
        message = f"Nothing of {what} was sent to {endpoint}."
    else:
        message = f"Nothing new in {what} for {endpoint}."
    console.print(Text(render.printable(message)), soft_wrap=True)
    for note in outcome.notes:
        console.print(Text(f"  note: {render.printable(note)}", style="dim"), soft_wrap=True)
    for problem in outcome.problems[:20]:
        console.print(Text(f"  not sent: {render.printable(problem)}", style="red"), soft_wrap=True)
    if len(outcome.problems) > 20:
        console.print(Text(f"  and {render.number(len(outcome.problems) - 20, 'further problem')}", style="red"))
    if outcome.stopped:
        console.print("Call it again later: it goes on where it stopped.")
    elif recording.status == "running":
        console.print("The run is still going on: call it again later for the rest.")
