"""Finds recorded runs: the folders below the state directories, and what their `run.json` says."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from otel_ml.cli.otlp_files import SIGNALS, Signal
from otel_ml.cli.render import printable
from otel_ml.errors import Error
from otel_ml.manifest import FILE_NAME
from otel_ml.settings import state_directories

_FOLDER = re.compile(r"(\d{8}T\d{6}Z)-(.+)")
_LISTED = 10

Texts = list[tuple[str, str | None]]  # a text that may name a run, and which run in its folder: None for all


class RunNotFoundError(Error):
    """No run, or more than one, is meant."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One run's folder.

    Args:
        folder: Where its files are.
        id: Identity of the run; from the folder's name when `run.json` is missing.
        name: Name of the run, or of the service; empty when unknown.
        status: `running`, `ok`, `error`, `interrupted` (the process is gone and said nothing) or `unknown`.
        started: When the process started; from the folder's name or its age when `run.json` is missing.
        ended: When it ended, or None.
        command: Command line, or empty.
        runs: Names of the runs in the folder by id, when one process did several.
    """

    folder: Path
    id: str
    name: str
    status: str
    started: datetime
    ended: datetime | None = None
    command: tuple[str, ...] = ()
    runs: dict[str, str] = field(default_factory=dict)

    def files(self, signal: Signal) -> list[Path]:
        """Return the files of one signal, one a process."""
        return sorted(self.folder.glob(f"{signal}-*.jsonl"))


@dataclass(frozen=True, slots=True)
class Selection:
    """What the user asked for: a folder, or one of several runs in it.

    Args:
        recording: The folder.
        run_id: The one run in it that is meant; None for all.
    """

    recording: Recording
    run_id: str | None = None


def find(reference: str | None, directory: Path | None) -> Selection:
    """Return the run that is meant.

    Args:
        reference: Folder (name or path), run id, run name (the newest of that name), or a beginning or end of an id
            that only one of them has; None for the newest run.
        directory: State directory; None looks where runs are written by default.

    Raises:
        RunNotFoundError: No run or several match; the message lists what there is.
    """
    places = [directory.expanduser().absolute()] if directory is not None else list(state_directories(None))
    if reference and os.sep in reference and _is_run(Path(reference)):
        return Selection(describe(Path(reference).absolute()))
    found: list[Recording] = []
    for place in places:
        found += recordings(place)
        if reference is None and found:
            return Selection(found[0])
    if not found:
        looked = ", ".join(str(place) for place in places)
        raise RunNotFoundError(f"There is no recorded run in {looked}. `otel-ml demo` makes one.")
    return _match(reference or "", found)


def recordings(directory: Path) -> list[Recording]:
    """Return the runs in a state directory, newest first; none when it cannot be read."""
    try:
        folders = [entry for entry in directory.iterdir() if entry.is_dir() and _is_run(entry)]
    except OSError:
        return []
    return sorted((describe(folder) for folder in folders), key=lambda r: (r.started, r.folder.name), reverse=True)


def describe(folder: Path) -> Recording:
    """Return what is known of a run's folder, with or without a readable `run.json`."""
    content = _manifest(folder)
    named = _FOLDER.fullmatch(folder.name)
    run_id = _text(content, "id") or (named[2] if named else folder.name)
    runs = content.get("runs")
    command = content.get("command")
    return Recording(
        folder=folder,
        id=run_id,
        name=_text(content, "name") or _text(content, "service"),
        status=_status(content),
        started=_time(content.get("started")) or _folder_time(folder),
        ended=_time(content.get("ended")),
        command=tuple(str(word) for word in command) if isinstance(command, list) else (),
        runs={str(key): str(value) for key, value in runs.items()} if isinstance(runs, dict) else {},
    )


def _match(reference: str, found: list[Recording]) -> Selection:
    """Take whole ids before names, and names before parts of ids; of one name the newest, as of a nightly job."""
    named = _selections(found, _names, lambda text: text == reference)
    of_newest = [match for match in named if match.recording is named[0].recording]
    for matches in (
        _selections(found, _ids, lambda text: text == reference),
        of_newest[-1:],
        _selections(found, _ids, lambda text: _begins_or_ends(text, reference)),
    ):
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise RunNotFoundError(
                f"{reference!r} may mean any of {len(matches)} runs:\n{_listing(matches)}\n"
                "Say which one by its id, or by a beginning or end that no other has."
            )
    newest = [Selection(recording) for recording in found]
    raise RunNotFoundError(f"No recorded run is called {reference!r}. The newest are:\n{_listing(newest)}")


def _ids(recording: Recording) -> Texts:
    inner: Texts = [(run_id, run_id) for run_id in recording.runs if run_id != recording.id]
    return [(recording.folder.name, None), (recording.id, None), *inner]


def _names(recording: Recording) -> Texts:
    inner: Texts = [(name, run_id) for run_id, name in recording.runs.items() if run_id != recording.id]
    return [(recording.name, None), *inner]


def _begins_or_ends(text: str, part: str) -> bool:
    return text.startswith(part) or text.endswith(part)


def _selections(
    found: list[Recording], texts: Callable[[Recording], Texts], passes: Callable[[str], bool]
) -> list[Selection]:
    """Return the folders that match; one that does not itself gives way to those of its runs that do."""
    result: list[Selection] = []
    for recording in found:
        matching = [run_id for text, run_id in texts(recording) if text and passes(text)]
        result += [Selection(recording)] if None in matching else [Selection(recording, run) for run in matching]
    return result


def _listing(matches: list[Selection]) -> str:
    rows = []
    for match in matches[:_LISTED]:
        recording, run_id = match.recording, match.run_id
        name = recording.runs.get(run_id, "") if run_id else recording.name
        rows.append(printable(f"{run_id or recording.folder.name}  {recording.status:<11}  {name}", 200))
    if len(matches) > _LISTED:
        rows.append(f"... and {len(matches) - _LISTED} more")
    return "\n".join(f"  {row}" for row in rows)


def _is_run(folder: Path) -> bool:
    if _FOLDER.fullmatch(folder.name) or (folder / FILE_NAME).exists():
        return folder.is_dir()
    return any(next(folder.glob(f"{signal}-*.jsonl"), None) for signal in SIGNALS)


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        content = orjson.loads((folder / FILE_NAME).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return content if isinstance(content, dict) else {}


def _status(content: dict[str, Any]) -> str:
    status = _text(content, "status") or "unknown"
    pid = content.get("pid")
    if status == "running" and isinstance(pid, int) and pid > 0 and not _alive(pid):
        return "interrupted"
    return status


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:  # somebody else's process, so it lives
        return True
    except (OSError, OverflowError):
        return False
    return True


def _text(content: dict[str, Any], key: str) -> str:
    value = content.get(key)
    return value if isinstance(value, str) else ""


def _time(value: Any) -> datetime | None:
    try:
        time = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def _folder_time(folder: Path) -> datetime:
    named = _FOLDER.fullmatch(folder.name)
    try:
        if named:
            return datetime.strptime(named[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        return datetime.fromtimestamp(folder.stat().st_mtime, UTC)
    except (ValueError, OSError):
        return datetime.min.replace(tzinfo=UTC)
