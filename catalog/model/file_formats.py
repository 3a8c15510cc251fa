"""The file formats that raw records come in; `ingest/readers/` has a reader for each. Pure.

A new one is an entry here, a file there, and a line of that folder's list.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FormatSpec:
    """One file format."""

    name: str  # as FileFormat has it
    endings: tuple[str, ...]  # what it is called in contracts and at the end of files' names
    keys: tuple[str, ...] = ()  # of an `input`, that say something about it
    is_json: bool = (
        False  # each raw record is one JSON object, which transforms see as `raw`; a table's rows become such
    )
    magic: bytes = b""  # what such files begin with, where no others do
    noun: str = ""  # of what begins so, for messages
    is_typed: bool = False  # the source itself says what is a text: then blanks around it are part of it
    deletes: bool = False  # the format itself says which records are deleted


ZIP = b"PK\x03\x04"

FORMATS: list[FormatSpec] = [
    FormatSpec("csv", ("csv", "tsv"), ("delimiter", "columns", "encoding")),
    FormatSpec("ndjson", ("ndjson", "jsonl"), ("encoding",), is_json=True, is_typed=True),
    # One change of a database, or one event, in each line: the record is inside.
    FormatSpec("debezium", ("debezium",), ("encoding",), is_json=True, is_typed=True, deletes=True),
    FormatSpec("cloudevents", ("cloudevents",), ("encoding",), is_json=True, is_typed=True),
    FormatSpec("json", ("json", "geojson"), ("encoding", "records", "recordKey"), is_json=True, is_typed=True),
    FormatSpec("parquet", ("parquet",), is_json=True, magic=b"PAR1", noun="a Parquet file", is_typed=True),
    FormatSpec(
        "xlsx", ("xlsx",), ("columns", "sheet"), is_json=True, magic=b"PK\x03\x04", noun="a zip archive or a workbook"
    ),
]


def format_names() -> dict[str, str]:
    """The format of each name that contracts and files may have for it."""
    return {ending: spec.name for spec in FORMATS for ending in spec.endings}


def recognize_format(head: bytes) -> FormatSpec | None:
    """The format of a file that begins so; None where it may be a text."""
    return next((spec for spec in FORMATS if spec.magic and head.startswith(spec.magic)), None)


def find_format(name: str) -> FormatSpec | None:
    """The format of that name; None where it is one of Decant's own."""
    return next((spec for spec in FORMATS if spec.name == name), None)
