"""Runs the cleaning statement over a parsed batch in DuckDB, here or spread over a cluster."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from catalog.model.dataset import Dataset, Property
from ingest.cleaning.engines.spark import judge_slices
from ingest.cleaning.newest import name_order, order_property
from ingest.cleaning.plan import NATIVE_TYPES, CleaningPlan, quote_name, quote_text, reads_json
from ingest.cleaning.published_snapshot import PublishedSnapshot
from ingest.cleaning.result_tables import ResultTables, count, key_text
from ingest.cleaning.transforms import TransformError, check_expression, require_plain
from ingest.errors import CleaningError, OutOfMemoryError
from ingest.readers.record_writer import JSON_COLUMN, ParsedBatch
from runtime.duckdb_connection import open_duckdb
from runtime.postgres.driver_messages import describe_duckdb
from runtime.settings.settings import Settings

DEFAULT_MB = 256  # where nothing is set
WIDE_COLUMNS = 100
MB_PER_COLUMN = 1  # beyond that: what a thread's blocks of one column take
UNREAD_RULES = ("type", "invalid_text", "transform")  # what a value breaks that is none
THREAD_COLUMNS = 300  # columns times threads


@dataclass(frozen=True)
class CleanBatch:
    """A cleaned batch: files that COPY takes, and the tables behind them while they are needed."""

    accepted_file: Path  # the contract's columns, then _revision, _load, _line; without what is known to be unchanged
    rejected_file: Path  # line, key, raw text (empty), reasons, candidate, order value
    missing_file: Path | None  # the keys that a snapshot lacks, where what is current was known
    deletions_file: Path | None  # the keys that records of the batch delete, where any may
    accepted: int  # with the records that delete their keys
    deletions: int  # of the accepted ones
    rejected: int
    duplicates: int
    tables: ResultTables

    def is_unchanged(self) -> bool:
        """Whether every record was known already, and none is missing."""
        return self.missing_file is not None and not any(
            file.stat().st_size for file in (self.accepted_file, self.missing_file)
        )


@contextmanager
def open_engine(
    settings: Settings, folder: Path, files: Sequence[Path] = (), *, careful: bool = False, columns: int = 0
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB connection that sees nothing but `folder` and these files, and whose configuration is locked.

    A `careful` one computes what expressions share in each of them: otherwise DuckDB takes it out of them, and out
    of the TRY that keeps an error to its record. `columns` are those of what it is to clean.
    """
    threads, memory = choose_limits(settings, columns)
    with open_duckdb(
        folder=folder,
        files=files,
        threads=threads,
        memory=memory,
        ordered=False,
        optimizer="careful" if careful else "whole",
    ) as connection:
        yield connection


