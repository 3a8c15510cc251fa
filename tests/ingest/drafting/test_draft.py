"""First contracts from sample files: each is linted, migrated and loads its own sample without a rejected record."""

from __future__ import annotations

import datetime
import gzip
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import openpyxl
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.drafting.detect_format import detect_file_format
from ingest.drafting.draft import Draft, draft_contract
from ingest.errors import IngestError, OutOfMemoryError
from runtime.errors import CatalogError
from runtime.settings.settings import load_settings
from tests.support.drafts import LIMIT, draft, input_of, load, place, properties, types
from tests.support.examples import examples
from tests.support.lab import Lab

SALES = """\
order no,Customer,amount,ordered,placed at,express,US Gross,zip,comment
1,Ann,12.50,2024-01-31,2024-01-31T10:00:00Z,true,100,01234,
2,Bob,-3,2024-02-01,2024-02-01T11:30:00Z,false,NA,10115,"says ""hi"", often"
3,Ann,1e3,2024-02-29,2024-02-29T23:59:59Z,TRUE,250,99999,
"""


def test_types_keys_null_words_and_examples_are_found_and_the_contract_loads_its_file(
    tmp_path: Path, make_lab: Callable[..., Lab]
) -> None:
    drafted, dataset = draft(tmp_path, "sales 2024.csv", SALES)
    assert types(dataset) == {
        "order_no": "integer",
        "Customer": "string",
        "amount": "number",
        "ordered": "date",
        "placed_at": "timestamp",
        "express": "boolean",
        "us_gross": "integer",
        "zip": "string",  # a leading zero means something
        "comment": "string",
    }
    parts = properties(dataset)
    assert drafted.key == ("order_no",)
    assert parts["order_no"]["transformLogic"] == '"order no"'
    assert parts["us_gross"]["transformLogic"] == '"US Gross"'
    assert "transformLogic" not in parts["Customer"]
    assert [name for name, part in parts.items() if not part.get("required")] == ["us_gross", "comment"]
    assert parts["amount"]["examples"] == [12.5, -3.0, 1000.0]
    assert parts["express"]["examples"] == [True, False]
    assert input_of(dataset)["nullValues"] == ["", "NA"]
    assert '"${DECANT_DATA}"' in drafted.text or "${DECANT_DATA}" in drafted.text
    lab, outcome = load(make_lab, drafted)
    assert (outcome.status, outcome.accepted, outcome.rejected) == ("published", 3, 0)
    assert lab.rows("SELECT us_gross, zip FROM sales_2024_v0.sales_2024 ORDER BY order_no") == [
        (100, "01234"),
        (None, "10115"),
        (250, "99999"),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_other_delimiters_are_found(tmp_path: Path, delimiter: str) -> None:
    text = (
        SALES.replace('"says ""hi"", often"', "one, two, three")
        .replace(",", delimiter)
        .replace(f"one{delimiter} two{delimiter} three", "one, two, three")
    )
    _, dataset = draft(tmp_path, "sales.txt", text)
    assert input_of(dataset)["delimiter"] == delimiter
    assert len(dataset["properties"]) == 9


@pytest.mark.slow
def test_a_file_without_a_header_gets_columns_with_numbers(tmp_path: Path, make_lab: Callable[..., Lab]) -> None:
    content = '7,"Ulm",48.4,\\N\n8,"Bonn",50.7,x\n9,"Köln",50.9,y\n'
    drafted, dataset = draft(tmp_path, "towns.dat", content)
    assert input_of(dataset)["columns"] == ["column_1", "column_2", "column_3", "column_4"]
    assert input_of(dataset)["nullValues"] == ["", "\\N"]
    assert load(make_lab, drafted)[1].accepted == 3


def test_the_caller_knows_better_whether_there_is_a_header(tmp_path: Path) -> None:
    file, _ = place(tmp_path, "words.csv", "red,green\nblue,black\n")
    assert detect_file_format(file, LIMIT).columns is None
    assert detect_file_format(file, LIMIT, header=False).columns == ("column_1", "column_2")
    file.write_text("1,2\n3,4\n")
    assert detect_file_format(file, LIMIT).columns == ("column_1", "column_2")
    assert detect_file_format(file, LIMIT, header=True).columns is None


def pack_zip(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inside.csv", content)
    return buffer.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suffix", "pack"), [(".gz", gzip.compress), (".zip", pack_zip), (".zst", zstandard.ZstdCompressor().compress)]
)
def test_packed_files_are_read_as_they_are(
    tmp_path: Path, make_lab: Callable[..., Lab], suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    drafted, dataset = draft(tmp_path, f"sales.csv{suffix}", pack(SALES.encode()))
    assert input_of(dataset)["path"] == f"sales.csv{suffix}"
    assert load(make_lab, drafted)[1].accepted == 3


@pytest.mark.slow
def test_a_file_of_western_windows_keeps_its_letters(tmp_path: Path, make_lab: Callable[..., Lab]) -> None:
    drafted, dataset = draft(tmp_path, "städte.csv", "id,name\n1,Köln\n2,Genève\n3,50 €\n".encode("cp1252"))
    assert input_of(dataset)["encoding"] == "cp1252"
    lab, _ = load(make_lab, drafted)
    (product,) = lab.catalog.products.values()
    (only,) = product.datasets.values()
    assert lab.rows(f'SELECT name FROM "{product.schema}"."{only.table}" ORDER BY id') == [
        ("Köln",),
        ("Genève",),
        ("50 €",),
    ]


@pytest.mark.slow
def test_a_file_of_wide_characters_is_read(tmp_path: Path, make_lab: Callable[..., Lab]) -> None:
    drafted, dataset = draft(tmp_path, "wide.csv", "id;name\n1;Köln\n2;Genève\n".encode("utf-16"))
    assert input_of(dataset)["encoding"] == "utf-16"
    assert load(make_lab, drafted)[1].accepted == 2


@pytest.mark.slow
def test_parquet_keeps_its_types(tmp_path: Path, make_lab: Callable[..., Lab]) -> None:
    file, _ = place(tmp_path, "rows.parquet", b"")
    duckdb.sql(
        "SELECT range AS id, 'n' || range AS name, range / 4 AS share, DATE '2024-01-31' AS day,"
        " TIMESTAMPTZ '2024-01-31 10:00:00+00' AS at, range > 1 AS late, [range] AS list, {'x': range} AS part"
        " FROM range(3)"
    ).write_parquet(str(file))
    drafted, dataset = draft(tmp_path, "rows.parquet", file.read_bytes())
    assert types(dataset) == {
        "id": "integer",
        "name": "string",
        "share": "number",
        "day": "date",
        "at": "timestamp",
        "late": "boolean",
        "list": "array",
        "x": "integer",
    }
    assert load(make_lab, drafted)[1].accepted == 3


@pytest.mark.slow
def test_a_workbook_is_read(tmp_path: Path, make_lab: Callable[..., Lab]) -> None:
    workbook = openpyxl.Workbook()
    sheet = workbook.active
    assert sheet is not None
    for row in (
        ["Order no", "when", "paid", "amount"],
        [7, datetime.date(2024, 1, 31), True, 1.5],
        [8, datetime.date(2024, 2, 1), False, None],
    ):
        sheet.append(row)
    buffer = io.BytesIO()
    workbook.save(buffer)
    drafted, dataset = draft(tmp_path, "orders.xlsx", buffer.getvalue())
    assert input_of(dataset)["format"] == "xlsx"
    assert list(types(dataset)) == ["order_no", "when", "paid", "amount"]
    assert (types(dataset)["order_no"], drafted.key) == ("integer", ("order_no",))
    assert load(make_lab, drafted)[1].accepted == 2


@pytest.mark.slow
def test_a_key_of_several_columns_is_found(tmp_path: Path, make_lab: Callable[..., Lab]) -> None:
    rows = [f"{place},{day},{value}" for place in "abc" for day in (1, 2, 3) for value in (0.5,)]
    drafted, dataset = draft(tmp_path, "readings.csv", "place,day,value\n" + "\n".join(rows) + "\n")
    assert drafted.key == ("place", "day")
    assert [properties(dataset)[name]["primaryKeyPosition"] for name in drafted.key] == [1, 2]
    assert load(make_lab, drafted)[1].accepted == 9


@pytest.mark.slow
def test_without_a_key_one_is_made_of_the_whole_record_and_said_to_be(
    tmp_path: Path, make_lab: Callable[..., Lab]
) -> None:
    drafted, _ = draft(tmp_path, "log.csv", "level,text\ninfo,a\ninfo,b\ninfo,\nwarn,b\nwarn,b\n,c\n")
    assert (drafted.made_up_key, drafted.key) == (True, ("record_id",))
    assert "A digest of the whole record, since no combination of up to three columns is unique" in drafted.text
    _, outcome = load(make_lab, drafted)
    assert (outcome.accepted, outcome.rejected, outcome.duplicates) == (5, 0, 1)


def test_an_identifier_is_preferred_to_whatever_else_is_unique(tmp_path: Path) -> None:
    drafted, _ = draft(tmp_path, "a.csv", "seen,user_id\n2024-01-01,7\n2024-01-02,8\n")
    assert drafted.key == ("user_id",)


def test_a_word_for_no_value_that_may_be_a_value_is_only_pointed_out(tmp_path: Path) -> None:
    drafted, dataset = draft(tmp_path, "countries.csv", "id,code\n1,DE\n2,NA\n3,FR\n")
    assert input_of(dataset)["nullValues"] == [""]
    assert any("holds NA" in note for note in drafted.notes)


TYPES_OF_VALUES = [
    (["0", "1", "1"], "integer"),
    (["1", "2.5", "x"], "string"),
    (["007", "123", "5"], "string"),
    (["+49123", "+4455"], "string"),
    (["99999999999999999999", "1"], "string"),
    (["-5", "+5"], "string"),
    (["1.5", ".5", "2."], "number"),
    (["0.5", "-0.25"], "number"),
    (["2024-01-01", "2024-02-30"], "string"),
    (["2024-01-01 10:00", "2024-01-02 11:00"], "timestamp"),
    (["2024-01-01T10:00:00+02:00", "2024-01-01"], "string"),
    (["10:30", "23:59:59"], "time"),
    (["nan", "1.5"], "number"),
    (["1,5", "2,5"], "string"),
    (["0x10", "0x11"], "string"),
    (["yes", "no"], "string"),
    (["6f1e2d3c-0000-4000-8000-000000000000"], "string"),
]


@pytest.mark.slow
def test_a_type_is_what_every_value_is(tmp_path: Path) -> None:
    columns = [f"value{number}" for number in range(len(TYPES_OF_VALUES))]
    rows = [["id", *columns]]
    rows += [[str(row), *(values[row % len(values)] for values, _ in TYPES_OF_VALUES)] for row in range(3)]
    _, dataset = draft(tmp_path, "values.csv", "".join(";".join(row) + "\n" for row in rows))
    expected = dict(zip(columns, (logical for _, logical in TYPES_OF_VALUES), strict=True))
    assert types(dataset) == {"id": "integer"} | expected


def test_a_column_that_goes_wrong_after_a_thousand_records_is_found_out(tmp_path: Path) -> None:
    content = "id,value\n" + "".join(f"{index},{index}\n" for index in range(3000)) + "3000,many\n"
    drafted, dataset = draft(tmp_path, "late.csv", content)
    assert types(dataset) == {"id": "integer", "value": "integer"}
    assert drafted.notes == ("value: 1 of 3,001 values are not of type integer, such as 'many': rejected",)


@pytest.mark.slow
def test_broken_lines_are_counted_and_do_not_decide_anything(tmp_path: Path, make_lab: Callable[..., Lab]) -> None:
    rows = "".join(f"{index},{index * 2}\n" for index in range(50))
    drafted, dataset = draft(tmp_path, "broken.csv", "id,value\n" + rows + "50,1,2,3\n51\n")
    assert (drafted.records, drafted.malformed) == (52, 2)
    assert types(dataset) == {"id": "integer", "value": "integer"}
    _, outcome = load(make_lab, drafted)
    assert (outcome.accepted, outcome.rejected) == (50, 2)


@pytest.mark.slow
def test_columns_that_cannot_be_named_are_told(tmp_path: Path, make_lab: Callable[..., Lab]) -> None:
    drafted, dataset = draft(tmp_path, "odd.csv", ",a,Total (€),_id,2nd,SELECT\n0,1,2,3,4,5\n1,2,3,4,5,6\n")
    assert [part["name"] for part in dataset["properties"]] == [
        "column_a",
        "a",
        "total",
        "id",
        "column_2nd",
        "SELECT",
    ]
    assert load(make_lab, drafted)[1].accepted == 2


@pytest.mark.slow
def test_names_that_differ_in_case_alone_stay_apart(tmp_path: Path, make_lab: Callable[..., Lab]) -> None:
    drafted, dataset = draft(tmp_path, "case.csv", "Name,name,NAME x\n1,2,3\n4,5,6\n", header=True)
    assert len({part["name"].lower() for part in dataset["properties"]}) == 3 or len(dataset["properties"]) == 3
    assert load(make_lab, drafted)[1].accepted == 2


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.csv", "", "is empty"),
        ("blank.csv", "  \n ", "is empty"),
        ("scalar.json", '{"a": [1, 2]}', "no list of JSON objects"),
        ("broken.json", '{"a": [', "is not JSON"),
        ("only.csv", "a,b\n", "no well-formed record"),
        ("bad.zip", b"PK\x03\x04nonsense", "archive"),
    ],
)
def test_what_no_contract_can_be_made_of_is_refused_in_words(
    tmp_path: Path, name: str, content: str | bytes, words: str
) -> None:
    file, chosen = place(tmp_path, name, content)
    with pytest.raises((IngestError, CatalogError), match=words):
        draft_contract(file, chosen)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IngestError, match="does not exist"):
        draft_contract(tmp_path / "nothing.csv", load_settings(home=tmp_path))


