"""What `contract init` guesses: outliers, words for no value, years and exact decimals, each with its note."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ingest.drafting.detect_format import detect_file_format
from tests.support.drafts import LIMIT, draft, input_of, load, properties, types
from tests.support.file_cases import CASES
from tests.support.lab import Lab


def column(values: list[str]) -> str:
    """A file with one column of these values beside a number."""
    return "id;value\n" + "".join(f"{index};{value}\n" for index, value in enumerate(values, 1))


@pytest.mark.slow
def test_a_country_called_na_is_kept_where_na_is_no_number(tmp_path: Path, make_lab: Callable[..., Lab]) -> None:
    drafted, dataset = draft(tmp_path, "c.csv", (CASES / "namibia" / "data" / "c.csv").read_bytes())
    assert input_of(dataset)["nullValues"] == [""]
    parts = properties(dataset)
    assert [(name, part.get("transformLogic")) for name, part in parts.items()] == [
        ("country", None),
        ("gdp", "nullif(\"gdp\", 'NA')"),
        ("area", "nullif(\"area\", 'NA')"),
    ]
    assert drafted.notes == (
        "country: holds NA: list it in nullValues if it means no value",
        "gdp: NA is read as no value in 1 of 4 records",
        "area: NA is read as no value in 1 of 4 records",
    )
    lab, outcome = load(make_lab, drafted)
    assert (outcome.accepted, outcome.rejected) == (4, drafted.rejected) == (4, 0)
    found = lab.rows("SELECT country, gdp::text, area FROM c_v0.c ORDER BY country")
    assert found == [("DE", None, 357), ("FR", "3000.1", None), ("IT", "2100.0", 301), ("NA", "12.3", 825)]


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("word", "kept"), [("NULL", True), ("-", True), ("None", True), ("\\N", False), ("#N/A", False)]
)
def test_only_words_that_mean_nothing_else_are_taken_from_texts(tmp_path: Path, word: str, kept: bool) -> None:
    drafted, dataset = draft(tmp_path, "names.csv", column(["Ann", word, "Bob"]))
    assert (input_of(dataset)["nullValues"] == [""]) == kept
    said = "holds {}: list it" if kept else "{} is read as no value in 1 of 3 records"
    assert any(said.format(word) in note for note in drafted.notes)


@pytest.mark.slow
def test_outliers_are_named_and_rejected(tmp_path: Path, make_lab: Callable[..., Lab]) -> None:
    rows = [f"{number},{number * 3},2024-01-{number % 28 + 1:02d},x" for number in range(100)]
    rows[7] = "7,many \x1b[2J,2024-01-01,x"
    rows[9] = "9,27,2024-01-32,x"
    rows[50] = "50,few,2024-01-01,x"
    drafted, dataset = draft(tmp_path, "out.csv", "id,amount,day,word\n" + "\n".join(rows) + "\n")
    assert types(dataset) == {"id": "integer", "amount": "integer", "day": "date", "word": "string"}
    assert drafted.notes == (
        r"amount: 2 of 100 values are not of type integer, such as 'many \x1b[2J': rejected",
        "day: 1 of 100 values are not of type date, such as '2024-01-32': rejected",
    )
    assert "\x1b" not in drafted.text
    _, outcome = load(make_lab, drafted)
    assert (outcome.status, outcome.accepted, outcome.rejected) == ("published", 97, 3)
    assert drafted.rejected == 3


@pytest.mark.sampled
@pytest.mark.parametrize("other", [["a", "b", "c"], ["007"], ["99999999999999999999"], ["1.2.3"]])
def test_what_is_more_than_an_outlier_leaves_the_column_text(tmp_path: Path, other: list[str]) -> None:
    values = [str(number) for number in range(100 - len(other))] + other
    drafted, dataset = draft(tmp_path, "ids.csv", column(values))
    assert (types(dataset)["value"], drafted.rejected) == ("string", 0)


@pytest.mark.slow
def test_outliers_of_many_columns_together_do_not_withhold_the_load(tmp_path: Path) -> None:
    def cell(row: int, place: int) -> str:
        return "odd" if row in (place * 2, place * 2 + 1) else str(row)

    rows = [",".join([str(row), *(cell(row, place) for place in range(6)), "word"]) for row in range(100)]
    rows[1], rows[50] = "1,1,1,1,1,1,1,word", "50,NA,50,50,50,50,50,NA"
    drafted, dataset = draft(tmp_path, "many.csv", "id,a,b,c,d,e,f,w\n" + "\n".join(rows) + "\n")
    assert [name for name, kind in types(dataset).items() if kind == "integer"] == ["id"]
    # No number any more, so NA is no word for none either.
    assert "transformLogic" not in properties(dataset)["a"]
    assert "a: holds NA: list it in nullValues if it means no value" in drafted.notes
    assert drafted.rejected == 0
    assert "a: left as text: the outliers of all columns exceed maxRejected" in drafted.notes


@pytest.mark.slow
def test_years_name_columns_where_the_values_below_are_none(tmp_path: Path) -> None:
    _, dataset = draft(tmp_path, "gdp.csv", "country,2019,2020\nDE,3.1,2.9\nFR,1.5,1.4\n")
    assert list(types(dataset)) == ["country", "column_2019", "column_2020"]
    _, dataset = draft(tmp_path, "years.csv", "name,year\na,1999\nb,2024\nc,2000\n")
    assert properties(dataset)["year"]["logicalType"] == "integer"
    drafted, dataset = draft(tmp_path, "people.csv", "Ann,1980,2001\nBob,1990,2015\n")
    assert list(types(dataset)) == ["column_1", "column_2", "column_3"]
    assert "the first line is read as a record, not as column names: use --header if it is a header" in drafted.notes
    assert drafted.records == 2
    file = tmp_path / "data" / "numbers.csv"
    file.write_text("1999,2000\n5,6\n")
    assert detect_file_format(file, LIMIT).columns == ("column_1", "column_2")


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("values", "physical"),
    [
        (["12.50", "3.99"], "numeric(18,2)"),
        (["-1.5", "100"], "numeric(18,1)"),
        (["0.1234567890123456789", "1.5"], "numeric(38,19)"),
        (["123456789012345678.25", "1.10"], "numeric(38,2)"),
        (["52.520008", "13.4"], None),  # coordinates
        (["1e3", "2.5"], None),
    ],
)
def test_decimals_are_exact_where_their_digits_are_meant(
    tmp_path: Path, values: list[str], physical: str | None
) -> None:
    drafted, dataset = draft(tmp_path, "values.csv", column(values))
    part = properties(dataset)["value"]
    assert (part["logicalType"], part.get("physicalType")) == ("number", physical)
    assert any("floating-point" in note for note in drafted.notes) == (physical is None)


def test_decimals_that_no_number_keeps_stay_text(tmp_path: Path) -> None:
    drafted, dataset = draft(tmp_path, "values.csv", column([f"1234567890123456789012.{'1' * 20}", "1.5"]))
    assert types(dataset)["value"] == "string"
    assert drafted.notes == ("value: has more digits than a number can hold: left as text",)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "name", "query", "rows"),
    [
        (
            "bigdec",
            "d.csv",
            "SELECT amount::text FROM d_v0.d WHERE id = 1",
            [("123456789012345678.2500000000000000000",)],
        ),
        ("floatints", "f.csv", "SELECT n::text FROM f_v0.f ORDER BY id", [("19.0",), (None,), ("20.0",)]),
        ("bigids", "b.ndjson", "SELECT i, m::text FROM b_v0.b WHERE k = 'a'", [(2**53 + 1, "0.123456789012345678")]),
    ],
)
def test_numbers_are_loaded_with_all_their_digits(
    tmp_path: Path, make_lab: Callable[..., Lab], case: str, name: str, query: str, rows: list[tuple[object, ...]]
) -> None:
    drafted, _ = draft(tmp_path, name, (CASES / case / "data" / name).read_bytes())
    lab, outcome = load(make_lab, drafted)
    assert (outcome.accepted, outcome.rejected) == (drafted.records, 0)
    assert lab.rows(query) == rows


@pytest.mark.slow
def test_blanks_around_the_texts_of_a_typed_file_are_part_of_them(
    tmp_path: Path, make_lab: Callable[..., Lab]
) -> None:
    records = [
        {"code": code, "size": f" {number} ", "in": {"name": f"{code}!", "day": f" 2026-01-0{number}"}}
        for number, code in enumerate(["a", "a ", " a"], 1)
    ]
    drafted, _ = draft(tmp_path, "c.ndjson", "".join(json.dumps(record) + "\n" for record in records))
    assert drafted.key == ("code",)
    lab, outcome = load(make_lab, drafted)
    assert (outcome.accepted, outcome.rejected, outcome.duplicates) == (3, 0, 0)
    found = lab.rows("SELECT code, size, name FROM c_v0.c ORDER BY size")
    assert found == [("a", 1, "a!"), ("a ", 2, "a !"), (" a", 3, " a!")]
    as_csv, _ = draft(tmp_path, "c.csv", "code,size\na,1\na ,2\n a,3\n")
    assert as_csv.key == ("size",)
