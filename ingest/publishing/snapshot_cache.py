"""Keeps a published batch's records for the next load to compare with, while Postgres is busy publishing them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import duckdb

from catalog.model.dataset import Dataset
from ingest.cleaning.engine import CleanBatch
from ingest.cleaning.published_snapshot import KEPT_FROM_RECORDS, can_know, keep_known
from ingest.publishing.candidate import Publication
from ingest.quarantine.replay_batch import takes_whole
from runtime.settings import Settings

LATE_LINES_MOST = 10_000  # with more, the next load compares in Postgres


class KnownKeeper:
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
            if wanted and can_know(self.dataset) and self.clean.accepted >= KEPT_FROM_RECORDS:
                self.drafted = pool.submit(self.write, ())
            yield

    def write(self, late: tuple[int, ...]) -> None:
        """Writes the file, without the lines that were rejected late."""
        self.clean.tables.write_known(self.file, late, snapshot=takes_whole(self.dataset))

    def keep(self, publication: Publication) -> None:
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
        keep_known(self.settings, self.dataset, publication.standing, self.file)
