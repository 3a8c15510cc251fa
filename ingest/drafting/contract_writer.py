"""What was learned of a sample, written as a contract."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from catalog.model.dataset import FileFormat
from ingest.cleaning.plan import quote_name, quote_text
from ingest.drafting.column_profile import Profile
from ingest.drafting.type_candidates import TEXT
from ingest.readers.record_writer import JSON_COLUMN, ParsedBatch
from runtime.settings.settings import Settings

LINE_CHARACTERS = 110
UNBROKEN_CHARACTERS = 10_000  # a value in one line stays there


@dataclass(frozen=True)
class Sample:
    """A sample that has been parsed and looked at."""

    file: Path
    file_format: FileFormat
    parsed: ParsedBatch
    names: tuple[str, ...]  # of the properties, in the order of `profiles`
    profiles: tuple[Profile, ...]
    key: tuple[str, ...]
    nulls: tuple[str, ...]
    digest: str | None  # the expression for a key that no column is


def choose_names(profiles: list[Profile]) -> list[str]:
    """A property's name for each source: its own where that is one, else a plain form of it; all different."""
    last = [profile.source.path[-1] for profile in profiles]
    folded = [make_name(name).lower() for name in last]
    # DuckDB sees no difference between Name and name: such columns keep exactly their own.
    exact = {name for name in last if sum(other.lower() == name.lower() for other in last) > 1}
    names: list[str] = []
    for profile, name, fold in zip(profiles, last, folded, strict=True):
        if profile.source.nested and folded.count(fold) > 1:
            chosen = make_name("_".join(profile.source.path))
        elif name in exact and not profile.source.nested and not name.startswith("_"):
            chosen = name
        else:
            chosen = make_name(name)
        names.append(free_name(chosen, names))
    return names


def make_name(text: str, kind: str = "column") -> str:
    """A plain name: as it is where it is one, else in small letters with underscores; no name begins with a digit."""
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", text):
        return text
    name = re.sub(r"\W+", "_", text.lower()).strip("_")
    return name if name and not name[0].isdigit() else f"{kind}_{name}".rstrip("_")


def fold(text: str) -> str:
    """The text in the letters that the name of a dataset may have."""
    return re.sub(r"[^A-Za-z0-9]+", "_", unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode())


def free_name(name: str, taken: Iterable[str]) -> str:
    """The name, with a number behind it where it is taken."""
    used = {other.lower() for other in taken}
    numbers = (f"{name}_{number}" for number in range(2, len(used) + 3))
    return name if name.lower() not in used else next(other for other in numbers if other.lower() not in used)


def write_contract(sample: Sample, settings: Settings, notes: Iterable[str]) -> str:
    """The contract's text."""
    name = make_name(fold(bare_stem(sample.file)).strip("_") or "sample", "data")
    head = {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": name.replace("_", "-"),
        "name": name.replace("_", " ").capitalize(),
        "version": "0.1.0",
        "status": "active",
        "description": {"purpose": f"Records of {sample.file.name}. Describe their purpose here."},
        "servers": [
            {
                "server": "files",
                "type": "local",
                "path": choose_root(sample.file, settings),
                "format": sample.file_format.format,
            }
        ],
    }
    dataset = {
        "name": name,
        "customProperties": [{"property": "input", "value": write_input(sample)}],
        "properties": list(write_properties(sample)),
    }
    comments = [
        f"A draft contract, derived from the {sample.parsed.raw:,} records of {sample.file.name}."
        f" Review its types and rules.",
        "Before 1.0.0 a breaking change needs only a minor version; from 1.0.0 on it needs a major version.",
        *notes,
    ]
    body = dump({**head, "schema": [dataset]})
    return "".join(f"# {' '.join(comment.split())}\n" for comment in comments) + body


def write_input(sample: Sample) -> dict[str, object]:
    """How the file is read; what is the default is left out."""
    file_format = sample.file_format
    value: dict[str, object] = {
        "server": "files",
        "path": sample.file.name,
        "format": file_format.format,
        "mode": "snapshot",
    }
    if file_format.delimiter != ",":
        value["delimiter"] = file_format.delimiter
    if file_format.encoding != "utf-8":
        value["encoding"] = file_format.encoding
    if file_format.columns:
        value["columns"] = list(file_format.columns)
    if file_format.records:
        value["records"] = file_format.records
    value["nullValues"] = ["", *sample.nulls]
    return value


