"""What spreadsheets and Parquet hide: formats of numbers, formulas, hidden sheets, nanoseconds, nested values."""

from __future__ import annotations

import datetime as dt
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xlsxwriter

from catalog.model.dataset import FileFormat
from ingest.errors import SourceError, SourceTooLargeError
from ingest.landing.landed_batch import LandedBatch
from ingest.landing.unpacking import UnpackLimit
from ingest.readers import parse_batch, pick_raw
from ingest.readers.record_writer import ParsedBatch
from ingest.readers.serials import write_serial
from ingest.readers.styles import DAY, DURATION, TIME, TIMESTAMP, kind_of
from tests.support.lab import land_bytes

LIMIT = UnpackLimit(1 << 30)
XLSX = FileFormat(format="xlsx")


def parse(
    folder: Path, content: bytes, file_format: FileFormat, *needed: str, limit: UnpackLimit = LIMIT
) -> ParsedBatch:
    landed = LandedBatch("test", (land_bytes(folder, content, "table"),))
    return parse_batch(landed, file_format, needed, folder, limit, lambda amount: None)


def rows(folder: Path, content: bytes, file_format: FileFormat, *needed: str) -> list[Any]:
    """The records; each is the same when it is picked again, as far as its columns are needed."""
    batch = parse(folder, content, file_format, *needed)
    lines = [int(line.split(b",", 1)[0]) for file in batch.records for line in file.read_bytes().splitlines()]
    landed = LandedBatch("test", (land_bytes(folder, content, "table"),))
    return [json.loads(raw) for _, raw in pick_raw(landed, file_format, batch.parts, LIMIT, lines, folder)]


def book(build: Callable[[openpyxl.Workbook], None]) -> bytes:
    made = openpyxl.Workbook()
    build(made)
    target = io.BytesIO()
    made.save(target)
    return target.getvalue()


def sheet(*lines: list[Any], formats: dict[str, str] | None = None) -> bytes:
    """A workbook of one sheet; the formats are of single cells."""

    def build(made: openpyxl.Workbook) -> None:
        for line in lines:
            made.active.append(line)
        for cell, code in (formats or {}).items():
            made.active[cell].number_format = code

    return book(build)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("General", 0),
        ("0.00", 0),
        ("#,##0.00 [$€-407]", 0),
        ('0 "days"', 0),
        ("0\\d", 0),
        ("yyyy-mm-dd", DAY),
        ("[$-409]d\\-mmm\\-yy;@", DAY),
        ("mmmm", DAY),
        ("dd.mm.yyyy hh:mm", TIMESTAMP),
        ("m/d/yy h:mm AM/PM", TIMESTAMP),
        ("h:mm AM/PM", TIME),
        ("mm:ss.0", TIME),
        ("[h]:mm:ss", DURATION),
        ("[mm]:ss", DURATION),
        ("[Red]0.0", 0),
    ],
)
def test_a_format_says_what_a_number_is(code: str, kind: int) -> None:
    assert kind_of(code) == kind


@pytest.mark.parametrize(
    ("serial", "kind", "moments", "since_1904", "text"),
    [
        (1, DAY, False, False, "1900-01-01"),
        (59, DAY, False, False, "1900-02-28"),
        (60, DAY, False, False, "1900-02-29"),  # no day: a date property rejects it
        (61, DAY, False, False, "1900-03-01"),
        (0, DAY, False, False, "1900-01-00"),
        (0, DAY, False, True, "1904-01-01"),
        (60, DAY, False, True, "1904-03-01"),
        (-1, DAY, False, False, -1),
        (-0.25, TIME, False, False, -0.25),
        (2_958_465, DAY, False, False, "9999-12-31"),
        (2_958_466, DAY, False, False, 2_958_466),
        (45_352, TIMESTAMP, True, False, "2024-03-01T00:00:00"),
        (45_352, DAY, True, False, "2024-03-01T00:00:00"),
        (45_352, TIMESTAMP, False, False, "2024-03-01"),
        (45_352.75, DAY, False, False, "2024-03-01T18:00:00"),  # a time that the format hides is told
        (45_352.999_999_999_9, TIMESTAMP, True, False, "2024-03-02T00:00:00"),
        (0, TIME, False, False, "00:00:00"),
        (0.999_988_43, TIME, False, False, "23:59:59"),
        (1.25, TIME, False, False, "1900-01-01T06:00:00"),
        (1.25, DURATION, False, False, "PT30H0M0S"),
        (-0.5, DURATION, False, False, "-PT12H0M0S"),
    ],
)
def test_a_serial_number_is_never_another_day(
    serial: float, kind: int, moments: bool, since_1904: bool, text: str | float
) -> None:
    assert write_serial(float(serial), kind, timestamps=moments, since_1904=since_1904) == text


