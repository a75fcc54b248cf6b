"""What `docker-compose.yml` promises: checked on the file itself, because no container engine is needed to break it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")
UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}

COMPOSE = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ONE_SHOT = {"prepare", "load", "train"}  # they run to their end, which their exit code tells
NOTHING_TO_ASK = {"pod"}  # it holds a network and sleeps
LASTING = sorted(set(SERVICES) - ONE_SHOT)
WRITTEN_IN_GO = {"gateway", "agent", "loki", "tempo", "prometheus", "grafana"}


def default(text: str) -> str:
    """Return a value as it is when no variable is set."""
    return VARIABLE.sub(lambda match: match[3] if match[2] == "-" else "", text)


def size(text: str) -> int:
    match = re.fullmatch(r"(\d+)([kmg])(?:ib)?", text.lower())
    assert match is not None, text
    return int(match[1]) * UNITS[match[2]]


def mounts(service: dict[str, Any]) -> list[list[str]]:
    return [volume.split(":") for volume in service.get("volumes", [])]


def networks(service: dict[str, Any]) -> set[str]:
    """Return the networks that a service reaches, also through the one whose network it shares."""
    mode = service.get("network_mode", "")
    if mode.startswith("service:"):
        return networks(SERVICES[mode.removeprefix("service:")])
    return set() if mode == "none" else set(service["networks"])


def after(name: str) -> set[str]:
    """Return every service that has to be there before this one."""
    needed = set(SERVICES[name].get("depends_on", {}))
    return needed.union(*(after(other) for other in needed))


def test_it_is_a_compose_file() -> None:
    """The schema of the Compose specification accepts it."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_image_is_pinned_and_can_be_given_with_its_digest(name: str) -> None:
    """The whole reference comes from a variable, and its default names one exact release."""
    match = VARIABLE.fullmatch(SERVICES[name]["image"])
    assert match is not None and match[1].endswith("_IMAGE") and match[2] == "-"
    tag = match[3].rpartition(":")[2]
    assert re.fullmatch(r"v?\d+\.\d+\.\d+(-\w+)*", tag), tag
    if "build" in SERVICES[name]:
        base = default(SERVICES[name]["build"]["args"]["PYTHON_IMAGE"])
        assert f"ARG PYTHON_IMAGE={base}\n" in (ROOT / "examples/serving/Dockerfile").read_text()
        assert re.search(r":\d+\.\d+\.\d+-", base)


def test_the_collector_is_the_one_that_the_tests_run() -> None:
    """Its components change their names between releases: image and own build have one version."""
    modules = re.findall(r"(?:/collector|-contrib)/\S+ v(0\.\d+\.\d+)", (ROOT / "collector/builder.yaml").read_text())
    tags = {default(SERVICES[name]["image"]).rpartition(":")[2] for name in ("gateway", "agent")}
    assert tags == set(modules)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_container_can_do_no_more_than_it_has_to(name: str) -> None:
    """Its file system is read-only, it has no capability that it does not need, and it cannot gain one."""
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service.get("cap_add", []) == (["CHOWN"] if name == "prepare" else [])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service and "pid" not in service


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_container_cannot_take_the_machine(name: str) -> None:
    """Memory, processor, processes and its log on disk are limited."""
    service = SERVICES[name]
    assert 0 < service["cpus"] <= 2
    assert size(service["mem_limit"]) <= size("2g")
    assert service["pids_limit"] <= 512
    assert service["logging"]["driver"] == "json-file"
    assert {"max-size", "max-file"} <= set(service["logging"]["options"])
    assert service["restart"] == ("no" if name in ONE_SHOT else "unless-stopped")
    assert service["stop_grace_period"] == "30s"


@pytest.mark.parametrize("name", sorted(WRITTEN_IN_GO))
def test_the_go_runtime_knows_the_limit(name: str) -> None:
    """It collects its garbage at 80 % of the memory at which the kernel would end it."""
    service = SERVICES[name]
    assert size(service["environment"]["GOMEMLIMIT"].lower()) == 0.8 * size(service["mem_limit"])