def write_properties(sample: Sample) -> Iterable[dict[str, object]]:
    """Each property as the contract writes it, the made-up key first."""
    if sample.digest:
        yield {
            "name": sample.key[0],
            "logicalType": "string",
            "primaryKey": True,
            "description": "A digest of the whole record, since no combination of up to three columns is unique.",
            "transformLogic": sample.digest,
        }
    for name, profile in zip(sample.names, sample.profiles, strict=True):
        part: dict[str, object] = {"name": name, "logicalType": profile.candidate.logical}
        if profile.candidate.physical:
            part["physicalType"] = profile.candidate.physical
        if profile.candidate.options:
            part["logicalTypeOptions"] = dict(profile.candidate.options)
        if name in sample.key:
            part["primaryKey"] = True
            part["primaryKeyPosition"] = sample.key.index(name) + 1
        if profile.required:
            part["required"] = True
        if profile.source.nested:
            part["transformLogic"] = write_transform(profile)
        elif profile.own_words:
            part["transformLogic"] = write_nulls(quote_name(profile.source.path[-1]), profile.own_words)
        elif name != profile.source.path[-1]:
            part["transformLogic"] = quote_name(profile.source.path[-1])
        if profile.examples:
            part["examples"] = list(profile.examples)
        yield part


def bare_stem(file: Path) -> str:
    """The file's name without the extension of its format."""
    return file.name.lstrip(".").split(".")[0] or "sample"


def choose_root(file: Path, settings: Settings) -> str:
    """The folder of the file, by the variable where it lies below the data folder."""
    folder, data = file.resolve().parent, settings.data_folder.resolve()
    if folder.is_relative_to(data):
        inner = folder.relative_to(data).as_posix()
        return "${DECANT_DATA}" if inner == "." else f"${{DECANT_DATA}}/{inner}"
    return str(folder)


class BriefDumper(yaml.SafeDumper):
    """Writes what is short and plain in one line, and lists below their key."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Indents lists too."""
        super().increase_indent(flow, False)


def represent_mapping(dumper: yaml.SafeDumper, value: dict[str, object]) -> yaml.Node:
    """A mapping, in one line where it is short."""
    short = len(json.dumps(value)) <= LINE_CHARACTERS
    return dumper.represent_mapping("tag:yaml.org,2002:map", value.items(), flow_style=short)


def represent_list(dumper: yaml.SafeDumper, value: list[object]) -> yaml.Node:
    """A list, in one line where it holds plain values."""
    plain = not any(isinstance(item, dict | list) for item in value)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=plain)


BriefDumper.add_representer(dict, represent_mapping)
BriefDumper.add_representer(list, represent_list)


def dump(document: dict[str, object]) -> str:
    """The document as YAML, in the given order, without aliases."""
    # By way of JSON: lists that are shared would be written as aliases, which contracts may not hold.
    plain = json.loads(json.dumps(document))
    return yaml.dump(plain, Dumper=BriefDumper, sort_keys=False, allow_unicode=True, width=UNBROKEN_CHARACTERS)


def write_transform(profile: Profile) -> str:
    """The expression for a nested value: blanks and words for no value are not taken away for it.

    Around a text they are part of it, as they are in a column of its own.
    """
    path = "".join(
        f".{step}" if step.isidentifier() and step.isascii() else f'."{step}"' for step in profile.source.path
    )
    expression = f"{JSON_COLUMN}->>{quote_text('$' + path)}"
    if profile.untrimmed and profile.candidate is not TEXT:
        expression = f"trim({expression}, ' \t')"
    if profile.candidate is not TEXT:
        expression = write_nulls(expression, (*([""] if profile.blank else []), *profile.tokens))
    return expression


def write_nulls(expression: str, words: Iterable[str]) -> str:
    """The expression, null where it gives one of these words."""
    for word in words:
        expression = f"nullif({expression}, {quote_text(word)})"
    return expression


def write_digest(profiles: list[Profile], *, is_json: bool) -> str:
    """An expression for a key where no column is unique."""
    if is_json:
        return f"md5(CAST({JSON_COLUMN} AS VARCHAR))"
    columns = ", ".join(f"coalesce({quote_name(profile.source.path[0])}, '')" for profile in profiles)
    return f"md5(concat_ws(chr(31), {columns}))"
