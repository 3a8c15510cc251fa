"""Blanks around raw texts: dropped from what people write down, part of what a typed source calls a text."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from catalog.contract.load import load_catalog
from runtime.errors import ContractError
from runtime.settings.settings import load_settings
from tests.support.file_cases import CASES, EXPECTED, merge_contracts
from tests.support.lab import Lab
from tests.support.pushing import make_key
from tests.support.remote_api import Reply, run_remote_api
from tests.support.source_database import Erp
from tests.support.tables import write_parquet, write_workbook

MakeLab = Callable[..., Lab]
CASE_NAMES = {"parquetwhite", "whitejson", "whitespace"}
CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: shop
name: Shop
version: 1.0.0
status: active
servers:
  - {{server: here, type: local, path: "${{DECANT_DATA}}", format: csv}}
  - {{server: remote, type: api, location: "${{API_URL}}"}}
  - {{server: erp, type: custom, customProperties: [{{property: url, value: "${{ERP_URL}}"}}]}}
schema:
  - name: items
    customProperties:
      - {{property: input, value: {{{input}}}}}
      - {{property: maxDeleted, value: 100}}
      - {{property: maxRejected, value: 100}}
      {more}
    properties:
      - {{name: code, logicalType: string, primaryKey: true}}
      - {{name: size, logicalType: integer}}
      - {{name: twice, logicalType: integer, transformLogic: size::int * 2}}
      - {{name: shown, logicalType: string, transformLogic: "'<' || code || '>'"}}
roles:
  - {{role: "shop:read", access: read, customProperties: [{{property: anonymous, value: true}}]}}
"""
# Keys that differ in blanks alone, and a number that is written as a text with blanks.
RECORDS = [{"code": "a", "size": "1"}, {"code": "a ", "size": " 2 "}, {"code": "\ta", "size": "3"}]
KEPT = [("\ta", 3, 6, "<\ta>"), ("a", 1, 2, "<a>"), ("a ", 2, 4, "<a >")]
# The last of one key stays.
TRIMMED = [("a", 3, 6, "<a>")]
SHOWN = 'SELECT code, size, twice, shown FROM shop_v1.items ORDER BY code COLLATE "C"'
TRIM = "- {{property: trim, value: {}}}"
NDJSON = "".join(json.dumps(record) + "\n" for record in RECORDS)
CSV = "code,size\n" + "".join(f"{record['code']},{record['size']}\n" for record in RECORDS)
SAID = pytest.mark.parametrize(
    ("more", "typed", "written"),
    [("", KEPT, TRIMMED), (TRIM.format("true"), TRIMMED, TRIMMED), (TRIM.format("false"), None, None)],
    ids=["unsaid", "true", "false"],
)


def build(make_lab: MakeLab, source: str, more: str = "") -> Lab:
    return make_lab(
        CONTRACT.format(input=source, more=more or "- {property: minRecords, value: 0}"), input_roots="*=/"
    )


def check(lab: Lab, wanted: list[tuple[Any, ...]] | None) -> None:
    """Whether a load gives these records; with None, as blanks are kept where they make a number none."""
    report = lab.ingest("shop.items")
    assert report.outcome, report
    outcome = report.outcome
    assert report.status == "published"
    if wanted is None:
        assert (outcome.accepted, outcome.rejected, outcome.duplicates) == (2, 1, 0)
        assert lab.rows(SHOWN) == [KEPT[0], KEPT[1]]
        assert lab.rows("SELECT key, reasons -> 0 ->> 'value' FROM decant.rejected_records") == [("a ", " 2 ")]
        return
    assert (outcome.accepted, outcome.rejected, outcome.duplicates) == (len(wanted), 0, 3 - len(wanted))
    assert lab.rows(SHOWN) == wanted


def fill(tmp_path: Path, lab: Lab) -> None:
    """The records as files of every format."""
    lab.write("items.ndjson", NDJSON)
    lab.write("items.json", json.dumps(RECORDS))
    values = ", ".join(f"('{record['code']}', '{record['size']}')" for record in RECORDS)
    lab.write("items.parquet", write_parquet(tmp_path, f"SELECT * FROM (VALUES {values}) AS t(code, size)"))
    lab.write("items.csv", CSV)
    rows = [[record["code"], record["size"]] for record in RECORDS]
    lab.write("items.xlsx", write_workbook(["code", "size"], *rows))


@pytest.mark.sampled
@SAID
@pytest.mark.parametrize("ending", ["xlsx", "csv", "ndjson"])
def test_files(make_lab: MakeLab, tmp_path: Path, ending: str, more: str, typed: Any, written: Any) -> None:
    lab = build(make_lab, f"server: here, path: items.{ending}, format: {ending}", more)
    fill(tmp_path, lab)
    check(lab, written if ending in {"csv", "xlsx"} else typed)