def test_ports_are_open_on_this_machine_only() -> None:
    """Grafana, the gateway and the example are; a store, which asks for no password, is not at all."""
    open_ports = {}
    for name, service in SERVICES.items():
        for port in service.get("ports", []):
            host, _, inside = default(port).rpartition(":")
            assert re.fullmatch(r"127\.0\.0\.1:\d+", host), port
            open_ports.setdefault(name, set()).add(int(inside))
    assert open_ports == {"grafana": {3000}, "gateway": {4317, 4318}, "pod": {8000}}


def test_a_store_is_reached_by_gateway_and_grafana_only() -> None:
    """The application is in another network, and the stores' own leads nowhere."""
    assert COMPOSE["networks"]["back"]["internal"] is True
    stores = {"prometheus", "loki", "tempo"}
    assert all(networks(SERVICES[name]) == {"back"} for name in stores)
    assert {name for name in SERVICES if "back" in networks(SERVICES[name])} == {*stores, "gateway", "grafana"}


def test_no_secret_has_a_default() -> None:
    """Without `make stack-env` nothing starts, and the message says what to do."""
    secrets = {"OTEL_ML_TOKEN", "GRAFANA_ADMIN_PASSWORD", "GRAFANA_SECRET_KEY"}
    text = FILE.read_text()
    used = [match for match in VARIABLE.finditer(text) if re.search("TOKEN|PASSWORD|SECRET|KEY$", match[1])]
    assert {match[1] for match in used} == secrets
    assert all((match[2], match[3]) == ("?", "run make stack-env") for match in used)
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search("TOKEN|PASSWORD|SECRET", name):
                assert VARIABLE.fullmatch(value), name


def test_grafana_lets_nobody_in_and_calls_nobody() -> None:
    """No guest, no sign-up, no reports, and no plug-in that is fetched or replaced while it starts."""
    environment = SERVICES["grafana"]["environment"]
    for name in ("AUTH_ANONYMOUS_ENABLED", "USERS_ALLOW_SIGN_UP", "ANALYTICS_REPORTING_ENABLED"):
        assert environment[f"GF_{name}"] == "false"
    for name in ("ANALYTICS_CHECK_FOR_UPDATES", "ANALYTICS_CHECK_FOR_PLUGIN_UPDATES", "PLUGINS_PREINSTALL_AUTO_UPDATE"):
        assert environment[f"GF_{name}"] == "false"
    assert environment["GF_PLUGINS_PREINSTALL_DISABLED"] == "true"


@pytest.mark.parametrize("name", sorted(set(LASTING) - NOTHING_TO_ASK))
def test_a_health_check_runs_what_the_image_has(name: str) -> None:
    """A collector from scratch, and Loki and Tempo without a shell, have no wget of their own."""
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] == "CMD"  # never CMD-SHELL: most of the images have no shell
    program, *arguments = check["test"][1:]
    assert (
        program
        == {
            "gateway": "/probe/busybox",
            "agent": "/probe/busybox",
            "grafana": "/probe/busybox",
            "loki": "/usr/bin/loki",
            "tempo": "/tempo",
            "prometheus": "/bin/promtool",
            "serving": "python",
        }[name]
    )
    assert "http://127.0.0.1:" in arguments[-1]
    assert {"interval", "timeout", "retries", "start_period"} <= set(check)
    if program.startswith("/probe"):
        assert ["probe", "/probe", "ro"] in mounts(SERVICES[name])
        assert SERVICES[name]["depends_on"]["prepare"] == {"condition": "service_completed_successfully"}


