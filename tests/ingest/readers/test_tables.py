"""Parquet and XLSX: what their values become, which rows are records, and files that are meant to do harm."""

from __future__ import annotations

import datetime as dt
import gzip
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from catalog.model.dataset import FileFormat
from ingest.errors import MissingColumnsError, SourceError, SourceTooLargeError
from ingest.landing.landed_batch import LandedBatch
from ingest.landing.unpacking import UnpackLimit
from ingest.readers import parse_batch, pick_raw
from tests.support.lab import land_bytes
from tests.support.tables import write_parquet

PARQUET = FileFormat(format="parquet")
XLSX = FileFormat(format="xlsx")
LIMIT = UnpackLimit(1 << 30)


def parse(folder: Path, content: bytes, file_format: FileFormat, *needed: str) -> dict[int, Any]:
    """The rows by their lines; every one is picked again as the same object."""
    landed = LandedBatch("test", (land_bytes(folder, content, "table"),))
    batch = parse_batch(landed, file_format, needed, folder, LIMIT, lambda amount: None)
    assert batch.is_json
    assert batch.malformed_count == 0
    lines = [int(line.split(b",", 1)[0]) for file in batch.records for line in file.read_bytes().splitlines()]
    picked = dict(pick_raw(landed, file_format, batch.parts, LIMIT, lines, folder))
    assert list(picked) == lines
    return {line: json.loads(raw) for line, raw in picked.items()}


def write_workbook(*rows: list[Any], title: str = "One") -> bytes:
    """A workbook of one sheet."""
    book = openpyxl.Workbook()
    book.active.title = title
    for row in rows:
        book.active.append(row)
    target = io.BytesIO()
    book.save(target)
    return target.getvalue()


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("1::BIGINT", 1),
        ("1.10::DECIMAL(10,2)", "1.10"),
        ("0.1::FLOAT", 0.1),
        ("0.1::DOUBLE", 0.1),
        ("'nan'::DOUBLE", "nan"),
        ("true", True),
        ("'a''b\"c\nd'", "a'b\"c\nd"),
        ("''", ""),
        ("NULL::INT", None),
        ("DATE '2020-01-02'", "2020-01-02"),
        ("TIME '10:00:05'", "10:00:05"),
        ("TIMESTAMP '2020-01-02 10:00:00.5'", "2020-01-02T10:00:00.5"),
        ("TIMESTAMPTZ '2020-01-02 10:00:00+02'", "2020-01-02T08:00:00Z"),
        ("'ab'::BLOB", "YWI="),
        ("[1, NULL]", [1, None]),
        ("{'a': DATE '2020-01-02', 'b': [1.50::DECIMAL(3,2)]}", {"a": "2020-01-02", "b": [1.5]}),
    ],
)
def test_a_value_of_parquet_is_what_the_contract_reads(tmp_path: Path, value: str, shown: Any) -> None:
    content = write_parquet(tmp_path, f"SELECT 1 AS id, {value} AS v")
    assert parse(tmp_path, content, PARQUET, "id", "v") == {1: {"id": 1, "v": shown}}
    assert parse(tmp_path, gzip.compress(content), PARQUET) == {1: {"id": 1, "v": shown}}


def test_rows_of_parquet_are_numbered_in_order(tmp_path: Path) -> None:
    rows = parse(tmp_path, write_parquet(tmp_path, "SELECT i AS id FROM range(5000) AS t(i)"), PARQUET)
    assert rows == {number + 1: {"id": number} for number in range(5000)}


def test_a_table_must_have_the_columns_that_are_read(tmp_path: Path) -> None:
    with pytest.raises(MissingColumnsError, match="table lacks the columns name; it has id, Name"):
        parse(tmp_path, write_parquet(tmp_path, "SELECT 1 AS id, 2 AS Name"), PARQUET, "id", "name", "raw")
    with pytest.raises(MissingColumnsError, match="has the columns id more than once"):
        parse(tmp_path, write_workbook(["id", "id"], [1, 2]), XLSX, "id")


