"""XLSX: each row of one sheet becomes a JSON object whose keys are the header's names; its line is its row's number.

Cells without anything are null, dates and times are ISO 8601, whole numbers have no point, errors such as #N/A are
texts. Rows without anything are no records, as blank lines of CSV are none. The raw text of a rejected row is the
object, which can be read again as NDJSON.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import python_calamine as calamine

from catalog.dataset import RawForm
from ingest.errors import SourceError
from ingest.landing import LandedPart, open_landed_file
from ingest.readers.json_hand import BATCH_RECORDS, JsonHand, show_text
from ingest.readers.sheet import SheetFacts, look_at_sheet, name_column
from ingest.readers.sink import RecordSink

EXACT_WHOLE = 2.0**53  # beyond it, a double no longer tells neighbours apart


class WorkbookReader:
    """Reads parts that are one workbook each."""

    def __init__(self, form: RawForm, limit: int, folder: Path) -> None:
        self.form = form
        self.limit = limit  # bytes, unpacked
        self.folder = folder

    def cut(self, part: LandedPart, sink: RecordSink) -> None:
        """Hands the part's rows to the sink."""
        with self.open_rows(part) as (columns, rows):
            if columns:
                sink.open_table(part.name, columns)
            hand = JsonHand(sink)
            keys = unique_keys(columns)
            first = 1
            texts: list[bytes] = []
            for line, values in rows:
                text = write_row(keys, values)
                if text is None:
                    sink.add_malformed(
                        line, show_text(orjson.dumps(values)), f"has more cells than {len(keys)} columns"
                    )
                    continue
                if texts and (line != first + len(texts) or len(texts) >= BATCH_RECORDS):
                    hand.take(first, texts)
                    texts = []
                first = first if texts else line
                texts.append(text)
            if texts:
                hand.take(first, texts)

    def pick(self, part: LandedPart, lines: Iterable[int]) -> Iterator[tuple[int, str]]:
        """(line, raw text) of the rows at these ascending lines."""
        wanted = iter(lines)
        target = next(wanted, None)
        with self.open_rows(part) as (columns, rows):
            keys = unique_keys(columns)
            for line, values in rows:
                if target is None:
                    return
                if line == target:
                    yield line, show_text(write_row(keys, values) or orjson.dumps(values))
                    target = next(wanted, None)

    @contextmanager
    def open_rows(self, part: LandedPart) -> Iterator[tuple[tuple[str, ...], Iterator[tuple[int, list[Any]]]]]:
        """The columns, and each row that holds something with its number; SourceError where this is no workbook."""
        with open_landed_file(part, self.limit, self.folder) as path:
            facts = look_at_sheet(path, part.name, self.form.sheet, self.limit)
            try:
                with calamine.CalamineWorkbook.from_path(str(path)) as workbook:
                    rows = read_rows(workbook.get_sheet_by_name(facts.name), facts)
                    if self.form.columns:
                        yield self.form.columns, rows
                        return
                    _, header = next(rows, (0, []))
                    yield name_columns(header, facts.first_column), rows
            except (calamine.CalamineError, OSError) as error:
                raise SourceError(f"{part.name} cannot be read as XLSX: {error}.") from error


def read_rows(sheet: calamine.CalamineSheet, facts: SheetFacts) -> Iterator[tuple[int, list[Any]]]:
    """Each row that holds something, with its number in the sheet."""
    offset = sheet.start[1] if sheet.start else 0
    for line, cells in enumerate(sheet.iter_rows(), 1):
        values = [as_json(cell) for cell in cells]
        for column, error in facts.errors.get(line, ()):
            values[column - offset] = error
        if any(value is not None for value in values):
            yield line, values


def as_json(cell: Any) -> Any:
    """A cell's value as JSON has it."""
    if isinstance(cell, bool):
        return cell
    if isinstance(cell, str):
        return cell or None
    if isinstance(cell, float):
        return int(cell) if cell.is_integer() and abs(cell) < EXACT_WHOLE else cell
    if isinstance(cell, dt.datetime | dt.date | dt.time):
        return cell.isoformat()
    if isinstance(cell, dt.timedelta):
        minutes, seconds = divmod(abs(cell).total_seconds(), 60)
        sign = "-" if cell < dt.timedelta() else ""
        return f"{sign}PT{minutes // 60:.0f}H{minutes % 60:.0f}M{seconds:g}S"
    return cell


def name_columns(header: list[Any], first_column: int) -> tuple[str, ...]:
    """The header's names; a column without one is called by its letters."""
    names = [str(value).strip() if value is not None else "" for value in header]
    return tuple(name or f"column {name_column(first_column + index)}" for index, name in enumerate(names))


def unique_keys(columns: tuple[str, ...]) -> list[str]:
    """The columns as keys of an object: one whose name was there before is numbered."""
    keys: list[str] = []
    for name in columns:
        count = 2
        key = name
        while key in keys:
            key, count = f"{name} ({count})", count + 1
        keys.append(key)
    return keys


def write_row(keys: list[str], values: list[Any]) -> bytes | None:
    """The row as an object; None where it has more cells than there are columns."""
    if len(values) > len(keys) and any(value is not None for value in values[len(keys) :]):
        return None
    row = dict.fromkeys(keys)
    row.update(zip(keys, values, strict=False))
    return orjson.dumps(row)
