"""Judges a batch on a Spark cluster: Spark hands out slices and tries them again, each task runs DuckDB's statement.

The statement is not translated: it runs as it is, on the hosts of the cluster, in the version that runs here. So
rows, reasons and counts are those of the local engine, whatever the cluster does.
"""

from __future__ import annotations

import json
import logging
import shutil
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

import duckdb

from catalog.storage.object_store import SLICES, ObjectStore
from catalog.storage.store_place import StorePlace
from ingest import errors
from ingest.cleaning.engines.slices import (
    COLUMNS,
    Judged,
    Parsing,
    SliceTask,
    key_of_malformed,
    key_of_result,
    key_of_slice,
)
from ingest.cleaning.plan import CleaningPlan
from ingest.errors import CleaningError, ClusterError
from ingest.landing.landed_batch import LandedBatch
from ingest.readers.pieces import ParsedPiece, join_pieces
from ingest.readers.record_writer import ParsedBatch
from runtime.errors import StoreError
from runtime.logs import log
from runtime.settings.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

CONNECT = "sc://"  # of Spark Connect; spark:// is a cluster's own master
LOGGER = logging.getLogger("decant.load")


def is_spread(settings: Settings, batch: LandedBatch) -> bool:
    """Whether a batch is judged on the cluster: there is one, and the batch is large enough to be worth it."""
    if settings.engine == "local":
        return False
    return sum(part.size for part in batch.parts) >= settings.engine_from_bytes


def judge_slices(
    settings: Settings, plan: CleaningPlan, parsed: ParsedBatch, folder: Path, memory: str
) -> tuple[tuple[Path, int], ...]:
    """The judged records of a parsed batch: Parquet files in `folder`, with nothing to add to their lines.

    CleaningError where the statement cannot be run, ClusterError where the cluster does not run it.
    """
    with open_exchange(settings, len(parsed.records)) as exchange:
        for number, file in enumerate(parsed.records):
            exchange.store.put(file, key_of_slice(exchange.prefix, number))
        judged = exchange.run(plan, memory)
        check(judged, exchange.slices, parsed.raw - parsed.malformed_count)
        return tuple((exchange.take(key_of_result(exchange.prefix, each.slice), folder), 0) for each in judged)


def parse_pieces(
    settings: Settings, plan: CleaningPlan, parsing: Parsing, lines: Mapping[int, Path], folder: Path, memory: str
) -> ParsedBatch:
    """A batch that tasks parse and judge, piece by piece; `lines` are the files of those that are lines of a part.

    Its errors are those of reading the batch here, and those of `judge_slices`.
    """
    with open_exchange(settings, len(parsing.pieces)) as exchange:
        for number, file in lines.items():
            exchange.store.put(file, key_of_slice(exchange.prefix, number))
        judged = exchange.run(plan, memory, parsing)
        found = [ParsedPiece.load(each.parsed or "") for each in judged]
        check(judged, exchange.slices, sum(piece.raw - piece.malformed for piece in found))
        rejected = [
            exchange.take(key_of_malformed(exchange.prefix, number), folder) if piece.malformed else None
            for number, piece in enumerate(found)
        ]
        results = [exchange.take(key_of_result(exchange.prefix, each.slice), folder) for each in judged]
        return join_pieces(parsing.pieces, found, rejected, results, parsing.needed, folder)


@dataclass(frozen=True)
class Exchange:
    """What a load and its tasks give each other, by way of the object store."""

    settings: Settings
    place: StorePlace
    store: ObjectStore
    prefix: str  # of the keys
    slices: int

    def run(self, plan: CleaningPlan, memory: str, parsing: Parsing | None = None) -> list[Judged]:
        """What the tasks say, in the order of the slices; ClusterError, or the error that a task met."""
        task = SliceTask(self.place, self.prefix, plan.statement, uuid.uuid4().hex, memory, parsing)
        started = time.perf_counter()
        judged = sorted(run_tasks(self.settings.engine, task, self.slices), key=attrgetter("slice"))
        if others := {each.duckdb for each in judged} - {duckdb.__version__}:
            raise ClusterError(
                f"The hosts of the cluster have DuckDB {', '.join(sorted(others))}, this one {duckdb.__version__}:"
                f" install the same Decant on all of them."
            )
        if failure := next((each.failure for each in judged if each.failure is not None), None):
            name, message = json.loads(failure)
            raise getattr(errors, name)(message)
        if failed := sorted({each.error for each in judged if each.error is not None}):
            raise CleaningError(f"DuckDB: {failed[0]}")
        seconds = round(time.perf_counter() - started, 2)
        spent = round(sum(each.seconds for each in judged), 2)
        facts = {"slices": self.slices, "parsed": parsing is not None, "seconds": seconds, "cpu_seconds": spent}
        log(LOGGER, "batch_judged_on_cluster", **facts)
        return judged

    def take(self, key: str, folder: Path) -> Path:
        """The file of what a task left, moved into `folder`."""
        found = self.store.find(key, folder)
        if found is None:
            raise ClusterError("What a task has judged is no longer in the object store.")
        return Path(shutil.move(found, folder / f"taken-{Path(key).name}"))


@contextmanager
def open_exchange(settings: Settings, slices: int) -> Iterator[Exchange]:
    """An exchange for so many slices, which leaves nothing in the store."""
    place = StorePlace.of(settings)
    exchange = Exchange(settings, place, place.open(), f"{SLICES}/{token_hex(8)}", slices)
    try:
        yield exchange
    finally:
        # What a lost loader leaves behind goes with the housekeeping.
        with suppress(StoreError):
            for left in list(exchange.store.list(exchange.prefix)):
                exchange.store.delete(left.key)


def run_tasks(address: str, task: SliceTask, slices: int) -> list[Judged]:
    """What the tasks say, one for each slice."""
    try:
        with SESSIONS.lend(address) as session:
            numbers = session.range(0, slices, 1, slices)
            rows = numbers.mapInArrow(task.run, COLUMNS).collect()
    except ImportError as error:
        raise ClusterError(f"{address} needs the extra `spark`: install decant-data[spark].") from error
    except Exception as error:
        # Its text may hold what the tasks worked on.
        log(LOGGER, "cluster_failed", logging.ERROR, error=type(error).__name__)
        raise ClusterError(f"The cluster {address} did not judge the batch ({type(error).__name__}).") from error
    return [Judged(**row.asDict()) for row in rows]


def check(judged: Sequence[Judged], slices: int, expected: int) -> None:
    """CleaningError where the tasks have not judged each record once."""
    found = sum(each.records for each in judged)
    if found != expected or [each.slice for each in judged] != list(range(slices)):
        raise CleaningError(f"{expected} records were parsed, but {found} were checked.")


class Sessions:
    """The sessions of this process, each as long as a load needs it: an idle one would keep its cluster's cores."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.open: dict[str, SparkSession] = {}
        self.users: Counter[str] = Counter()

    @contextmanager
    def lend(self, address: str) -> Iterator[SparkSession]:
        """The session, which loads of several threads share; the last one to leave ends it."""
        with self.lock:
            if address not in self.open:
                self.open[address] = open_session(address)
            session = self.open[address]
            self.users[address] += 1
        try:
            yield session
        finally:
            with self.lock:
                self.users[address] -= 1
                if not self.users[address]:
                    self.open.pop(address).stop()


SESSIONS = Sessions()


def open_session(address: str) -> SparkSession:
    """A session with a cluster."""
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName("decant")
    if address.startswith(CONNECT):
        return builder.remote(address).getOrCreate()
    return (
        builder.master(address)
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.pyspark.python", sys.executable)
        .getOrCreate()
    )
