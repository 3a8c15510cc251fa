"""Names, headers and values that hold anything: nothing stops a load, the ledger and the terminal stay readable."""

from __future__ import annotations

import io
import json
import logging
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands.show.load_history import show_load, show_loads
from commands.show.load_reports import show_line, show_reports
from ingest.inspection.load_history import list_loads, read_load
from runtime.logs import FieldsFormatter
from runtime.plain_text import keep_text, plain, restore_text
from tests.support.lab import PEOPLE, Lab
from tests.support.people import WATCHED
from tests.support.replays import mend, replay
from tests.support.terminal import shown

NASTY = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202eevil\u2028"
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2028\u2029\ud800-\udfff]")
LONG = "x" * 3_500_000


def assert_readable(lab: Lab, report: Any) -> None:
    """Every way in which a person sees a load."""
    from runtime.postgres.database import make_engine

    engine = make_engine(lab.urls.read)
    for text in (
        shown(show_line, report),
        shown(lambda one, console: show_reports([one], console), report),
        shown(show_load, read_load(engine, report.load_id)),
        shown(show_loads, list_loads(engine, lab.catalog.datasets()), datetime.now(UTC)),
    ):
        assert not CONTROLS.search(text), text[:2000]
        assert len(text) < 40_000


@given(st.text(st.characters(), max_size=40) | st.text("\x00\ud800\ue0f0\u202ea0", max_size=12))
def test_kept_text_is_what_it_was_and_plain_text_can_be_shown(text: str) -> None:
    kept = keep_text(text)
    kept.encode()
    assert "\0" not in kept
    assert restore_text(kept) == text
    assert not CONTROLS.search(plain(text))
    ordinary = "Zoë, 東京\n\tno change"
    assert (keep_text(ordinary), plain(ordinary)) == (ordinary, ordinary)
    assert plain("a\x1b[0m\0b") == "a\\x1b[0m\\x00b"
    assert len(plain(LONG)) < 5000
    assert "3,500,000 characters" in plain(LONG)


def test_a_log_line_and_a_trace_hold_no_control_character() -> None:
    try:
        raise ValueError(NASTY + LONG)
    except ValueError as error:
        facts = {"facts": {"name": NASTY, "long": LONG}}
        record = logging.getLogger("x").makeRecord("x", 40, "f", 1, "m", (), (ValueError, error, None), extra=facts)
    line = FieldsFormatter().format(record)
    assert not CONTROLS.search(line)
    assert len(line) < 21_000


@pytest.mark.slow
def test_files_headers_and_values_that_hold_anything_are_loaded_and_replayed_again(
    make_lab: Callable[..., Lab],
) -> None:
    lab = make_lab(WATCHED.replace("maximum: 150", "maximum: 50").replace("maxLength: 20", "maxLength: 99"))
    name = "people-\x1b]0;owned\x07\n.csv"
    content = (
        f"id,name,age,born,{NASTY},\ue0f0dead\n1,{NASTY},30,,a,b\n2,Ben,70,,a,b\n3,Cy,{NASTY},,a,b\n4,n\0ul,30,,a,b\n"
    ).encode() + b"5,\xff,30,,a,b\n6,Flo,1,,a\n"
    os.utime(lab.write(name, content), (1e9, 1e9))
    report = lab.ingest("people.people")
    assert report.outcome, report.error
    outcome = report.outcome
    assert (outcome.raw, outcome.accepted, outcome.rejected) == (6, 1, 5)
    # A value is data: it stays as it came.
    assert lab.rows("SELECT name FROM people_v1.people") == [(NASTY,)]
    assert_readable(lab, report)
    # The position, which is read again, names the file as it is: nothing is new.
    from ingest.worker.watch_inputs import has_new_data

    assert not has_new_data(lab.loader(), lab.dataset("people.people"))
    assert lab.ingest("people.people").status == "unchanged"
    lab = mend(lab)
    replayed = replay(lab)
    assert (replayed.outcome.raw, replayed.outcome.accepted, replayed.outcome.rejected) == (5, 1, 4), replayed.error
    assert lab.rows("SELECT id FROM people_v1.people ORDER BY id") == [(1,), (2,)]
    messages = " ".join(r[0][0]["message"] for r in lab.rows("SELECT reasons FROM decant.rejected_records"))
    assert "no longer stored byte by byte" in messages  # of the NUL and the byte that is no text
    whole = replay(lab, report.load_id)
    assert whole.outcome.raw == 6
    assert_readable(lab, replayed)


@pytest.mark.sampled
@pytest.mark.parametrize("header", [f"id,{NASTY}\x00", f"id,{LONG}", "id,\udcff"])
def test_a_header_of_any_kind_is_refused_in_a_readable_sentence(lab: Lab, header: str) -> None:
    report = lab.ingest("people.people", header.encode("utf-8", "surrogateescape") + b"\n1,2\n")
    assert report.status == "failed"
    ((error, status),) = lab.rows("SELECT error, status FROM decant.loads")
    assert status == "failed"
    assert 20 < len(error) < 5000
    assert not CONTROLS.search(error)
    assert_readable(lab, report)
    assert lab.ingest("people.people", "id,name,age,born\n1,Ann,30,\n").status == "published"


@pytest.mark.slow
def test_texts_of_json_and_parquet_reach_no_reason_unchecked(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(PEOPLE.replace("path: people.csv", "path: people.json, format: ndjson"))
    lines = [
        {"id": 1, "name": "Ann", "age": 30},
        {"id": 2, "name": "n\0ul", "age": 30},
        {"id": 3, "name": "half \ud800", "age": 30},
        {"id": 4, "name": "Di", "age": "a\0"},
        {"id": 5, "name": "Ed", "age": NASTY},
        {"id": 6, "name": "Flo", "age": 3, "\0key\ud800": 1},
    ]
    report = lab.ingest("people.people", "\n".join(map(json.dumps, lines)) + "\n", "people.json")
    assert report.outcome, report.error
    assert report.outcome.accepted + report.outcome.rejected == 6
    assert lab.rows("SELECT id FROM people_v1.people ORDER BY id") == [(1,)]
    assert_readable(lab, report)
    lab = make_lab(PEOPLE.replace("path: people.csv", "path: people.parquet, format: parquet"))
    table = pa.table(
        {"id": [1, 2, 3], "name": ["Ann", "n\0ul", NASTY], "age": ["30", "31", "a\0"], "born": [None] * 3}
    )
    sink = io.BytesIO()
    pyarrow.parquet.write_table(table, sink)
    report = lab.ingest("people.people", sink.getvalue(), "people.parquet")
    assert report.outcome, report.error
    assert (report.outcome.accepted, report.outcome.rejected) == (1, 2)
    assert_readable(lab, report)
