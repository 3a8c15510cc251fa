"""What kind of file a sample is: its format, and for delimited text its encoding, delimiter and header."""

from __future__ import annotations

import codecs
import csv
import io
import re
import zipfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import ijson
from ijson.common import JSONError

from catalog.model.dataset import FileFormat
from catalog.model.file_formats import format_names, recognize_format
from ingest.errors import SourceError, SourceMissingError
from ingest.landing.landed_batch import LandedPart
from ingest.landing.unpacking import UnpackLimit, open_landed

MORE_ENDINGS = {".tab": "csv", ".txt": "csv", ".dat": "csv"}  # of samples: a contract has to say `format` for them
PACKED = (".gz", ".zip", ".zst")
DELIMITERS = (",", "\t", ";", "|")
HEAD_BYTES = 256 << 10
DECODED_BLOCK_BYTES = 1 << 20
NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?%?")
YEAR = re.compile(r"(1[5-9]|2[01])[0-9]{2}")
DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}.*")


def detect_file_format(file: Path, limit: UnpackLimit, *, header: bool | None = None) -> FileFormat:
    """How the file's records are parsed; SourceError where it is none of the formats that are read.

    `header` says whether the first line names the columns, where the caller knows better.
    """
    if not file.is_file():
        raise SourceMissingError(f"The file {str(file)!r} does not exist.")
    if is_workbook(file):
        return FileFormat(format="xlsx")
    part = as_part(file)
    head = read_head(part, limit)
    if not head.strip():
        raise SourceError(f"{file.name} is empty: a contract cannot be drafted.")
    format_ = choose_format(file, head)
    if format_ == "json":
        records = find_records(part, limit)
        return FileFormat(format="json", records=records)
    if format_ != "csv":
        return FileFormat(format=format_)
    wide = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    encoding = "utf-16" if wide else sniff_encoding(part, limit)
    lines = whole_lines(head.decode(encoding, "replace").removeprefix("\ufeff"))
    delimiter = sniff_delimiter(lines)
    rows = [row for row in csv.reader(lines, delimiter=delimiter) if row]
    named = looks_like_header(rows) if header is None else header
    columns = None if named else tuple(f"column_{index + 1}" for index in range(len(rows[0])))
    return FileFormat(format="csv", delimiter=delimiter, encoding=encoding, columns=columns)


def is_workbook(file: Path) -> bool:
    """Whether the file is XLSX: a zip of several files, which is no packed file."""
    with suppress(zipfile.BadZipFile, OSError):
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                return "xl/workbook.xml" in archive.namelist()
    return False


def as_part(file: Path) -> LandedPart:
    """The file where it lies, as the readers take it."""
    return LandedPart(file.name, "", file, file.stat().st_size)


def read_head(part: LandedPart, limit: UnpackLimit) -> bytes:
    """The first bytes of the file, unpacked."""
    with open_landed(part, limit) as stream:
        return stream.read(HEAD_BYTES)


def choose_format(file: Path, head: bytes) -> str:
    """The format by what the file begins with where that is plain, else by its name."""
    if known := recognize_format(head):
        return known.name
    names = [file.name.lower()]
    for suffix in PACKED:
        names.append(names[-1].removesuffix(suffix))
    endings = {f".{name}": format_ for name, format_ in format_names().items()} | MORE_ENDINGS
    named = endings.get(Path(names[-1]).suffix)
    text = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if text[:1] in (b"{", b"["):
        # One object a line is NDJSON whatever its name; a list or an object over many lines is not.
        lines = [line for line in text.splitlines() if line.strip()][:2]
        if named == "ndjson" or (len(lines) == 2 and all(is_object(line) for line in lines)):
            return "ndjson"
        if text[:1] == b"[" or named in {None, "json"} or text[:2] in (b'{"', b"{\n", b"{\r"):
            return "json"
    return named or "csv"


