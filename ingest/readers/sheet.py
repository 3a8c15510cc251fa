"""What must be known of a workbook's sheet before it is read: its size, and its cells that are errors.

The library that reads the cells takes as much memory as the rectangle around them, and shows errors as nothing.
"""

from __future__ import annotations

import html
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from ingest.errors import SourceError, SourceTooLargeError
from ingest.landing import PACKING_ERRORS, Measured

CELLS_LIMIT = 20_000_000  # of the rectangle, empty ones too: about 1 GB
UNPACKED_LIMIT_BYTES = 2 << 30
LISTS_LIMIT_BYTES = 16 << 20  # of the lists of sheets, which are read whole
BLOCK_BYTES = 1 << 20
ROW_LIMIT_BYTES = 64 << 20
SHEETS = "xl/workbook.xml"
PLACES = "xl/_rels/workbook.xml.rels"
WORKSHEET = "/worksheet"
TAG = re.compile(rb"<(?:\w+:)?(row|c)\b([^>]*)>")
PLACE = re.compile(rb"\br=\"([A-Z]{1,3})([0-9]{1,7})\"")
ROW = re.compile(rb"\br=\"([0-9]{1,7})\"")
IS_ERROR = re.compile(rb"\bt=\"e\"")
VALUE = re.compile(rb"<(?:\w+:)?v[^>]*>([^<]*)</")


@dataclass
class SheetFacts:
    """One sheet: its name, and what was found in it. Rows count from 1, columns from 0."""

    name: str
    rows: list[int] = field(default_factory=lambda: [1 << 30, 0])  # from, to
    columns: list[int] = field(default_factory=lambda: [1 << 30, 0])
    errors: dict[int, list[tuple[int, str]]] = field(default_factory=dict)

    @property
    def first_column(self) -> int:
        """The column that the sheet's cells begin in."""
        return self.columns[0] if self.columns[1] >= self.columns[0] else 0

    def add(self, row: int, column: int) -> None:
        """Takes note of a cell; SourceTooLargeError where the rectangle around all of them is too large."""
        self.rows = [min(self.rows[0], row), max(self.rows[1], row)]
        self.columns = [min(self.columns[0], column), max(self.columns[1], column)]
        height, width = self.rows[1] - self.rows[0] + 1, self.columns[1] - self.columns[0] + 1
        if height * width > CELLS_LIMIT:
            raise SourceTooLargeError(
                f"The sheet {self.name!r} spans over {CELLS_LIMIT:,} cells: save it as CSV to have it read."
            )


def look_at_sheet(path: Path, source: str, wanted: str | None, limit: int) -> SheetFacts:
    """The facts about the sheet of this name, or the first; SourceError where this is no workbook, or has no such."""
    try:
        with zipfile.ZipFile(path) as archive:
            measure(archive, path.stat().st_size, min(limit, UNPACKED_LIMIT_BYTES))
            sheets = list_sheets(archive)
            name = wanted if wanted is not None else next(iter(sheets), None)
            if name is None or name not in sheets:
                known = ", ".join(sheets) or "none"
                raise SourceError(
                    f"{source} has no sheet {wanted!r}; it has {known}." if wanted else f"{source} is empty."
                )
            facts = SheetFacts(name)
            with archive.open(sheets[name]) as sheet:
                for block in whole_rows(sheet):
                    look_at_cells(block, facts)
            return facts
    except (*PACKING_ERRORS, KeyError, NotImplementedError, RuntimeError, ElementTree.ParseError) as error:
        raise SourceError(f"{source} cannot be read as XLSX: {error}.") from error


def measure(archive: zipfile.ZipFile, packed_bytes: int, limit: int) -> None:
    """SourceTooLargeError where the workbook unpacks to more than an honest one would."""
    left = limit
    for member in archive.infolist():
        with archive.open(member) as file:
            stream = Measured(file, packed_bytes, left)
            while chunk := stream.read(BLOCK_BYTES):
                left -= len(chunk)


def list_sheets(archive: zipfile.ZipFile) -> dict[str, str]:
    """The worksheets' names, in order, and where in the archive each lies."""
    for name in (SHEETS, PLACES):
        if archive.getinfo(name).file_size > LISTS_LIMIT_BYTES:
            raise SourceTooLargeError()
    places = {}
    for link in ElementTree.fromstring(archive.read(PLACES)):  # noqa: S314 - expat refuses entities that multiply
        target = str(link.get("Target", ""))
        if str(link.get("Type", "")).endswith(WORKSHEET):
            places[link.get("Id")] = target.lstrip("/") if target.startswith("/") else f"xl/{target}"
    sheets = {}
    for element in ElementTree.fromstring(archive.read(SHEETS)).iter():  # noqa: S314
        if element.tag.rpartition("}")[2] == "sheet":
            link_id = next((value for key, value in element.items() if key.endswith("}id")), None)
            if link_id in places:
                sheets[str(element.get("name"))] = places[link_id]
    return sheets


def whole_rows(stream: object) -> Iterator[bytes]:
    """The sheet's XML in pieces that end where a row ends."""
    carry = b""
    while chunk := stream.read(BLOCK_BYTES):  # type: ignore[attr-defined]
        block = carry + chunk
        end = block.rfind(b"row>") + 4
        if end < 4:
            if len(block) > ROW_LIMIT_BYTES:
                raise SourceTooLargeError(f"A row of the sheet is longer than {ROW_LIMIT_BYTES:,} bytes.")
            carry = block
            continue
        yield block[:end]
        carry = block[end:]
    yield carry


def look_at_cells(block: bytes, facts: SheetFacts) -> None:
    """Takes note of the cells in a piece of a sheet."""
    row, column = facts.rows[1], -1
    for match in TAG.finditer(block):
        attributes = match[2]
        if match[1] == b"row":
            given = ROW.search(attributes)
            row, column = int(given[1]) if given else row + 1, -1
            continue
        place = PLACE.search(attributes)
        if place:
            column, row = number_column(place[1]), int(place[2])
        else:
            column += 1
        facts.add(row, column)
        if IS_ERROR.search(attributes) and (value := VALUE.search(block, match.end())):
            facts.errors.setdefault(row, []).append((column, html.unescape(value[1].decode(errors="replace"))))


def number_column(letters: bytes) -> int:
    """The column that letters name, from 0."""
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number - 1


def name_column(number: int) -> str:
    """The letters that name a column, which counts from 0."""
    letters = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(65 + rest) + letters
    return letters
