"""One load, start to end: open, land, cut, clean, stage, publish.

Each step is timed, traced and named in the ledger. Whatever stops a load, the next one finds it unfinished there and
takes it up again.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import sqlalchemy as sa

from catalog.contract import Catalog
from catalog.database import translate_errors
from catalog.dataset import Dataset
from catalog.settings import Settings
from catalog.tables import CatalogTables, DatasetTables
from catalog.telemetry import TRACER
from ingest.clean import compile_cleaning, digest_cleaning, needed_columns
from ingest.engine import CleanBatch, clean_batch, find_native
from ingest.errors import IngestError, SourceError
from ingest.inputs import open_batch
from ingest.landing import LandedBatch, land, open_landed
from ingest.ledger import Ticket, close_load, end_unchanged, find_leftovers, hold_dataset, open_load, renew_lease
from ingest.progress import Progress
from ingest.publish import VACUUM_SHARE, Candidate, Outcome, park_indexes, publish, stage, unstage, vacuum
from ingest.reader import CutBatch, cut, pick_raw, require_columns


@dataclass(frozen=True)
class LoadReport:
    """How one load went, for whoever asked for it."""

    dataset: str
    load_id: int
    outcome: Outcome | None
    seconds: float
    step_seconds: dict[str, float]
    notes: tuple[str, ...] = ()
    error_code: str | None = None
    error: str | None = None

    @property
    def status(self) -> str:
        """published, unchanged, withheld or failed."""
        return self.outcome.status if self.outcome else "failed"


class Loader:
    """Brings raw batches into datasets."""

    def __init__(self, settings: Settings, catalog: Catalog, tables: CatalogTables, engine: sa.Engine) -> None:
        self.settings = settings
        self.catalog = catalog
        self.tables = tables
        self.engine = engine

    def run(self, dataset: Dataset, progress: Progress | None = None) -> LoadReport:
        """Loads what the dataset's input holds now; what fails is in the report and in the ledger.

        DatasetBusyError where another worker is at it.
        """
        progress = progress or Progress()
        started = time.perf_counter()
        with (
            TRACER.start_as_current_span("load", attributes={"decant.dataset": dataset.address}),
            translate_errors(),
            hold_dataset(self.engine, dataset) as dataset_id,
        ):
            self.sweep(dataset, dataset_id)
            ticket = open_load(self.engine, dataset_id, "refresh" if reads_query(dataset) else "ingest")
            folder = self.load_folder(ticket.load_id)
            folder.mkdir(parents=True)
            outcome = None
            failure: IngestError | None = None
            try:
                outcome = self.bring(dataset, ticket, folder, progress)
            except IngestError as error:
                failure = error
            finally:
                shutil.rmtree(folder, ignore_errors=True)
                unstage(self.engine, self.tables.of(dataset), ticket.load_id)
            close_load(self.engine, ticket, failure)
        return LoadReport(
            dataset=dataset.address,
            load_id=ticket.load_id,
            outcome=outcome,
            seconds=time.perf_counter() - started,
            step_seconds=ticket.step_seconds,
            notes=tuple(ticket.notes),
            error_code=failure.code if failure else None,
            error=str(failure) if failure else None,
        )

    def bring(self, dataset: Dataset, ticket: Ticket, folder: Path, progress: Progress) -> Outcome:
        """The steps of a load, in order."""
        cleaning_sha256 = digest_cleaning(dataset)
        with open_batch(dataset, self.tables, self.engine) as batch:
            with self.step(ticket, "land", batch.size, progress):
                landed = land(batch, self.settings.landing_folder, self.settings.source_limit_bytes, progress.advance)
            source, position = batch.source, batch.position
        if ticket.latest == (landed.sha256, cleaning_sha256):
            return self.leave_unchanged(ticket, landed, cleaning_sha256)
        with self.step(ticket, "cut", None, progress):
            batch_cut = self.cut(dataset, landed, folder, progress)
            note_unread(dataset, batch_cut.header, ticket)
        with self.step(ticket, "clean", None, progress):
            plan = compile_cleaning(dataset, batch_cut.header, find_native(dataset))
            revision = ticket.head_revision + 1
            clean = clean_batch(plan, batch_cut, folder, self.settings, revision=revision, load_id=ticket.load_id)
        tables = self.tables.of(dataset)
        candidate = Candidate(
            dataset_id=ticket.dataset_id,
            load_id=ticket.load_id,
            fencing_token=ticket.fencing_token,
            accepted_file=clean.accepted_file,
            reject_files=(batch_cut.malformed, clean.rejected_file),
            raw=batch_cut.raw,
            duplicates=clean.duplicates,
            source=source,
            cleaning_sha256=cleaning_sha256,
            batch_sha256=landed.sha256,
            position=position,
            expected_revision=revision,
            direct=ticket.head_records == 0,
        )
        return self.publish(dataset, tables, ticket, landed, candidate, clean, progress)

    def publish(
        self,
        dataset: Dataset,
        tables: DatasetTables,
        ticket: Ticket,
        landed: LandedBatch,
        candidate: Candidate,
        clean: CleanBatch,
        progress: Progress,
    ) -> Outcome:
        """The last steps: stage where there is something to compare with, publish, tidy up."""
        if not candidate.direct:
            with self.step(ticket, "stage", None, progress):
                stage(self.engine, tables, candidate)
        with self.step(ticket, "publish", None, progress):
            if candidate.direct:
                park_indexes(self.engine, tables)
            outcome = publish(
                self.engine,
                self.tables,
                tables,
                candidate,
                lambda lines: self.pick_raw(dataset, landed, lines),
            )
        changed = outcome.inserted + outcome.updated + outcome.deleted
        if outcome.status == "published" and changed > VACUUM_SHARE * outcome.record_count:
            with self.step(ticket, "vacuum", None, progress):
                vacuum(self.engine, tables)
        return outcome

    def cut(self, dataset: Dataset, landed: LandedBatch, folder: Path, progress: Progress) -> CutBatch:
        """The landed batch cut into raw records; MissingColumnsError before anything is written."""
        delimiter, encoding = text_form(dataset)
        with open_landed(landed, self.settings.source_limit_bytes) as stream:
            batch = cut(stream, delimiter, encoding, folder, progress.advance)
        if batch.header:
            require_columns(batch.header, needed_columns(dataset))
        else:
            # Nothing at all: no header either. The gates will say that the batch is empty.
            batch = replace(batch, header=tuple(needed_columns(dataset)))
        return batch

    def pick_raw(self, dataset: Dataset, landed: LandedBatch, lines: Iterable[int]) -> Iterator[tuple[int, str]]:
        """(line, raw text) of rejected records, from the landing zone."""
        delimiter, encoding = text_form(dataset)
        with open_landed(landed, self.settings.source_limit_bytes) as stream:
            yield from pick_raw(stream, delimiter, encoding, lines)

    def leave_unchanged(self, ticket: Ticket, landed: LandedBatch, cleaning_sha256: str) -> Outcome:
        """The outcome of a batch whose bytes and cleaning are those of the latest publication."""
        end_unchanged(self.engine, ticket, landed.sha256, cleaning_sha256)
        return Outcome(
            status="unchanged",
            revision=ticket.head_revision,
            raw=0,
            accepted=0,
            rejected=0,
            duplicates=0,
            record_count=ticket.head_records,
        )

    def load_folder(self, load_id: int) -> Path:
        """Where a load keeps its files while it runs."""
        return (self.settings.work_folder / f"load-{load_id}").resolve()

    def sweep(self, dataset: Dataset, dataset_id: int) -> None:
        """Removes what killed loads of this dataset left behind: nobody else is loading it now."""
        staged, loads = find_leftovers(self.engine, dataset_id)
        for load_id in staged:
            unstage(self.engine, self.tables.of(dataset), load_id)
        for load_id in loads:
            shutil.rmtree(self.load_folder(load_id), ignore_errors=True)

    @contextmanager
    def step(self, ticket: Ticket, name: str, total: int | None, progress: Progress) -> Iterator[None]:
        """Times and traces one step, and renews the lease before it."""
        renew_lease(self.engine, ticket)
        progress.start(name, total)
        started = time.perf_counter()
        try:
            with TRACER.start_as_current_span(f"load {name}", attributes={"decant.load_id": ticket.load_id}):
                yield
        finally:
            ticket.step_seconds[name] = round(time.perf_counter() - started, 4)
            progress.done()


def reads_query(dataset: Dataset) -> bool:
    """Whether the dataset is derived from others."""
    return dataset.input is not None and dataset.input.kind == "query"


def text_form(dataset: Dataset) -> tuple[str, str]:
    """Delimiter and encoding of the dataset's raw batches."""
    if dataset.input is None or reads_query(dataset):
        return ",", "utf-8"
    return dataset.input.delimiter, dataset.input.encoding


def note_unread(dataset: Dataset, header: tuple[str, ...], ticket: Ticket) -> None:
    """Notes, once per load, the raw columns that no property reads; SourceError where the contract forbids them."""
    unread = [name for name in header if name not in needed_columns(dataset)]
    if not unread:
        return
    if dataset.reject_unknown_columns:
        raise SourceError(f"The source has columns that the contract does not read: {', '.join(unread)}.")
    ticket.notes.append(f"columns that no property reads: {', '.join(unread)}")
