"""What Decant is made of: each import is declared and pinned, and the bill of materials names each pinned package."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

from runtime.settings.settings import PROJECT_ROOT

LOCK = (PROJECT_ROOT / "requirements.lock").read_text(encoding="utf-8")
PACKAGES = ("api", "catalog", "commands", "ingest", "migrations", "runtime")


def make_sbom(path: Path) -> bytes:
    """What the recipe of `make sbom` writes."""
    makefile = (PROJECT_ROOT / "Makefile").read_text(encoding="utf-8")
    (recipe,) = re.findall(r"^\t\$\(BIN\)/(cyclonedx-py .+)$", makefile, re.MULTILINE)
    words = recipe.replace("$(SBOM)", str(path)).split()
    command = [str(Path(sys.executable).parent / words[0]), *words[1:]]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return path.read_bytes()


@pytest.fixture(scope="module")
def sbom(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The bill of materials of the lock file."""
    found: dict[str, Any] = json.loads(make_sbom(tmp_path_factory.mktemp("sbom") / "sbom.json"))
    return found


def fold(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.slow
def test_the_bill_of_materials_names_each_pinned_package_with_its_hashes(sbom: dict[str, Any]) -> None:
    pinned = {
        (fold(name), version): set(re.findall(r"--hash=sha256:([0-9a-f]{64})", rest))
        for name, version, rest in re.findall(r"^(\S+?)==(\S+)((?:.*\\\n)*.*)$", LOCK, re.MULTILINE)
    }
    assert len(pinned) > 50
    assert all(pinned.values())
    named = {
        (fold(part["name"]), part["version"]): {
            each["content"]
            for reference in part["externalReferences"]
            for each in reference.get("hashes", [])
            if each["alg"] == "SHA-256"
        }
        for part in sbom["components"]
    }
    assert named == pinned
    assert {part["purl"] for part in sbom["components"]} >= {f"pkg:pypi/{name}@{version}" for name, version in pinned}


@pytest.mark.slow
def test_the_bill_of_materials_is_decant_s_and_of_a_version_that_tools_read(sbom: dict[str, Any]) -> None:
    assert (sbom["bomFormat"], sbom["specVersion"]) == ("CycloneDX", "1.6")
    assert sbom["metadata"]["component"]["name"] == "decant-data"


@pytest.mark.slow
def test_the_same_lock_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = (make_sbom(tmp_path / name) for name in ("first.json", "second.json"))
    assert first == second


def imported_modules() -> set[str]:
    """The first names of all that Decant imports and that is neither its own nor Python's."""
    files = [PROJECT_ROOT / "decant.py", *(file for name in PACKAGES for file in (PROJECT_ROOT / name).rglob("*.py"))]
    found: set[str] = set()
    for node in (node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - {*PACKAGES, "decant"}


def test_all_that_is_imported_is_declared_and_pinned() -> None:
    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {fold(re.split(r"[^\w.-]", line)[0]) for line in project["dependencies"]}
    declared.add("psycopg-pool")  # as an extra of psycopg
    for extra in ("charts", "notify", "kafka", "nats", "avro"):
        declared |= {fold(re.split(r"[^\w.-]", line)[0]) for line in project["optional-dependencies"][extra]}
    brought_by = packages_distributions()
    imported = imported_modules()
    assert {"fastapi", "croniter", "psycopg"} <= imported
    # Large, and an extra: it is installed beside the cluster's own version.
    assert any(line.startswith("pyspark") for line in project["optional-dependencies"]["spark"])
    imported.remove("pyspark")
    assert {name for name in imported if not declared & set(map(fold, brought_by[name]))} == set()
    pinned = {fold(name) for name in re.findall(r"^(\S+?)==", LOCK, re.MULTILINE)}
    assert declared - pinned == set()
