"""What the files in deploy/ say: compose.yaml with its variables, and what the image brings."""

from __future__ import annotations

import re
import secrets
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from runtime.settings.settings import PROJECT_ROOT

DEPLOY = PROJECT_ROOT / "deploy"
LETTERS = re.compile(r"\$\{(\w+)(?::([-?])((?:[^{}]|\{\w+\})*))?\}")
PASSWORDS = ("POSTGRES_PASSWORD", "OWNER_PASSWORD", "INGEST_PASSWORD", "READ_PASSWORD", "WRITE_PASSWORD")
API = ("api-1", "api-2")


def replace_all(text: str, changes: Mapping[str, str]) -> str:
    """A shipped file with what is different here; each piece has to be there."""
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def check_compose(path: Path) -> None:
    """Fails where a file is not what the specification of Compose says."""
    checker = Path(sys.executable).with_name("check-jsonschema")
    command = [checker, "--builtin-schema", "vendor.compose-spec", path]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def interpolate(text: str, variables: Mapping[str, str]) -> str:
    """A text of compose.yaml with its variables filled in; AssertionError where one has to be set and is not."""

    def fill(found: re.Match[str]) -> str:
        name, kind, default = found.groups()
        value = variables.get(name, "")
        assert value or kind != "?", f"{name} is not set"
        return value or default or ""

    return LETTERS.sub(fill, text)


def read_compose() -> dict[str, Any]:
    """compose.yaml, with anchors resolved."""
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    return found


def image_environment() -> dict[str, str]:
    """The settings that the image brings."""
    text = (PROJECT_ROOT / "Dockerfile").read_text(encoding="utf-8")
    return dict(re.findall(r"\b(DECANT_\w+)=(\S+)", text))


def make_variables() -> dict[str, str]:
    """A filled-in .env: the names of .env.example, with secrets made here."""
    lines = (DEPLOY / ".env.example").read_text(encoding="utf-8").splitlines()
    given = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    return given | {name: secrets.token_hex(24) for name in (*PASSWORDS, "DECANT_SECRET")}
