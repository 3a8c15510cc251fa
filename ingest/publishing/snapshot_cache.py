"""Writes the snapshot of a published batch in parallel with its publication, for the next load to compare with."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import duckdb

from catalog.model.dataset import Dataset
from ingest.cleaning.engine import CleanBatch
from ingest.cleaning.published_snapshot import is_worthwhile, store_snapshot, supports_snapshot
from ingest.publishing.candidate import Publication
from ingest.quarantine.replay_batch import takes_whole
from runtime.settings.settings import Settings

LATE_LINES_MOST = 10_000  # with more, the next load compares in Postgres


class SnapshotCache:
    """One load's file of known records: drafted beside the publication, kept when it has gone well."""

    def __init__(self, settings: Settings, dataset: Dataset, clean: CleanBatch, folder: Path) -> None:
        self.settings = settings
        self.dataset = dataset
        self.clean = clean
        self.file = folder / "known.parquet"
        self.drafted: Future[None] | None = None

    @contextmanager
    def draft(self, *, wanted: bool) -> Iterator[None]:
        """Writes the file while the publication goes on inside."""
        with ThreadPoolExecutor(1) as pool:
            if wanted and supports_snapshot(self.dataset) and is_worthwhile(self.clean.accepted):
                self.drafted = pool.submit(self.write, ())
            yield

    def write(self, late: tuple[int, ...]) -> None:
        """Writes the file, without the lines that were rejected late."""
        self.clean.tables.write_snapshot(self.file, late, snapshot=takes_whole(self.dataset))

    def store(self, publication: Publication) -> None:
        """Puts the file in its place, where what was published is what it holds."""
        if self.drafted is None or publication.outcome.status == "withheld":
            return
        if len(publication.late) > LATE_LINES_MOST:
            return
        try:
            self.drafted.result()
            if publication.late:
                self.write(publication.late)
        except duckdb.Error:
            return  # a shortcut that could not be taken; the load is published all the same
        store_snapshot(self.settings, self.dataset, publication.published_state, self.file)
