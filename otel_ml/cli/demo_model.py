"""The program of `otel-ml demo`, as you would write it: two models are trained and serve predictions side by side."""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass
from typing import Any

from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

import otel_ml

SEED = 7
REQUESTS = 300
FAULTY_REQUEST = 217
CONFIG = {"seed": SEED, "test_share": 0.4, "canary_share": 0.2, "trees": 60}

Patient = dict[str, Any]

logger = logging.getLogger("demo")


@dataclass(frozen=True)
class Data:
    """Rows, labels and the names of the columns."""

    rows: Any
    labels: Any
    names: list[str]


@otel_ml.step
def load() -> Data:
    """Load the Wisconsin breast cancer data, which scikit-learn brings along."""
    bunch = load_breast_cancer()
    logger.info("loaded %d rows of %d features", *bunch.data.shape, extra={"dataset": "breast_cancer"})
    return Data(bunch.data, bunch.target, [str(name) for name in bunch.feature_names])


@otel_ml.step
def split(data: Data) -> tuple[Data, Data]:
    """Keep a part of the rows away from training."""
    seen, held, seen_labels, held_labels = train_test_split(
        data.rows, data.labels, test_size=CONFIG["test_share"], random_state=SEED, stratify=data.labels
    )
    logger.info("training on %d rows, testing on %d", len(seen), len(held))
    return Data(seen, seen_labels, data.names), Data(held, held_labels, data.names)


@otel_ml.step
def train(data: Data, classifier: Any) -> Pipeline:
    """Fit a pipeline that scales the features and classifies."""
    model = Pipeline([("scale", StandardScaler()), ("classify", classifier)]).fit(data.rows, data.labels)
    logger.info("trained a %s", type(classifier).__name__, extra={"rows": len(data.rows)})
    return model


@otel_ml.step
def evaluate(model: Pipeline, data: Data) -> float:
    """Measure the accuracy on rows that the model has not seen."""
    accuracy = float(accuracy_score(data.labels, model.predict(data.rows)))
    logger.info("accuracy of %s: %.3f", type(model[-1]).__name__, accuracy, extra={"accuracy": accuracy})
    return accuracy


@otel_ml.step("look up history")
def look_up_history(random_source: random.Random) -> None:
    """Wait as long as a feature store might take: simulated, the one thing here that is not real work."""
    seconds = random_source.lognormvariate(-6.2, 0.9)  # median 2 ms, one in a hundred above 16 ms
    time.sleep(seconds)
    if seconds > 0.02:
        logger.warning("the feature store took %.0f ms", seconds * 1000)


class Service:
    """Serves one model.

    Args:
        model: The fitted pipeline.
        version: Its version.
        names: Its features, in order.
        random_source: Decides how long look-ups take.
    """

    def __init__(self, model: Pipeline, version: str, names: list[str], random_source: random.Random) -> None:
        self.version = version
        self._model = model
        self._names = names
        self._random = random_source

    @otel_ml.inference(model="breast-cancer", version=lambda self: self.version, feature_version="2")
    def predict(self, patients: list[Patient]) -> list[float]:
        """Return the probability that a tumour is benign, for each patient."""
        look_up_history(self._random)
        rows = [[float(patient[name]) for name in self._names] for patient in patients]
        return [float(probability) for probability in self._model.predict_proba(rows)[:, 1]]


@otel_ml.step
def serve(stable: Service, canary: Service, data: Data) -> None:
    """Answer requests as they might come in: most for one patient, some for a batch, one with a typing error."""
    source = random.Random(SEED)
    for number in range(1, REQUESTS + 1):
        service = canary if source.random() < CONFIG["canary_share"] else stable
        size = source.choice((8, 32)) if source.random() < 0.1 else 1
        patients = [_patient(data, source.randrange(len(data.rows))) for _ in range(size)]
        if number == FAULTY_REQUEST:
            patients = [{**patients[0], "mean radius": "13,4 cm"}]
        try:
            service.predict(patients)
        except ValueError:
            logger.info("request %d was answered with 422 Unprocessable Content", number)
    logger.info("answered %d requests", REQUESTS)


def _patient(data: Data, index: int) -> Patient:
    features = dict(zip(data.names, data.rows[index].tolist(), strict=True))
    return {"email": f"patient{index}@example.org", **features}


def main() -> None:
    """Train, compare and serve."""
    training, test = split(load())
    stable = train(training, LogisticRegression(random_state=SEED))
    canary = train(training, RandomForestClassifier(n_estimators=int(CONFIG["trees"]), random_state=SEED))
    for model in (stable, canary):
        evaluate(model, test)
    source = random.Random(SEED)
    names = training.names
    serve(Service(stable, "1.0.0", names, source), Service(canary, "2.0.0", names, source), test)
