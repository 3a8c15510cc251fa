"""One slice of a batch, judged wherever a task runs, by the load's own statement."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

from catalog.storage.object_store import SLICES, delete_older
from catalog.storage.store_place import StorePlace, open_store
from runtime.duckdb_connection import open_duckdb
from runtime.duckdb_quoting import quote_text
from runtime.postgres.driver_messages import describe_duckdb
from runtime.settings.settings import Settings

KEPT_SECONDS = 86_400.0  # of slices: no load takes longer
SLICE_MARK = "decant-slice"  # stands in the statement where the slice's file will
COLUMNS = "slice int, records long, seconds double, duckdb string, error string"  # of Judged, for the cluster


class Judged(NamedTuple):
    """What a task says of its slice."""

    slice: int
    records: int
    seconds: float  # of CPU time
    duckdb: str  # its version
    error: str | None  # why the statement cannot be run, without values of records


@dataclass(frozen=True)
class SliceTask:
    """Judges slices; it is sent to the hosts of a cluster, and holds no secret."""

    place: StorePlace
    prefix: str  # of the keys of slices and results
    statement: str  # makes the table `judged` from the file that SLICE_MARK stands for
    memory: str

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
            file = store.find(key_of_slice(self.prefix, number), folder)
            if file is None:
                return Judged(number, 0, 0.0, duckdb.__version__, "the slice is no longer in the object store")
            result = folder / "judged.parquet"
            try:
                records = self.execute(folder, file, result)
            except duckdb.Error as error:
                return Judged(number, 0, 0.0, duckdb.__version__, describe_duckdb(error))
            store.put(result, key_of_result(self.prefix, number))
        return Judged(number, records, time.process_time() - started, duckdb.__version__, None)

    def execute(self, folder: Path, file: Path, result: Path) -> int:
        """How many records were judged into a file."""
        statement = self.statement.replace(quote_text(SLICE_MARK), quote_text(str(file)))
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
    ]
)


def delete_old_slices(settings: Settings, now: datetime) -> None:
    """Deletes what loaders left behind that were killed while a cluster judged for them."""
    delete_older(open_store(settings), SLICES, now.timestamp() - KEPT_SECONDS)


def key_of_slice(prefix: str, number: int) -> str:
    """Where the parsed records of a slice lie."""
    return f"{prefix}/{number}.csv"


def key_of_result(prefix: str, number: int) -> str:
    """Where the judged records of a slice lie."""
    return f"{prefix}/{number}.parquet"
