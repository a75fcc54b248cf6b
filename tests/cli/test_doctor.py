"""`otel-ml doctor` finds what is really wrong, and says what to do."""

from __future__ import annotations

import os
import re
import time
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import NamedTuple

import pytest

from otel_ml.cli import checks, doctor, endpoint_check
from otel_ml.settings import resolve
from receivers import Fault, OtlpReceiver, unused_port


class Usage(NamedTuple):
    total: int
    used: int
    free: int


OURS = [
    EntryPoint("otel_ml", "otel_ml.distro:Distro", "opentelemetry_distro"),
    EntryPoint("otel_ml", "otel_ml.distro:Configurator", "opentelemetry_configurator"),
]
THEIRS = [
    EntryPoint("distro", "opentelemetry.distro:OpenTelemetryDistro", "opentelemetry_distro"),
    EntryPoint("configurator", "opentelemetry.distro:OpenTelemetryConfigurator", "opentelemetry_configurator"),
]


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> list[EntryPoint]:
    """The entry points that are installed: ours alone unless a test adds some."""
    found = list(OURS)
    monkeypatch.setattr(checks, "_entry_points", lambda group: EntryPoints(found).select(group=group))
    return found


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home and a working directory of this test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def receiver():
    """A receiver that listens."""
    with OtlpReceiver() as running:
        yield running


def unwrapped(output: str) -> str:
    """Return output with its line ends and columns as single spaces."""
    return re.sub(r"\s+", " ", output)


def test_a_fresh_set_up_is_well(home: Path, cli) -> None:
    """Without any configuration all checks are OK, nothing is left behind, and the exit code is 0."""
    result = cli("doctor")
    assert result.exit_code == 0, result.output
    assert "FAIL" not in result.stdout
    assert f"OK state directory: {home}/.otel_ml can be written" in unwrapped(result.stdout)
    assert "All is well." in result.stdout
    assert list(home.iterdir()) == []


