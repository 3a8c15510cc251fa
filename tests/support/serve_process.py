"""`decant serve` as a process of its own, and what its metrics say."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.lab import Lab

DECANT = Path(sys.executable).with_name("decant")


@contextmanager
def serving(lab: Lab, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The running command and its address."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("DECANT_", "OTEL_"))}
    environment = own | {
        "DECANT_HOME": str(lab.settings.home),
        "DECANT_CONTRACTS": str(lab.settings.contracts),
        "DECANT_DATA": str(lab.settings.data_folder),
        "DECANT_DATABASE_URL": lab.urls.owner,
        "DECANT_READ_DATABASE_URL": lab.urls.read,
        "DECANT_WRITE_DATABASE_URL": lab.urls.write,
        **({"DECANT_STORE_URL": str(lab.settings.store_url)} if lab.settings.store_url else {}),
        "COLUMNS": "200",
        "PYTHONUNBUFFERED": "1",
    }
    command = [str(DECANT), "serve", "--port", "0", *options]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://[\d.:]+", line)
        assert found, line + (process.stderr.read() if process.stderr and process.poll() is not None else "")
        yield process, found[0]
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def counted(text: str, metric: str) -> float:
    """The sum of a metric over all its labels."""
    lines = re.findall(rf"^{metric}(?:{{[^}}]*}})? (\S+)$", text, re.M)
    assert lines, metric
    return sum(map(float, lines))
