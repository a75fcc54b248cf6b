"""Every snippet of the documentation runs as it stands, and every link leads somewhere."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from support import is_ambient

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
SNIPPET = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def snippets(language: str) -> list[object]:
    return [
        pytest.param(match[2], id=f"{page.name}:{page.read_text()[: match.start()].count(chr(10)) + 1}")
        for page in PAGES
        for match in SNIPPET.finditer(page.read_text())
        if match[1] == language
    ]


def run(command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not is_ambient(name)}
    environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environ['PATH']}"
    environ["PREFECT_HOME"] = f"{cwd}-prefect"  # the database of its server; not that of who runs this
    environ["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"] = "90"  # a busy machine needs more than the default 20
    return subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, timeout=180, check=False)


@pytest.mark.parametrize("code", snippets("python"))
def test_a_python_snippet_runs(code: str, tmp_path: Path) -> None:
    """As a script; one that defines tests, under pytest. Masked data is in none of the files that it leaves."""
    script = tmp_path / "test_snippet.py"
    script.write_text(code)
    if "def test_" in code:
        done = run([sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", str(script)], tmp_path)
    else:
        done = run([sys.executable, "-P", str(script)], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path != script]
    left = "".join(path.read_text(errors="replace") for path in files)  # some are pictures and databases
    assert "ada@example.org" not in left + done.stdout + done.stderr


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A folder with a script and a run named `nightly`, as the pages assume."""
    (tmp_path / "your_script.py").write_text("import logging\nlogging.warning('hello')\n")
    done = run(["otel-ml", "run", "--name", "nightly", "--", sys.executable, "your_script.py"], tmp_path)
    assert done.returncode == 0, done.stderr
    return tmp_path


@pytest.mark.parametrize("script", snippets("sh"))
def test_a_shell_snippet_names_commands_that_exist(script: str, recorded: Path) -> None:
    """Each line runs, but for make, which is what runs this, and for `push`, which needs a collector."""
    for line in script.splitlines():
        words = shlex.split(line, comments=True)
        if not words or words[0] in ("make", "export"):
            continue
        if words[:2] == ["otel-ml", "push"]:
            assert "--endpoint" in run(["otel-ml", "push", "--help"], recorded).stdout
            continue
        done = run(words, recorded)
        assert done.returncode == 0, (line, done.stdout, done.stderr)


@pytest.mark.parametrize("script", snippets("console"))
def test_a_console_snippet_is_about_files_and_services_that_exist(script: str) -> None:
    """Docker, kubectl and a collector are not here, what their commands name is; the example has tests of its own."""
    targets = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in script.splitlines():
        words = shlex.split(line, comments=True)
        if not words:
            continue
        assert words[0] in ("make", "docker", "kubectl", "otelcol-contrib", "python", "otel-ml", "curl"), line
        assert words[0] != "python" or (ROOT / "examples/serving" / words[1]).exists(), line
        assert words[0] != "make" or set(words[1:]) <= set(targets), line
        for named in re.findall(r"(?:--config|--from-file)=(\S+)", line):
            assert (ROOT / named).exists() or (ROOT / "collector" / named).exists(), line


@pytest.mark.parametrize("text", snippets("yaml"))
def test_a_manifest_mounts_what_it_says(text: str) -> None:
    """Every volume that a container mounts is declared, and every config that it starts with is shipped."""
    for manifest in yaml.safe_load_all(text):
        assert {"apiVersion", "kind", "metadata", "spec"} <= manifest.keys()
        template = manifest["spec"].get("template")
        if template is None:
            continue
        pod = template["spec"]
        claims = [claim["metadata"]["name"] for claim in manifest["spec"].get("volumeClaimTemplates", [])]
        declared = {volume["name"] for volume in pod.get("volumes", [])} | set(claims)
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            assert {mount["name"] for mount in container.get("volumeMounts", [])} <= declared
            for argument in container.get("args", []):
                assert (ROOT / "collector" / Path(argument.split("=")[1]).name).exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_that_exist(page: Path) -> None:
    """Within the repository."""
    targets = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert missing == []


@pytest.mark.parametrize("page", ["conventions.md", "configuration.md"])
def test_generated_pages_say_what_the_code_says(page: str) -> None:
    """`make docs` would change nothing."""
    done = run([sys.executable, "-P", str(ROOT / "scripts" / "generate_docs.py"), "--check"], ROOT)
    assert page not in done.stderr, done.stderr


def test_the_architecture_picture_has_at_most_seven_boxes() -> None:
    """The way of one call from wrapper to disk can be seen at a glance."""
    (picture,) = [m[2] for m in SNIPPET.finditer((ROOT / "docs" / "architecture.md").read_text()) if m[1] == "mermaid"]
    boxes = set(re.findall(r'(\w)\["', picture))
    assert 3 <= len(boxes) <= 7


def test_every_module_is_in_the_architecture_page() -> None:
    """A new module has a place there."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    import otel_ml

    package = Path(otel_ml.__file__).parent
    names = {path.stem for path in package.glob("*.py")} | {
        path.name + "/" for path in package.iterdir() if path.is_dir()
    }
    unnamed = {name for name in names - {"__init__", "__pycache__/", "version"} if f"`{name}`" not in text}
    assert unnamed == set()
