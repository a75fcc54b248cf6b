"""Writes the secrets of the stack to `.env`, where Compose finds them. What is there already stays as it is."""

from __future__ import annotations

import argparse
import os
import re
import secrets
import stat
import tempfile
from pathlib import Path

DEFAULT = Path(__file__).parent.parent / ".env"
NAMES = {
    "OTEL_ML_TOKEN": "what senders show to the gateway",
    "GRAFANA_ADMIN_PASSWORD": "password of Grafana's user admin",
    "GRAFANA_SECRET_KEY": "what Grafana encrypts its own secrets with",
}
HEADER = "# Secrets of the stack, written by `make stack-env`. Keep this file out of version control.\n"


def present(text: str, name: str) -> bool:
    """Whether the text gives the variable a value; Compose takes an empty one for none."""
    found = re.findall(rf"^[ \t]*(?:export[ \t]+)?{name}[ \t]*[=:][ \t]*(.*)$", text, re.MULTILINE)
    return bool(found) and found[-1].split("#")[0].strip() not in ("", '""', "''")


def completed(text: str) -> tuple[str, list[str]]:
    """Return the text with a random value for every variable that has none, and the names of these."""
    missing = [name for name in NAMES if not present(text, name)]
    if text and not text.endswith("\n"):
        text += "\n"
    # A later line wins over an earlier one, so an empty one before needs no change.
    added = "".join(f"{name}={secrets.token_urlsafe(32)}\n" for name in missing)
    return (text or HEADER) + added, missing


def replace(path: Path, text: str) -> None:
    """Write the file as a whole or not at all, and readable for its owner only from its first byte on."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")  # made with mode 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def main() -> None:
    """Complete the file, and say what was done without showing a value."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", nargs="?", type=Path, default=DEFAULT)
    path = parser.parse_args().path
    before = path.read_text("utf-8") if path.exists() else ""
    after, added = completed(before)
    private = path.exists() and stat.S_IMODE(path.stat().st_mode) == stat.S_IRUSR | stat.S_IWUSR
    if added or not private:
        replace(path, after)
    for name, purpose in NAMES.items():
        print(f"{'wrote' if name in added else 'kept '} {name}: {purpose}")
    print(f"{path} can be read by its owner only.")


if __name__ == "__main__":
    main()
