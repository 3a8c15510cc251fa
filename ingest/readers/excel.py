"""XLSX: each row of one sheet becomes a JSON object whose keys are the header's names; its line is its row's number.

Cells without anything are null, dates and times are ISO 8601, integers have no point, errors such as #N/A are
texts. Rows without anything are no records, as blank lines of CSV are none. The raw text of a rejected row is the
object, which can be read again as NDJSON.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Set
from contextlib import contextmanager
from pathlib import Path

import orjson
import python_calamine as calamine

from catalog.model.dataset import FileFormat
from ingest.errors import SourceError
from ingest.landing.landed_batch import LandedPart
from ingest.landing.unpacking import UnpackLimit, open_landed_file
from ingest.readers.columns import name_column, name_headers, number_duplicate_columns
from ingest.readers.excel_sheet import SheetSummary, inspect_sheet
from ingest.readers.json_batches import BATCH_RECORDS, JsonBatcher, show_text
from ingest.readers.record_writer import JSON_COLUMN, RecordWriter
from ingest.readers.redaction import RedactedPart, redact_document
from ingest.readers.serials import write_duration, write_serial

WHOLE_LIMIT = 2.0**63  # larger integers are written with an exponent


class WorkbookReader:
    """Reads parts that are one workbook each."""

    def __init__(self, file_format: FileFormat, limit: UnpackLimit, folder: Path) -> None:
        self.file_format = file_format
        self.limit = limit
        self.folder = folder

    def parse(self, part: LandedPart, record_writer: RecordWriter) -> None:
        """Passes the part's rows to the record writer."""
        with self.open_rows(part) as sheet:
            if sheet.columns:
                record_writer.open_table(part.name, sheet.columns, f"The sheet {sheet.facts.name!r} of {part.name}")
            if sheet.facts.merged:
                record_writer.note(
                    f"{part.name}: {sheet.facts.merged:,} ranges of merged cells in the sheet {sheet.facts.name!r}:"
                    " the first cell of each has its value, the others have none"
                )
            batcher = JsonBatcher(record_writer)
            first = 1
            texts: list[bytes] = []
            for line, values in sheet.rows:
                text, problem = sheet.write(line, values, record_writer.needed)
                if problem is not None:
                    record_writer.add_malformed(line, show_text(text), problem)
                    continue
                if texts and (line != first + len(texts) or len(texts) >= BATCH_RECORDS):
                    batcher.take(first, texts)
                    texts = []
                first = first if texts else line
                texts.append(text)
            if texts:
                batcher.take(first, texts)

    def redact(self, part: LandedPart, dropped: Set[int], kept: list[int]) -> RedactedPart:
        """The rows that stay, as NDJSON."""
        return redact_document(self.pick(part, kept))

    def pick(self, part: LandedPart, lines: Iterable[int]) -> Iterator[tuple[int, str]]:
        """(line, raw text) of the rows at these ascending lines."""
        wanted = iter(lines)
        target = next(wanted, None)
        with self.open_rows(part) as sheet:
            for line, values in sheet.rows:
                if target is None:
                    return
                if line == target:
                    yield line, show_text(sheet.write(line, values, (JSON_COLUMN,))[0])
                    target = next(wanted, None)

    @contextmanager
    def open_rows(self, part: LandedPart) -> Iterator[OpenSheet]:
        """The sheet that is read; SourceError where this is no workbook."""
        with open_landed_file(part, self.limit, self.folder) as path:
            facts = inspect_sheet(path, part.name, self.file_format.sheet, self.limit)
            try:
                with calamine.CalamineWorkbook.from_path(str(path)) as workbook:
                    sheet = workbook.get_sheet_by_name(facts.name)
                    first_column = sheet.start[1] if sheet.start else 0
                    rows = read_rows(sheet, facts, first_column)
                    if self.file_format.columns:
                        yield OpenSheet(facts, self.file_format.columns, rows, first_column)
                        return
                    _, header = next(rows, (0, []))
                    columns = name_columns(header, first_column)
                    yield OpenSheet(facts, columns, rows, first_column)
            except (calamine.CalamineError, OSError) as error:
                raise SourceError(f"{part.name} cannot be read as XLSX: {error}.") from error


class OpenSheet:
    """A sheet while it is read."""

    def __init__(
        self,
        facts: SheetSummary,
        columns: tuple[str, ...],
        rows: Iterator[tuple[int, list[object]]],
        first_column: int,
    ) -> None:
        self.facts = facts
        self.columns = columns
        self.rows = rows
        self.first_column = first_column
        self.keys = number_duplicate_columns(columns)

    def write(self, line: int, values: list[object], needed: tuple[str, ...]) -> tuple[bytes, str | None]:
        """A row as an object; as what shows it, and what is wrong with it, where it is no record."""
        keys = self.keys
        if len(values) > len(keys) and any(value is not None for value in values[len(keys) :]):
            return orjson.dumps(values), f"has more cells than {len(keys)} columns"
        row = dict.fromkeys(keys)
        row.update(zip(keys, values, strict=False))
        text = orjson.dumps(row)
        for column, formula in self.facts.formulas.get(line, ()):
            index = column - self.first_column
            if JSON_COLUMN in needed or (0 <= index < len(keys) and keys[index] in needed):
                cell = f"{name_column(column)}{line}"
                # What follows the object keeps it from being read as a record some other time.
                return text + f" {cell}: {formula}".encode(), (
                    f"has a formula in {cell} whose value is not in the file: open and save the workbook in a"
                    f" program that computes formulas"
                )
        return text, None


def read_rows(
    sheet: calamine.CalamineSheet, facts: SheetSummary, first_column: int
) -> Iterator[tuple[int, list[object]]]:
    """Each row that holds something, with its number in the sheet."""
    serials = [(column - first_column, cells, cells.shows_timestamps) for column, cells in facts.serials.items()]
    last = 0
    for line, cells in enumerate(sheet.iter_rows(), 1):
        last = line
        values = [as_json(cell) for cell in cells]
        for column, error in facts.errors.get(line, ()):
            values[column - first_column] = error
        for index, column_cells, timestamps in serials:
            if (found := column_cells.at(line)) is not None and 0 <= index < len(values):
                values[index] = write_serial(*found, timestamps=timestamps, since_1904=facts.since_1904)
        if any(value is not None for value in values) or line in facts.formulas:
            yield line, values
    # Where nothing but such formulas follows, the library sees no row.
    yield from ((line, []) for line in sorted(facts.formulas) if line > last)


def as_json(cell: object) -> object:
    """A cell's value as JSON has it."""
    if isinstance(cell, bool):
        return cell
    if isinstance(cell, str):
        return cell or None
    if isinstance(cell, float):
        return int(cell) if cell.is_integer() and abs(cell) < WHOLE_LIMIT else cell
    if isinstance(cell, dt.datetime | dt.date | dt.time):
        return cell.isoformat()
    if isinstance(cell, dt.timedelta):
        return write_duration(cell / dt.timedelta(days=1))
    return cell


def name_columns(header: list[object], first_column: int) -> tuple[str, ...]:
    """The header's names; a column without one is called by its letters."""
    return name_headers((str(value) if value is not None else "" for value in header), first_column)
