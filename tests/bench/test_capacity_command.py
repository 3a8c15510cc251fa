"""`python -m bench capacity`, with the smallest numbers: each part measures something."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.settings.settings import PROJECT_ROOT

SECONDS = 3_600.0  # it takes nine minutes on a slow machine that does nothing else
SIZES = {
    "datasets": 12,
    "processes": 2,
    "moves": 20,
    "seconds": 0.5,
    "keys": 3,
    "loads": 2,
    "properties": 50,
}


@pytest.mark.slow
def test_the_command_measures_every_constant_and_both_simulations(tmp_path: Path) -> None:
    options = [part for name, value in SIZES.items() for part in (f"--{name}", str(value))]
    file = tmp_path / "figures.json"
    command = [sys.executable, "-m", "bench", "capacity", *options, "--json", str(file)]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(file.read_text())
    assert min(figures["constants"].values()) >= 0
    assert figures["constants"]["page"] > 0
    found = figures["simulation"]
    assert len(found["following"]) == len(found["memory_mb"]) == SIZES["processes"]
    assert found["moved"] > 0
    assert found["seen"]
    assert found["live"]
    assert found["reads"]
    assert found["loads_per_second"] > 0
    assert figures["wide"]["datasets"] == 1
    assert figures["wide"]["in_one"]["code"] == 0
