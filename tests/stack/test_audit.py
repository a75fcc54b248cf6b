"""A service's audit trail in Loki: written by otel_ml, read by the agent, masked by the gateway, shown by a panel."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from stack.servers import REPOSITORY, Server, agent, gateway, loki, running
from stack.stores import eventually, lines
from support import run_python

pytestmark = pytest.mark.xdist_group("audit")  # it is started once

# Twenty calls, each fourth fails; a batch of three; then what no service should do.
SERVICE = """
    import otel_ml
    from otel_ml import health

    @otel_ml.inference(model="credit", version="2")
    def predict(features):
        if features["amount"] % 4 == 0:
            raise ValueError(f"amount {features['amount']} is too round")
        return 0.25

    @otel_ml.inference(model="batches", version="1")
    def predict_all(rows):
        return [row["x"] * 2 for row in rows]

    options = otel_ml.Audit(directory="audit")
    with otel_ml.configure(
        service_name="credit-api", environment="staging", logs=otel_ml.Logs(format="none"), audit=options
    ):
        for amount in range(20):
            try:
                predict({"amount": amount, "max_token": 5, "password": "hunter2", "mail": "ada@example.org"})
            except ValueError:
                pass
        predict_all([{"x": 1.0}, {"x": 2.0}, {"x": 3.0}])
"""


@dataclass
class Trail:
    """What a service wrote, and the Loki that it has come to.

    Args:
        written: Every line of its segments.
        loki: Where to ask.
    """

    written: list[dict[str, Any]]
    loki: Server


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trail]:
    """Run the service to its end, and the servers until all lines have arrived."""
    folder: Path = tmp_path_factory.mktemp("audit")
    (folder / "logs").mkdir()
    done = run_python(SERVICE, cwd=folder)
    assert done.returncode == 0, done.stderr
    written = [
        json.loads(line) for path in (folder / "audit").glob("*.jsonl") for line in path.read_text().splitlines()
        if path.name != "manifest.jsonl"
    ]  # fmt: skip
    store = loki(folder)
    gate = gateway(folder, {"OTEL_ML_LOKI_ENDPOINT": store.otlp})
    with running(store, gate, agent(folder, gate.otlp)):
        eventually(lambda: len(lines(store, '{service_name=~".+"}')) == len(written), 60)
        yield Trail(written, store)


def predictions(trail: Trail) -> dict[str, dict[str, Any]]:
    return {one["record_id"]: one for one in trail.written if one["event.name"] == "otel_ml.prediction"}


def test_every_record_is_there_once_and_is_json(trail: Trail) -> None:
    """With what was masked in the service, and with what the gateway masks by name, in place."""
    found = lines(trail.loki, '{service_name="credit-api"} | event_name="otel_ml.prediction"')
    records = {facts["otel_ml_audit_record_id"]: json.loads(text) for facts, text in found}
    assert len(found) == len(records) == 23
    assert records.keys() == predictions(trail).keys()
    for identity, record in records.items():
        written = predictions(trail)[identity]
        for key in ("hash", "seq", "time_unix_nano", "otel_ml.status", "prediction"):
            assert record.get(key) == written.get(key)
        assert record["features"].keys() == written["features"].keys()


def test_labels_are_few_and_the_rest_is_metadata(trail: Trail) -> None:
    """Service, model and status, and the environment that the service said."""
    answer = httpx.get(f"{trail.loki.url}/loki/api/v1/series", params={"match[]": '{service_name="credit-api"}'})
    series = [set(one.items()) for one in answer.json()["data"]]
    shared = {("service_name", "credit-api")}
    assert all(one > shared for one in series)
    labels = {key for one in series for key, _ in one}
    assert labels == {"service_name", "deployment_environment_name", "otel_ml_model_name", "otel_ml_status"}
    query = '{otel_ml_model_name="credit", otel_ml_status="error", deployment_environment_name="staging"}'
    found = [facts for facts, _ in lines(trail.loki, query)]
    assert len(found) == 5
    assert {(one["otel_ml_model_version"], one["error_type"]) for one in found} == {("2", "ValueError")}
    assert all(len(one["trace_id"]) == 32 and one["exception_message"].startswith("amount") for one in found)


def test_rows_of_a_batch_share_a_call(trail: Trail) -> None:
    """Each is a record of its own."""
    found = [facts for facts, _ in lines(trail.loki, '{otel_ml_model_name="batches"}')]
    assert sorted(one["row"] for one in found) == ["0", "1", "2"] and len({one["call_id"] for one in found}) == 1


def test_the_chain_can_be_followed(trail: Trail) -> None:
    """Header and seal are there too, with the hash of all before them, under the name of their service."""
    query = '{service_name="credit-api"} | event_name=~"otel_ml.audit.se.+"'
    found = [json.loads(text) for _, text in lines(trail.loki, query)]
    seals = [one for one in found if one["event.name"] == "otel_ml.audit.seal"]
    assert {one["hash"] for one in seals} == {
        one["hash"] for one in trail.written if one["event.name"] == "otel_ml.audit.seal"
    }
    assert len(found) == 2 * len(seals)


def test_the_panel_shows_failures_with_their_features(trail: Trail) -> None:
    """The query of the dashboard, with its variables chosen, gives one line a failure."""
    page = json.loads((REPOSITORY / "grafana/dashboards/json/otel-ml-model.json").read_text())
    (panel,) = (one for one in page["panels"] if one["title"] == "Failed predictions and their features")
    query = panel["targets"][0]["expr"]
    for name, value in {"service": ".+", "environment": ".*", "model": "credit", "version": ".*"}.items():
        query = query.replace(f"${name}", value)
    found = [text for _, text in lines(trail.loki, query)]
    assert len(found) == 5
    for text in found:
        assert text.startswith("ValueError: amount ") and '"amount":' in text and '"max_token"' in text
    assert "hunter2" not in str(found) and "ada@example.org" not in str(found)