def test_midnight_is_a_timestamp_where_most_of_a_column_are_and_a_day_elsewhere(tmp_path: Path) -> None:
    midnight, noon = dt.datetime.fromisoformat("2024-03-01"), dt.datetime.fromisoformat("2024-03-01T12:00")
    content = sheet(
        ["id", "at", "day"],
        [1, midnight, midnight],
        [2, noon, dt.date(2024, 3, 2)],
        [3, dt.date(2024, 3, 3), noon],
        [4, noon, dt.date(2024, 3, 4)],
        formats={"C2": "yyyy-mm-dd", "C4": "yyyy-mm-dd hh:mm"},
    )
    assert rows(tmp_path, content, XLSX) == [
        {"id": 1, "at": "2024-03-01T00:00:00", "day": "2024-03-01"},
        {"id": 2, "at": "2024-03-01T12:00:00", "day": "2024-03-02"},
        {"id": 3, "at": "2024-03-03T00:00:00", "day": "2024-03-01T12:00:00"},
        {"id": 4, "at": "2024-03-01T12:00:00", "day": "2024-03-04"},
    ]


def test_a_formula_without_a_value_rejects_the_rows_that_need_it_for_good(
    tmp_path: Path,
) -> None:
    content = sheet(["id", "sum", "n"], [1, "=A2+1", 5], [2, 7, "=A3"], [3, 8, 9], ["=SUM(A2:A4)"])
    batch = parse(tmp_path, content, XLSX, "id", "sum")
    assert (batch.raw, batch.malformed_count) == (4, 2)
    told = batch.malformed.read_text()
    assert "formula in B2" in told
    assert "formula in A5" in told  # the last row, of which the file has no value at all
    assert '{""id"":1,""sum"":null,""n"":5} B2: =A2+1' in told
    assert parse(tmp_path, content, XLSX, "raw").malformed_count == 3
    assert parse(tmp_path, content, XLSX, "n").malformed_count == 1


def test_the_first_sheet_that_is_shown_is_read_and_a_hidden_one_by_name(tmp_path: Path) -> None:
    def build(made: openpyxl.Workbook) -> None:
        made.active.title = "Lists"
        made.active.append(["yes"])
        made.active.sheet_state = "veryHidden"
        made.create_sheet("Old").append(["id"])
        made["Old"].append([1])
        made["Old"].sheet_state = "hidden"
        made.create_sheet("New").append(["id"])
        made["New"].append([2])

    content = book(build)
    assert rows(tmp_path, content, XLSX) == [{"id": 2}]
    assert rows(tmp_path, content, FileFormat(format="xlsx", sheet="Old")) == [{"id": 1}]
    with pytest.raises(SourceError, match="The sheet 'New' of table lacks the columns name; it has id"):
        parse(tmp_path, content, XLSX, "name")


def test_merged_cells_below_the_header_are_told(tmp_path: Path) -> None:
    def build(made: openpyxl.Workbook) -> None:
        for line in (["id", "region", None], [1, "North"], [2, None], [3, None]):
            made.active.append(line)
        made.active.merge_cells("B1:C1")
        made.active.merge_cells("B2:B4")

    (note,) = parse(tmp_path, book(build), XLSX).notes
    assert note.startswith(
        "table: 1 ranges of merged cells in the sheet 'Sheet': the first cell of each has its value"
    )
    assert parse(tmp_path, sheet(["id"], [1]), XLSX).notes == ()


@pytest.mark.slow
def test_texts_that_many_cells_share_count_for_each_of_them(tmp_path: Path) -> None:
    # The library copies a shared text for each cell: 90 MB of texts from a file of some kilobytes.
    target = io.BytesIO()
    with xlsxwriter.Workbook(target, {"in_memory": True}) as made:
        shown = made.add_worksheet()
        for row in range(3_001):
            shown.write_row(row, 0, [row, "x" * 30_000])
        shown.write_row(0, 0, ["id", "text"])
    content = target.getvalue()
    assert len(content) < 100_000
    with pytest.raises(
        SourceTooLargeError, match=r"table decompresses to more than 100 times its size .DECANT_UNPACK_RATIO"
    ):
        parse(tmp_path, content, XLSX)
    assert parse(tmp_path, content, XLSX, limit=UnpackLimit(1 << 30, 10_000)).raw == 3_000


def parquet(table: pa.Table, **options: Any) -> bytes:
    target = io.BytesIO()
    pq.write_table(table, target, **options)
    return target.getvalue()