FILMS = [
    {
        "Title": "A",
        "US Gross": 12,
        "Release Date": "Jun 12 1998",
        "rating": {"imdb": 6.1, "votes": None},
        "cast": ["x"],
    },
    {"Title": 300, "US Gross": None, "Release Date": "Aug 07 1999", "rating": {"imdb": 7, "votes": ""}, "cast": []},
    {"Title": "C", "Release Date": "Aug 28 2000", "rating": {"imdb": None, "votes": "12"}, "cast": ["y", "z"]},
]


def check_films(make_lab: Callable[..., Lab], drafted: Draft, dataset: dict[str, Any]) -> None:
    """The draft of FILMS says what they are, and loads them."""
    assert types(dataset) == {
        "Title": "string",
        "us_gross": "integer",
        "release_date": "date",
        "imdb": "number",
        "votes": "integer",
        "cast": "array",
    }
    parts = properties(dataset)
    assert drafted.key == ("Title",)
    assert parts["release_date"]["logicalTypeOptions"] == {"format": "MMM dd yyyy"}
    assert parts["release_date"]["examples"] == ["1998-06-12", "1999-08-07", "2000-08-28"]
    assert parts["imdb"]["transformLogic"] == "raw->>'$.rating.imdb'"
    assert parts["votes"]["transformLogic"] == "nullif(raw->>'$.rating.votes', '')"
    lab, outcome = load(make_lab, drafted)
    assert (outcome.status, outcome.accepted, outcome.rejected) == ("published", 3, 0)
    assert lab.rows('SELECT imdb, votes, "cast" FROM films_v0.films ORDER BY "Title"') == [
        (7.0, None, []),
        (6.1, None, ["x"]),
        (None, 12, ["y", "z"]),
    ]


