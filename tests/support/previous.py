"""The version before this one, out of the history of this checkout."""

from __future__ import annotations

import io
import re
import subprocess
import tarfile
import tomllib
from pathlib import Path

import pytest

from runtime.settings.settings import PROJECT_ROOT

PREVIOUS = "c8af5302518da53dfa947b7e8f20d443fb28c02c"  # 0.2.0; moves on with each version


@pytest.fixture(scope="session")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code of the version before, out of the history of this checkout."""
    if subprocess.run(["git", "cat-file", "-e", PREVIOUS], cwd=PROJECT_ROOT, capture_output=True).returncode != 0:
        pytest.skip(f"commit {PREVIOUS} is not in the history here: no checkout, or a shallow one")
    packed = subprocess.run(["git", "archive", PREVIOUS], cwd=PROJECT_ROOT, capture_output=True, check=True).stdout
    folder = tmp_path_factory.mktemp("previous")
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    version = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["version"]
    released = re.findall(r"^## \[(\d.*?)\]", (PROJECT_ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    assert version in released[:2], "PREVIOUS is older than the version before this one"
    return folder
