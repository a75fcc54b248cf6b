"""A load generator: sends requests at a constant rate, however slow the answers are, and says what came back."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
from collections import Counter
from dataclasses import dataclass
from typing import Any

import httpx
from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind, StatusCode

import otel_ml

MIX = {"single": 90, "small": 3, "large": 3, "faulty": 4}  # of any hundred requests
ROWS = {"single": (1, 1), "small": (5, 50), "large": (3000, 6000), "faulty": (1, 1)}
BODIES = {"single": 200, "small": 20, "large": 4, "faulty": 20}
PURPOSES = ("car", "education", "furniture", "renovation", "refinancing")

tracer = trace.get_tracer("credit-load")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request.

    Args:
        kind: Which part of the mix it was.
        status: HTTP status, or the name of the error when there was no answer.
        version: Which version of the model answered.
        seconds: From the moment when it was due, not sent: waiting in our own queue is the server's slowness too.
        trace_id: The trace that it started.
    """

    kind: str
    status: str
    version: str | None
    seconds: float
    trace_id: str


def applicant(source: random.Random) -> dict[str, Any]:
    """Draw one applicant that the model can score."""
    return {
        "email": f"applicant{source.randrange(100_000)}@example.org",
        "income": round(source.lognormvariate(10.4, 0.45), 2),
        "amount": round(source.lognormvariate(9.1, 0.7), 2),
        "age": source.randrange(18, 80),
        "years_employed": round(source.expovariate(1 / 6), 1),
        "late_payments": source.choice((0, 0, 0, 1, 1, 2, 3)),
        "utilisation": round(source.betavariate(2, 3), 3),
        "purpose": source.choice(PURPOSES),
    }


def body(kind: str, source: random.Random) -> bytes:
    """Write the JSON of one request."""
    applicants = [applicant(source) for _ in range(source.randint(*ROWS[kind]))]
    if kind == "faulty":
        applicants[0].update(source.choice(({"income": None}, {"utilisation": None}, {"purpose": "yacht"})))
    return json.dumps({"applicants": applicants}).encode()


async def send(client: httpx.AsyncClient, kind: str, content: bytes, due: float) -> Outcome:
    """Send one request inside a client span, so that its trace has a root and its id is known here."""
    with tracer.start_as_current_span("POST", kind=SpanKind.CLIENT) as span:
        headers = {"content-type": "application/json"}
        propagate.inject(headers)
        version = None
        try:
            answer = await client.post("/predict", content=content, headers=headers)
            status = str(answer.status_code)
            version = answer.json()["version"] if answer.is_success else None
        except httpx.HTTPError as error:
            status = type(error).__name__
        if status != "200":
            span.set_status(StatusCode.ERROR, status)
        trace_id = trace.format_trace_id(span.get_span_context().trace_id)
    return Outcome(kind, status, version, asyncio.get_running_loop().time() - due, trace_id)


async def run(url: str, rate: float, seconds: float, seed: int) -> list[Outcome]:
    """Send `rate` requests a second for `seconds`; the same seed sends the same requests in the same order."""
    source = random.Random(seed)
    bodies = {kind: [body(kind, source) for _ in range(number)] for kind, number in BODIES.items()}
    hundred = [kind for kind, number in MIX.items() for _ in range(number)]
    limits = httpx.Limits(max_connections=256)
    async with httpx.AsyncClient(base_url=url, timeout=30.0, limits=limits) as client, asyncio.TaskGroup() as group:
        start = asyncio.get_running_loop().time()
        tasks = []
        for number in range(max(1, round(rate * seconds))):
            if number % 100 == 0:
                source.shuffle(hundred)
            kind = hundred[number % 100]
            due = start + number / rate
            await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
            tasks.append(group.create_task(send(client, kind, source.choice(bodies[kind]), due)))
    return [task.result() for task in tasks]


def summary(outcomes: list[Outcome]) -> dict[str, Any]:
    """Count by kind, status and version; latency in milliseconds; some trace ids of each sort."""
    latencies = sorted(1000 * outcome.seconds for outcome in outcomes)
    quantiles = {f"p{100 * q:g}": round(latencies[int(q * len(latencies))], 1) for q in (0.5, 0.9, 0.99)}
    sorts: dict[str, list[str]] = {"ok": [], "failed": [], "slow": []}
    for outcome in outcomes:
        sort = {"single": "ok", "faulty": "failed", "large": "slow"}.get(outcome.kind)
        if sort and outcome.status == ("422" if sort == "failed" else "200") and len(sorts[sort]) < 5:
            sorts[sort].append(outcome.trace_id)
    return {
        "requests": len(outcomes),
        "kinds": dict(Counter(outcome.kind for outcome in outcomes)),
        "statuses": dict(Counter(outcome.status for outcome in outcomes)),
        "versions": dict(Counter(outcome.version for outcome in outcomes if outcome.version)),
        "latency_ms": {**quantiles, "max": round(latencies[-1], 1)},
        "traces": sorts,
    }


def main() -> None:
    """Read the command line, send, and print the summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="where the service is")
    parser.add_argument("--rate", type=float, default=20.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long")
    parser.add_argument("--seed", type=int, default=7, help="which requests")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    arguments = parser.parse_args()
    with otel_ml.configure(service_name="credit-load", metrics=False, logs=False):
        outcomes = asyncio.run(run(arguments.url, arguments.rate, arguments.seconds, arguments.seed))
    report = summary(outcomes)
    if arguments.json:
        print(json.dumps(report))
        return
    for name, value in report.items():
        print(f"{name:12}{value}")


if __name__ == "__main__":
    main()
