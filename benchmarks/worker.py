"""One subject in one process: set up, wait for a request, measure, answer. Requests and answers are JSON lines."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import sys
from typing import IO, Any

from benchmarks import measures
from benchmarks.workload import FEATURES, Subject

WARM_UP_CALLS = 500


def main() -> None:
    """Serve requests on two file descriptors, until the parent closes its end.

    Arguments: the function that makes the subject, as `module:name`; the number of spans of a backlog; the
    descriptors to read from and to write to.
    """
    target, spans, reading, writing = sys.argv[1:]
    with os.fdopen(int(reading)) as requests, os.fdopen(int(writing), "w") as answers:
        try:
            subject = _make(target, int(spans))
            _warm_up(subject)
        except Exception as error:  # a peer that is not installed or cannot be set up is a row that says so
            _answer(answers, {"unavailable": _reason(error)})
            return
        _answer(answers, {"ready": True})
        for line in requests:
            request = json.loads(line)
            try:
                _answer(answers, measures.KINDS[request["kind"]](subject, request["number"]))
            except Exception as error:
                _answer(answers, {"unavailable": _reason(error)})
    # Ends without atexit: what a peer would still send or wait for is none of the measurement.
    sys.stdout.flush()
    os._exit(0)


def _make(target: str, spans: int) -> Subject:
    module, _, name = target.partition(":")
    function = getattr(importlib.import_module(f"{__package__}.{module}"), name)
    takes_spans = "spans" in inspect.signature(function).parameters
    subject: Subject = function(spans) if takes_spans else function()
    return subject


def _warm_up(subject: Subject) -> None:
    for _ in range(WARM_UP_CALLS):
        subject.call(FEATURES)
    subject.flush()


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:200]


def _answer(answers: IO[str], value: dict[str, Any]) -> None:
    answers.write(json.dumps(value) + "\n")
    answers.flush()
