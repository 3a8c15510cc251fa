"""Texts in Excel exports: each is read back as it was, or the export is refused."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import openpyxl
import pytest
from openpyxl.utils.escape import unescape
from python_calamine import CalamineWorkbook

from tests.support.lab import Lab

NOTES = """
apiVersion: v3.1.0
kind: DataContract
id: notes
name: Notes
version: 1.0.0
status: active
servers:
  - {server: here, type: local, path: "${DECANT_DATA}", format: csv}
schema:
  - name: notes
    customProperties:
      - property: input
        value: {server: here, path: notes.csv, mode: snapshot}
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: text, logicalType: string}
      - {name: words, logicalType: array}
roles:
  - {role: "notes:read", access: read, customProperties: [{property: anonymous, value: true}]}
"""
LIMIT = 32_767  # of a cell, in UTF-16 units
TEXTS = [
    "_x0041_",
    "_x0041_x0042_",
    "_x005F_x0041_",
    "_xABCD",
    "a\x01b\x1fc",
    "tab\tand\rreturn\r\nnewline",
    "<r>bold & bare</r>",
    "<r><t>x</t></r>",
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "{=1}",
    "http://localhost/a",
    "a\uffffb\ufffe",
    "x" * LIMIT,
    "😀" * (LIMIT // 2),
]
TOO_LONG = {101: "y" * (LIMIT + 1), 102: "😀" * (LIMIT // 2 + 1)}
WORDS = {103: '["' + "z" * LIMIT + '"]'}  # an array whose JSON is too long
URL = "/data/notes/v1/notes/export"


def write_notes() -> str:
    """The raw batch."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["id", "text", "words"])
    writer.writerows([number, text, "[]"] for number, text in enumerate(TEXTS, 1))
    writer.writerows([number, text, "[]"] for number, text in TOO_LONG.items())
    writer.writerows([number, "short", words] for number, words in WORDS.items())
    return buffer.getvalue()


@pytest.fixture
def client(make_lab: Callable[..., Lab]) -> Iterator[httpx.Client]:
    """A client of the served notes."""
    lab = make_lab(NOTES)
    report = lab.ingest("notes.notes", write_notes(), "notes.csv")
    assert report.outcome is not None, report.error
    assert (report.status, report.outcome.accepted) == ("published", len(TEXTS) + 3)
    with lab.serve() as client:
        yield client


def test_every_text_is_read_back_as_it_was(client: httpx.Client) -> None:
    body = client.get(f"{URL}?format=xlsx&at=1&id[lt]=100").raise_for_status().content
    sheet = openpyxl.load_workbook(io.BytesIO(body)).active
    assert sheet is not None
    cells = [sheet.cell(row, 2) for row in range(2, len(TEXTS) + 2)]
    assert {cell.data_type for cell in cells} == {"s"}
    assert [unescape(str(cell.value)) for cell in cells] == TEXTS
    read: list[list[Any]] = CalamineWorkbook.from_filelike(io.BytesIO(body)).get_sheet_by_index(0).to_python()
    # Calamine leaves the escapes of these two as they are.
    assert [row[1].replace("_xFFFF_", "\uffff").replace("_xFFFE_", "\ufffe") for row in read[1:]] == TEXTS


def check_refusal(client: httpx.Client, number: int, name: str) -> None:
    """The export of this record is refused for this property, and the ways out that the problem names lead out."""
    url = f"{URL}?at=1&id={number}"
    answer = client.get(f"{url}&format=xlsx")
    assert (answer.status_code, answer.json()["code"]) == (422, "query_too_complex")
    assert answer.json()["detail"] == (
        f"{name} has a text of more than 32,767 characters in row 2 of the sheet, which no Excel cell holds:"
        " take another format, or leave the property out with properties=."
    )
    assert client.get(f"{url}&format=xlsx&properties=id").status_code == 200
    whole = client.get(f"{url}&format=csv").raise_for_status().text
    ((_, text, words),) = list(csv.reader(io.StringIO(whole)))[1:]
    assert {"text": text, "words": words}[name] == {**TOO_LONG, **WORDS}[number]


@pytest.mark.slow
def test_a_text_that_no_cell_holds_refuses_the_export(client: httpx.Client) -> None:
    for number, name in ((101, "text"), (102, "text"), (103, "words")):
        check_refusal(client, number, name)
    # One among many refuses the whole workbook.
    assert client.get(f"{URL}?at=1&format=xlsx").status_code == 422
    assert client.get(f"{URL}?at=1&format=parquet").status_code == 200
