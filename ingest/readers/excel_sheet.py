"""What must be known of a workbook's sheet before it is read: its size, and what its cells hide.

The library that reads the cells takes as much memory as the rectangle around them and as their texts, shows errors
and formulas without a value as nothing, and knows days by their value alone.
"""

from __future__ import annotations

import html
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from ingest.errors import SourceError, SourceTooLargeError
from ingest.landing.unpacking import PACKING_ERRORS, ByteStream, Measured, UnpackLimit
from ingest.readers.columns import show_names
from ingest.readers.serials import SerialColumn
from ingest.readers.signature import name_format
from ingest.readers.styles import read_styles

CELLS_LIMIT = 20_000_000  # of the rectangle, empty ones too
CELLS_FREE = 2_000_000  # so many cost so little that the ratio does not matter
CELL_BYTES = 200  # what a cell counts for against the ratio: as JSON, with its name
UNPACKED_LIMIT_BYTES = 2 << 30
LISTS_LIMIT_BYTES = 16 << 20  # of the lists of sheets, which are read whole
BLOCK_BYTES = 1 << 20
ROW_LIMIT_BYTES = 64 << 20
SHEETS = "xl/workbook.xml"
SHEET_RELATIONSHIPS = "xl/_rels/workbook.xml.rels"
TEXTS = "xl/sharedStrings.xml"
WORKSHEET = "/worksheet"
TAG = re.compile(rb"<(?:\w+:)?(row|c)\b([^>]*)>")
CELL_REFERENCE = re.compile(rb"\br=\"([A-Z]{1,3})([0-9]{1,7})\"")
ROW = re.compile(rb"\br=\"([0-9]{1,7})\"")
TYPE = re.compile(rb"\bt=\"(\w+)\"")
STYLE = re.compile(rb"\bs=\"([0-9]{1,6})\"")
CONTENT = re.compile(
    rb"\s*(<(?:\w+:)?f\b(?:[^>]*/>|[^>]*>([^<]*)</(?:\w+:)?f>))?"
    rb"\s*(?:<(?:\w+:)?v\b(?:[^>]*/>|[^>]*>([^<]*)</))?(\s*<(?:\w+:)?is\b)?"
)
MERGED = re.compile(rb"<(?:\w+:)?mergeCell\b[^>]*\bref=\"[A-Z]+([0-9]+):[A-Z]+([0-9]+)\"")
SHARED = re.compile(rb"t=\"s\"[^>]*>\s*<(?:\w+:)?v>([0-9]{1,9})<")
TEXT_END = re.compile(rb"</(?:\w+:)?si>|<(?:\w+:)?si\s*/>")


class CellKind(NamedTuple):
    """What the attributes of a cell say, besides its place."""

    type: bytes
    shown_as: int  # DAY, MOMENT, TIME or DURATION; 0 for all else
    is_empty: bool


@dataclass
class SheetSummary:
    """One sheet: its name, and what was found in it. Rows count from 1, columns from 0."""

    name: str
    styles: list[int] = field(default_factory=list)
    since_1904: bool = False
    most_cells: int = CELLS_LIMIT
    by_ratio: str | None = None  # what is wrong with more cells, where the ratio says so
    rows: list[int] = field(default_factory=lambda: [1 << 30, 0])  # from, to
    columns: list[int] = field(default_factory=lambda: [1 << 30, 0])
    errors: dict[int, list[tuple[int, str]]] = field(default_factory=dict)
    formulas: dict[int, list[tuple[int, str]]] = field(default_factory=dict)  # those without a value
    serials: dict[int, SerialColumn] = field(default_factory=dict)
    merged: int = 0  # ranges of cells that are shown as one
    texts: int = 0  # cells whose text is elsewhere
    kinds: dict[bytes, CellKind] = field(default_factory=dict)

    def add(self, row: int, column: int) -> None:
        """Takes note of a cell; SourceTooLargeError where the rectangle around all of them is too large."""
        self.rows = [min(self.rows[0], row), max(self.rows[1], row)]
        self.columns = [min(self.columns[0], column), max(self.columns[1], column)]
        height, width = self.rows[1] - self.rows[0] + 1, self.columns[1] - self.columns[0] + 1
        if height * width > self.most_cells:
            raise SourceTooLargeError(
                self.by_ratio or f"The sheet {self.name!r} spans more than {CELLS_LIMIT:,} cells: save it as CSV."
            )

    def kind_of(self, attributes: bytes) -> CellKind:
        """What a cell with these attributes is."""
        kind = self.kinds.get(attributes)
        if kind is None:
            type_, style = TYPE.search(attributes), STYLE.search(attributes)
            number = int(style[1]) if style else 0
            shown_as = self.styles[number] if number < len(self.styles) else 0
            kind = CellKind(type_[1] if type_ else b"n", shown_as, attributes.rstrip().endswith(b"/"))
            if len(self.kinds) < 100_000:
                self.kinds[attributes] = kind
        return kind


