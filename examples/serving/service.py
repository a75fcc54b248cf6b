"""The credit service: FastAPI in front of two versions of a model, the newer of which gets a share of the traffic."""

from __future__ import annotations

import argparse
import gc
import logging
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import model
import uvicorn
from fastapi import FastAPI, HTTPException
from opentelemetry import trace
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from pydantic import BaseModel, Field

import otel_ml
from otel_ml.metrics import asgi_app

CANARY_SHARE = 0.2
DECLINE_ABOVE = 0.5

log = logging.getLogger("credit.api")
os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "http")  # the stable names of HTTP; read once, by `configure`
telemetry = otel_ml.configure(service_name="credit-api", service_version="1.4.0")
models: dict[str, model.CreditModel] = {}


class Applicant(BaseModel):
    """One application. What the bureau does not know is null: it is the model that says what it can do without."""

    email: str | None = None
    income: float | None
    amount: float
    age: float
    years_employed: float | None
    late_payments: float | None
    utilisation: float | None
    purpose: str


class Request(BaseModel):
    """Applicants to be scored, by a given version or by the one that the canary share picks."""

    applicants: list[Applicant] = Field(min_length=1, max_length=10_000)
    version: Literal["1", "2"] | None = None


class Response(BaseModel):
    """Which version answered; probability of default and decision for each applicant, in their order."""

    version: str
    risks: list[float]
    decisions: list[Literal["approve", "decline"]]


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Have the models before the first request is let in, and deliver what was recorded after the last has left."""
    directory = Path(os.environ.get("CREDIT_MODELS", "models"))
    models.update(model.load(directory))
    for version in {model.STABLE, model.CANARY} - set(models):
        log.warning("no version %s in %s: training it now", version, directory.absolute())
        models[version] = model.CreditModel(version, model.fit(version, model.sample(3000)))
    log.info("serving versions %s", ", ".join(sorted(models)))
    gc.collect()
    gc.freeze()  # what is loaded by now stays: a full collection that walks over it stops all requests for 0.1 s
    yield
    models.clear()
    telemetry.shutdown()


app = FastAPI(title="credit", lifespan=lifespan)
app.mount("/metrics", asgi_app())


@otel_ml.step
def choose(version: str | None) -> model.CreditModel:
    """Take the version that the request asks for, else the canary for its share of the requests."""
    if version is None:
        version = model.CANARY if random.random() < CANARY_SHARE else model.STABLE
    return models[version]


@otel_ml.step
def score(chosen: model.CreditModel, applicants: list[Applicant]) -> list[float]:
    """Ask the model, as the dictionaries that it logs, masked, when it cannot answer."""
    return chosen.predict([applicant.model_dump() for applicant in applicants])


@otel_ml.step
def decide(risks: list[float]) -> list[Literal["approve", "decline"]]:
    """Turn probabilities into decisions."""
    return ["decline" if risk > DECLINE_ABOVE else "approve" for risk in risks]


@app.post("/predict")
def predict(request: Request) -> Response:
    """Score applicants. Not `async`: the work is in a thread, so that one large batch does not stop the others."""
    chosen = choose(request.version)
    try:
        risks = score(chosen, request.applicants)
    except ValueError:  # otel_ml has logged it, with the features; the caller gets what support can search for
        trace_id = trace.format_trace_id(trace.get_current_span().get_span_context().trace_id)
        detail = {"error": "the model cannot score these applicants", "trace_id": trace_id}
        raise HTTPException(422, detail) from None
    decisions = decide(risks)
    declined = decisions.count("decline")
    log.info("version %s scored %d applicants, declined %d", chosen.version, len(risks), declined)
    return Response(version=chosen.version, risks=risks, decisions=decisions)


@app.get("/healthz")
def healthz() -> dict[str, list[str]]:
    """Say that requests can be answered."""
    if not models:
        raise HTTPException(503, "no model is loaded")
    return {"versions": sorted(models)}


FastAPIInstrumentor.instrument_app(app, excluded_urls="healthz,metrics", exclude_spans=["receive", "send"])


def main() -> None:
    """Serve until SIGTERM, then finish the requests that are under way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    arguments = parser.parse_args()
    uvicorn.run(
        app,
        host=arguments.host,
        port=arguments.port,
        log_config=None,  # then it logs like any library, which is what otel_ml listens to
        access_log=False,
        reset_contextvars=True,  # or the request after a large one on the same connection joins its trace (asyncio bug)
        timeout_graceful_shutdown=20,
    )


if __name__ == "__main__":
    main()
