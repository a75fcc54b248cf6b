"""Server configs and Grafana's provisioning agree with each other, with the collector and with the compose file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
GRAFANA = ROOT / "grafana"
VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


def text_of(name: str) -> str:
    return (GRAFANA / name).read_text()


def config(name: str) -> Any:
    """Return a server's config as it is when no variable is set."""
    return yaml.safe_load(VARIABLE.sub(lambda match: match[2], text_of(name)))


def expanded(value: Any) -> Any:
    """Return a provisioned value as Grafana reads it, after its own expansion."""
    if isinstance(value, dict):
        return {key: expanded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [expanded(one) for one in value]
    if isinstance(value, str):
        assert not re.search(r"(?<!\$)(?:\$\$)*\$(?!\$)", value), f"Grafana would expand a variable in {value!r}"
        return value.replace("$$", "$")
    return value


def named(value: Any, key: str) -> Iterator[Any]:
    """Yield every value under a key, at any depth."""
    for name, one in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        if name == key:
            yield one
        yield from named(one, key)


LOKI, TEMPO, PROMETHEUS = config("loki.yaml"), config("tempo.yaml"), config("prometheus.yaml")
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
GATEWAY = yaml.safe_load((ROOT / "collector/gateway.yaml").read_text())
SOURCES = {
    source["uid"]: source
    for source in expanded(yaml.safe_load(text_of("provisioning/datasources/otel_ml.yaml")))["datasources"]
}
PROMOTED = {name.replace(".", "_") for name in PROMETHEUS["otlp"]["promote_resource_attributes"]}
[INDEXED] = LOKI["limits_config"]["otlp_config"]["resource_attributes"]["attributes_config"]


def test_data_sources_have_fixed_uids() -> None:
    """The three stores have the uids that dashboards name, cannot be edited, and are services of the compose file."""
    assert {uid: source["type"] for uid, source in SOURCES.items()} == {
        uid: uid for uid in ("prometheus", "loki", "tempo")
    }
    assert all(source["editable"] is False for source in SOURCES.values())
    for uid, source in SOURCES.items():
        host, port = re.fullmatch(r"http://(\w+):(\d+)", source["url"]).groups()
        assert (host, host in COMPOSE) == (uid, True)
        assert port == {"prometheus": "9090", "loki": "3100", "tempo": "3200"}[uid]
    assert [uid for uid, source in SOURCES.items() if source.get("isDefault")] == ["prometheus"]


def test_links_name_data_sources() -> None:
    """Each way from one store to another ends at a uid that is there."""
    uids = list(named(SOURCES, "datasourceUid"))
    assert len(uids) == 5
    assert set(uids) <= set(SOURCES)


def test_metric_leads_to_trace_and_log_to_trace() -> None:
    """Exemplars and log records carry the label that the links follow, and Tempo writes the same one."""
    [exemplar] = SOURCES["prometheus"]["jsonData"]["exemplarTraceIdDestinations"]
    assert (exemplar["name"], exemplar["datasourceUid"]) == ("trace_id", "tempo")
    [derived] = SOURCES["loki"]["jsonData"]["derivedFields"]
    assert (derived["matcherType"], derived["matcherRegex"], derived["datasourceUid"]) == ("label", "trace_id", "tempo")
    assert derived["url"] == "${__value.raw}"
    assert TEMPO["overrides"]["defaults"]["metrics_generator"]["trace_id_label_name"] == "trace_id"


def test_trace_leads_to_logs_and_metrics() -> None:
    """A span's service becomes a label that the store has, and the metrics are those of the gateway."""
    links = SOURCES["tempo"]["jsonData"]
    logs, metrics = links["tracesToLogsV2"], links["tracesToMetrics"]
    assert logs["query"] == '{${__tags}} | trace_id="${__trace.traceId}"'
    assert {tag["value"] for tag in logs["tags"]} <= {name.replace(".", "_") for name in INDEXED["attributes"]}
    assert {tag["value"] for tag in metrics["tags"]} <= PROMOTED
    assert all(tag["value"] == tag["key"].replace(".", "_") for tag in logs["tags"] + metrics["tags"])
    queries = "\n".join(query["query"] for query in metrics["queries"])
    assert "span_metrics" in GATEWAY["connectors"]
    assert set(re.findall(r"traces_\w+", queries)) == {
        "traces_span_metrics_calls_total", "traces_span_metrics_duration_seconds_bucket"
    }  # fmt: skip
    assert all("$__tags" in query["query"] for query in metrics["queries"])
    assert links["serviceMap"]["datasourceUid"] == "prometheus"
    assert links["nodeGraph"]["enabled"] is True
    assert (TEMPO["stream_over_http_enabled"], links["streamingEnabled"]) == (True, {"search": True, "metrics": True})


def test_dashboards_are_read_where_they_are_mounted() -> None:
    """The provider reads the folder where the compose file mounts the generated JSON, and saves nothing over it."""
    [provider] = yaml.safe_load(text_of("provisioning/dashboards/otel_ml.yaml"))["providers"]
    assert (provider["folder"], provider["allowUiUpdates"]) == ("otel_ml", False)
    mounted = [volume.split(":")[:2] for volume in COMPOSE["grafana"]["volumes"]]
    assert ["./grafana/dashboards/json", provider["options"]["path"]] in mounted
    assert ["./grafana/provisioning", "/etc/grafana/provisioning"] in mounted


def test_rate_interval_fits_how_often_metrics_come() -> None:
    """Grafana's rate interval spans several pushes of a service, which sends every minute by default."""
    assert SOURCES["prometheus"]["jsonData"]["timeInterval"] == "60s"


def test_retention_is_set_in_all_stores() -> None:
    """Nothing is kept for ever: each store deletes by age, Loki and Tempo by a variable."""
    assert LOKI["compactor"]["retention_enabled"] is True
    assert LOKI["compactor"]["delete_request_store"] == "filesystem"
    assert LOKI["limits_config"]["retention_period"] == "744h"
    assert TEMPO["overrides"]["defaults"]["compaction"]["block_retention"] == "336h"
    assert PROMETHEUS["storage"]["tsdb"]["retention"] == {"time": "31d"}


def test_what_is_kept_is_taken_late() -> None:
    """A run pushed weeks later, and the queue of a gateway that was cut off, are as welcome as fresh data."""
    assert LOKI["limits_config"]["reject_old_samples_max_age"] == LOKI["limits_config"]["retention_period"]
    assert LOKI["ingester"]["query_store_max_look_back_period"] == LOKI["limits_config"]["retention_period"]
    assert LOKI["limits_config"]["shard_streams"]["time_sharding_enabled"] is True
    slack = TEMPO["live_store"]["wal"]["ingestion_time_range_slack"]
    assert slack == TEMPO["overrides"]["defaults"]["compaction"]["block_retention"]
    assert PROMETHEUS["storage"]["tsdb"]["out_of_order_time_window"] == "24h"


def test_loki_indexes_little() -> None:
    """Five attributes with few values each are labels; the defaults of Loki are not."""
    assert LOKI["limits_config"]["otlp_config"]["resource_attributes"]["ignore_defaults"] is True
    assert INDEXED == {
        "action": "index_label",
        "attributes": [
            "service.name", "service.namespace", "deployment.environment.name", "otel_ml.model.name", "otel_ml.status"
        ],
    }  # fmt: skip


def test_one_source_of_span_metrics() -> None:
    """The gateway makes span metrics before sampling; Tempo, which sees what is left, makes service graphs only."""
    assert TEMPO["overrides"]["defaults"]["metrics_generator"]["processors"] == ["service-graphs"]


def test_exemplar_memory_is_bounded() -> None:
    """Prometheus keeps exemplars in memory, in a number that the file says."""
    assert PROMETHEUS["storage"]["exemplars"]["max_exemplars"] == 200_000


def test_compose_gives_the_flags_that_the_file_asks_for() -> None:
    """The flags in the comment at the top of the Prometheus config are those that it is started with."""
    asked = set(re.findall(r"^#\s+(--\S+)", text_of("prometheus.yaml"), re.MULTILINE))
    assert asked == {
        "--web.enable-otlp-receiver", "--web.enable-remote-write-receiver", "--enable-feature=exemplar-storage",
        "--enable-feature=created-timestamp-zero-ingestion",
    }  # fmt: skip
    assert asked <= set(COMPOSE["prometheus"]["command"])


def test_scrape_targets_are_services() -> None:
    """Every server that Prometheus scrapes is in the compose file, and no application is: those push."""
    jobs = {job["job_name"]: job["static_configs"][0]["targets"] for job in PROMETHEUS["scrape_configs"]}
    assert set(jobs) == {"gateway", "loki", "tempo", "prometheus", "grafana"}
    assert all(target.split(":")[0] == name and name in COMPOSE for name, [target] in jobs.items())


@pytest.mark.parametrize("name", ["loki", "tempo"])
def test_variables_have_defaults(name: str) -> None:
    """Each variable of a server's config has a default and the server's prefix, and the compose file expands them."""
    variables = VARIABLE.findall(text_of(f"{name}.yaml"))
    assert variables
    assert [variable for variable, default in variables if not default] == []
    shared = {"OTEL_ML_PROMETHEUS_WRITE_ENDPOINT"}
    assert {variable for variable, _ in variables if not variable.startswith(f"OTEL_ML_{name.upper()}_")} <= shared
    assert "-config.expand-env=true" in COMPOSE[name]["command"]


@pytest.mark.parametrize("name", ["loki", "tempo"])
def test_internal_port_is_not_reachable(name: str) -> None:
    """The port that a server uses to talk to itself has no authentication, and listens on loopback."""
    assert config(f"{name}.yaml")["server"]["grpc_listen_address"] == "127.0.0.1"
