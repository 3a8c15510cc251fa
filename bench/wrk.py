"""The load generator: wrk, told by a small Lua script which paths to ask for, one after the other."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError

CONNECTIONS = 16
GRACE_SECONDS = 60.0
INSTALL = "wrk is not installed: `apt-get install wrk` (Debian, Ubuntu) or `brew install wrk`, then run this again."

SCRIPT = """local paths = {
%s
}
local headers = {
%s
}
local prepared = {}
local position = 0

function init(args)
  for index, path in ipairs(paths) do
    prepared[index] = wrk.format("GET", path, headers)
  end
end

function request()
  position = position %% #prepared + 1
  return prepared[position]
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\\n{"requests": %%d, "seconds": %%.6f, "p50_ms": %%.3f, "p99_ms": %%.3f, "errors": %%d}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout
  ))
end
"""


@dataclass(frozen=True)
class Round:
    """What wrk counted in one go."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float


def require_wrk() -> None:
    """Nothing comes back; BenchError that says how to install wrk where it is missing."""
    if shutil.which("wrk") is None:
        raise BenchError(INSTALL)


def write_script(file: Path, paths: list[str], headers: dict[str, str]) -> Path:
    """The file, holding the script that cycles over these paths."""
    # JSON's strings are Lua's for what a URL, a name or a tag may hold.
    listed = "\n".join(f"  {json.dumps(path)}," for path in paths)
    named = "\n".join(f"  [{json.dumps(name)}] = {json.dumps(value)}," for name, value in headers.items())
    file.write_text(SCRIPT % (listed, named))
    return file


def run_wrk(url: str, script: Path, seconds: int) -> Round:
    """One round against a service; BenchError where any answer was missing or not a success."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(script), url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + GRACE_SECONDS, check=False)
    if done.returncode != 0:
        raise BenchError(f"wrk failed: {done.stderr.strip() or done.stdout.strip()}")
    facts = json.loads(done.stdout.strip().splitlines()[-1])
    if facts["errors"] or not facts["requests"]:
        raise BenchError(f"{url}: {facts['errors']} of {facts['requests']} answers were errors ({script.stem}).")
    return Round(facts["requests"] / facts["seconds"], facts["p50_ms"], facts["p99_ms"])