@dataclass(frozen=True)
class SheetLocation:
    """Where a worksheet lies in the archive, and whether people see it."""

    member: str
    hidden: bool


def inspect_sheet(path: Path, source: str, wanted: str | None, limit: UnpackLimit) -> SheetSummary:
    """The facts about the sheet of this name, or the first that is shown; SourceError where there is none."""
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            words = name_format(file.read(BLOCK_BYTES))
        raise SourceError(f"{source} is {words or 'not an XLSX workbook'}.")
    try:
        with zipfile.ZipFile(path) as archive:
            packed_bytes = path.stat().st_size
            if SHEETS not in archive.namelist():
                raise SourceError(f"{source} is a zip archive, but not an XLSX workbook.")
            measure(archive, source, packed_bytes, limit)
            sheets, since_1904 = list_sheets(archive)
            name = wanted if wanted is not None else choose_sheet(sheets)
            if name is None or name not in sheets:
                raise SourceError(
                    f"{source} has no sheet {wanted!r}; it has {show_names(sheets)}."
                    if wanted
                    else f"{source} is empty."
                )
            facts = SheetSummary(name, read_styles(archive), since_1904)
            bound_cells(facts, source, packed_bytes, limit)
            with archive.open(sheets[name].member) as sheet:
                for block in whole_rows(sheet):
                    inspect_cells(block, facts)
            measure_texts(archive, sheets[name].member, facts, source, limit)
            return facts
    except (*PACKING_ERRORS, KeyError, NotImplementedError, RuntimeError, ElementTree.ParseError) as error:
        raise SourceError(f"{source} cannot be read as XLSX: {error}.") from error


