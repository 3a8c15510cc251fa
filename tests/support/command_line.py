"""Commands as a shell runs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.lab import Lab
from tests.support.telemetry import environment

DECANT = Path(sys.executable).with_name("decant")


def run(lab: Lab, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [DECANT, *arguments], env=environment(lab, None) | changes, capture_output=True, text=True, check=False
    )