PARQUET = FileFormat(format="parquet")
FINE, PLAIN = 1_701_339_620_123_456_789, 1_701_339_620_123_456_000
NANOSECONDS = pa.timestamp("ns", "UTC")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([PLAIN, FINE, None], NANOSECONDS),
        ([{"at": PLAIN}, {"at": FINE}, None], pa.struct([("at", NANOSECONDS)])),
        ([[PLAIN, PLAIN], [PLAIN, FINE], []], pa.list_(NANOSECONDS)),
        ([[{"at": [PLAIN]}], [None, {"at": [FINE]}], None], pa.list_(pa.struct([("at", pa.list_(NANOSECONDS))]))),
    ],
)
def test_a_timestamp_whose_nanoseconds_would_be_cut_rejects_its_row_alone(
    tmp_path: Path, values: list[Any], kind: pa.DataType
) -> None:
    content = parquet(pa.table({"id": [1, 2, 3], "v": pa.array(values, kind), "d.ot": [1, 2, 3]}))
    batch = parse(tmp_path, content, PARQUET, "id", "v")
    assert (batch.raw, batch.malformed_count) == (3, 1)
    assert batch.malformed.read_text().startswith("2,")
    assert "nanoseconds cut off" in batch.malformed.read_text()  # its raw text is no JSON
    assert parse(tmp_path, content, PARQUET, "id").malformed_count == 0


def test_twelve_byte_timestamps_keep_microseconds_and_days_that_nanoseconds_do_not_reach(tmp_path: Path) -> None:
    timestamps = pa.array([FINE, PLAIN], pa.timestamp("ns"))
    content = parquet(pa.table({"id": [1, 2], "at": timestamps}), use_deprecated_int96_timestamps=True)
    batch = parse(tmp_path, content, PARQUET, "id", "at")
    assert (batch.raw, batch.malformed_count) == (2, 1)
    far = pa.array(numpy.array(["1600-01-01", "9999-12-31T23:59:59"], "datetime64[us]"))
    content = parquet(pa.table({"at": far}), use_deprecated_int96_timestamps=True)
    assert rows(tmp_path, content, PARQUET, "at") == [{"at": "1600-01-01T00:00:00"}, {"at": "9999-12-31T23:59:59"}]


def test_a_nested_decimal_is_a_number_only_where_a_number_keeps_it(tmp_path: Path) -> None:
    from decimal import Decimal

    exact, long = Decimal("1.10"), Decimal("123456789012345678.25")
    kind = pa.decimal128(20, 2)
    table = pa.table(
        {
            "s": pa.array([{"d": exact}, {"d": long}], pa.struct([("d", kind)])),
            "l": pa.array([[exact, None], [long]], pa.list_(kind)),
            "m": pa.array([[("k", exact)], [("k", long)]], pa.map_(pa.string(), kind)),
            "w": pa.array([[("k", dt.datetime(2024, 1, 5, 10))], []], pa.map_(pa.string(), pa.timestamp("us"))),  # noqa: DTZ001
        }
    )
    assert rows(tmp_path, parquet(table), PARQUET) == [
        {"s": {"d": 1.1}, "l": [1.1, None], "m": {"k": 1.1}, "w": {"k": "2024-01-05T10:00:00"}},
        {"s": {"d": str(long)}, "l": [str(long)], "m": {"k": str(long)}, "w": {}},
    ]


@pytest.mark.parametrize(
    ("value", "kind", "word"),
    [
        ({"x": float("nan")}, pa.struct([("x", pa.float64())]), "NaN"),
        ([1.5, float("-inf")], pa.list_(pa.float32()), "Infinity"),
        ([("k", float("inf"))], pa.map_(pa.string(), pa.float64()), "Infinity"),
    ],
)
def test_what_is_no_number_within_a_nested_value_rejects_its_row_alone(
    tmp_path: Path, value: Any, kind: pa.DataType, word: str
) -> None:
    batch = parse(tmp_path, parquet(pa.table({"id": [1, 2], "v": pa.array([value, None], kind)})), PARQUET, "id", "v")
    assert (batch.raw, batch.malformed_count) == (2, 1)
    assert f"{word}, which is not a JSON number" in batch.malformed.read_text()


@pytest.mark.slow
def test_parquet_that_becomes_far_too_much_json_is_too_large_unless_that_is_not_read(
    tmp_path: Path,
) -> None:
    table = pa.table({"id": pa.array(range(30_000)), "text": pa.array(["x" * 5_000] * 30_000).dictionary_encode()})
    content = parquet(table)
    assert len(content) < 500_000
    with pytest.raises(
        SourceTooLargeError, match=r"table decompresses to more than 100 times its size .DECANT_UNPACK_RATIO"
    ):
        parse(tmp_path, content, PARQUET, "id", "text")
    assert parse(tmp_path, content, PARQUET, "id").raw == 30_000
