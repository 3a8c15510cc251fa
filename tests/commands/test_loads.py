"""`status`, `loads` and `ingest` as a person and a script meet them."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.command_line import DECANT, run
from tests.support.lab import Lab
from tests.support.people import TOWN
from tests.support.telemetry import environment

GOOD = "id,name,age,born\n1,Ann,30,1990-01-31\n2,,x,\n3,Cy,41,1980-02-29\n3,Cy,41,\n"


@pytest.fixture
def town(make_lab: Callable[..., Lab]) -> Lab:
    """People and their pets, loaded once."""
    lab = make_lab(TOWN)
    lab.ingest("people.people", GOOD)
    lab.ingest("people.pets", "id,owner\n1,1\n2,7\n3,\n", "pets.csv")
    return lab


def read_status(lab: Lab) -> dict[str, dict[str, Any]]:
    return {row["dataset"]: row for row in json.loads(run(lab, "status", "--json").stdout)}


@pytest.mark.slow
def test_status_says_what_is_fresh_what_is_late_and_what_does_not_fit(town: Lab) -> None:
    people, pets = read_status(town).values()
    assert (people["fresh"], people["late_seconds"], people["latency_seconds"]) == (True, 0, 172_800)
    assert (people["open_rejects"], people["orphans"], pets["orphans"]) == (1, {}, {"owner": 1})
    assert datetime.fromisoformat(people["next_load_at"]).hour == 6
    shown = run(town, "status").stdout
    assert "people@1.people" in shown
    assert "fresh" in shown
    assert "people@1.pets: 1 record without the parent that owner names" in shown
    three_days = datetime.now(UTC) - timedelta(days=3)
    town.rows("UPDATE decant.input_states SET last_success = %s RETURNING 1", three_days)
    late = read_status(town)["people@1.people"]
    assert late["fresh"] is False
    assert 86_300 < late["late_seconds"] < 86_700
    assert "late by 24 h" in run(town, "status").stdout


@pytest.mark.slow
def test_freshness_is_held_against_the_newest_timestamp_of_the_element_that_the_contract_names(
    make_lab: Callable[..., Lab],
) -> None:
    lab = make_lab(TOWN.replace("unit: d}\n", "unit: d, element: people.born}\n"))
    lab.ingest("people.people", GOOD)
    people, pets = read_status(lab).values()
    assert people["newest"].startswith("1990-01-31")
    assert (people["fresh"], pets["fresh"]) == (False, None)
    assert "late by 36 y" in run(lab, "status").stdout


def test_loads_are_listed_and_one_is_told_whole(town: Lab) -> None:
    town.ingest("people.people")
    listed = json.loads(run(town, "loads", "--json").stdout)
    assert [(load["id"], load["status"], load["raw"]) for load in listed] == [
        (3, "unchanged", None),
        (2, "published", 3),
        (1, "published", 4),
    ]
    assert [
        load["id"] for load in json.loads(run(town, "loads", "people.people", "--limit", "1", "--json").stdout)
    ] == [3]
    assert "people@1.pets" not in run(town, "loads", "--status", "unchanged").stdout
    shown = run(town, "loads", "show", "1").stdout
    for line in (
        "4 raw, 2 accepted, 1 rejected, 1 duplicates",
        "people.csv",
        "gate         passed maxRejected",
        "1 record, name: required; first people.csv, line 3",
        "1 record, age: type; first people.csv, line 3",
    ):
        assert line in shown
    whole = json.loads(run(town, "loads", "show", "1", "--json").stdout)
    assert whole["parts"] == ["people.csv"]
    assert {gate["rule"] for gate in whole["gates"]} >= {"maxRejected"}


@pytest.mark.slow
def test_a_load_that_is_not_there_and_a_status_that_is_none_are_refused_in_a_sentence(town: Lab) -> None:
    for words, message in (
        (("loads", "show", "99"), "Load 99 does not exist."),
        (("loads", "show"), "`decant loads show N` shows one load"),
        (("loads", "people", "7"), "`decant loads show N` shows one load"),
        (("loads", "--status", "done"), "--status must be one of queued, running,"),
        (("loads", "nobody"), "Unknown dataset 'nobody'."),
    ):
        refused = run(town, *words)
        assert refused.returncode == 1
        assert message in refused.stderr
        assert "Traceback" not in refused.stderr


@pytest.mark.slow
def test_a_piped_ingest_prints_a_line_as_each_load_ends(town: Lab) -> None:
    town.write("people.csv", GOOD.replace("Ann", "Anna"))
    lines = run(town, "ingest").stdout.splitlines()
    assert lines[0].startswith("people@1.people  published  4 records, 2 accepted, 1 rejected, 1 duplicates  ~1  ")
    assert any(line.startswith("people@1.pets  unchanged  ") for line in lines)


@pytest.mark.slow
def test_ingest_as_json_counts_nothing_where_nothing_was_looked_at(town: Lab) -> None:
    reports = json.loads(run(town, "ingest", "--json").stdout)
    assert [report["status"] for report in reports] == ["unchanged"] * 2
    assert [set(report["outcome"]) for report in reports] == [{"status", "revision", "record_count"}] * 2


@pytest.mark.slow
def test_in_a_terminal_a_bar_moves_and_ends_with_rate_and_rejected_records(town: Lab) -> None:
    town.write("people.csv", GOOD + "".join(f"{n},Bo,30,\n" for n in range(10, 50_000)))
    ours, theirs = pty.openpty()
    variables = environment(town, None) | {"COLUMNS": "120", "TERM": "xterm"}
    process = subprocess.Popen([DECANT, "ingest", "people.people"], env=variables, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = bytearray()
    with contextlib.suppress(OSError):  # how a terminal ends whose other side is closed
        while piece := os.read(ours, 65_536):
            seen.extend(piece)
    os.close(ours)
    assert process.wait(60) == 0
    text = seen.decode()
    assert "parsing records" in text
    assert "/s, 1 rejected" in text
    assert "49,994" in text