def test_settings_are_listed_with_their_origin(home: Path, cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each value says which variable or option it comes from; header values may be secrets and are not shown."""
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "fraud-api")
    monkeypatch.setenv("OTEL_ML_ENVIRONMENT", "staging")
    monkeypatch.setenv("OTEL_ML_LOG_LEVEL", "DEBUG")
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "prometheus")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"http://u:pw@127.0.0.1:{unused_port()}/x")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=hidden")
    out = unwrapped(cli("doctor", "--dir", home / "given").stdout)
    assert "service_name fraud-api OTEL_SERVICE_NAME" in out
    assert "environment staging OTEL_ML_ENVIRONMENT" in out
    assert f"directory {home}/given argument" in out
    assert "Logs.level DEBUG OTEL_ML_LOG_LEVEL" in out
    assert "/metrics http://127.0.0.1:9464 OTEL_METRICS_EXPORTER" in out
    assert "/x (http/protobuf) OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" in out
    assert "logs file default: no endpoint is set" in out
    assert "traces headers authorization OTEL_EXPORTER_OTLP_HEADERS" in out
    assert "hidden" not in out
    assert "u:pw" not in out


def test_a_wrong_variable_is_a_warning_of_its_own(home: Path, cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `configure` would warn about in a program's log stands in the list of checks."""
    monkeypatch.setenv("OTEL_ML_LOG_MAX_BYTES", "much")
    out = unwrapped(cli("doctor").stdout)
    assert "WARN environment: OTEL_ML_LOG_MAX_BYTES: expected a whole number of bytes, received 'much'" in out


def test_an_unwritable_directory_names_where_files_go_instead(home: Path, cli) -> None:
    """A file in the way of the state directory is a warning while another place can be written."""
    (home / ".otel_ml").write_text("in the way")
    result = cli("doctor")
    out = unwrapped(result.stdout)
    assert result.exit_code == 0
    assert f"WARN state directory: {home}/.otel_ml: Not a directory; {home}/home/otel_ml is used instead" in out
    assert "Set OTEL_ML_DIR" in out


def test_no_place_to_write_is_a_failure(home: Path, cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """When nothing can be written, runs are lost, and the exit code says so."""
    (home / "file").write_text("")
    places = [home / "file" / name for name in ("a", "b")]
    monkeypatch.setattr(checks, "state_directories", lambda directory: places)
    result = cli("doctor")
    assert result.exit_code == 1
    assert "nor can any other place be written" in unwrapped(result.stdout)
    assert "Telemetry is lost" in result.stdout


@pytest.mark.parametrize(("free", "status", "code"), [(10**6, "FAIL", 1), (10**8, "WARN", 0), (10**11, "OK", 0)])
def test_little_room_on_the_disk_is_said(
    home: Path, cli, monkeypatch: pytest.MonkeyPatch, free: int, status: str, code: int
) -> None:
    """A disk that is nearly full is a warning, one without room for a run a failure."""
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda path: Usage(10**12, 0, free))
    result = cli("doctor")
    assert result.exit_code == code
    assert re.search(rf"{status} +disk space: [\d.,]+ GiB free", result.stdout)


def test_a_state_directory_that_others_can_read_is_a_warning(home: Path, cli) -> None:
    """Telemetry may hold what is nobody else's business."""
    (home / ".otel_ml").mkdir(mode=0o755)
    assert f"chmod 700 {home}/.otel_ml" in unwrapped(cli("doctor").stdout)
    (home / ".otel_ml").chmod(0o700)
    assert "chmod" not in cli("doctor").stdout


def test_an_endpoint_over_http_is_really_asked(
    home: Path, cli, receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each signal sends an empty request with the configured headers."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.http_url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-token=abc")
    result = cli("doctor")
    assert result.exit_code == 0, result.output
    assert {request.path for request in receiver.requests} == {"/v1/traces", "/v1/logs", "/v1/metrics"}
    assert all(request.headers["x-token"] == "abc" and not request.records for request in receiver.requests)
    assert result.stdout.count("took an empty request in") == 3
    assert "not used: everything goes to the endpoint" in result.stdout
    assert "clock: as the endpoint's" in result.stdout


def test_an_endpoint_over_grpc_is_really_asked(
    home: Path, cli, receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same over gRPC, with the headers as metadata."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.grpc_url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "X-Token=abc")
    result = cli("doctor")
    assert result.exit_code == 0, result.output
    assert sorted(request.signal for request in receiver.requests) == ["logs", "metrics", "traces"]
    assert all(request.headers["x-token"] == "abc" for request in receiver.requests)
    assert result.stdout.count("took an empty request over gRPC") == 3


@pytest.mark.parametrize(
    ("status", "said"), [(401, "401 Unauthorized"), (500, "500 Internal Server Error"), (503, "503")]
)
def test_an_endpoint_that_refuses_is_a_failure(
    home: Path, cli, receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch, status: int, said: str
) -> None:
    """What the endpoint answered is said, and the exit code is 1."""
    receiver.misbehave(Fault(status=status))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.http_url)
    result = cli("doctor")
    assert result.exit_code == 1
    assert f"the endpoint answered {said}" in result.stdout


def test_a_grpc_endpoint_that_wants_a_token_is_a_failure_with_advice(
    home: Path, cli, receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A code of gRPC is translated into what to do."""
    receiver.misbehave(Fault(status=401))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.grpc_url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    result = cli("doctor")
    assert result.exit_code == 1
    assert "UNAUTHENTICATED" in result.stdout
    assert "Give a token with OTEL_EXPORTER_OTLP_HEADERS." in result.stdout


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_an_endpoint_that_is_not_there_is_a_failure(
    home: Path, cli, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    """Nobody listening is the most likely mistake of all; the message names address and cause."""
    url = f"http://127.0.0.1:{unused_port()}"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    result = cli("doctor")
    assert result.exit_code == 1
    assert url in result.stdout
    assert "Connection refused" in result.stdout
    assert "Start a collector there, or correct OTEL_EXPORTER_OTLP_ENDPOINT" in unwrapped(result.stdout)


def test_a_certificate_that_cannot_be_read_is_a_failure(
    home: Path, cli, receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong path in the environment is said, for both protocols."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(home / "no.pem"))
    for protocol, url in (("grpc", receiver.grpc_url), ("http/protobuf", receiver.http_url)):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url.replace("http://", "https://"))
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
        result = cli("doctor")
        assert result.exit_code == 1
        assert result.exception is None or isinstance(result.exception, SystemExit)


def test_a_grpc_endpoint_without_a_scheme_is_secure_unless_said_otherwise(
    home: Path, cli, receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`host:port` means TLS, as for the exporter; OTEL_EXPORTER_OTLP_INSECURE turns that off."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.grpc_url.removeprefix("http://"))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    assert cli("doctor").exit_code == 1
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_INSECURE", "true")
    assert cli("doctor").exit_code == 0


def test_a_signal_without_an_endpoint_uses_the_default_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """OTEL_TRACES_EXPORTER=otlp alone sends to this machine."""
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    [target] = endpoint_check.targets(resolve({}))
    assert (target.url, target.origin) == ("http://localhost:4318/v1/traces", "default")


@pytest.mark.parametrize(
    ("ahead", "said"), [(120, "120 s ahead of the endpoint's"), (-60, "60 s behind the endpoint's")]
)
def test_a_clock_that_is_off_is_a_warning(ahead: float, said: str) -> None:
    """The endpoint's own clock is the measure where there is one."""
    check = checks.clock(resolve({}), ahead)
    assert (check.status, check.finding) == ("WARN", said)
    assert "NTP" in check.advice
    assert checks.clock(resolve({}), ahead / 100).status == "OK"


def test_a_clock_before_this_release_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that starts in 1970 puts everything in the wrong order."""
    monkeypatch.setattr(checks.time, "time", lambda: 86_400.0)
    check = checks.clock(resolve({}), None)
    assert (check.status, check.finding) == ("FAIL", "it shows 1970-01-02")


def test_a_recorded_run_in_the_future_is_a_warning(home: Path) -> None:
    """A clock that jumped back is seen by what was written before."""
    run = home / ".otel_ml" / "run"
    run.mkdir(parents=True)
    os.utime(run, (time.time() + 1000, time.time() + 1000))
    check = checks.clock(resolve({}), None)
    assert check.status == "WARN"
    assert "in the future" in check.finding


def test_packages_of_several_releases_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """API and SDK of different releases are a frequent cause of strange errors."""
    versions = dict.fromkeys(checks._PACKAGES, "1.45.2") | {"opentelemetry-api": "1.40.0"}
    monkeypatch.setattr(checks.importlib.metadata, "version", versions.__getitem__)
    [check] = checks.packages()
    assert check.status == "WARN"
    assert "api 1.40.0" in check.finding
    assert check.advice.startswith("pip install --upgrade opentelemetry-api opentelemetry-sdk")


@pytest.mark.parametrize(("file", "found"), [("primitives.py", "pure Python"), ("primitives.cpython.so", "compiled")])
def test_what_is_installed_says_whether_it_is_compiled(file: str, found: str) -> None:
    """A wheel without compiled modules works, and costs more: that can be seen."""
    check = checks.compiled(file)
    assert check.finding.startswith(found)
    assert ("compiler" in check.advice) == (found == "pure Python")


def test_a_missing_package_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken installation is named with the line that mends it."""

    def version(name: str) -> str:
        if name.endswith("grpc"):
            raise checks.importlib.metadata.PackageNotFoundError(name)
        return "1.45.2"

    monkeypatch.setattr(checks.importlib.metadata, "version", version)
    missing, others = checks.packages()
    assert (missing.status, others.status) == ("FAIL", "OK")
    assert "opentelemetry-exporter-otlp-proto-grpc is missing" in missing.finding


def test_another_distribution_beside_ours_is_a_warning(
    installed: list[EntryPoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`opentelemetry-instrument` takes any of several distributions unless it is told which."""
    installed += THEIRS
    assert [(check.status, check.subject) for check in checks.entry_points()] == [
        ("WARN", "opentelemetry_distro"),
        ("WARN", "opentelemetry_configurator"),
    ]
    monkeypatch.setenv("OTEL_PYTHON_DISTRO", "otel_ml")
    monkeypatch.setenv("OTEL_PYTHON_CONFIGURATOR", "otel_ml")
    assert [check.status for check in checks.entry_points()] == ["OK", "OK"]


def test_a_variable_that_picks_another_distribution_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """A forgotten variable turns our set-up off without a word."""
    monkeypatch.setenv("OTEL_PYTHON_DISTRO", "distro")
    check = next(checks.entry_points())
    assert (check.status, check.advice) == ("WARN", "unset OTEL_PYTHON_DISTRO")


def test_a_package_without_entry_points_is_a_warning(installed: list[EntryPoint]) -> None:
    """A source tree on the path is not an installation."""
    installed.clear()
    assert all("not registered" in check.finding for check in checks.entry_points())


@pytest.mark.parametrize(
    ("variable", "value", "status", "said"),
    [
        ("OTEL_SDK_DISABLED", "true", "FAIL", "nothing is recorded at all"),
        ("OTEL_TRACES_EXPORTER", "none", "WARN", "traces are neither stored nor sent"),
        ("OTEL_TRACES_SAMPLER", "parentbased_always_off", "WARN", "no span is kept"),
        ("OTEL_PROPAGATORS", "tracecontext", "WARN", "without baggage"),
        ("OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED", "true", "WARN", "sent twice"),
    ],
)
def test_variables_that_turn_things_off_are_found(
    home: Path, cli, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, status: str, said: str
) -> None:
    """What quietly loses or doubles telemetry is said, with what to unset."""
    assert variable not in cli("doctor").stdout
    monkeypatch.setenv(variable, value)
    result = cli("doctor")
    line = next(line for line in result.stdout.splitlines() if f"{variable}:" in line)
    assert line.split()[0] == status
    assert said in line
    assert result.exit_code == (1 if status == "FAIL" else 0)


def test_findings_are_shown_one_by_one(home: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """An endpoint that takes its time does not hide what was found before it."""
    seen: list[str] = []

    def slow(settings):
        seen.append(capsys.readouterr().out)
        return iter(())

    monkeypatch.setattr(doctor, "check_endpoints", slow)
    assert doctor.doctor(None) == 0
    assert "disk space" in seen[0]
