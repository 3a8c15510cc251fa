"""Properties of odd names: lint refuses one, or every kind of answer gives its values, and no other property's."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from python_calamine import CalamineWorkbook

from catalog.contract.load import lint_contracts
from catalog.model.reserved_names import (
    CREDENTIAL_PARAMETERS,
    OWN_PRODUCTS,
    OWN_TABLES,
    SYSTEM_COLUMNS,
    refuse_property,
)
from runtime.settings.settings import load_settings
from tests.support.lab import Lab

SECRET = "s3cret-canary-7f"
# What SQL, its tools, or our own statements might take for something else.
NAMES = (
    *("document", "text", "last", "line", "found", "page", "rows", "body", "heads", "records", "now", "numbered"),
    *("price$1", "x$2", "%(f0)s", "%s", ":f0", ":limit", "f0", "a0", "limit_", "order", "select", "user", "count_"),
    *('quo"te', "apo'strophe", "back\\slash", "semi;colon--", "/* comment", "$$", "$1", "${DECANT_DATA}", "{braces}"),
    *(
        "a.b",
        "a b",
        "a:b",
        "a/b",
        "a&b=c",
        "a+b",
        "a#b",
        "a?b",
        "100%",
        "Ünïcödé",
        "日本",
        "comma,comma",
        "tab_",
        "(a) b",
    ),
    *(
        "limit",
        "sort",
        "cursor",
        "at",
        "count",
        "q",
        "format",
        "since",
        "expanded",
        "change",
        "key",
        "record",
        "data",
    ),
)
BASE = "/data/odd/v1/items"


def contract_of(names: Sequence[str]) -> str:
    """A contract with a text property of each name, and two that nobody may see without a scope."""
    properties: list[dict[str, Any]] = [{"name": "id", "logicalType": "integer", "primaryKey": True}]
    properties += [{"name": name, "logicalType": "string"} for name in names]
    properties += [
        {"name": "price7", "logicalType": "string", "classification": "restricted"},
        {"name": "price8", "logicalType": "string", "classification": "restricted"},
    ]
    value = {"server": "here", "path": "items.ndjson", "format": "ndjson", "mode": "snapshot"}
    return yaml.safe_dump(
        {
            "apiVersion": "v3.1.0",
            "kind": "DataContract",
            "id": "odd",
            "version": "1.0.0",
            "status": "active",
            "servers": [{"server": "here", "type": "local", "path": "${DECANT_DATA}", "format": "ndjson"}],
            "schema": [
                {
                    "name": "items",
                    "customProperties": [{"property": "input", "value": value}],
                    "properties": properties,
                }
            ],
            "roles": [
                {"role": "odd:read", "access": "read", "customProperties": [{"property": "anonymous", "value": True}]}
            ],
        },
        allow_unicode=True,
    )


def value_of(place: int, record: int) -> str:
    """A value that stands nowhere else; one of them is the name of a hidden property."""
    return "price7" if (place, record) == (0, 0) else f"v{place}r{record}"


class Asker:
    """Asks for odd names, and looks at every answer for what must not be in it."""

    def __init__(self, client: httpx.Client, names: Sequence[str]) -> None:
        self.client = client
        self.names = names
        self.expected = [
            {name: value_of(place, record) for place, name in enumerate(names)} | {"id": record} for record in (0, 1)
        ]

    def get(self, path: str, **headers: str) -> httpx.Response:
        answer = self.client.get(BASE + path, headers=headers, follow_redirects=True)
        assert answer.status_code == 200, (path, answer.text)
        assert SECRET.encode() not in answer.content
        return answer

    def check_pages(self) -> None:
        assert self.get("/records").json()["data"] == self.expected
        for place, name in enumerate(self.names):
            sign, value = quote(name, safe=""), value_of(place, 1)
            assert self.get(f"/records?{sign}%5Beq%5D={value}").json()["data"] == self.expected[1:], name
            chosen = self.get(f"/records?properties={sign}&sort=-{sign}&limit=1").json()
            first = max(self.expected, key=lambda record: str(record[name]))
            assert chosen["data"] == [{"id": first["id"], name: first[name]}] or chosen["data"] == [
                {name: first[name]}
            ], name
            second = self.client.get(chosen["next"]).json()["data"]
            assert [record[name] for record in second] == [r[name] for r in self.expected if r is not first], name
            # A group and a measure of one name are told apart by the caller alone, and refused until then.
            measures = f"count,max:{sign}" if name != "count" else f"distinct:{sign},max:{sign}"
            grouped = self.get(f"/aggregate?group_by={sign}&measure={measures}&sort=-{sign}").json()["data"]
            assert {group[name] for group in grouped} == {record[name] for record in self.expected}, name
            assert [group[f"max_{name}"] for group in grouped] == [group[name] for group in grouped], name

    def check_lines(self, text: str) -> None:
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
        assert [{**row, "id": int(row["id"])} for row in rows] == self.expected

    def check_exports(self) -> None:
        self.check_lines(self.get("/records", accept="text/csv").text)
        self.check_lines(self.get("/export?format=csv").text)
        lines = self.get("/export?format=ndjson").text.splitlines()
        assert [json.loads(line) for line in lines] == self.expected
        assert pq.read_table(io.BytesIO(self.get("/export?format=parquet").content)).to_pylist() == self.expected
        with pa.ipc.open_stream(self.get("/export?format=arrow").content) as reader:
            assert reader.read_all().to_pylist() == self.expected
        book = CalamineWorkbook.from_filelike(io.BytesIO(self.get("/export?format=xlsx").content))
        header, *rows = book.get_sheet_by_index(0).to_python()
        assert [dict(zip(header, row, strict=True)) for row in rows] == self.expected
        for place, name in enumerate(self.names):
            for record in (0, 1):
                sign = quote(name, safe="")
                answer = self.get(f"/export?format=ndjson&{sign}%5Beq%5D={value_of(place, record)}&sort={sign}")
                assert [json.loads(line) for line in answer.text.splitlines()] == [self.expected[record]], name

    def check_changes(self) -> None:
        changes = self.get("/changes?since=0").json()["data"]
        assert [change["record"] for change in changes] == self.expected
        assert self.get("/records/1").json()["data"] == self.expected[1]


@pytest.fixture
def ask(make_lab: Callable[..., Lab]) -> Callable[[Sequence[str]], Any]:
    """Checks all that can be asked about a dataset with properties of these names."""

    def check(names: Sequence[str]) -> None:
        lab = make_lab(contract_of(names))
        records = [
            {"id": record, "price7": SECRET, "price8": SECRET}
            | {name: value_of(place, record) for place, name in enumerate(names)}
            for record in (0, 1)
        ]
        text = "".join(json.dumps(record) + "\n" for record in records)
        report = lab.ingest("odd.items", text, "items.ndjson")
        assert report.status == "published", report
        with lab.serve() as client:
            asker = Asker(client, names)
            asker.check_pages()
            asker.check_exports()
            asker.check_changes()

    return check


def taken(names: Sequence[str]) -> Iterator[str]:
    yield from (name for name in names if refuse_property(name, name) is None)


@pytest.mark.slow
def test_names_that_look_like_something_else_are_names(ask: Callable[[Sequence[str]], Any]) -> None:
    assert list(taken(NAMES)) == list(NAMES)
    ask(NAMES)


printable = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=12
)


@pytest.mark.slow
@hypothesis_settings(
    max_examples=2, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(printable, min_size=12, max_size=12, unique_by=str.casefold))
def test_any_name_that_lint_takes_is_answered(ask: Callable[[Sequence[str]], Any], names: list[str]) -> None:
    ask([name for name in taken(names) if name.lower() not in {"id", "price7", "price8"}])


REFUSED = (
    *(
        "-a",
        "=a",
        "+a",
        "@a",
        "a[b]",
        "a[",
        "]",
        " a",
        "a ",
        "a\tb",
        "a\nb",
        "a\u2028b",
        "a\x7fb",
        "month(day)",
        "_a",
    ),
    *(*CREDENTIAL_PARAMETERS, "Token", *sorted(SYSTEM_COLUMNS)),
)


@pytest.mark.parametrize("name", REFUSED)
def test_a_name_that_cannot_be_used_is_refused_with_the_way_out(tmp_path: Path, name: str) -> None:
    (tmp_path / "odd.odcs.yaml").write_text(contract_of([name]))
    _, found = lint_contracts(load_settings(contracts=tmp_path, home=tmp_path / "home"))
    (error,) = [finding for finding in found if finding.severity == "error"]
    assert error.path == "schema[0].properties[1].name"
    assert "rename it" in error.message or "physicalName" in error.message or name == "_a"


@pytest.mark.parametrize("name", [*sorted(OWN_PRODUCTS), "Ops", "pg", "pg_stats", "PG.x"])
def test_a_product_that_another_owns_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "odd.odcs.yaml").write_text(contract_of(["a"]).replace("id: odd", f"id: {name}"))
    _, found = lint_contracts(load_settings(contracts=tmp_path, home=tmp_path / "home"))
    assert [finding.path for finding in found if finding.severity == "error"] == ["id"]


@pytest.mark.parametrize("table", sorted(OWN_TABLES))
def test_a_table_that_decant_keeps_is_refused(tmp_path: Path, table: str) -> None:
    (tmp_path / "odd.odcs.yaml").write_text(contract_of(["a"]).replace("name: items", f"name: {table}"))
    _, found = lint_contracts(load_settings(contracts=tmp_path, home=tmp_path / "home"))
    assert [finding.path for finding in found if finding.severity == "error"] == ["schema[0].name"]