def is_object(line: bytes) -> bool:
    """Whether a line is one JSON object, whole."""
    with suppress(JSONError):
        return isinstance(next(ijson.items(io.BytesIO(line), ""), None), dict)
    return False


def find_records(part: LandedPart, limit: UnpackLimit) -> str | None:
    """The path to the first list of objects, such as $.features[*]; None where the document itself is one."""
    with open_landed(part, limit) as stream:
        try:
            for prefix, event, _ in ijson.parse(stream):
                if event == "start_map" and (prefix == "item" or prefix.endswith(".item")):
                    steps = prefix.split(".")[:-1]
                    if "item" in steps or not all(step.isidentifier() for step in steps):
                        continue
                    return f"$.{'.'.join(steps)}[*]" if steps else None
        except JSONError as error:
            raise SourceError(f"{part.name} is not JSON: {str(error).splitlines()[0]}.") from None
    raise SourceError(f"{part.name} has no list of JSON objects: a contract cannot be drafted.")


def sniff_encoding(part: LandedPart, limit: UnpackLimit) -> str:
    """UTF-8 where it is, or nearly: a broken record or two are rejected; else what Western Windows writes."""
    broken = right = 0
    with open_landed(part, limit) as stream:
        while block := stream.read(DECODED_BLOCK_BYTES):
            text = block.decode("utf-8", "replace")
            broken += text.count("\ufffd")
            right += sum(1 for character in text if character > "\x7f" and character != "\ufffd")
            # A character split by the end of a block counts as broken: at most two a block.
            broken = max(0, broken - 2) if len(block) == DECODED_BLOCK_BYTES else broken
    return "cp1252" if broken > right else "utf-8"


def whole_lines(text: str) -> list[str]:
    """The text's lines but the last, which may be cut off."""
    lines = io.StringIO(text, newline="").readlines()
    return lines[:-1] if len(lines) > 1 and not lines[-1].endswith("\n") else lines


def sniff_delimiter(lines: list[str]) -> str:
    """The delimiter that splits most lines into the same number of columns; a comma where none does."""

    def score(delimiter: str) -> tuple[float, int]:
        with suppress(csv.Error):
            widths = [len(row) for row in csv.reader(lines, delimiter=delimiter) if row]
            common = max(set(widths), key=widths.count)
            return (widths.count(common) / len(widths) if common > 1 else 0.0), common
        return 0.0, 0

    return max(DELIMITERS, key=score)


def looks_like_header(rows: list[list[str]]) -> bool:
    """Whether the first row names columns: distinct words that are no values, only the first of them may be empty."""
    first = [cell.strip() for cell in rows[0]]
    years = find_years(first, rows[1:])
    if (
        len(set(first)) != len(first)
        or not all(first[1:])
        or any(is_datum(cell) for cell in first if cell not in years)
    ):
        return False
    # Names seldom come back as values of their own column.
    return not any(repeats(cell, index, rows[1:]) for index, cell in enumerate(first) if cell)


def find_years(first: list[str], below: list[list[str]]) -> set[str]:
    """The years that name columns: at least two, beside a word, each above values that are mostly no years."""
    years = [index for index, cell in enumerate(first) if YEAR.fullmatch(cell)]
    values = [row[index].strip() for row in below for index in years if index < len(row)]
    like = sum(1 for value in values if YEAR.fullmatch(value))
    named = len(years) > 1 and any(cell and not is_datum(cell) for cell in first) and like * 2 < len(values)
    return {first[index] for index in years} if named else set()


def is_datum(cell: str) -> bool:
    """Whether a cell can only be a value."""
    return bool(NUMBER.fullmatch(cell) or DATE.fullmatch(cell)) or cell in {"\\N", "NULL", "true", "false"}


def repeats(cell: str, index: int, rows: Iterable[list[str]]) -> bool:
    """Whether a cell occurs again below itself."""
    return any(index < len(row) and row[index].strip() == cell for row in rows)