@pytest.mark.sampled
@pytest.mark.parametrize("ending", ["json", "parquet"])
def test_other_files_of_typed_records(make_lab: MakeLab, tmp_path: Path, ending: str) -> None:
    lab = build(make_lab, f"server: here, path: items.{ending}, format: {ending}")
    fill(tmp_path, lab)
    check(lab, KEPT)


@pytest.mark.sampled
@SAID
def test_postgres(erp: Erp, make_lab: MakeLab, more: str, typed: Any, written: Any) -> None:
    values = ", ".join(f"('{record['code']}', '{record['size']}')" for record in RECORDS)
    erp.run(f"CREATE TABLE items (code text, size text); INSERT INTO items VALUES {values}")
    lab = build(make_lab, "server: erp, table: items", more)
    if typed is TRIMMED:  # rows come in the order of the key
        assert lab.ingest("shop.items").outcome.duplicates == 2  # type: ignore[union-attr]
    else:
        check(lab, typed)


def test_sqlite(make_lab: MakeLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute("CREATE TABLE items (code TEXT PRIMARY KEY, size TEXT)")
        connection.executemany("INSERT INTO items VALUES (:code, :size)", RECORDS)
    connection.close()
    monkeypatch.setenv("ERP_URL", f"sqlite:///{tmp_path / 'shop.db'}")
    check(build(make_lab, "server: erp, table: items"), KEPT)


@pytest.mark.sampled
@SAID
@pytest.mark.parametrize("format_", ["json", "csv"])
def test_apis(
    make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch, format_: str, more: str, typed: Any, written: Any
) -> None:
    with run_remote_api() as api:
        monkeypatch.setenv("API_URL", api.url)
        api.play(Reply(RECORDS if format_ == "json" else CSV.encode()))
        lab = build(make_lab, f"server: remote, path: items, format: {format_}", more)
        check(lab, typed if format_ == "json" else written)


@pytest.mark.sampled
@SAID
def test_pushed_events(make_lab: MakeLab, more: str, typed: Any, written: Any) -> None:
    lab = build(make_lab, "events: true", more)
    with lab.serve() as client:
        key = make_key(lab, "shop:write", "shop:read")
        answer = client.post("/data/shop/v1/items/events", json=RECORDS, headers=key)
        assert answer.status_code == 202, answer.text
        check(lab, typed)
        told = client.get(answer.json()["status_url"], headers=key).json()["data"]["events"]
    doubled = ["duplicate", "duplicate", "published"]
    wanted = {"KEPT": ["published"] * 3, "TRIMMED": doubled, "None": ["published", "rejected", "published"]}
    name = "KEPT" if typed is KEPT else "TRIMMED" if typed is TRIMMED else "None"
    assert [event["outcome"] for event in told] == wanted[name]


@pytest.mark.slow
def test_a_key_with_blanks_has_an_address_of_its_own_and_a_derived_dataset_keeps_it(make_lab: MakeLab) -> None:
    contract = CONTRACT.format(input="server: here, path: items.ndjson, format: ndjson", more="").replace(
        "roles:\n",
        "  - name: copies\n"
        "    customProperties:\n"
        "      - {property: input, value: {query: select code from items}}\n"
        "    properties:\n"
        "      - {name: code, logicalType: string, primaryKey: true}\n"
        "roles:\n",
    )
    lab = make_lab(contract)
    lab.write("items.ndjson", NDJSON)
    check(lab, KEPT)
    report = lab.ingest("shop.copies")
    assert report.outcome
    assert (report.outcome.accepted, report.outcome.duplicates) == (3, 0)
    assert lab.rows('SELECT code FROM shop_v1.copies ORDER BY code COLLATE "C"') == [("\ta",), ("a",), ("a ",)]
    with lab.serve() as client:
        for path, size in (("a", 1), ("a%20", 2), ("%09a", 3)):
            answer = client.get(f"/data/shop/v1/items/records/{path}")
            assert (answer.status_code, answer.json()["data"]["size"]) == (200, size)
        found = client.get("/data/shop/v1/items/records?code=a%20").json()["data"]
        assert [record["size"] for record in found] == [2]


@pytest.mark.slow
def test_a_good_record_closes_no_rejected_one_whose_key_differs_in_blanks(make_lab: MakeLab) -> None:
    lab = build(make_lab, "server: here, path: items.ndjson, format: ndjson, mode: upsert")
    lab.write("items.ndjson", '{"code": "a", "size": "x"}\n{"code": "a ", "size": "y"}\n{"code": "b"}\n')
    lab.ingest("shop.items")
    lab.write("items.ndjson", '{"code": "a ", "size": "2"}\n')
    lab.ingest("shop.items")
    states = "SELECT key, state FROM decant.rejected_records ORDER BY key"
    assert lab.rows(states) == [("a", "open"), ("a ", "superseded")]


@pytest.mark.slow
def test_marks_that_are_texts_are_asked_from_as_they_are(
    make_lab: MakeLab, erp: Erp, monkeypatch: pytest.MonkeyPatch
) -> None:
    with run_remote_api() as api:
        monkeypatch.setenv("API_URL", api.url)
        api.play(Reply([{"code": "a", "size": 1}, {"code": "a ", "size": 2}]), Reply([]))
        lab = build(
            make_lab, "server: remote, path: items, mode: upsert, incremental: {param: since, property: code}"
        )
        for _ in range(2):
            lab.ingest("shop.items")
        assert [asked.params.get("since") for asked in api.asked] == [None, "a "]
    erp.run("CREATE TABLE items (code text, size int); INSERT INTO items VALUES ('a', 1), ('a ', 2)")
    lab = build(make_lab, "server: erp, table: items, mode: upsert, incremental: {column: code}")
    assert lab.ingest("shop.items").status == "published"
    erp.run("INSERT INTO items VALUES ('a  ', 3)")
    report = lab.ingest("shop.items")
    assert report.outcome
    assert report.outcome.raw == 2  # the mark's own record, and the new one
    assert lab.rows("SELECT position -> 'marks' -> 0 ->> 'raw' FROM decant.input_states") == [("a  ",)]


def test_the_padding_of_a_fixed_width_column_is_no_part_of_its_text(erp: Erp, make_lab: MakeLab) -> None:
    erp.run("CREATE TABLE items (code char(4), size int); INSERT INTO items VALUES ('a', 1), (' b', 2), (null, 3)")
    lab = build(make_lab, "server: erp, table: items")
    lab.ingest("shop.items")
    assert lab.rows(SHOWN) == [(" b", 2, 4, "< b>"), ("a", 1, 2, "<a>")]


@pytest.mark.slow
def test_the_cases_about_blanks_keep_them_where_the_contract_says_so(make_lab: MakeLab) -> None:
    document = json.loads(merge_contracts())
    document["schema"] = [part for part in document["schema"] if part["name"] in CASE_NAMES]
    for part in document["schema"]:
        part["customProperties"].append({"property": "trim", "value": False})
    lab = make_lab(json.dumps(document), data=CASES)
    for name in sorted(CASE_NAMES):
        outcome = lab.ingest(f"cases.{name}").outcome
        assert outcome is not None
        assert (outcome.status, outcome.rejected, outcome.duplicates) == ("published", 0, 0)
        rows = lab.rows(f'SELECT code, text FROM cases_v1.{name} ORDER BY code COLLATE "C"')
        # The empty text is a null word of every input unless nullValues says otherwise.
        assert rows == [(record["code"], record["text"] or None) for record in EXPECTED[name]["records"]]


@pytest.mark.slow
def test_a_property_may_lose_blanks_that_the_others_keep(make_lab: MakeLab) -> None:
    document = json.loads(merge_contracts())
    document["schema"] = [part for part in document["schema"] if part["name"] == "whitejson"]
    (part,) = document["schema"]
    part["customProperties"].append({"property": "trim", "value": False})
    text = next(prop for prop in part["properties"] if prop["name"] == "text")
    text["customProperties"] = [{"property": "trim", "value": True}]
    lab = make_lab(json.dumps(document), data=CASES)
    assert lab.ingest("cases.whitejson").status == "published"
    assert lab.rows('SELECT code, text FROM cases_v1.whitejson ORDER BY code COLLATE "C"') == [
        (" A", "other"),
        ("A", "def f():"),
        ("B", None),
    ]


@pytest.mark.sampled
@pytest.mark.parametrize("value", ["no", None, 0])
def test_trim_is_true_or_false(tmp_path: Path, value: Any) -> None:
    document = json.loads(merge_contracts())
    document["schema"] = document["schema"][:1]
    document["schema"][0]["customProperties"].append({"property": "trim", "value": value})
    file = tmp_path / "cases.odcs.yaml"
    file.write_text(json.dumps(document))
    with pytest.raises(ContractError, match=f"trim: {value!r} is not true or false"):
        load_catalog(load_settings(contracts=file, data=CASES))
