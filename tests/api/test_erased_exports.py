"""Exports that are kept as files: built once for all who ask, and gone with what was erased."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.lab import Lab

BASE = "/data/people/v1/people"
MANY = 40  # more requests than a process has threads to wait in
FIRST = "id,name,age,born\n1,Ann,30,\n2,Ben,40,\n3,Cid,50,\n"


@pytest.fixture
def people(lab: Lab) -> Lab:
    """Three people in one revision."""
    assert lab.ingest("people.people", FIRST).status == "published"
    return lab


@pytest.fixture
def client(people: Lab) -> Iterator[httpx.Client]:
    """A client of the running service."""
    with people.serve() as client:
        yield client


def kept_files(lab: Lab) -> list[Path]:
    """Whatever lies where exports are kept."""
    return [path for path in lab.settings.exports_folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("form", ["parquet", "xlsx"])
def test_a_file_that_many_ask_for_at_once_is_built_once_for_all(people: Lab, client: httpx.Client, form: str) -> None:
    with ThreadPoolExecutor(MANY) as threads:
        answers = list(threads.map(lambda _: client.get(f"{BASE}/export?format={form}&at=1"), range(MANY)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert {path.suffix for path in kept_files(people)} == {f".{form}", ".lock", ".sha256"}