def test_services_start_in_the_order_of_who_needs_whom() -> None:
    """Stores, gateway, agent, service, load: each waits until the one before is healthy, and stops before it."""
    stores = {"prometheus", "loki", "tempo"}
    assert stores <= after("gateway") and stores <= after("grafana")
    assert {"gateway", "prepare"} <= after("agent")
    assert {"agent", "gateway"} <= after("serving")
    assert {"serving", "agent"} <= after("load") and "agent" in after("train")
    for name, service in SERVICES.items():
        for needed, how in service.get("depends_on", {}).items():
            expected = "service_completed_successfully" if needed == "prepare" else "service_healthy"
            assert how == {"condition": expected}, (name, needed)


def test_agent_and_service_share_a_loopback_that_neither_owns() -> None:
    """The agent listens on 127.0.0.1 only; either can restart and still reach the other."""
    for name in ("agent", "serving", "load", "train"):
        assert SERVICES[name]["network_mode"] == "service:pod"
    for name in ("serving", "load", "train"):
        assert SERVICES[name]["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://127.0.0.1:4318"


def test_the_agent_can_read_what_the_service_puts_on_record() -> None:
    """Segments are for their user alone: both are that user, of the same volume, where the agent looks for it."""
    agent, prepare = SERVICES["agent"], SERVICES["prepare"]
    (where,) = re.findall(r"OTEL_ML_AUDIT_FILES:-(\S+)/\*\.jsonl", (ROOT / "collector/agent.yaml").read_text())
    assert ["audit", where, "ro"] in mounts(agent)
    owner = agent["user"]
    assert f"USER {owner}\n" in (ROOT / "examples/serving/Dockerfile").read_text()
    for name in ("serving", "load", "train"):
        service = SERVICES[name]
        assert service["user"] == owner
        assert ["audit", where] in mounts(service) and service["environment"]["OTEL_ML_AUDIT_DIR"] == where
    (target,) = [target for source, target in mounts(prepare) if source == "audit"]
    assert re.search(rf"chown {owner} [^&]*{target}\b", " ".join(prepare["command"]))


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_mounted_files_exist_and_stay_as_they_are(name: str) -> None:
    """Every configuration is a file of this repository, mounted read-only; every volume is declared."""
    for source, target, *mode in mounts(SERVICES[name]):
        assert target.startswith("/")
        if source.startswith("./"):
            assert (ROOT / source).exists(), source
            assert mode == ["ro"]
        else:
            assert source in COMPOSE["volumes"]


def test_configurations_are_the_ones_that_the_commands_name() -> None:
    """Each server reads the file that is mounted for it, with variables expanded, and takes what the others send."""
    for name in ("gateway", "agent", "loki", "tempo", "prometheus"):
        path = re.search(r"config(?:\.file)?=(\S+)", " ".join(SERVICES[name]["command"]))
        assert path is not None
        assert path[1] in [target for _, target, *_ in mounts(SERVICES[name])]
    assert "-config.expand-env=true" in SERVICES["loki"]["command"]
    assert "-config.expand-env=true" in SERVICES["tempo"]["command"]
    assert {
        "--web.enable-otlp-receiver",
        "--web.enable-remote-write-receiver",
        "--enable-feature=exemplar-storage",
    } <= set(SERVICES["prometheus"]["command"])


@pytest.mark.parametrize("name", ["gateway", "agent", "loki", "tempo"])
def test_variables_that_are_passed_on_are_read(name: str) -> None:
    """A name that the mounted configuration does not know would be a knob that turns nothing."""
    [source] = [source for source, *_ in mounts(SERVICES[name]) if source.endswith(".yaml")]
    text = (ROOT / source).read_text()
    passed = {variable for variable in SERVICES[name]["environment"] if variable.startswith("OTEL_ML_")}
    assert [variable for variable in sorted(passed) if not re.search(rf"\b{variable}\b", text)] == []


def test_the_image_of_the_example_gets_no_secret() -> None:
    """The build context is a list of what the Dockerfile copies; `.env` is not on it."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    assert rules[0] == "*"
    copied = set()
    for line in (ROOT / "examples/serving/Dockerfile").read_text().splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            copied |= {Path(source).parts[0] for source in line.split()[1:-1]}
    assert copied == allowed
