"""The cleaning statement over small batches."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.contract.load import load_catalog
from catalog.model.dataset import Dataset
from ingest.cleaning.engine import clean_batch, find_native
from ingest.cleaning.plan import compile_cleaning
from runtime.settings.settings import load_settings
from tests.support.lab import parse_bytes

KEY = "{name: id, logicalType: integer, primaryKey: true}"


@dataclass(frozen=True)
class Outcome:
    """What became of a batch: accepted records without our columns, and the reasons of the others by line."""

    accepted: list[list[str | None]]
    lines: list[int]  # the accepted records' lines
    rejected: dict[int, list[dict[str, Any]]]
    keys: dict[int, str | None]  # of the rejected records
    duplicates: int

    def reasons(self, line: int) -> list[tuple[str, str, str | None]]:
        """(property, rule, value) of each reason."""
        return [(reason["property"], reason["rule"], reason["value"]) for reason in self.rejected[line]]


class Cleaner:
    """Builds datasets from properties and cleans texts with them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def dataset(self, *properties: str, source: str = "", more: str = "", key: str = KEY) -> Dataset:
        """A dataset with a key and these properties; `source` goes into its input, `more` into the dataset."""
        lines = "".join(f"      - {part}\n" for part in (key, *properties))
        (self.folder / "contract.yaml").write_text(
            "apiVersion: v3.1.0\nkind: DataContract\nid: shop\nversion: 1.0.0\nstatus: active\n"
            "servers: [{server: here, type: local, path: ., format: csv}]\n"
            "schema:\n  - name: items\n    customProperties:\n"
            f"      - {{property: input, value: {{server: here, path: items.csv{source}}}}}\n{more}"
            f"    properties:\n{lines}"
        )
        return load_catalog(load_settings(contracts=self.folder / "contract.yaml")).find("shop.items")[0]

    def clean(self, dataset: Dataset, content: str, *, native: bool = True) -> Outcome:
        """What becomes of the records of a CSV text."""
        batch = parse_bytes(self.folder, content.encode())
        plan = compile_cleaning(dataset, batch.header, find_native(dataset) if native else frozenset())
        engine = load_settings(duckdb_threads=1)
        with clean_batch(plan, batch, self.folder, engine, (7, 8)) as clean:
            accepted = read_csv(clean.accepted_file)
            rejected = read_csv(clean.rejected_file)
        assert (len(accepted), len(rejected)) == (clean.accepted, clean.rejected)
        assert batch.raw == clean.accepted + clean.rejected + clean.duplicates + batch.malformed_count
        assert {(row[-3], row[-2]) for row in accepted} <= {("7", "8")}
        return Outcome(
            [row[:-3] for row in accepted],
            [int(row[-1] or 0) for row in accepted],
            {int(row[0] or 0): json.loads(row[3] or "") for row in rejected},
            {int(row[0] or 0): row[1] for row in rejected},
            clean.duplicates,
        )


def read_csv(file: Path) -> list[list[str | None]]:
    """The rows of a file as COPY takes them: null is an empty field, an empty text is in quotes."""
    rows: list[list[str | None]] = [[]]
    for match in re.finditer(r'(?:"((?:[^"]|"")*)"|([^",\r\n]*))([,\n])', file.read_bytes().decode()):
        quoted, bare, separator = match.groups()
        rows[-1].append(bare or None if quoted is None else quoted.replace('""', '"'))
        if separator == "\n":
            rows.append([])
    assert rows.pop() == []
    return rows


def quoted(expression: str) -> str:
    """An expression as a YAML text."""
    return "'" + expression.replace("'", "''") + "'"


def make_csv(*rows: tuple[str, ...]) -> str:
    """A CSV text of these rows."""
    text = io.StringIO(newline="")
    # Quoted throughout: a field that ends in a carriage return is no end of a line then.
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(rows)
    return text.getvalue()
