from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_ml import conventions, environment, health
from support import run_python

SECRET = "hunter2-correct-horse"
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=2), inner, max_size=3),
    max_leaves=10,
)


def git(directory: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    return subprocess.run(
        ["git", "-C", str(directory), *identity, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository on branch `trunk` with one commit of `model.py`."""
    git(tmp_path, "init", "-q", "-b", "trunk")
    (tmp_path / "model.py").write_text("depth = 3\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    return tmp_path


def fake_git(directory: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = directory / "git"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{os.environ['PATH']}")


def test_git_tells_commit_and_branch(repository: Path) -> None:
    """A clean work tree is its commit; new files that git does not track do not make it dirty."""
    (repository / "untracked.csv").write_text("1")
    (repository / "folder").mkdir()
    for directory in (repository, repository / "folder"):
        assert environment.git_state(str(directory)) == {
            conventions.GIT_COMMIT: git(repository, "rev-parse", "HEAD"),
            conventions.GIT_BRANCH: "trunk",
            conventions.GIT_DIRTY: False,
        }


@pytest.mark.parametrize("staged", [False, True])
def test_a_changed_file_is_dirty(repository: Path, staged: bool) -> None:
    """A tracked file that differs from the commit is seen, staged or not."""
    (repository / "model.py").write_text("depth = 5\n")
    if staged:
        git(repository, "add", ".")
    assert environment.git_state(str(repository))[conventions.GIT_DIRTY] is True


def test_a_detached_head_has_no_branch(repository: Path) -> None:
    """Commit alone, where no branch is checked out."""
    git(repository, "checkout", "-q", "--detach")
    assert set(environment.git_state(str(repository))) == {conventions.GIT_COMMIT, conventions.GIT_DIRTY}


def test_a_repository_without_commit_has_no_commit(tmp_path: Path) -> None:
    """Branch alone, before the first commit."""
    git(tmp_path, "init", "-q", "-b", "trunk")
    assert environment.git_state(str(tmp_path)) == {conventions.GIT_BRANCH: "trunk", conventions.GIT_DIRTY: False}


def test_git_does_not_wait_for_or_take_a_lock(repository: Path) -> None:
    """A git command that runs meanwhile in the same repository is neither disturbed nor waited for."""
    lock = repository / ".git" / "index.lock"
    lock.write_text("")
    os.utime(repository / "model.py", (1, 1))  # the index is stale: an ordinary status would rewrite it
    index = (repository / ".git" / "index").read_bytes()
    assert environment.git_state(str(repository))[conventions.GIT_BRANCH] == "trunk"
    lock.unlink()
    environment.git_state(str(repository))
    assert (repository / ".git" / "index").read_bytes() == index


def test_git_starts_no_program_that_the_repository_names(repository: Path, tmp_path: Path) -> None:
    """The file system monitor of the repository's configuration is not started."""
    canary = tmp_path / "canary"
    git(repository, "config", "core.fsmonitor", f"touch {canary} #")
    assert environment.git_state(str(repository))[conventions.GIT_BRANCH] == "trunk"
    assert not canary.exists()


def test_outside_of_a_repository_there_is_no_git_state(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is known, and nothing is said, where nothing is wrong; a deleted directory is no repository either."""
    assert environment.git_state(str(tmp_path)) == {}
    assert environment.git_state(str(tmp_path / "deleted")) == {}
    assert not caplog.records


def test_no_git_is_survived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without git gives no git state."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment.git_state(str(tmp_path)) == {}


def test_a_git_that_hangs_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After the timeout the run is described without git, with a warning."""
    fake_git(tmp_path, "exec sleep 600", monkeypatch)
    monkeypatch.setattr(environment, "GIT_TIMEOUT", 0.2)
    assert environment.git_state(str(tmp_path)) == {}
    assert "without its git state" in caplog.text and "timed out" in caplog.text


def test_output_of_git_that_is_no_text_is_survived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that are not UTF-8 and lines of unknown form are passed over."""
    fake_git(tmp_path, r"printf '# branch.oid abc\n# branch.head caf\351\n# other x\n1 .M \377\n'", monkeypatch)
    assert environment.git_state(str(tmp_path)) == {
        conventions.GIT_COMMIT: "abc",
        conventions.GIT_BRANCH: "caf\N{REPLACEMENT CHARACTER}",
        conventions.GIT_DIRTY: True,
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ["train.py", "--password", SECRET],
        ["train.py", f"--password={SECRET}"],
        ["train.py", f"--db-password={SECRET}", "--verbose"],
        ["train.py", f"db.password={SECRET}"],
        ["train.py", f"+db.password={SECRET}"],
        ["train.py", "--api-key", SECRET],
        ["curl", "-H", f"Authorization: Bearer {SECRET}"],
        ["train.py", f"postgres://admin:{SECRET}@db/x?a=b"],
    ],
)
def test_secrets_of_a_command_line_are_masked(arguments: list[str]) -> None:
    """Values of options that name a secret, and credentials inside of others, do not leave."""
    masked = environment.masked_arguments(arguments)
    assert len(masked) == len(arguments) and masked[0] == arguments[0]
    assert SECRET not in " ".join(masked)


def test_other_arguments_stay() -> None:
    """An ordinary command line is recorded as it is."""
    arguments = ["python", "-m", "train", "--epochs", "3", "model.depth=5", "--max-tokens", "512", "data.csv"]
    assert environment.masked_arguments(arguments) == arguments


def test_a_huge_command_line_is_bounded() -> None:
    """Neither many nor long arguments make a large attribute."""
    masked = environment.masked_arguments(["x" * 10_000_000, *["y"] * 10_000])
    assert len(masked) == 256 and max(map(len, masked)) <= 1024
    description = environment.described({**environment.copied(None), "arguments": ["word " * 100] * 200})
    assert len(description[conventions.RUN_COMMAND]) == 4096


def test_relevant_variables_are_recorded_and_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """An allow-list by prefix: what steers libraries is recorded, what belongs to the user's shell is not."""
    for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID", "DVC_STAGE", "TZ"):
        monkeypatch.setenv(name, "7")
    for name in ("AWS_SECRET_ACCESS_KEY", "HOME_SWEET_HOME", "TZDATA"):
        monkeypatch.setenv(name, "7")
    variables = environment.described(environment.copied(None))[conventions.RUN_ENVIRONMENT]
    assert {"OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID", "DVC_STAGE", "TZ"} <= set(variables)
    assert not {"AWS_SECRET_ACCESS_KEY", "HOME_SWEET_HOME", "TZDATA"} & set(variables)


@pytest.mark.parametrize(
    "variable",
    [
        ("OTEL_EXPORTER_OTLP_HEADERS", f"x-tenant-key={SECRET}"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", f"a={SECRET}"),
        ("MLFLOW_TRACKING_PASSWORD", SECRET),
        ("PREFECT_API_KEY", SECRET),
        ("MLFLOW_TRACKING_URI", f"https://me:{SECRET}@mlflow.example.org"),
    ],
)
def test_secrets_of_variables_are_masked(variable: tuple[str, str]) -> None:
    """Headers, variables that name a secret, and credentials inside of others do not leave."""
    masked = environment.masked_variables(dict([variable]))
    assert list(masked) == [variable[0]] and SECRET not in masked[variable[0]]


def test_variables_are_bounded() -> None:
    """Neither many nor long variables make a large record."""
    masked = environment.masked_variables({f"OTEL_{number:05}": "a " * 50_000 for number in range(300)})
    assert len(masked) == 256 and max(map(len, masked.values())) <= 1024


def test_a_description_names_what_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    """Command line, Python, platform, packages and seed are there; what is unknown is absent."""
    monkeypatch.setenv("PYTHONHASHSEED", "11")
    description = environment.described(environment.copied(None))
    assert Path(sys.orig_argv[0]).name in description[conventions.RUN_COMMAND]
    assert description["process.runtime.version"] == ".".join(map(str, sys.version_info[:3]))
    assert description["otel_ml.run.platform"]
    assert "pytest" in description[conventions.RUN_PACKAGES]
    assert description[conventions.RUN_SEED] == 11
    assert conventions.RUN_CONFIG not in description and "otel_ml.run.overrides" not in description


@pytest.mark.parametrize(
    ("config", "hash_seed", "expected"),
    [
        ({"seed": 7}, "11", 7),
        ({"seed": "fixed"}, "", "fixed"),
        ({"seed": True}, "random", None),
        ({"seed": [1]}, "", None),
        ({}, "11", 11),
    ],
)
def test_the_seed_is_the_configurations_or_pythons(
    config: dict[str, Any], hash_seed: str, expected: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`seed` of the configuration comes before `PYTHONHASHSEED`; what is no seed is none."""
    monkeypatch.setenv("PYTHONHASHSEED", hash_seed)
    assert environment.described(environment.copied(config)).get(conventions.RUN_SEED) == expected


def test_secrets_of_a_configuration_are_masked() -> None:
    """By key at any depth, and by pattern."""
    config = {"db": {"password": SECRET, "user": "ann@example.org", "port": 5432}}
    recorded = environment.described_config(config)[conventions.RUN_CONFIG]
    assert recorded["db"]["port"] == 5432
    assert SECRET not in str(recorded) and "ann@example.org" not in str(recorded)
    assert config["db"]["password"] == SECRET, "the caller's own is untouched"


@given(PLAIN)
def test_equal_configurations_have_no_changes(config: object) -> None:
    """Nothing changed is nothing said."""
    assert environment.changes(config, config) == {}


@given(st.dictionaries(st.text("abc", min_size=1, max_size=2), PLAIN), st.text("xyz", min_size=1), PLAIN, PLAIN)
def test_a_change_names_path_and_both_values(config: dict[str, Any], key: str, old: object, new: object) -> None:
    """One leaf that differs is one change, at its dotted name, and no other is named."""
    before, after = ({"outer": {**config, key: [value]}} for value in (old, new))
    expected = {} if [old] == [new] else {f"outer.{key}": {"old": [old], "new": [new]}}
    assert environment.changes(before, after) == expected


def test_a_key_that_comes_or_goes_has_one_value() -> None:
    """Absent is not the same as None."""
    assert environment.changes({"a": 1, "b": None}, {"b": 2, "c": None}) == {
        "a": {"old": 1},
        "b": {"old": None, "new": 2},
        "c": {"new": None},
    }


def test_a_changed_secret_is_a_masked_change() -> None:
    """That a secret changed is told, its values are not; also when only the name above it tells that it is one."""
    found = environment.changes(
        {"password": SECRET, "secret": {"part": SECRET}}, {"password": SECRET + "x", "secret": {"part": SECRET + "x"}}
    )
    assert list(found) == ["password", "secret.part"]
    assert SECRET not in str(found)


def test_omegaconf_is_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Interpolations are replaced by their values."""
    omegaconf = pytest.importorskip("omegaconf")
    monkeypatch.setenv("DEPTH", "5")
    config = omegaconf.OmegaConf.create({"model": {"depth": "${oc.env:DEPTH}", "copy": "${.depth}"}})
    assert environment.plain_config(config) == {"model": {"depth": "5", "copy": "5"}}


def test_omegaconf_that_cannot_be_resolved_is_recorded_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    """A broken interpolation is a warning that names it, and does not cost the rest."""
    omegaconf = pytest.importorskip("omegaconf")
    config = omegaconf.OmegaConf.create({"a": 1, "b": "${missing}"})
    assert environment.plain_config(config) == {"a": 1, "b": "${missing}"}
    assert "unresolved" in caplog.text and "missing" in caplog.text


def test_overrides_of_a_hydra_application_are_recorded(tmp_path: Path) -> None:
    """What the command line overrode is known without telling otel_ml, with secrets masked."""
    pytest.importorskip("hydra")
    done = run_python(
        f"""
        import sys, warnings
        warnings.simplefilter("ignore")
        import hydra
        from omegaconf import OmegaConf
        from otel_ml import environment

        sys.argv = ["train.py", "+depth=5", "+copy=${{depth}}", "+db.password={SECRET}", "hydra.run.dir={tmp_path}"]

        @hydra.main(version_base=None, config_path=None)
        def main(config):
            description = environment.described(environment.copied(environment.plain_config(config)))
            print(description["otel_ml.run.overrides"], description["otel_ml.run.config"])

        main()
        """,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "'+depth=5'" in done.stdout and "'copy': 5" in done.stdout
    assert SECRET not in done.stdout


def test_nothing_here_counts_as_an_error_of_our_own() -> None:
    """A whole description of this process is made without surviving anything."""
    environment.described(environment.copied({"seed": 1}))
    assert health.dropped() == {}
