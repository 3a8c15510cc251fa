"""Exports as an Excel workbook: every value comes back as it was, or the export is refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import xlsxwriter
from xlsxwriter.exceptions import FileCreateError
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from api.exports.formats.export_format import Batches, FiledFormat, SizeModel
from api.http.problems import Problem
from catalog.model.dataset import Property

EXCEL_RECORDS = 1_048_575  # the rows of a sheet, without the header
EXCEL_CHARACTERS = 32_767  # of a cell, as UTF-16 units
EXCEL_FIRST_YEAR = 1900
EXCEL_DIGITS = 15  # what has more of them, Excel rounds
EXCEL_WHOLE = 10**EXCEL_DIGITS
# What XML cannot hold is written as _xHHHH_, so a text of that form has its first character written so, too.
ESCAPED = re.compile(r"_(?=x[0-9a-fA-F]{4}_)|[\x00-\x08\x0b-\x1f\ufffe\uffff]")


class PlainSheet(Worksheet):  # type: ignore[misc]
    """A worksheet that writes every text so that it is read back as it was.

    XlsxWriter itself takes a text from `<r>` to `</r>` for markup of its own and writes it without escaping;
    of `_x0041_x0042_` it escapes the first half only.
    """

    @staticmethod
    def _escape_control_characters(data: object) -> object:
        # Numbers and booleans come here, too.
        return ESCAPED.sub(lambda match: f"_x{ord(match[0]):04X}_", data) if isinstance(data, str) else data

    def _xml_rich_inline_string(self, string: str, attributes: object) -> None:
        self._xml_inline_string(string, False, attributes)


def write_workbook(path: Path, batches: Batches, properties: Sequence[Property]) -> None:
    """Nothing comes back; the export lies in the file."""
    # What fails leaves its temporary files behind, and records in them.
    with TemporaryDirectory(dir=path.parent, prefix=path.stem, ignore_cleanup_errors=True) as folder:
        try:
            write_sheet(path, batches, properties, folder)
        except FileCreateError as error:
            # An erasure takes away what the sheet is put together from, too.
            raise (error.__context__ or error) from None


def write_sheet(path: Path, batches: Batches, properties: Sequence[Property], folder: str) -> None:
    """Nothing comes back; the file is a workbook with one sheet, in which no text is taken for a formula."""
    options = {
        "constant_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
        "remove_timezone": True,
        "tmpdir": folder,
    }
    with xlsxwriter.Workbook(str(path), options) as workbook:
        sheet = workbook.add_worksheet(worksheet_class=PlainSheet)
        bold = workbook.add_format({"bold": True})
        formats = [format_of(workbook, prop) for prop in properties]
        sheet.freeze_panes(1, 0)
        for column, prop in enumerate(properties):
            sheet.write_string(0, column, prop.name, bold)
        row = 0
        while (batch := batches.next_batch()) is not None:
            if row + batch.num_rows > EXCEL_RECORDS:
                most = (
                    f"An Excel sheet holds at most {EXCEL_RECORDS:,} records: add filters, or choose another format."
                )
                raise Problem("query_too_complex", most)
            columns = [cells_of(column, prop) for column, prop in zip(batch.columns, properties, strict=True)]
            for values in zip(*columns, strict=True):
                row += 1
                for column, value in enumerate(values):
                    if write_cell(sheet, row, column, value, formats[column]):
                        raise refuse_text(properties[column], row + 1)


def format_of(workbook: xlsxwriter.Workbook, prop: Property) -> Format | None:
    """How a column's numbers are shown."""
    return workbook.add_format({"num_format": prop.type.excel}) if prop.type.excel else None


def cells_of(column: pa.Array, prop: Property) -> list[object]:
    """The values of a column: times of day as text, exact decimals as numbers where Excel holds all their digits."""
    if prop.type.decimal:
        digits = (sum(map(str.isdigit, text)) if text else 0 for text in column.to_pylist())
        return [
            float(text) if text and count <= EXCEL_DIGITS else text
            for text, count in zip(column.to_pylist(), digits, strict=True)
        ]
    if pa.types.is_time(column.type):
        column = pc.cast(column, pa.string())
    values: list[object] = column.to_pylist()
    return values


def write_cell(sheet: Worksheet, row: int, column: int, value: Any, shown: Format | None) -> int:
    """0 where the whole value is written; what Excel cannot hold as a number or a date is written as text."""
    if value is None:
        return 0
    if isinstance(value, str):
        written: int = sheet.write_string(row, column, value)
    elif type(value) is int and abs(value) >= EXCEL_WHOLE:
        written = sheet.write_string(row, column, str(value))
    elif hasattr(value, "year") and value.year < EXCEL_FIRST_YEAR:
        written = sheet.write_string(row, column, value.isoformat())
    else:
        written = sheet.write(row, column, value, shown)
    return written


def refuse_text(prop: Property, row: int) -> Problem:
    """The problem of a text that would be cut off."""
    return Problem(
        "query_too_complex",
        f"{prop.name} has a text of more than {EXCEL_CHARACTERS:,} characters in row {row:,} of the sheet,"
        " which no Excel cell holds: take another format, or leave the property out with properties=.",
    )


XLSX = FiledFormat(
    "xlsx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    lists=False,
    size=SizeModel(factor=0.5, empty=5000, of_property=10),
    write_file=write_workbook,
)
