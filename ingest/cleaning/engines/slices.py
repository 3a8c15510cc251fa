"""One slice of a batch, judged wherever a task runs, by the load's own statement."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

from catalog.model.dataset import FileFormat
from catalog.storage.object_store import SLICES, ObjectStore, delete_older
from catalog.storage.store_place import StorePlace, open_store
from ingest.cleaning.statement import CleaningStatement
from ingest.errors import ClusterError, IngestError, OutOfMemoryError
from ingest.landing.landed_batch import LandedBatch
from ingest.landing.landing_zone import LandingZone, note_parts
from ingest.landing.unpacking import UnpackLimit
from ingest.readers.pieces import ParsedPiece, Piece, parse_piece
from runtime.duckdb_connection import open_duckdb
from runtime.duckdb_quoting import quote_text
from runtime.postgres.driver_messages import describe_duckdb
from runtime.settings.settings import Settings

KEPT_SECONDS = 86_400.0  # of slices: no load takes longer
# Of Judged, for the cluster.
COLUMNS = "slice int, records long, seconds double, duckdb string, error string, failure string, parsed string"


class Judged(NamedTuple):
    """What a task says of its slice."""

    slice: int
    records: int
    seconds: float  # of CPU time
    duckdb: str  # its version
    error: str | None = None  # why the statement cannot be run, without values of records
    failure: str | None = None  # the IngestError that the load ends with, as JSON: its name, what it says
    parsed: str | None = None  # the ParsedPiece, where the task parsed it


@dataclass(frozen=True)
class Parsing:
    """How tasks parse the pieces of a batch."""

    pieces: tuple[Piece, ...]
    file_format: FileFormat
    needed: tuple[str, ...]
    limit: UnpackLimit

    def parse(self, store: ObjectStore, prefix: str, number: int, folder: Path) -> tuple[ParsedPiece, Path]:
        """What is in a piece, and the file of its records; SourceError where it cannot be had."""
        piece, malformed = self.pieces[number], folder / "malformed.ndjson"
        if piece.lines is None:
            # A part of a shared store is held against its digest.
            parts = LandingZone(store).recall(note_parts(LandedBatch("", piece.parts)), folder).parts
        else:
            parts = (replace(piece.parts[0], path=fetch_slice(store, prefix, number, folder)),)
        found = parse_piece(replace(piece, parts=parts), self.file_format, self.needed, self.limit, folder, malformed)
        if found[0].malformed:
            store.put(malformed, key_of_malformed(prefix, number))
        return found


@dataclass(frozen=True)
class SliceTask:
    """Judges slices; it is sent to the hosts of a cluster, and holds no secret."""

    place: StorePlace
    prefix: str  # of the keys of slices and results
    statement: CleaningStatement
    null_mark: str
    memory: str
    parsing: Parsing | None = None  # where slices are not parsed yet

    def run(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """A row of COLUMNS for each number of a slice."""
        for batch in batches:
            for number in batch.column(0).to_pylist():
                judged = self.judge(number)
                yield pa.RecordBatch.from_pylist([judged._asdict()], schema=SCHEMA)

    def judge(self, number: int) -> Judged:
        """Fetches a slice, judges it and puts what came out beside it; a task that runs again changes nothing."""
        store, started = self.place.open(), time.process_time()
        with TemporaryDirectory(prefix="decant-slice-") as name:
            folder = Path(name)
            parsed: str | None = None
            result = folder / "judged.parquet"
            try:
                if self.parsing is None:
                    file, header = fetch_slice(store, self.prefix, number, folder), None
                else:
                    found, file = self.parsing.parse(store, self.prefix, number, folder)
                    parsed, header = found.dump(), found.header
                records = self.execute(folder, file, result, header)
            except IngestError as error:
                return Judged(number, 0, 0.0, duckdb.__version__, failure=dump_error(error))
            except duckdb.OutOfMemoryException:
                short = f"Cleaning a slice needs more memory than {self.memory}: increase DECANT_DUCKDB_MEMORY."
                return Judged(number, 0, 0.0, duckdb.__version__, failure=dump_error(OutOfMemoryError(short)))
            except duckdb.Error as error:
                return Judged(number, 0, 0.0, duckdb.__version__, error=describe_duckdb(error))
            store.put(result, key_of_result(self.prefix, number))
        seconds = time.process_time() - started
        return Judged(number, records, seconds, duckdb.__version__, parsed=parsed)

    def execute(self, folder: Path, file: Path, result: Path, header: tuple[str, ...] | None) -> int:
        """How many records were judged into a file."""
        statement = self.statement.read_from([str(file)], self.null_mark, header)
        try:
            return self.execute_once(folder, file, result, statement, careful=False)
        except duckdb.OutOfMemoryException:
            raise
        except duckdb.Error:
            # A value that fails a transform may have failed all of it; a third slower, it fails its own record.
            return self.execute_once(folder, file, result, statement, careful=True)

    def execute_once(self, folder: Path, file: Path, result: Path, statement: str, *, careful: bool) -> int:
        """The same, with or without care for what expressions share."""
        optimizer: Any = "careful" if careful else "whole"
        with open_duckdb(
            folder=folder, files=(file,), memory=self.memory, ordered=False, optimizer=optimizer
        ) as engine:
            engine.execute(statement)
            engine.execute(f"COPY judged TO {quote_text(str(result))} (FORMAT parquet)")
            row = engine.execute("SELECT count(*) FROM judged").fetchone()
        return int(row[0]) if row else 0


SCHEMA = pa.schema(
    [
        ("slice", pa.int32()),
        ("records", pa.int64()),
        ("seconds", pa.float64()),
        ("duckdb", pa.string()),
        ("error", pa.string()),
        ("failure", pa.string()),
        ("parsed", pa.string()),
    ]
)


def fetch_slice(store: ObjectStore, prefix: str, number: int, folder: Path) -> Path:
    """The file of a slice; ClusterError where it is gone."""
    file = store.find(key_of_slice(prefix, number), folder)
    if file is None:
        raise ClusterError("A slice of the batch is no longer in the object store.")
    return file


def dump_error(error: IngestError) -> str:
    """An error as JSON, for the load to raise."""
    return json.dumps([type(error).__name__, str(error)])


def delete_old_slices(settings: Settings, now: datetime) -> None:
    """Deletes what loaders left behind that were killed while a cluster judged for them."""
    delete_older(open_store(settings), SLICES, now.timestamp() - KEPT_SECONDS)


def key_of_slice(prefix: str, number: int) -> str:
    """Where a slice lies: parsed records, or lines of a part."""
    return f"{prefix}/{number}.slice"


def key_of_malformed(prefix: str, number: int) -> str:
    """Where the malformed records of a piece lie."""
    return f"{prefix}/{number}.ndjson"


def key_of_result(prefix: str, number: int) -> str:
    """Where the judged records of a slice lie."""
    return f"{prefix}/{number}.parquet"
