"""A program for test_canary: with everything on, secrets in every place that takes text. Standard input has them."""

from __future__ import annotations

import base64
import json
import logging
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pandas as pd
from opentelemetry import metrics, trace

import otel_ml

given = json.load(sys.stdin)
mail, secret, card, key = (given[name] for name in ("mail", "secret", "card", "key"))
login = base64.b64encode(f"app:{secret}".encode()).decode()
texts = {
    "dsn": f"postgres://app:{secret}@db.internal/credit",
    "url": f"https://api.internal/v1?api_key={key}&token={secret}",
    "header": f"Authorization: Basic {login}",
    "card": f"paid with {card}",
    "spaced card": f"paid with {card[:4]} {card[4:8]} {card[8:12]} {card[12:]}",
    "key": f"client {key} was refused",
    "mail": f"sent to {mail}",
}
everything = "; ".join(texts.values())
features: dict[str, Any] = {
    "amount": 12.5,
    **texts,
    "password": secret,
    "email": mail,
    "card_number": int(card),
    "some_number": int(card),
    "nested": {"list": [{"api_key": key, "n": 1}], "headers": {"Authorization": f"Basic {login}"}},
    "json": json.dumps({"password": secret, "user": {"mail": mail, "token": key}}),
    "json in json": json.dumps({"inner": json.dumps({"password": secret})}),
    "bytes": f"password={secret}".encode(),
    mail: "a name",
    f"password={secret}": "another",
}
table = pd.DataFrame({"amount": [1.0, 2.0], "password": [secret] * 2, "text": [texts["dsn"]] * 2, mail: [1, 2]})


class Refused(Exception):
    """Carries the request that was refused, as many clients' exceptions do."""


@otel_ml.inference(model="m", version="1", subject=lambda data: mail)
def echo(data: Any) -> Any:
    """Predict what was given."""
    return data


@otel_ml.inference(model="m", version="1")
def fail(data: Any) -> Any:
    """Raise at the end of a chain, each of whose links says something that nobody should read."""
    try:
        try:
            raise ConnectionError(texts["dsn"])
        except ConnectionError as error:
            error.add_note(f"the header was {texts['header']}")
            raise ExceptionGroup(texts["card"], [Refused(texts["url"]), KeyError(mail)]) from error
    except ExceptionGroup:
        raise Refused({"request": {"password": secret, "card": card}}, everything)  # noqa: B904  the implicit chain


def work(port: int) -> bytes:
    """Put the secrets wherever there is a place; return `/metrics`."""
    with otel_ml.run(f"for {mail}", config={"api_key": key, "text": everything}) as run:
        with trace.get_tracer("third party").start_as_current_span(f"mail {mail}") as span:
            span.set_attributes({"password": secret, **texts})
            span.add_event(f"to {mail}", {"token": secret, **texts})
        metrics.get_meter("m").create_counter("sent").add(1, {"email": mail, "password": secret, **texts})
        otel_ml.step(f"step {mail}")(lambda: 0)()
        log = logging.getLogger(f"log.{mail}")
        log.info("to %s by %s", mail, texts["dsn"], extra={"nested": {"password": secret}, **texts})
        log.warning(json.dumps({"password": secret, "text": everything}))
        run.update_config({"api_key": key + "2"})
        for data in (features, table, [features, features], everything, [everything] * 3, int(card)):
            echo(data)
            try:
                fail(data)
            except Refused:
                log.exception("failed for %s", mail)
        for record in otel_ml.audit.query("select record_id from predictions order by seq limit 3"):
            otel_ml.audit.outcome(record["record_id"], {"password": secret, "text": everything})
    return urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read()  # type: ignore[no-any-return]


def main() -> None:
    """Run with everything on, and keep what `/metrics` said."""
    sys.argv += ["--password", secret, "--dsn", texts["dsn"]]
    port, form = int(sys.argv[1]), sys.argv[2]
    with otel_ml.configure(
        service_name="canary",
        endpoint=sys.argv[3] or None,
        directory="state",
        metrics=otel_ml.Metrics(port=port),
        logs=otel_ml.Logs(format=form, stream="stdout", directory=Path("logs")),  # type: ignore[arg-type]
        audit=otel_ml.Audit(directory=Path("audit")),
        resource_attributes={"db.password": secret, "owner": mail, "dsn": texts["dsn"]},
    ):
        page = work(port)
    Path("page").write_bytes(page)
    otel_ml.audit.compact(directory="audit")


if __name__ == "__main__":
    main()
