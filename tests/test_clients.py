"""The examples of docs/how-to/clients.md, run as they stand against a real service."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from runtime.settings.settings import PROJECT_ROOT
from tests.support.documents import BASE
from tests.support.lab import Lab

TEXT = (PROJECT_ROOT / "docs" / "how-to" / "clients.md").read_text(encoding="utf-8")


def examples(language: str) -> list[str]:
    """The examples in one language."""
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.S)


@pytest.fixture
def run(flights: Lab, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Runs an example as a program of its own, and gives what it prints."""
    with flights.serve() as client:

        def run_program(program: list[str], text: str) -> str:
            text = text.replace(BASE, str(client.base_url).rstrip("/"))
            done = subprocess.run(
                program, input=text, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        run_program.client = client  # type: ignore[attr-defined]
        yield run_program


@pytest.mark.slow
def test_the_examples_in_python_do_what_they_say(run: Callable[..., str]) -> None:
    client: httpx.Client = run.client  # type: ignore[attr-defined]
    base = "/data/nyc-flights/v1/flights/aggregate"
    (total,) = client.get(f"{base}?carrier=UA&measure=sum:distance").json()["data"]
    carriers = client.get(f"{base}?group_by=carrier&sort=-count").json()["data"]
    weather = client.get("/data/nyc-flights/v1/weather/aggregate").json()["data"][0]["count"]
    printed = [run([sys.executable, "-W", "error", "-"], text) for text in examples("python")]
    assert len(printed) == 4
    assert int(printed[0]) == total["sum_distance"]
    assert printed[1].startswith(f"({weather}, ")
    assert f"shape: ({len(carriers)}, 2)" in printed[2]
    assert re.search(rf"{carriers[0]['carrier']} +│ +{carriers[0]['count']} ", printed[3])


def test_the_examples_with_curl_do_what_they_say(run: Callable[..., str]) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    (example,) = examples("sh")
    page, lines, records = (run(["sh"], command) for command in example.strip().splitlines())
    assert page.startswith('{"data":[{"carrier":')
    assert lines.splitlines()[0] == "carrier,name"
    assert records.count("\n") > 10


@pytest.mark.slow
def test_the_example_in_javascript_does_what_it_says(run: Callable[..., str]) -> None:
    if shutil.which("node") is None:
        pytest.skip("Node is not installed")
    (example,) = examples("js")
    assert run(["node", "--input-type=module", "-"], example).strip() == "16"