def bound_cells(facts: SheetSummary, source: str, packed_bytes: int, limit: UnpackLimit) -> None:
    """Sets how many cells the sheet may span, by the size of the workbook."""
    by_ratio = max(CELLS_FREE, packed_bytes * limit.ratio // CELL_BYTES)
    if by_ratio < CELLS_LIMIT:
        facts.most_cells = by_ratio
        facts.by_ratio = (
            f"The sheet {facts.name!r} of {source} spans more than {by_ratio:,} cells, which would"
            f" decompress to more than {limit.ratio:,} times the workbook's size (DECANT_UNPACK_RATIO)."
        )


def measure(archive: zipfile.ZipFile, source: str, packed_bytes: int, limit: UnpackLimit) -> None:
    """SourceTooLargeError where the workbook unpacks to more than an honest one would."""
    allowance = UnpackLimit(min(limit.size, UNPACKED_LIMIT_BYTES), limit.ratio).of_packed(source, packed_bytes)
    for member in archive.infolist():
        with archive.open(member) as file:
            stream = Measured(file, allowance)
            while stream.read(BLOCK_BYTES):
                pass


def measure_texts(
    archive: zipfile.ZipFile, member: str, facts: SheetSummary, source: str, limit: UnpackLimit
) -> None:
    """SourceTooLargeError where the texts of all cells, each of which is in the file once, are too much."""
    if not facts.texts or TEXTS not in archive.namelist():
        return
    allowance = limit.of_packed(source, sum(part.compress_size for part in archive.infolist()))
    sizes = list(measure_each_text(archive))
    if max(sizes, default=0) * facts.texts <= allowance.left:
        return
    with archive.open(member) as sheet:
        for block in whole_rows(sheet):
            numbers = [int(match[1]) for match in SHARED.finditer(block)]
            allowance.take(sum(sizes[number] for number in numbers if number < len(sizes)))


def measure_each_text(archive: zipfile.ZipFile) -> Iterator[int]:
    """How many bytes each of the workbook's texts takes."""
    carry = 0
    with archive.open(TEXTS) as texts:
        while block := texts.read(BLOCK_BYTES):
            last = 0
            for match in TEXT_END.finditer(block):
                yield carry + match.start() - last
                carry, last = 0, match.end()
            carry += len(block) - last
    yield carry


def choose_sheet(sheets: dict[str, SheetLocation]) -> str | None:
    """The first sheet that people see; the first where all are hidden."""
    shown = [name for name, place in sheets.items() if not place.hidden]
    return next(iter([*shown, *sheets]), None)


def list_sheets(archive: zipfile.ZipFile) -> tuple[dict[str, SheetLocation], bool]:
    """The worksheets by name, in order, and whether the workbook's days count from 1904."""
    for name in (SHEETS, SHEET_RELATIONSHIPS):
        if archive.getinfo(name).file_size > LISTS_LIMIT_BYTES:
            raise SourceTooLargeError()
    places = {}
    for link in ElementTree.fromstring(archive.read(SHEET_RELATIONSHIPS)):  # noqa: S314 - expat refuses entities that multiply
        target = str(link.get("Target", ""))
        if str(link.get("Type", "")).endswith(WORKSHEET):
            places[link.get("Id")] = target.lstrip("/") if target.startswith("/") else f"xl/{target}"
    sheets = {}
    since_1904 = False
    for element in ElementTree.fromstring(archive.read(SHEETS)).iter():  # noqa: S314
        tag = element.tag.rpartition("}")[2]
        if tag == "workbookPr":
            since_1904 = element.get("date1904") in {"1", "true"}
        if tag == "sheet":
            link_id = next((value for key, value in element.items() if key.endswith("}id")), None)
            if link_id in places:
                hidden = element.get("state", "visible") != "visible"
                sheets[str(element.get("name"))] = SheetLocation(places[link_id], hidden)
    return sheets, since_1904


def whole_rows(stream: ByteStream) -> Iterator[bytes]:
    """The sheet's XML in pieces that end where a row ends."""
    carry = b""
    while chunk := stream.read(BLOCK_BYTES):
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


def inspect_cells(block: bytes, facts: SheetSummary) -> None:
    """Takes note of the cells in a piece of a sheet."""
    row, column = facts.rows[1], -1
    has_formulas = b"<f" in block or b":f" in block
    for match in TAG.finditer(block):
        attributes = match[2]
        if match[1] == b"row":
            given = ROW.search(attributes)
            row, column = int(given[1]) if given else row + 1, -1
            continue
        place = CELL_REFERENCE.search(attributes)
        if place:
            column, row = number_column(place[1]), int(place[2])
            attributes = attributes[: place.start()] + attributes[place.end() :]
        else:
            column += 1
        facts.add(row, column)
        kind = facts.kind_of(attributes)
        if kind.is_empty:
            continue
        facts.texts += kind.type == b"s"
        if has_formulas or kind.shown_as or kind.type == b"e":
            inspect_cell(block, match.end(), facts, (row, column), kind)
    for merged in MERGED.finditer(block):
        facts.merged += int(merged[2]) > facts.rows[0]


def inspect_cell(block: bytes, start: int, facts: SheetSummary, place: tuple[int, int], kind: CellKind) -> None:
    """Takes note of an error, of a formula without a value, and of a number that is shown as a day or a time."""
    row, column = place
    content = CONTENT.match(block, start)
    if content is None:
        return
    formula, value, inline = content[1], content[3], content[4]
    if kind.type == b"e" and value:
        facts.errors.setdefault(row, []).append((column, html.unescape(value.decode(errors="replace"))))
    elif formula and not value and not inline and kind.type not in {b"str", b"inlineStr"}:
        written = html.unescape((content[2] or b"").decode(errors="replace"))
        facts.formulas.setdefault(row, []).append((column, f"={written}"))
    elif kind.shown_as and kind.type == b"n" and value:
        try:
            serial = float(value)
        except ValueError:
            return
        facts.serials.setdefault(column, SerialColumn()).add(row, serial, kind.shown_as)


def number_column(letters: bytes) -> int:
    """The column that letters name, from 0."""
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number - 1
