"""What may import what, read from the installed package's own source, and what importing it costs a process."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import otel_ml
from support import run_python

PACKAGE = Path(otel_ml.__file__).parent

# From the bottom up. A module imports from rows below its own, never from beside or above it; a sub-package is one
# entry, free inside. "" is `otel_ml` itself, which gathers the public names: only what stands on it may import it.
INSTRUMENTATION = (
    {
        "clean_attributes",
        "conventions",
        "dvc_process",
        "errors",
        "inbox",
        "prefilter",
        "primitives",
        "tables",
        "version",
    },
    {"current_span", "loggers", "suppression"},
    {"health", "options"},
    {"worker", "environment_table", "identity", "credentials", "key_names", "personal_data", "summaries"},
    {"plain_copy", "redaction"},
    {"artifacts", "instruments", "packages", "propagation", "stack_text", "unmasked"},
    {"capture", "exceptions", "quick_call", "series"},
    {"environment", "operations", "variants"},
    {"run_record"},
    {"execution"},
    {"labels", "runs", "step_files", "wrappers"},
    {"predictions", "steps"},
    {"decorators"},
)
DISTRO = (
    {"settings", "manifest", "import_hooks", "sdk_compat", "termination"},
    {"patches"},
    {"instrumentors", "telemetry", "threads", "tracing"},
    {"export", "luggage"},
    {"processes"},
    {"audit", "metrics", "logs", "spans"},
    {"pipelines"},
    {"configuration"},
    {"program"},
    {"distro", "integrations", "startup", "testing"},
    {""},
    {"cli"},
)
RANK = {name: rank for rank, row in enumerate((*INSTRUMENTATION, *DISTRO)) for name in row}
INSTRUMENTATION_MODULES = sorted(set().union(*INSTRUMENTATION))

# What a program that only has decorated functions must not pay for.
HEAVY = ("opentelemetry.sdk", "click", "rich", "prometheus_client", "orjson", "numpy", "pandas", "sklearn", "grpc")


def unit_of(module: str) -> str:
    """Return the table's name for a module: `otel_ml.logs.files` -> `logs`, `otel_ml` -> ``."""
    return module.partition(".")[2].partition(".")[0]


def sources(package: Path) -> Iterator[tuple[str, ast.Module]]:
    """Yield each module of a package: its dotted name and its syntax tree."""
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), ast.parse(path.read_text("utf-8"))


def imported(tree: ast.Module, units: set[str]) -> Iterator[str]:
    """Yield the dotted name of every import in a module, wherever it stands; `from a import b` is `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the direction"
            for alias in node.names:
                is_public_name = node.module == "otel_ml" and alias.name not in units
                yield "otel_ml" if is_public_name else f"{node.module}.{alias.name}"


def against_the_direction(package: Path) -> list[str]:
    """Return every import that goes up or sideways, as `importer -> imported`."""
    return [
        f"{module} -> {name}"
        for module, tree in sources(package)
        for name in imported(tree, set(RANK))
        if name.partition(".")[0] == "otel_ml"
        and unit_of(module) != unit_of(name)
        and RANK.get(unit_of(name), 0) >= RANK.get(unit_of(module), 0)
    ]


def test_imports_point_one_way() -> None:
    """No module imports one that stands beside or above it."""
    assert against_the_direction(PACKAGE) == []


def test_every_module_has_its_place() -> None:
    """A new module is put into the table of layers, and a removed one leaves it."""
    assert {unit_of(module) for module, _ in sources(PACKAGE)} == set(RANK)


@pytest.mark.parametrize(
    ("module", "line", "expected"),
    [
        ("health", "from otel_ml import runs", "otel_ml.health -> otel_ml.runs"),
        ("runs", "def f():\n    import otel_ml.configuration", "otel_ml.runs -> otel_ml.configuration"),
        ("wrappers", "from otel_ml import step", "otel_ml.wrappers -> otel_ml"),
        ("steps", "from otel_ml.predictions import f", "otel_ml.steps -> otel_ml.predictions.f"),
    ],
)
def test_an_import_against_the_direction_is_found(tmp_path: Path, module: str, line: str, expected: str) -> None:
    """The check sees imports in any form, also inside functions."""
    package = tmp_path / "otel_ml"
    package.mkdir()
    (package / f"{module}.py").write_text(line)
    assert against_the_direction(package) == [expected]


@pytest.mark.parametrize("unit", INSTRUMENTATION_MODULES)
def test_instrumentation_uses_the_opentelemetry_api_and_nothing_else(unit: str) -> None:
    """No module that runs without `configure` imports the SDK, an exporter or any third party, not even lazily."""
    for module, tree in sources(PACKAGE):
        if unit_of(module) != unit:
            continue
        for name in imported(tree, set(RANK)):
            root = name.partition(".")[0]
            assert root in sys.stdlib_module_names or root in ("otel_ml", "opentelemetry"), f"{module} imports {name}"
            assert not name.startswith(("opentelemetry.sdk", "opentelemetry.exporter")), f"{module} imports {name}"


def loaded_by(statement: str) -> set[str]:
    """Return which of HEAVY a statement brings into a fresh process."""
    result = run_python(f"import sys\n{statement}\nprint(*(name for name in {HEAVY!r} if name in sys.modules))")
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    """`import otel_ml` brings in neither the SDK nor any library that is used later only."""
    assert loaded_by("import otel_ml") == set()


def test_importing_all_of_the_instrumentation_side_loads_nothing_heavy() -> None:
    """Every module of the instrumentation side, imported for real, leaves the SDK out of the process."""
    assert loaded_by("\n".join(f"import otel_ml.{unit}" for unit in INSTRUMENTATION_MODULES)) == set()


def test_a_decorated_call_and_a_run_load_nothing_heavy() -> None:
    """Decorated functions and runs work without the SDK, and do not bring it in when they are used."""
    program = """
from otel_ml import inference, run, step

@step
def double(x):
    return 2 * x

@inference(model="m", version="1")
def predict(x):
    return x

with run("offline"):
    assert predict(double(21)) == 42
"""
    assert loaded_by(program) == set()


def test_heavy_modules_are_seen_when_they_are_loaded() -> None:
    """The checks above are not blind: naming the distro does load the SDK."""
    assert "opentelemetry.sdk" in loaded_by("import otel_ml.pipelines")


def test_a_signal_that_is_off_is_not_loaded() -> None:
    """Nor what it stands on in this package."""
    code = "import otel_ml; otel_ml.configure(traces=False, metrics=False, logs=False, audit=False); import sys"
    done = run_python(f"{code}; print(*(n for n in sys.modules if n.endswith('.setup') and n.startswith('otel_ml')))")
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr


def test_a_program_without_metrics_loads_nothing_of_them(tmp_path: Path) -> None:
    """Its spans and logs go to files without the SDK's metrics."""
    options = f"metrics=False, audit=False, directory={str(tmp_path)!r}"
    code = f"import otel_ml; otel_ml.configure({options}).shutdown(); import sys"
    done = run_python(f"{code}; print(*(n for n in sys.modules if n.startswith('opentelemetry.sdk.')))")
    assert "opentelemetry.sdk.trace" in done.stdout.split(), done.stderr
    assert "opentelemetry.sdk.metrics" not in done.stdout.split()


def test_a_disabled_program_loads_nothing_heavy() -> None:
    """Whoever switches telemetry off does not pay for the SDK."""
    done = loaded_by("import os; os.environ['OTEL_SDK_DISABLED'] = 'true'; import otel_ml; otel_ml.configure()")
    assert done == set()
