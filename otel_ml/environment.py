"""What a run was started with: configuration, command, variables, code version, packages. Masked and bounded.

What may change or be changed by the watched code is copied at once. What is slow (git, package versions, masking) is
done by a thread of a few tens of milliseconds, which then fills the run's span and writes the run's log record.
"""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from otel_ml import conventions, health, packages, propagation, redaction

GIT_TIMEOUT = 2.0
"""Seconds after which git is stopped, and the run described without it."""

_VARIABLE_PREFIXES = (
    "OTEL_", "CUDA_", "NVIDIA_", "OMP_", "MKL_", "OPENBLAS_", "NUMEXPR_", "TORCH_", "PYTHON", "SLURM_", "DVC_",
    "MLFLOW_", "HYDRA_", "OPTUNA_", "PREFECT_", "JOBLIB_", "LOKY_", "KUBERNETES_",
)  # fmt: skip
_VARIABLE_NAMES = frozenset({"CONDA_DEFAULT_ENV", "LANG", "LC_ALL", "TZ", "VIRTUAL_ENV"})
_MOST_ITEMS = 256
_LONGEST_ITEM = 1024
_LONGEST_COMMAND = 4096


def plain_config(config: Any) -> Any:
    """Return a configuration as plain data: OmegaConf's with its interpolations resolved, any other as it is."""
    if not any(cls.__module__.partition(".")[0] == "omegaconf" for cls in type(config).__mro__):
        return config
    to_container = sys.modules["omegaconf"].OmegaConf.to_container
    try:
        return to_container(config, resolve=True)
    except Exception as error:  # an interpolation of the caller's may be impossible to resolve
        health.warn_once("config", "the run's configuration is recorded unresolved: %s", error)
        return to_container(config, resolve=False)


def copied(config: Any) -> dict[str, Any]:
    """Return what is known only now, quickly: all of it may be changed by the code that runs next.

    Args:
        config: Configuration of the run as plain bounded data, or None.
    """
    inherited = propagation.inherited_environment()
    return {
        "config": config,
        "overrides": hydra_overrides(),
        "variables": {name: value for name, value in inherited.items() if _is_relevant(name)},
        "arguments": list(sys.orig_argv),
        "modules": frozenset(name.partition(".")[0] for name in list(sys.modules)) - sys.stdlib_module_names,
        "directory": _working_directory(),
    }


def described(copy: Mapping[str, Any]) -> dict[str, Any]:
    """Return the masked description of a run by attribute name, from what `copied` returned. Slow.

    What cannot be known (no repository, no seed) is absent.
    """
    description = {
        **described_config(copy["config"], copy["overrides"]),
        conventions.RUN_COMMAND: shlex.join(masked_arguments(copy["arguments"]))[:_LONGEST_COMMAND],
        conventions.RUN_ENVIRONMENT: masked_variables(copy["variables"]),
        conventions.RUN_PACKAGES: packages.versions_of(copy["modules"]),
        conventions.RUNTIME_VERSION: platform.python_version(),
        conventions.RUNTIME_NAME: sys.implementation.name,
        conventions.RUN_PLATFORM: platform.platform(),
        **git_state(copy["directory"]),
    }
    hash_seed = copy["variables"].get("PYTHONHASHSEED", "")
    if hash_seed.isdecimal():
        description.setdefault(conventions.RUN_SEED, int(hash_seed))
    return {name: value for name, value in description.items() if value not in (None, [], {})}


def described_config(config: Any, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Return the masked configuration, its seed and what was overridden, by attribute name.

    Args:
        config: Plain bounded data, or None.
        overrides: Hydra's.
    """
    description: dict[str, Any] = {conventions.RUN_OVERRIDES: masked_arguments(overrides)} if overrides else {}
    if config is None:
        return description
    description[conventions.RUN_CONFIG] = redaction.current().value(config)
    seed = _seed(config)
    return description if seed is None else {**description, conventions.RUN_SEED: seed}


def changes(old: Any, new: Any) -> dict[str, dict[str, Any]]:
    """Return what differs between two configurations, masked: `{"model.depth": {"old": 3, "new": 5}}`.

    Args:
        old: Plain bounded data.
        new: The same, later. A key that only one of them has appears with its one value.
    """
    return dict(sorted(_changes(old, new, ())))


def git_state(directory: str | None) -> dict[str, Any]:
    """Return commit, branch and whether tracked files differ, by attribute name; empty outside of a repository.

    One call of git, which takes no lock in the repository and starts none of its hooks.
    """
    command = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", "status", "--porcelain=v2", "--branch"]
    try:
        completed = subprocess.run(
            [*command, "--untracked-files=no"],
            cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, timeout=GIT_TIMEOUT, check=False,
        )  # fmt: skip
    except FileNotFoundError:  # no git on this machine, or the directory is gone
        return {}
    except (OSError, subprocess.SubprocessError) as error:
        health.warn_once("git", "the run is described without its git state: %s", error)
        return {}
    if completed.returncode != 0:
        return {}
    lines = completed.stdout.decode(errors="replace").splitlines()
    headers = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# branch."))
    state: dict[str, Any] = {conventions.GIT_DIRTY: any(not line.startswith("#") for line in lines)}
    if headers.get("branch.oid", "(initial)") != "(initial)":
        state[conventions.GIT_COMMIT] = headers["branch.oid"]
    if headers.get("branch.head", "(detached)") != "(detached)":
        state[conventions.GIT_BRANCH] = headers["branch.head"]
    return state


def masked_arguments(arguments: Sequence[str]) -> list[str]:
    """Return a command line with secrets masked, also `--password x` and `db.password=x`; 256 items of 1 KiB."""
    masked = redaction.current().value(list(arguments[:_MOST_ITEMS]))
    return [str(argument)[:_LONGEST_ITEM] for argument in (masked if isinstance(masked, list) else [masked])]


def masked_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Return environment variables with secrets masked; of OTLP headers nothing is shown."""
    redactor = redaction.current()
    return {
        name: str(redactor.value(value, "authorization" if name.endswith("_HEADERS") else name))[:_LONGEST_ITEM]
        for name, value in sorted(variables.items())[:_MOST_ITEMS]
    }


def _is_relevant(name: str) -> bool:
    return name.startswith(_VARIABLE_PREFIXES) or name in _VARIABLE_NAMES


def _working_directory() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was deleted
        return None


def hydra_overrides() -> list[str]:
    """Return what the command line of a Hydra application overrode, or a sweep for one of its jobs, if this is one."""
    hydra = sys.modules.get("hydra.core.hydra_config")
    if hydra is None or not hydra.HydraConfig.initialized():
        return []
    return [str(override) for override in hydra.HydraConfig.get().overrides.task]


def _seed(config: Any) -> int | str | None:
    seed = config.get("seed") if isinstance(config, Mapping) else None
    return seed if isinstance(seed, (int, str)) and not isinstance(seed, bool) else None


def _changes(old: Any, new: Any, path: tuple[str, ...]) -> Iterable[tuple[str, dict[str, Any]]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old.keys() | new.keys():
            yield from _changes(old.get(key, _ABSENT), new.get(key, _ABSENT), (*path, str(key)))
    elif old is not new and old != new:
        sides = (("old", old), ("new", new))
        yield ".".join(path), {side: _masked(value, path) for side, value in sides if value is not _ABSENT}


def _masked(value: Any, path: tuple[str, ...]) -> Any:
    redactor = redaction.current()
    key = next((part for part in path if redactor.is_sensitive(part)), path[-1] if path else "")
    return redactor.value(value, key)


_ABSENT = object()
