"""What the collector's configs promise, checked on the files: no binary is needed to break it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

COLLECTOR = Path(__file__).parents[2] / "collector"
MAIN = ("gateway.yaml", "agent.yaml", "balancer.yaml")
OVERLAYS = ("elasticsearch.yaml", "splunk.yaml", "tls.yaml")
SECRETS = {"OTEL_ML_TOKEN", "OTEL_ML_ELASTICSEARCH_API_KEY", "OTEL_ML_SPLUNK_TOKEN"}
VARIABLE = re.compile(r"\$\{([^}]*)\}")
KINDS = ("extensions", "receivers", "processors", "exporters", "connectors")
# Names that version 0.159 still takes, with a warning.
OLD_NAMES = {"otlphttp", "filelog", "hostmetrics", "spanmetrics", "resourcedetection", "loadbalancing"}


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((COLLECTOR / name).read_text())


def merged(base: Any, overlay: Any) -> Any:
    """Return what the collector makes of two configs: maps are merged, everything else is replaced, lists too."""
    if not (isinstance(base, dict) and isinstance(overlay, dict)):
        return overlay
    return {**base, **{key: merged(base[key], value) if key in base else value for key, value in overlay.items()}}


WHOLE = {name: read(name) for name in MAIN} | {
    f"gateway.yaml+{name}": merged(read("gateway.yaml"), read(name)) for name in OVERLAYS
}


@pytest.mark.parametrize("name", [*MAIN, *OVERLAYS])
def test_every_variable_has_a_default_unless_it_is_a_secret(name: str) -> None:
    """A deployment sets what it needs to, and cannot forget a secret."""
    code = "\n".join(line.partition(" #")[0] for line in (COLLECTOR / name).read_text().splitlines())
    found = VARIABLE.findall(code)
    assert found
    for one in found:
        assert re.fullmatch(r"env:[A-Z][A-Z0-9_]*(:-.*)?", one), one
        variable = one.removeprefix("env:").partition(":-")[0]
        assert variable.startswith("OTEL_ML_") or variable == "HOSTNAME", "HOSTNAME is what a container is given"
        assert (":-" in one) == (variable not in SECRETS), one


@pytest.mark.parametrize("name", WHOLE)
def test_every_component_that_is_named_is_defined_and_used(name: str) -> None:
    """Also after an overlay has replaced lists of the gateway."""
    config = WHOLE[name]
    defined = {kind: set(config.get(kind, {})) for kind in KINDS}
    pipelines = config["service"]["pipelines"].values()
    receivers = {one for pipeline in pipelines for one in pipeline["receivers"]}
    exporters = {one for pipeline in pipelines for one in pipeline["exporters"]}
    processors = {one for pipeline in pipelines for one in pipeline["processors"]}
    assert receivers | exporters == defined["receivers"] | defined["exporters"] | defined["connectors"]
    assert defined["connectors"] <= receivers & exporters, "a connector ends one pipeline and begins another"
    assert processors == defined["processors"]
    assert set(config["service"]["extensions"]) == defined["extensions"]
    used = set(re.findall(r"'(?:storage|authenticator)': '([^']+)'", str(config)))
    assert used <= defined["extensions"]


@pytest.mark.parametrize("name", WHOLE)
def test_every_pipeline_begins_with_the_memory_limiter_and_none_has_a_batch_processor(name: str) -> None:
    """What is refused is refused at the entrance; what is batched is batched behind the queue that keeps it."""
    for pipeline in WHOLE[name]["service"]["pipelines"].values():
        inner = all(receiver.startswith("forward/") for receiver in pipeline["receivers"])
        assert ("memory_limiter" in pipeline["processors"][:1]) is not inner
        assert not any(one.partition("/")[0] == "batch" for one in pipeline["processors"])


@pytest.mark.parametrize("name", WHOLE)
def test_every_exporter_keeps_what_it_has_on_disk_and_never_gives_up(name: str) -> None:
    """A store may be away for as long as the queue has space."""
    config = WHOLE[name]
    for exporter, settings in config["exporters"].items():
        queue = settings["sending_queue"]
        assert queue["storage"] in config["service"]["extensions"] and queue["block_on_overflow"] is True
        assert queue["sizer"] == "items" and "batch" in queue, exporter
        if exporter.startswith("elasticsearch"):  # which has a way of its own
            assert settings["retry"]["enabled"] and settings["retry"]["max_retries"] >= 10_000
            assert {429, 502, 503, 504} <= set(settings["retry"]["retry_on_status"])
        else:
            assert settings["retry_on_failure"]["max_elapsed_time"] == 0


def test_redaction_and_clean_up_stand_in_every_way_into_the_gateway() -> None:
    """And span metrics are taken behind them, from what goes both to the sampler and around it."""
    pipelines = read("gateway.yaml")["service"]["pipelines"]
    for pipeline in (one for one in pipelines.values() if "otlp" in one["receivers"]):
        assert {"resource", "redaction/keys", "redaction/values"} <= set(pipeline["processors"])
    assert set(pipelines["traces/in"]["exporters"]) == {
        "span_metrics",
        "forward/around_sampling",
        "forward/into_sampling",
    }


def test_the_gateway_asks_for_the_token_on_every_receiver_and_the_agent_sends_it() -> None:
    """Also with TLS, whose overlay changes nothing but TLS."""
    for config in (WHOLE["gateway.yaml"], WHOLE["gateway.yaml+tls.yaml"]):
        for settings in config["receivers"]["otlp"]["protocols"].values():
            assert settings["auth"] == {"authenticator": "bearertokenauth"}
    assert WHOLE["agent.yaml"]["exporters"]["otlp_http/gateway"]["auth"] == {"authenticator": "bearertokenauth"}
    assert "127.0.0.1" in WHOLE["agent.yaml"]["receivers"]["otlp"]["protocols"]["http"]["endpoint"]


def test_the_agent_reads_sealed_segments_only_and_never_gives_one_up() -> None:
    """Not the manifest, nor what is under way; how far each was read outlives the agent."""
    config = read("agent.yaml")
    receiver = config["receivers"]["file_log/audit"]
    (pattern,) = receiver["include"]
    assert pattern.endswith("/*.jsonl}") and receiver["exclude"] == ["**/manifest.jsonl"]
    assert receiver["start_at"] == "beginning"
    assert config["extensions"][receiver["storage"]]["fsync"] is True
    assert receiver["retry_on_failure"] == {"enabled": True, "max_elapsed_time": 0}
    assert receiver["poll_interval"] == "10s" and "48h" in receiver["exclude_older_than"]


def test_what_finds_an_audit_record_is_a_label_and_the_rest_is_not() -> None:
    """Service, model and status, of the attributes that the agent gives to the resource of an audit record."""
    receiver = read("agent.yaml")["receivers"]["file_log/audit"]
    given = {match[1] for one in receiver["operators"] if (match := re.match(r'resource\["(.+)"\]', one.get("to", "")))}
    loki = yaml.safe_load((COLLECTOR.parent / "grafana/loki.yaml").read_text())["limits_config"]["otlp_config"]
    (labels,) = (rule["attributes"] for rule in loki["resource_attributes"]["attributes_config"])
    assert {"service.name", "otel_ml.model.name", "otel_ml.status"} <= given & set(labels)
    assert given - set(labels) == {"service.version", "service.instance.id"}
    (kept,) = re.findall(
        r"keep_keys\(log.attributes, \[(.+)\]\)", str(read("agent.yaml")["processors"]["transform/audit"])
    )
    assert '"otel_ml.audit.record_id"' in kept
    assert not {'"features"', '"prediction"', '"encrypted"', '"exception.stacktrace"'} & set(kept.split(", "))


def test_audit_records_are_sent_in_requests_below_the_limit_of_the_gateway() -> None:
    """They are counted in bytes, since one may be 64 KiB, and the gateway takes 20 MiB."""
    exporter = read("agent.yaml")["exporters"]["otlp_http/audit"]
    batch = exporter["sending_queue"]["batch"]
    assert batch["sizer"] == "bytes" and batch["max_size"] <= 10_000_000


def test_every_line_of_the_audit_trail_goes_exactly_one_of_two_ways() -> None:
    """One has the predictions alone, so that its exporter counts them; each filter drops what the other keeps."""
    config = read("agent.yaml")
    ways = {one: way for one, way in config["service"]["pipelines"].items() if "file_log/audit" in way["receivers"]}
    assert {one: way["exporters"] for one, way in ways.items()} == {
        "logs/predictions": ["otlp_http/audit"],
        "logs/chain": ["otlp_http/gateway"],
    }
    (kept,), (dropped,) = (
        config["processors"][f"filter/{name}"]["log_conditions"][0]["conditions"] for name in ("predictions", "chain")
    )
    assert kept.replace(" != ", " == ") == dropped == 'log.attributes["event.name"] == "otel_ml.prediction"'


@pytest.mark.parametrize("name", WHOLE)
def test_components_have_their_current_names(name: str) -> None:
    """An old name would stop working one day, and logs a warning until then."""
    config = WHOLE[name]
    named = {(kind, one.partition("/")[0]) for kind in KINDS for one in config.get(kind, {})}
    assert not {component for _, component in named} & OLD_NAMES
    assert ("exporters", "otlp") not in named, "it is otlp_grpc now"


def test_the_small_build_has_what_the_configs_use() -> None:
    """All of one version, and the overlays for the official image are the only ones that need more."""
    build = read("builder.yaml")
    modules = [one["gomod"] for kind in KINDS for one in build[kind]]
    assert {module.split()[1] for module in modules} == {"v0.159.0"}
    names = {module.split()[0].rsplit("/", 1)[1] for module in modules}
    kinds = {"extensions": "extension", "receivers": "receiver", "processors": "processor", "exporters": "exporter"}
    for config in (*MAIN, "gateway.yaml+tls.yaml"):
        for kind, suffix in {**kinds, "connectors": "connector"}.items():
            for one in WHOLE[config].get(kind, {}):
                component = one.partition("/")[0].replace("_", "")
                assert {component + suffix, component} & names, one
    providers = {one["gomod"].split()[0].rsplit("/", 1)[1] for one in build["providers"]}
    assert providers == {"envprovider", "fileprovider", "yamlprovider"}
