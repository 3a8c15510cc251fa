"""Judges a batch on a Spark cluster: Spark hands out slices and tries them again, each task runs DuckDB's statement.

The statement is not translated: it runs as it is, on the hosts of the cluster, in the version that runs here. So
rows, reasons and counts are those of the local engine, whatever the cluster does.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

import duckdb

from catalog.storage.object_store import SLICES
from catalog.storage.store_place import StorePlace
from ingest.cleaning.engines.slices import COLUMNS, SLICE_MARK, Judged, SliceTask, key_of_result, key_of_slice
from ingest.cleaning.plan import CleaningPlan
from ingest.errors import CleaningError, ClusterError
from ingest.landing.landed_batch import LandedBatch
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


@contextmanager
def spread(
    settings: Settings, plan: CleaningPlan, parsed: ParsedBatch, folder: Path, memory: str
) -> Iterator[list[Path]]:
    """The judged records of the batch, in Parquet files that last as long as the context.

    CleaningError where the statement cannot be run, ClusterError where the cluster does not run it.
    """
    place, prefix = StorePlace.of(settings), f"{SLICES}/{token_hex(8)}"
    store = place.open()
    numbers = range(len(parsed.records))
    started = time.perf_counter()
    try:
        for number, file in enumerate(parsed.records):
            store.put(file, key_of_slice(prefix, number))
        statement = plan.read_from([SLICE_MARK], null_mark=uuid.uuid4().hex)
        judged = run_tasks(settings.engine, SliceTask(place, prefix, statement, memory), len(numbers))
        check(judged, parsed)
        seconds = round(time.perf_counter() - started, 2)
        spent = round(sum(each.seconds for each in judged), 2)
        facts = {"slices": len(numbers), "records": parsed.raw, "seconds": seconds, "cpu_seconds": spent}
        log(LOGGER, "batch_judged_on_cluster", **facts)
        found = [store.find(key_of_result(prefix, number), folder) for number in numbers]
        yield [file for file in found if file is not None]
    finally:
        # What a lost loader leaves behind goes with the housekeeping.
        with suppress(StoreError):
            for number in numbers:
                store.delete(key_of_slice(prefix, number))
                store.delete(key_of_result(prefix, number))


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


def check(judged: Sequence[Judged], parsed: ParsedBatch) -> None:
    """CleaningError or ClusterError where the tasks have not judged each record once, by the DuckDB of this host."""
    if others := {each.duckdb for each in judged} - {duckdb.__version__}:
        raise ClusterError(
            f"The hosts of the cluster have DuckDB {', '.join(sorted(others))}, this one {duckdb.__version__}:"
            f" install the same Decant on all of them."
        )
    if errors := sorted({each.error for each in judged if each.error is not None}):
        raise CleaningError(f"DuckDB: {errors[0]}")
    expected, found = parsed.raw - parsed.malformed_count, sum(each.records for each in judged)
    if found != expected or len(judged) != len(parsed.records):
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