@pytest.mark.slow
def test_json_within_a_document_is_flattened_where_it_is_plain(tmp_path: Path, make_lab: Callable[..., Lab]) -> None:
    document = {"generated": 1, "list": {"films": FILMS}}
    drafted, dataset = draft(tmp_path, "films.json", json.dumps(document))
    assert input_of(dataset)["records"] == "$.list.films[*]"
    check_films(make_lab, drafted, dataset)


@pytest.mark.slow
def test_json_that_is_a_list_and_json_lines_are_told_apart(tmp_path: Path, make_lab: Callable[..., Lab]) -> None:
    drafted, dataset = draft(tmp_path, "films.json", json.dumps(FILMS))
    assert input_of(dataset)["format"] == "json"
    assert "records" not in input_of(dataset)
    check_films(make_lab, drafted, dataset)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["films.ndjson", "films.json"])
def test_json_lines_are_known_by_what_they_hold(tmp_path: Path, make_lab: Callable[..., Lab], name: str) -> None:
    drafted, dataset = draft(tmp_path, name, "".join(json.dumps(film) + "\n" for film in FILMS))
    assert input_of(dataset)["format"] == "ndjson"
    check_films(make_lab, drafted, dataset)


@pytest.mark.slow
def test_a_day_that_may_be_a_month_stays_text_and_is_pointed_out(tmp_path: Path) -> None:
    drafted, dataset = draft(tmp_path, "days.csv", "id;day\n1;01/02/2024\n2;03/04/2024\n")
    assert types(dataset)["day"] == "string"
    assert any("dd/MM/yyyy and MM/dd/yyyy" in note for note in drafted.notes)
    _, dataset = draft(tmp_path, "days.csv", "id;day\n1;01/02/2024\n2;13/04/2024\n")
    assert properties(dataset)["day"]["logicalTypeOptions"] == {"format": "dd/MM/yyyy"}
    _, dataset = draft(tmp_path, "days.csv", "id;at\n1;31.1.2024 9:30\n2;1.12.2024 10:05\n")
    assert properties(dataset)["at"]["logicalTypeOptions"] == {"format": "d.M.yyyy H:mm", "timezone": False}