def choose_limits(settings: Settings, columns: int) -> tuple[int, str]:
    """How many threads clean a dataset of so many columns, and in how much memory.

    However few the records, each thread holds a block of each column at each step. So a wide dataset is cleaned by
    fewer threads; and where the memory was not chosen, it grows with the columns.
    """
    threads = max(1, min(settings.duckdb_threads, THREAD_COLUMNS // max(columns, 1)))
    if "duckdb_memory" in settings.model_fields_set or columns <= WIDE_COLUMNS:
        return threads, settings.duckdb_memory
    return threads, f"{DEFAULT_MB + (columns - WIDE_COLUMNS) * MB_PER_COLUMN}MB"


def out_of_memory(settings: Settings, columns: int) -> OutOfMemoryError:
    """What is said where the memory was not enough."""
    _, memory = choose_limits(settings, columns)
    wide = f" {columns:,} columns take about {DEFAULT_MB + columns * MB_PER_COLUMN:,} MB." * (columns > WIDE_COLUMNS)
    return OutOfMemoryError(f"Cleaning needs more memory than {memory}: increase DECANT_DUCKDB_MEMORY.{wide}")


@contextmanager
def clean_batch(
    plan: CleaningPlan,
    parsed: ParsedBatch,
    folder: Path,
    settings: Settings,
    mark: tuple[int, int],
    snapshot: PublishedSnapshot | None = None,
) -> Iterator[CleanBatch]:
    """The batch's good records and its rejected ones; CleaningError where the statement cannot run.

    `mark` is what good records say of themselves: the revision that they make, and the load that brings them.
    """
    files = (snapshot.file,) if snapshot else ()
    columns = max(plan.width, len(plan.values))
    judge = judge_on_cluster if parsed.sliced or parsed.judged else judge_here
    with judge(plan, parsed, folder, settings, files) as engine:
        try:
            clean = write_files(engine, plan, parsed, folder, snapshot, mark)
        except duckdb.OutOfMemoryException as error:
            raise out_of_memory(settings, columns) from error
        yield clean


@contextmanager
def judge_here(
    plan: CleaningPlan, parsed: ParsedBatch, folder: Path, settings: Settings, files: Sequence[Path]
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with the table `judged`, which also sees these files."""
    columns = max(plan.width, len(plan.values))
    with ExitStack() as stack:
        engine = stack.enter_context(open_engine(settings, folder, files, columns=columns))
        try:
            evaluate_rules(engine, plan, parsed)
        except duckdb.OutOfMemoryException as error:
            raise out_of_memory(settings, columns) from error
        except duckdb.Error:
            # A value that fails a transform may have failed all of it; a third slower, it fails its own record.
            stack.close()
            engine = stack.enter_context(open_engine(settings, folder, files, careful=True, columns=columns))
            try:
                evaluate_rules(engine, plan, parsed)
            except duckdb.OutOfMemoryException as error:
                raise out_of_memory(settings, columns) from error
            except duckdb.Error as error:
                raise CleaningError(f"DuckDB: {describe_duckdb(error)}") from error
        yield engine


@contextmanager
def judge_on_cluster(
    plan: CleaningPlan, parsed: ParsedBatch, folder: Path, settings: Settings, files: Sequence[Path]
) -> Iterator[duckdb.DuckDBPyConnection]:
    """The same, of what the hosts of a cluster judge, or have judged when they parsed it."""
    columns = max(plan.width, len(plan.values))
    judged = parsed.judged
    if not judged:
        with open_engine(settings, folder) as engine:
            require_plain(engine, plan.dataset)
        judged = judge_slices(settings, plan, parsed, folder, choose_limits(settings, columns)[1])
    with open_engine(settings, folder, files, columns=columns) as engine:
        try:
            engine.execute(plan.read_judged((str(file), before) for file, before in judged))
        except duckdb.OutOfMemoryException as error:
            raise out_of_memory(settings, columns) from error
        yield engine


def evaluate_rules(engine: duckdb.DuckDBPyConnection, plan: CleaningPlan, parsed: ParsedBatch) -> None:
    """Makes the table `judged`, one row for each parsed record."""
    require_plain(engine, plan.dataset)
    engine.execute(plan.statement.read_from(map(str, parsed.records), null_mark=uuid.uuid4().hex))
    (checked,) = count(engine, "SELECT count(*) FROM judged")
    if checked != parsed.raw - parsed.malformed_count:
        raise CleaningError(f"{parsed.raw - parsed.malformed_count} records were parsed, but {checked} were checked.")


def write_files(
    engine: duckdb.DuckDBPyConnection,
    plan: CleaningPlan,
    parsed: ParsedBatch,
    folder: Path,
    snapshot: PublishedSnapshot | None,
    mark: tuple[int, int],
) -> CleanBatch:
    """What `judged` holds, in files; of several records with one key the newest."""
    tables = ResultTables(engine, plan, snapshot)
    rejected, duplicates, accepted = tables.count()
    accepted_file, rejected_file, missing_file = (folder / f"{n}.csv" for n in ("accepted", "rejected", "missing"))
    revision, load_id = mark
    tables.write(
        accepted_file,
        f"SELECT {', '.join(plan.values)}, {revision}, {load_id}, line FROM {tables.fresh()}"
        f" ORDER BY {', '.join(plan.key)}",
    )
    tables.write(
        rejected_file,
        f"SELECT line, {key_text(plan)}, NULL, reasons, {candidate(plan)}, {order_note(plan)}"
        " FROM judged WHERE reasons IS NOT NULL",
    )
    if snapshot is not None and snapshot.whole:
        tables.write(missing_file, tables.missing())
    deletions, deletions_file = tables.count_deletions(), None
    if plan.deletes:
        deletions_file = folder / "deletions.csv"
        tables.write_deletions(deletions_file)
    return CleanBatch(
        accepted_file,
        rejected_file,
        missing_file if snapshot is not None and snapshot.whole else None,
        deletions_file,
        accepted,
        deletions,
        rejected,
        duplicates,
        tables,
    )


def find_native(dataset: Dataset) -> frozenset[str]:
    """The names of the properties whose transform gives a value of the property's type as it is."""
    found: set[str] = set()
    maybe = [prop for prop in dataset.properties.values() if prop.transform and prop.type.duckdb in NATIVE_TYPES]
    if not maybe:
        return frozenset()
    with open_duckdb(optimizer="off") as engine:
        for prop in maybe:
            columns = declare_columns(prop, is_json=reads_json(dataset))
            try:
                check_expression(engine, prop.transform or "", prop.raw_columns)
                described = engine.execute(f"DESCRIBE SELECT ({prop.transform}) FROM (SELECT {columns})").fetchone()
            except (duckdb.Error, TransformError):
                continue  # the statement will say what is wrong with it
            if described and described[1] in NATIVE_TYPES[prop.type.duckdb]:
                found.add(prop.name)
    return frozenset(found)


def declare_columns(prop: Property, *, is_json: bool) -> str:
    """What a transform may read, of the right types and without any record."""
    types = {JSON_COLUMN: "JSON"} if is_json else {}
    return ", ".join(f"NULL::{types.get(n, 'VARCHAR')} AS {quote_name(n)}" for n in prop.raw_columns) or "1"


def candidate(plan: CleaningPlan) -> str:
    """SQL for the values of a rejected record that Postgres still has to check: its foreign keys."""
    properties = plan.dataset.properties
    names = dict.fromkeys(name for key in plan.dataset.foreign_keys if key.enforced for name in key.properties)
    if not names:
        return "NULL"
    pairs = ", ".join(f"{quote_text(properties[n].column)}, CAST({plan.value(n)} AS VARCHAR)" for n in names)
    return f"json_object({pairs})"


def order_note(plan: CleaningPlan) -> str:
    """SQL for the value by which a rejected record is newer than another; null where it cannot be read."""
    prop = order_property(plan.dataset)
    if prop is None:
        return "NULL"
    value = plan.value(prop.name)
    unread = " OR ".join(
        f"json_contains(reasons, {quote_text(json.dumps({'property': prop.name, 'rule': rule}))})"
        for rule in UNREAD_RULES
    )
    note = f"json_object('by', {quote_text(name_order(prop))}, 'value', CAST({value} AS VARCHAR))"
    return f"CASE WHEN {value} IS NOT NULL OR NOT ({unread}) THEN {note} END"
