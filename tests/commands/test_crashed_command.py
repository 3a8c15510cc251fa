"""A command that meets an exception nobody foresaw: a trace that a terminal can show, and exit status 1."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CRASH = """
import sys
import decant
def crash(*arguments):
    raise RuntimeError("\\x1b]0;owned\\x07 what was it")
decant.app = crash
sys.argv = ["decant"]
decant.main()
"""


def test_an_exception_that_nobody_foresaw_is_shown_without_controls(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-c", CRASH],
        capture_output=True,
        check=False,
        timeout=120,
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "HOME": str(tmp_path)},
    )
    assert found.returncode == 1
    assert found.stdout == b""
    assert b"command_crashed" in found.stderr
    assert b"what was it" in found.stderr
    assert b"\\x1b]0;owned\\x07" in found.stderr
    assert b"\x1b" not in found.stderr