CELLS = st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), max_size=8) | st.sampled_from(
    ["1", "2.5", "NA", "", "true", "2024-01-01", "12:30", "0012", "-", "1e400", "١٢", " x "]
)


@pytest.mark.slow
@settings(deadline=None, database=None, max_examples=examples(40, 6))
@given(st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=12))
def test_any_delimited_file_gives_a_contract_that_keeps_it(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]]
) -> None:
    def cell(text: str) -> str:
        return '"' + text.replace('"', '""') + '"'

    content = "first,second,third\n" + "".join(",".join(map(cell, row)) + "\n" for row in rows)
    file, chosen = place(tmp_path_factory.mktemp("any"), "any.csv", content)
    # `settle` ends only where no record is rejected.
    drafted = draft_contract(file, chosen, header=True)
    assert drafted.records - drafted.malformed == len(rows)


def test_whole_numbers_that_a_json_number_would_cut_are_drafted_as_bigint(tmp_path: Path) -> None:
    _, dataset = draft(tmp_path, "n.csv", "id,large,small\n1,9007199254740993,9007199254740991\n2,7,5\n")
    parts = properties(dataset)
    assert [parts[name].get("physicalType") for name in ("id", "large", "small")] == [None, "bigint", None]
    assert parts["large"]["logicalType"] == "integer"
    assert parts["large"]["examples"][0] == "9007199254740993"


def test_a_sample_that_needs_more_memory_than_there_is_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "towns.json").write_text('{"towns": [{"id": 1, "name": "Brno"}, {"id": 2, "name": "Graz"}]}')
    with pytest.raises(OutOfMemoryError, match="needs more memory than 20MB: increase DECANT_DUCKDB_MEMORY"):
        draft_contract(tmp_path / "towns.json", load_settings(home=tmp_path / "home", duckdb_memory="20MB"))
