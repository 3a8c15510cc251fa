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
    is_typed: bool = False  # the source itself says what is a text: then blanks around it are part of it


FORMATS: list[FormatSpec] = [
    FormatSpec("csv", ("csv", "tsv"), ("delimiter", "columns", "encoding")),
    FormatSpec("ndjson", ("ndjson", "jsonl"), ("encoding",), is_json=True, is_typed=True),
    FormatSpec("json", ("json", "geojson"), ("encoding", "records", "recordKey"), is_json=True, is_typed=True),
    FormatSpec("parquet", ("parquet",), is_json=True, is_typed=True),
    FormatSpec("xlsx", ("xlsx",), ("columns", "sheet"), is_json=True),
]


def format_names() -> dict[str, str]:
    """The format of each name that contracts and files may have for it."""
    return {ending: spec.name for spec in FORMATS for ending in spec.endings}


def find_format(name: str) -> FormatSpec | None:
    """The format of that name; None where it is one of Decant's own."""
    return next((spec for spec in FORMATS if spec.name == name), None)
