"""Files of every format, from the folder into the table: what is kept, what is rejected, and that it adds up."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import duckdb
import pytest

from ingest.loading.load_report import LoadReport
from tests.support.lab import PEOPLE, Lab
from tests.support.tables import write_workbook

MakeLab = Callable[..., Lab]
WANTED = [(1, "Ann", 30, "1990-01-02"), (2, "Ben", None, None), (3, "Zoë", 41, "1980-05-06")]
SHOWN = "SELECT id, name, age, born::text FROM people_v1.people ORDER BY id"


def people(path: str, **keys: Any) -> str:
    """The contract of people, fed by another input."""
    value = {"server": "here", "path": path, "mode": "snapshot", "nullValues": ["", "NA"], **keys}
    old = 'value: {server: here, path: people.csv, mode: snapshot, nullValues: ["", NA]}'
    assert old in PEOPLE
    return PEOPLE.replace(old, f"value: {json.dumps(value)}")


def counts(report: LoadReport) -> tuple[int, int, int, int]:
    """raw, accepted, rejected, duplicates; all raw records are accounted for."""
    assert report.outcome is not None, report.error
    found = report.outcome
    assert found.accepted + found.rejected + found.duplicates == found.raw
    return found.raw, found.accepted, found.rejected, found.duplicates


ROWS: list[dict[str, Any]] = [
    {"id": 1, "name": "Ann", "age": 30, "born": "1990-01-02"},
    {"id": 2, "name": "Ben", "age": None, "born": "NA"},
    {"id": 3, "name": "Zoë", "age": 41, "born": "1980-05-06"},
    {"id": 4, "name": "Old", "age": 200, "born": "1990-01-02"},
    {"id": "x", "name": "Odd", "age": 1, "born": None},
    {"id": 3, "name": "Zoë", "age": 41, "born": "1980-05-06"},
]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)


def write_parquet(lab: Lab, name: str) -> None:
    """The rows as Parquet, with its own types."""
    rows = lab.write("rows.ndjson", LINES)
    query = (
        "SELECT CAST(id AS VARCHAR) AS id, name, age::SMALLINT AS age, TRY_CAST(born AS DATE) AS born"
        f" FROM read_json('{rows}', columns = {{id: 'VARCHAR', name: 'VARCHAR', age: 'INT', born: 'VARCHAR'}})"
    )
    duckdb.execute(f"COPY ({query}) TO '{lab.settings.data_folder / name}' (FORMAT parquet)")


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("path", "keys", "write"),
    [
        ("a.ndjson", {"format": "ndjson"}, lambda lab, name: lab.write(name, LINES)),
        ("a.json", {"format": "json"}, lambda lab, name: lab.write(name, json.dumps(ROWS, indent=2))),
        (
            "b.json",
            {"format": "json", "records": "$.data.rows[*]"},
            lambda lab, name: lab.write(name, json.dumps({"meta": {"n": 1}, "data": {"rows": ROWS}, "end": []})),
        ),
        ("a.parquet", {"format": "parquet"}, write_parquet),
        (
            "a.xlsx",
            {"format": "xlsx"},
            lambda lab, name: lab.write(
                name, write_workbook(["id", "name", "age", "born"], *(list(row.values()) for row in ROWS))
            ),
        ),
        (
            "a.tsv",
            {"format": "tsv"},
            lambda lab, name: lab.write(
                name,
                "id\tname\tage\tborn\n"
                + "".join("\t".join(str(v if v is not None else "") for v in r.values()) + "\n" for r in ROWS),
            ),
        ),
        (
            "headless.dat",
            {"columns": ["id", "name", "age", "born"], "nullValues": ["\\N", "NA"], "format": "csv"},
            lambda lab, name: lab.write(
                name,
                "".join(",".join(str(v if v is not None else "\\N") for v in r.values()) + "\n" for r in ROWS),
            ),
        ),
        (
            "wide.csv",
            {"encoding": "utf-16"},
            lambda lab, name: lab.write(
                name,
                (
                    "id,name,age,born\n"
                    + "".join(",".join(str(v if v is not None else "") for v in r.values()) + "\n" for r in ROWS)
                ).encode("utf-16"),
            ),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_format_brings_the_same_records(
    make_lab: MakeLab, path: str, keys: dict[str, Any], write: Callable[[Lab, str], object]
) -> None:
    lab = make_lab(people(path, **keys))
    write(lab, path)
    report = lab.ingest("people")
    assert counts(report) == (6, 3, 2, 1)
    assert lab.rows(SHOWN) == WANTED
    rejected = lab.rows("SELECT file, line, raw, reasons -> 0 ->> 'rule' FROM decant.rejected_records ORDER BY line")
    assert [(file, rule) for file, _, _, rule in rejected] == [(path, "maximum"), (path, "type")]
    assert ["Old" in raw for _, _, raw, _ in rejected] == [True, False]


def test_lines_that_are_no_json_object_are_rejected_one_by_one(make_lab: MakeLab) -> None:
    lab = make_lab(people("a.ndjson", format="ndjson"))
    bad = ['{"id": 9, "name": "x"', "[1]", '{"id": NaN}', '{"id": 7, "name": "a\\u0000b"}', '{"id": 8, "id": 9}']
    report = lab.ingest("people", "\n".join([*LINES.splitlines()[:2], *bad, LINES.splitlines()[2], ""]), "a.ndjson")
    assert counts(report) == (8, 3, 5, 0)
    assert lab.rows(SHOWN) == WANTED
    rejected = lab.rows(
        "SELECT line, raw, reasons -> 0 ->> 'rule', reasons -> 0 ->> 'message' FROM decant.rejected_records"
        " ORDER BY line"
    )
    assert [(line, raw, rule) for line, raw, rule, _ in rejected] == [
        (line, raw, "malformed") for line, raw in enumerate(bad, 3)
    ]
    assert [message for *_, message in rejected][1:] == [
        "the record is not a JSON object but an array",
        "the record holds NaN, which is not a JSON number",
        "the record contains a NUL character",
        "the record has the duplicate key 'id'",
    ]


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("content", "records", "message"),
    [
        ('[{"id": 1, "name": "Ann"}, {"id": 2', None, "ends early"),
        ('{"rows": [{"id": 1, "name": "Ann"}]', "$.rows[*]", "it ends early"),
        ('[{"id": 1, "name": "Ann"}', None, "it ends early"),
        ('[{"id": 1, "name": "Ann"}]]', None, "use the format ndjson if each line is a record"),
        ('{"id": 1}\n{"id": 2}\n', "$", "use the format ndjson if each line is a record"),
        ('{"features": [], "type": "x"}', "$.rows[*]", "no 'rows' at $; its keys there are: features, type"),
        ('{"features": [], "type": "x"}', None, "Its keys: features, type"),
        ('[{"id": 1} {"id": 2}]', None, "a comma or the array's end is expected, but there is"),
    ],
)
def test_a_document_that_is_not_whole_fails_the_load(
    make_lab: MakeLab, content: str, records: str | None, message: str
) -> None:
    lab = make_lab(people("a.json", format="json", **({"records": records} if records else {})))
    report = lab.ingest("people", content, "a.json")
    assert (report.status, report.error_code) == ("failed", "source_unreadable")
    assert message in (report.error or "")
    assert lab.rows(SHOWN) == []


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("path", "keys"), [("a.parquet", {"format": "parquet"}), ("a.xlsx", {"format": "xlsx"})], ids=["parquet", "xlsx"]
)
@pytest.mark.parametrize(
    "content", [b"", b"id,name\n1,Ann\n", b"PAR1PAR1", b"PK\x03\x04junk", b"\xd0\xcf\x11\xe0old"]
)
def test_what_is_no_table_of_that_format_fails_the_load(
    make_lab: MakeLab, path: str, keys: dict[str, Any], content: bytes
) -> None:
    report = make_lab(people(path, **keys)).ingest("people", content, path)
    assert (report.status, report.error_code) == ("failed", "source_unreadable")
    assert "/" not in (report.error or "")


def test_a_table_without_a_column_that_is_read_fails_the_load_naming_those_it_has(make_lab: MakeLab) -> None:
    lab = make_lab(people("a.xlsx", format="xlsx"))
    report = lab.ingest("people", write_workbook(["id", "Name"], [1, "Ann"]), "a.xlsx")
    assert (report.status, report.error_code) == ("failed", "missing_columns")
    assert report.error == "The sheet 'Sheet' of a.xlsx lacks the columns name, age, born; it has id, Name."


def test_a_snapshot_of_several_files_is_one_batch_and_maps_columns_by_name(make_lab: MakeLab) -> None:
    lab = make_lab(people("part-*.csv"))
    lab.write("part-1.csv", "id,name,age,born\n1,Ann,30,1990-01-02\n")
    lab.write("part-2.csv", "born,age,extra,name,id\n,,x,Ben,2\n1980-05-06,41,y,Zoë,3\n1,2,3,4\n")
    lab.write("other.csv", "id\n9\n")
    assert counts(lab.ingest("people")) == (4, 3, 1, 0)
    assert lab.rows(SHOWN) == WANTED
    assert lab.rows("SELECT file, line, raw FROM decant.rejected_records") == [("part-2.csv", 4, "1,2,3,4")]
    lab.write("part-3.csv", "id,name\n4,Cy\n")
    report = lab.ingest("people")
    assert (report.error_code, report.error) == (
        "missing_columns",
        "part-3.csv lacks the columns age, born; it has id, name.",
    )
    assert lab.rows(SHOWN) == WANTED


def test_new_files_are_loaded_one_by_one_and_a_withheld_one_stays_first(make_lab: MakeLab) -> None:
    contract = people("day-*.csv", mode="upsert").replace(
        "property: maxRejected, value: 100", "property: maxRejected, value: 10"
    )
    lab = make_lab(contract)
    head = "id,name,age,born\n"
    assert lab.ingest("people").status == "unchanged"
    lab.write("day-1.csv", head + "1,Ann,30,1990-01-02\n2,Ben,,\n")
    lab.write("day-2.csv", head + "x,Bad,1,\n")
    lab.write("day-3.csv", head + "3,Zoë,41,1980-05-06\n")
    reports = [lab.ingest("people") for _ in range(3)]
    assert [(report.status, report.more) for report in reports] == [
        ("published", True),
        ("withheld", False),
        ("withheld", False),
    ]
    lab.write("day-2.csv", head + "3,Eve,1,\n")
    reports = [lab.ingest("people") for _ in range(3)]
    assert [(report.status, report.more) for report in reports] == [
        ("published", True),
        ("published", False),
        ("unchanged", False),
    ]
    assert lab.rows(SHOWN) == WANTED