def test_a_parquet_file_that_breaks_off_cannot_be_read(tmp_path: Path) -> None:
    content = write_parquet(tmp_path, "SELECT i AS id, 'name ' || i AS name FROM range(5000) AS t(i)")
    for broken in (content[:-10], content[:100] + b"\xff" * 300 + content[400:], content[:50] + content[-8:]):
        with pytest.raises(SourceError, match="table cannot be read as Parquet") as caught:
            parse(tmp_path, broken, PARQUET)
        assert str(tmp_path) not in str(caught.value)


def test_a_cell_of_a_workbook_is_what_the_contract_reads(tmp_path: Path) -> None:
    cells = {
        "whole": (5.0, 5),
        "half": (0.5, 0.5),
        "word": (" 00123 ", " 00123 "),
        "yes": (True, True),
        "none": (None, None),
        "day": (dt.date(2020, 1, 2), "2020-01-02"),
        "moment": (dt.datetime.fromisoformat("2020-01-02T10:30:00"), "2020-01-02T10:30:00"),
        "time": (dt.time(10, 5), "10:05:00"),
        "long": (dt.timedelta(hours=30, minutes=5), "PT30H5M0S"),
        "error": ("#N/A", "#N/A"),
    }
    content = write_workbook(list(cells), [given for given, _ in cells.values()])
    assert parse(tmp_path, content, XLSX) == {2: {name: shown for name, (_, shown) in cells.items()}}


def test_lines_of_a_workbook_are_those_that_the_sheet_shows_and_empty_rows_are_none(tmp_path: Path) -> None:
    content = write_workbook([], [None, "id", None, "name"], [None, 1, "x", "Ann"], [], [None, 2], [], [])
    assert parse(tmp_path, content, XLSX, "id", "name") == {
        3: {"id": 1, "column C": "x", "name": "Ann"},
        5: {"id": 2, "column C": None, "name": None},
    }


def test_a_sheet_is_chosen_by_name_and_one_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(["a"])
    book.create_sheet("Two & more").append(["id"])
    book["Two & more"].append([7])
    target = io.BytesIO()
    book.save(target)
    assert parse(tmp_path, target.getvalue(), FileFormat(format="xlsx", sheet="Two & more")) == {2: {"id": 7}}
    with pytest.raises(SourceError, match="table has no sheet 'Three'; it has Sheet, Two & more"):
        parse(tmp_path, target.getvalue(), FileFormat(format="xlsx", sheet="Three"))


def test_a_workbook_without_a_header_has_the_columns_of_the_contract(tmp_path: Path) -> None:
    content = write_workbook([1, "Ann"], [2, "Ben", "more"])
    landed = LandedBatch("test", (land_bytes(tmp_path, content, "table"),))
    batch = parse_batch(
        landed, FileFormat(format="xlsx", columns=("id", "name")), [], tmp_path, LIMIT, lambda amount: None
    )
    assert (batch.raw, batch.malformed_count) == (2, 1)
    assert "has more cells than 2 columns" in batch.malformed.read_text()


def change_sheet(content: bytes, change: Any) -> bytes:
    """The workbook with another text of its sheet."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.infolist():
            text = old.read(member)
            new.writestr(member.filename, change(text) if member.filename.endswith("sheet1.xml") else text)
    return target.getvalue()


def test_a_sheet_of_two_cells_far_apart_is_too_large_and_takes_no_memory(tmp_path: Path) -> None:
    content = change_sheet(
        write_workbook(["id"], [1]),
        lambda text: text.replace(b'r="2"', b'r="1048576"').replace(b'r="A2"', b'r="XFD1048576"'),
    )
    with pytest.raises(SourceTooLargeError, match=r"spans more than 2,000,000 cells.*DECANT_UNPACK_RATIO"):
        parse(tmp_path, content, XLSX)


def test_a_workbook_that_unpacks_to_far_too_much_is_too_large(tmp_path: Path) -> None:
    content = change_sheet(write_workbook(["id"], [1]), lambda text: text + b" " * 50_000_000)
    with pytest.raises(SourceTooLargeError):
        parse(tmp_path, content, XLSX)
