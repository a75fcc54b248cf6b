"""What must not be stored: secrets that a sender did not mask, and anything sent without the right token."""

from __future__ import annotations

import json
import os
import time

import grpc
import pytest

from stack import tempo
from stack.otlp_requests import counter, logs, pairs, record, send, span, traces
from stack.servers import TOKEN
from stack.stores import eventually, lines, prometheus
from stack.whole import Stack

pytestmark = pytest.mark.xdist_group("stack")

CARD, EMAIL, BEARER = "4111111111111111", "ada.canary@example.org", "c4n4ry-t0ken-0f-a-bearer"
SECRETS = {"card": f"paid with {CARD}", "e-mail": f"sent to {EMAIL}", "header": f"Bearer {BEARER}"}
TEXT = "; ".join(SECRETS.values())


def everything(stack: Stack, service: str) -> dict[str, str]:
    """Return all that the stores have of a service, as text."""
    series = prometheus(stack.prometheus, "series", **{"match[]": f'{{service_name="{service}"}}'})
    window = {"start": time.time() - 3600, "end": time.time()}
    exemplars = prometheus(stack.prometheus, "query_exemplars", query=f'{{service_name="{service}"}}', **window)
    found = [one for one in tempo.spans(stack.directory) if one["resource"].get("service.name") == service]
    return {
        "loki": json.dumps(lines(stack.loki, f'{{service_name="{service}"}}')),
        "prometheus": json.dumps([series, exemplars]) if series else "",
        "tempo": json.dumps(found) if found else "",
    }


@pytest.mark.skipif(tempo.is_real(), reason="reads what reached the stand-in")
def test_no_store_has_a_secret_that_came_by_the_agent(stack: Stack) -> None:
    """Card number, e-mail address and bearer token in every place that takes text, in all three signals."""
    resource = {"service.name": "canary", "team": TEXT}
    failed = span(error=f"charge failed: {TEXT}", attributes={**SECRETS, "http.request.header.authorization": BEARER})
    event = failed.events.add(name="exception", time_unix_nano=time.time_ns())
    event.attributes.extend(pairs({"exception.message": TEXT, "exception.stacktrace": f"Traceback\n  {TEXT}"}))
    records = [
        record(TEXT, SECRETS),
        record({"message": TEXT, "password": "hunter2-canary"}, {"exception.message": TEXT}),
    ]
    for request in (traces([failed], resource), logs(records, resource), counter(1, SECRETS, resource)):
        send(stack.agent, request, None).raise_for_status()

    def stored() -> dict[str, str] | None:
        found = everything(stack, "canary")
        return found if found["loki"].count("paid with") >= 2 and found["prometheus"] and found["tempo"] else None

    found = eventually(stored, 90)
    for store, text in found.items():
        for secret in (CARD, EMAIL, BEARER, "hunter2-canary"):
            assert secret not in text, f"{secret} is in {store}"


@pytest.mark.parametrize("token", [None, "wrong", ""], ids=["no token", "wrong token", "empty token"])
def test_nothing_is_stored_without_the_token(stack: Stack, token: str | None) -> None:
    """The answer is 401, and the stores stay empty of it, while what comes after it with the token is stored."""
    service = f"intruder-{os.urandom(4).hex()}"
    resource = {"service.name": service}
    for request in (traces([span()], resource), logs([record("x")], resource), counter(1, {}, resource)):
        assert send(stack.gateway, request, token).status_code == 401
    for request in (traces([span("later")], resource), logs([record("later")], resource)):
        send(stack.gateway, request).raise_for_status()
    (found,) = eventually(lambda: lines(stack.loki, f'{{service_name="{service}"}}'))
    assert found[1] == "later"
    assert not prometheus(stack.prometheus, "series", **{"match[]": f'test_count_total{{service_name="{service}"}}'})
    if not tempo.is_real():
        mine = eventually(lambda: [s for s in tempo.spans(stack.directory) if s["resource"]["service.name"] == service])
        assert [one["name"] for one in mine] == ["later"]


def test_grpc_asks_for_the_token_too(stack: Stack) -> None:
    """UNAUTHENTICATED is what 401 is there."""
    with grpc.insecure_channel(stack.gateway.otlp_grpc) as channel:
        export = channel.unary_unary(
            "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=bytes,
        )
        with pytest.raises(grpc.RpcError) as refused:
            export(logs([record("x")]), metadata=[("authorization", "Bearer wrong")], timeout=20)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        export(logs([record("x")]), metadata=[("authorization", f"Bearer {TOKEN}")], timeout=20)
