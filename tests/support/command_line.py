"""Commands as a shell runs them, and the same within this process, which costs a tenth of the time."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from typer.testing import CliRunner

import decant
from tests.support.lab import Lab
from tests.support.telemetry import environment

DECANT = Path(sys.executable).with_name("decant")


def run(lab: Lab, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """A command over a product, within this process."""
    return invoke(arguments, environment(lab, None) | changes)


def run_process(lab: Lab, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """A command over a product, as a process of its own: what `decant.main` does is part of it."""
    return subprocess.run(
        [DECANT, *arguments],
        env=environment(lab, None) | changes,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def invoke(arguments: tuple[str, ...], variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """A command within this process; its errors are told as `decant.main` tells them."""
    gone: dict[str, str | None] = dict.fromkeys(os.environ.keys() - variables.keys())
    result = CliRunner().invoke(decant.app, list(arguments), env=gone | dict(variables))
    errors = result.stderr
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        told = io.StringIO()
        with contextlib.redirect_stderr(told):
            decant.report(decant.translate(result.exception))  # type: ignore[arg-type]
        errors += told.getvalue()
    return subprocess.CompletedProcess(list(arguments), result.exit_code, result.stdout, errors)
