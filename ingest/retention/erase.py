"""Erasing one key: out of current, history, quarantine, pushed events and the raw batches in the landing zone."""

from __future__ import annotations

import csv
import re
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import sqlalchemy as sa

from catalog.model.dataset import Dataset, file_format_of
from catalog.model.dependencies import needs_of
from catalog.model.record_key import parse_key
from catalog.storage.dataset_tables import LINE, LOAD, UNTIL, CatalogTables
from catalog.storage.export_files import delete_exports
from catalog.storage.ledger_tables import Load, RejectedRecord
from catalog.storage.profile_tables import PROFILE_TABLES
from catalog.types.property_types import InvalidValueError
from ingest.cleaning.engine import evaluate_rules, open_engine
from ingest.cleaning.plan import compile_cleaning, needed_columns
from ingest.cleaning.published_snapshot import delete_snapshots
from ingest.errors import CleaningError, IngestError, SourceError
from ingest.landing.landed_batch import LandedBatch, LandedPart
from ingest.landing.landing_zone import LandingZone
from ingest.landing.unpacking import UnpackLimit
from ingest.ledger.running_load import RunningLoad
from ingest.readers import parse_batch
from ingest.readers.record_writer import ParsedBatch
from ingest.retention.key_spellings import spell_key
from ingest.retention.redact_files import RedactionSpace, redact_part
from runtime.postgres.driver_messages import describe_duckdb

WORD_LEAST = 3  # characters: a shorter key occurs in many texts that are not about it


