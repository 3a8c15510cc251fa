"""The keys of an `input` that define the file format -> FileFormat."""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import TypeGuard

from open_data_contract_standard.model import Server

from catalog.document.findings import Findings
from catalog.document.yaml_document import YamlMapping, YamlNode, YamlPath
from catalog.inputs.permits import Permits
from catalog.inputs.variables import VARIABLE
from catalog.model.dataset import FileFormat
from catalog.model.file_formats import FORMATS, format_names
from catalog.types.json_path import parse_records_path

PACKED = (".gz", ".zst", ".zip")
WIDE_ENCODINGS = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")


def build_file_format(value: YamlMapping, server: Server, trail: YamlPath, findings: Findings) -> FileFormat | None:
    """How the raw records are parsed, from the input and its server; None where it cannot be done.

    The format is the input's, else the server's, else what the file's name ends with, else CSV.
    """
    name = str(value.get("format") or server.format or guess_format(value.get("path"))).lower()
    known = format_names()
    if name not in known:
        findings.error(trail, f"input.format: {name!r} is not supported; supported are {', '.join(known)}")
        return None
    format_ = known[name]
    usable = check_keys(value, name, format_, trail, findings)
    own = server.delimiter if format_ == "csv" else None
    delimiter = value.get("delimiter") or own or ("\t" if name == "tsv" else ",")
    if not isinstance(delimiter, str) or len(delimiter.encode()) != 1 or delimiter in '"\r\n\0':
        findings.error(trail, "input.delimiter: must be one ASCII character other than quotes and line breaks")
        usable = False
    encoding = str(value.get("encoding") or "utf-8")
    if not is_readable(encoding, lines=format_ == "csv"):
        findings.error(
            trail,
            f"input.encoding: {encoding!r} is not supported; supported are UTF-8, UTF-16, Latin-1,"
            f" Windows-1252 and others that include ASCII",
        )
        usable = False
    columns, records, sheet = value.get("columns"), value.get("records"), value.get("sheet")
    record_key = value.get("recordKey")
    if columns is not None and not is_list_of_names(columns):
        findings.error(trail, "input.columns: must be a list of unique column names")
        usable = False
    if sheet is not None and not isinstance(sheet, str):
        findings.error(trail, "input.sheet: must be the name of a sheet")
        usable = False
    usable = check_records(records, record_key, trail, findings) and usable
    if not usable:
        return None
    return FileFormat(
        format=format_,
        delimiter=str(delimiter),
        encoding=codecs.lookup(encoding).name,
        columns=tuple(columns) if is_list_of_names(columns) else None,
        records=str(records) if records is not None else None,
        record_key=record_key if isinstance(record_key, str) else None,
        sheet=sheet if isinstance(sheet, str) else None,
        quoted=name != "tsv",
    )


def check_keys(value: YamlMapping, name: str, format_: str, trail: YamlPath, findings: Findings) -> bool:
    """Whether the input has no key that is for other formats."""
    usable = True
    for key in dict.fromkeys(key for spec in FORMATS for key in spec.keys):
        formats = [spec.name for spec in FORMATS if key in spec.keys]
        if value.get(key) is not None and format_ not in formats:
            findings.error(trail, f"input.{key}: does not apply to {name}, only to {', '.join(formats)}")
            usable = False
    return usable


def check_records(records: YamlNode, key: YamlNode, trail: YamlPath, findings: Findings) -> bool:
    """Whether it is said plainly where in a document the records are, and what their keys are called."""
    try:
        path = parse_records_path(str(records)) if records is not None else None
    except ValueError as error:
        findings.error(trail, f"input.records: {error}")
        return False
    if key is None:
        return True
    if not isinstance(key, str) or not key:
        findings.error(trail, "input.recordKey: must be the name of the raw column for the key of each record")
    elif path is None or not path.items:
        findings.error(
            trail, "input.recordKey: needs `records` with the path of an object of records, such as $.items[*]"
        )
    else:
        return True
    return False


def guess_format(path: YamlNode) -> str:
    """The format that a file's name ends with, what packs it aside; CSV where it says none."""
    name = PurePosixPath(path if isinstance(path, str) else "")
    if name.suffix.lower() in PACKED:
        name = name.with_suffix("")
    ending = name.suffix.lower().removeprefix(".")
    return ending if ending in format_names() else "csv"


def is_list_of_names(value: YamlNode) -> TypeGuard[list[str]]:
    """Whether it is a list of texts, none empty, each once."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(name, str) and name.strip() for name in value)
        and len(set(map(str, value))) == len(value)
    )


def is_readable(name: str, *, lines: bool) -> bool:
    """Whether Python knows the encoding of text; for `lines`, they must be bytes of ASCII."""
    structure = '\r\n",;|\t0aZ'
    try:
        if codecs.lookup(name).name in WIDE_ENCODINGS:
            return True
        written = structure.encode(name)
        return written == structure.encode("ascii") if lines else written.decode(name) == structure
    except (LookupError, UnicodeError):
        return False


def check_variables(texts: Iterable[str | None], permits: Permits, trail: YamlPath, findings: Findings) -> None:
    """Errors for variables that may not be filled in; whether they are set is seen when they are."""
    for name in dict.fromkeys(match for text in texts for match in VARIABLE.findall(text or "")):
        if problem := permits.refuse_variable(name):
            findings.error(trail, f"input: {problem}")