class Erasure:
    """Takes one key out of one dataset, wherever it lies."""

    def __init__(self, load: RunningLoad, key: list[str]) -> None:
        self.settings = load.settings
        self.engine = load.engine
        self.tables = load.tables
        self.dataset_id = load.ticket.dataset_id
        self.folder = load.folder
        self.zone = LandingZone.of(load.settings)
        self.values = read_key(load.dataset, key)
        with load.engine.connect() as connection:
            spellings = spell_key(connection, load.tables, key, self.values)
        self.keys = [",".join(parts) for parts in spellings]  # as quarantine has them
        self.words = [
            [re.compile(rf"(?<!\w){re.escape(part)}(?!\w)") for part in parts]
            for parts in spellings
            if len(",".join(parts)) >= WORD_LEAST
        ]
        self.batches = 0
        self.notes: list[str] = []
        self.lines: dict[int, set[int]] = {}  # load -> lines of its raw batch

    def match(self, table: sa.Table) -> sa.ColumnElement[bool]:
        """The condition for the key's rows in current or history."""
        return sa.and_(*(table.c[name] == value for name, value in zip(self.tables.key(), self.values, strict=True)))

    def redact_batches(self) -> None:
        """Rewrites every raw batch of the dataset that holds the key; safe to run again after any crash."""
        self.find_lines()
        with self.engine.connect() as connection:
            loads = connection.execute(
                sa.select(Load.id, Load.landed)
                .where(Load.dataset_id == self.dataset_id, Load.landed.is_not(None))
                .order_by(Load.id)
            ).all()
        for load_id, landed in loads:
            try:
                # What had to be fetched goes before the next one: all batches together may be more than a disk holds.
                with TemporaryDirectory(dir=self.folder) as name:
                    batch = self.zone.recall(landed["parts"], Path(name))
                    self.redact_batch(load_id, batch, Path(name))
            except (SourceError, CleaningError) as error:
                self.notes.append(f"the raw batch of load {load_id} could not be searched: {error}")

    def find_lines(self) -> None:
        """Where the ledger and the tables say that the key came from."""
        rejects = RejectedRecord.__table__
        queries = [
            sa.select(table.c[LOAD], table.c[LINE]).where(self.match(table))
            for table in (self.tables.current, self.tables.history)
        ]
        with self.engine.connect() as connection:
            for load_id, line in connection.execute(sa.union_all(*queries)):
                self.lines.setdefault(load_id, set()).add(line)
            unkeyed = sa.select(rejects.c.load_id, rejects.c.file, rejects.c.line, Load.parts)
            for load_id, file, line, parts in connection.execute(
                unkeyed.join(Load, Load.id == rejects.c.load_id).where(
                    rejects.c.dataset_id == self.dataset_id, rejects.c.key.in_(self.keys)
                )
            ):
                offset = next((part["offset"] for part in parts or () if part["name"] == file), 0)
                self.lines.setdefault(load_id, set()).add(offset + line)

    def redact_batch(self, load_id: int, batch: LandedBatch, folder: Path) -> None:
        """Rewrites the parts of one load's batch that hold the key, and says so in the ledger."""
        file_format = file_format_of(self.tables.dataset)
        limit = UnpackLimit.of(self.settings)
        parsed = parse_batch(
            batch, file_format, needed_columns(self.tables.dataset), self.folder, limit, lambda amount: None
        )
        lines = self.evaluate_lines(parsed) | self.mentioned_lines(parsed)
        lines |= self.lines.get(load_id, set())
        self.lines[load_id] = lines
        if not lines:
            return
        everything = sorted(all_lines(parsed, file_format.delimiter)) if parsed.is_json else []
        kept: list[LandedPart] = []
        space = RedactionSpace(folder, limit)
        for index, span in enumerate(parsed.parts):
            end = parsed.parts[index + 1].offset if index + 1 < len(parsed.parts) else None
            mine = {line - span.offset for line in lines if line > span.offset and (end is None or line <= end)}
            part = next(part for part in batch.parts if part.name == span.name)
            if mine:
                own = [n - span.offset for n in everything if n > span.offset and (end is None or n <= end)]
                part = redact_part(part, file_format, mine, own, space)
            kept.append(part)
        names = {part.name for part in kept}
        kept += [part for part in batch.parts if part.name not in names]
        self.replace_parts(load_id, batch, LandedBatch(batch.sha256, tuple(kept)))
        self.batches += 1

    def replace_parts(self, load_id: int, batch: LandedBatch, kept: LandedBatch) -> None:
        """Makes the rewritten parts the load's own; the old files go, unless another dataset keeps the same bytes."""
        notes = [
            {
                "name": p.name,
                "sha256": p.sha256,
                "size": p.size,
                "form": p.file_format and asdict(p.file_format),
                "redacted": True,
            }
            for p in kept.parts
        ]
        with self.engine.begin() as connection:
            self.zone.place(connection, kept)
            landed = connection.execute(sa.select(Load.landed).where(Load.id == load_id)).scalar_one()
            connection.execute(sa.update(Load).where(Load.id == load_id).values(landed=landed | {"parts": notes}))
        for part in batch.parts:
            if part.sha256 not in {new.sha256 for new in kept.parts}:
                self.zone.remove_unneeded(self.engine, part.sha256)
                if self.zone.holds(part.sha256) and self.is_foreign(part.sha256):
                    self.notes.append(f"another dataset has the same raw bytes ({part.name}): erase it there too")

    def is_foreign(self, sha256: str) -> bool:
        """Whether a load of another dataset needs a file of the landing zone."""
        named = Load.landed.contains({"parts": [{"sha256": sha256}]})
        with self.engine.connect() as connection:
            others = sa.exists().where(Load.dataset_id != self.dataset_id, named)
            return bool(connection.execute(sa.select(others)).scalar_one())

    def evaluate_lines(self, parsed: ParsedBatch) -> set[int]:
        """The lines whose records have the key, by the contract as it is today."""
        plan = compile_cleaning(self.tables.dataset, parsed.header, is_json=parsed.is_json)
        with open_engine(
            self.settings, self.folder, careful=True, columns=max(plan.width, len(plan.values))
        ) as engine:
            try:
                evaluate_rules(engine, plan, parsed)
                types = [plan.dataset.properties[name].type.duckdb for name in plan.dataset.key]
                same = (f"{column} = CAST(? AS {kind})" for column, kind in zip(plan.key, types, strict=True))
                query = f"SELECT line FROM judged WHERE {' AND '.join(same)}"
                rows = engine.execute(query, self.values).fetchall()
            except duckdb.Error as error:
                raise CleaningError(f"DuckDB: {describe_duckdb(error)}") from error
        return {row[0] for row in rows}

    def mentioned_lines(self, parsed: ParsedBatch) -> set[int]:
        """The lines of malformed records that contain the key as a word."""
        with parsed.malformed.open(newline="", encoding="utf-8") as file:
            return {int(row[0]) for row in csv.reader(file) if self.mentions(row[2])}

    def mentions(self, text: str) -> bool:
        """Whether a text contains every part of the key as a word; a short key is looked for in none."""
        return any(all(word.search(text) for word in words) for words in self.words)

    def erase_rows(self, connection: sa.Connection) -> tuple[int, int]:
        """How many rows of history and how many rejected records went, inside the publishing transaction."""
        history = self.tables.history
        gone = connection.execute(
            sa.delete(history).where(self.match(history)), execution_options={"preserve_rowcount": True}
        ).rowcount
        rejected = connection.execute(
            sa.text("DELETE FROM decant.rejected_records WHERE dataset_id = :dataset_id AND key = ANY(:keys)"),
            {"dataset_id": self.dataset_id, "keys": self.keys},
            execution_options={"preserve_rowcount": True},
        ).rowcount
        unkeyed = connection.execute(
            sa.text("SELECT id, raw FROM decant.rejected_records WHERE dataset_id = :dataset_id AND key IS NULL"),
            {"dataset_id": self.dataset_id},
        )
        mentions = [row.id for row in unkeyed if self.mentions(row.raw)]
        if mentions:
            connection.execute(sa.text("DELETE FROM decant.rejected_records WHERE id = ANY(:ids)"), {"ids": mentions})
        # Its minimum, or its most frequent value, may be the record's.
        for model in PROFILE_TABLES:
            connection.execute(sa.delete(model).where(model.dataset_id == self.dataset_id))
        for load_id, lines in self.lines.items():
            connection.execute(
                sa.text(
                    "UPDATE decant.events SET payload = '{}' WHERE dataset_id = :dataset_id AND load_id = :load_id"
                    " AND line = ANY(:lines)"
                ),
                {"dataset_id": self.dataset_id, "load_id": load_id, "lines": sorted(lines)},
            )
        return int(gone), int(rejected) + len(mentions)

    def newest_history(self, connection: sa.Connection) -> int:
        """The first revision that has no row of the key in history any more."""
        history = self.tables.history
        return int(
            connection.execute(sa.select(sa.func.max(history.c[UNTIL])).where(self.match(history))).scalar() or 0
        )

    def delete_copies(self) -> None:
        """Removes what is kept beside the tables: what makes loads quick, and finished exports."""
        delete_snapshots(self.settings, self.dataset_id)
        delete_exports(self.settings, self.tables.dataset)


def read_key(dataset: Dataset, parts: list[str]) -> list[Any]:
    """The key's values; IngestError where they cannot be this dataset's."""
    try:
        return parse_key(dataset, parts)
    except InvalidValueError as error:
        raise IngestError(f"{dataset.address}: {error}.") from None


def all_lines(parsed: ParsedBatch, delimiter: str) -> set[int]:
    """The lines of all parsed records."""
    found: set[int] = set()
    for file, mark in (*((file, delimiter) for file in parsed.records), (parsed.malformed, ",")):
        with file.open(newline="", encoding="utf-8", errors="replace") as source:
            found.update(int(row[0]) for row in csv.reader(source, delimiter=mark) if row)
    return found


def derived_from(tables: CatalogTables, dataset: Dataset) -> list[str]:
    """The datasets whose query reads this one: they may hold copies."""
    key = (dataset.schema, dataset.name)
    return [
        other.dataset.address
        for other in tables.by_dataset.values()
        if other.dataset.input is not None and other.dataset.input.query and key in needs_of(other.dataset)
    ]
