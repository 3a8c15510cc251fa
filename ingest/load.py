"""One load, start to end: open, land, cut, clean, stage, publish.

Each step is timed, traced and named in the ledger. Whatever stops a load, the next one finds it unfinished there and
takes it up again.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from catalog.contract import Catalog
from catalog.database import translate_errors
from catalog.dataset import Dataset
from catalog.models import DatasetHead, Load
from catalog.settings import Settings
from catalog.tables import STAGING_SCHEMA, CatalogTables, DatasetTables
from catalog.telemetry import TRACER, current_trace_id
from ingest.clean import compile_cleaning, digest_cleaning, needed_columns
from ingest.engine import CleanBatch, clean_batch, find_native
from ingest.errors import DatasetBusyError, IngestError, SourceError
from ingest.inputs import open_batch
from ingest.landing import LandedBatch, land, open_landed
from ingest.progress import Progress
from ingest.publish import VACUUM_SHARE, Candidate, Outcome, park_indexes, publish, stage, unstage, vacuum
from ingest.reader import CutBatch, cut, pick_raw, require_columns

LEASE_SECONDS = 600
LOCK_CLASS = 0x6465_6361  # the first half of the advisory locks that loads hold


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


@dataclass
class Ticket:
    """A load that is running: its row in the ledger, and what has been noted of it so far."""

    load_id: int
    dataset_id: int
    fencing_token: int
    head_revision: int
    head_records: int
    latest: tuple[str | None, str | None]  # batch and cleaning digests of the latest published batch
    step_seconds: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


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
        with self.engine.begin() as connection:
            connection.execute(
                sa.update(Load)
                .where(Load.id == ticket.load_id)
                .values(
                    status="unchanged",
                    batch_sha256=landed.sha256,
                    cleaning_sha256=cleaning_sha256,
                    lease_until=None,
                    finished_at=sa.func.clock_timestamp(),
                )
            )
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
        name = sa.func.concat("load_", sa.cast(Load.id, sa.Text))
        staged = sa.table("pg_tables", sa.column("tablename"), sa.column("schemaname"))
        left = (
            sa.select(Load.id)
            .join(staged, staged.c.tablename == name)
            .where(Load.dataset_id == dataset_id, staged.c.schemaname == STAGING_SCHEMA)
        )
        running = sa.select(Load.id).where(Load.dataset_id == dataset_id, Load.status == "running")
        recent = sa.select(sa.func.max(Load.id)).where(Load.dataset_id == dataset_id)
        with self.engine.connect() as connection:
            tables = list(connection.scalars(left))
            loads = [*tables, *connection.scalars(running), *connection.scalars(recent)]
        for load_id in tables:
            unstage(self.engine, self.tables.of(dataset), load_id)
        for load_id in loads:
            if load_id is not None:
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


@contextmanager
def hold_dataset(engine: sa.Engine, dataset: Dataset) -> Iterator[int]:
    """The id of the dataset's head, held against other loads as long as this process lives.

    The lock goes with its connection: a worker that was killed holds up nobody. One that only sleeps is overtaken
    when its lease has run out, and its fencing token keeps it from publishing.
    """
    with engine.connect() as connection:
        row = connection.execute(
            sa.select(DatasetHead.id).where(
                DatasetHead.product == dataset.product,
                DatasetHead.major == dataset.major,
                DatasetHead.dataset == dataset.name,
            )
        ).one_or_none()
        if row is None:
            raise IngestError(f"{dataset.address} has no table yet. Run `decant migrate`.")
        lock = sa.func.pg_try_advisory_lock(LOCK_CLASS, sa.cast(row.id, sa.Integer))
        alone = connection.execute(sa.select(lock)).scalar_one()
        lease = sa.select(sa.func.max(Load.lease_until) > sa.func.now()).where(
            Load.dataset_id == row.id, Load.status == "running"
        )
        if not alone and connection.execute(lease).scalar_one():
            raise DatasetBusyError(f"Another worker is loading {dataset.address}. Try again when it is done.")
        connection.commit()
        yield row.id


def open_load(engine: sa.Engine, dataset_id: int, kind: str) -> Ticket:
    """A ticket with a new fencing token, for a new load or for one that was left unfinished."""
    with engine.begin() as connection:
        head = connection.execute(
            sa.select(DatasetHead.__table__).where(DatasetHead.id == dataset_id).with_for_update()
        ).one()
        token = head.fencing_token + 1
        connection.execute(sa.update(DatasetHead).where(DatasetHead.id == dataset_id).values(fencing_token=token))
        facts = {
            "status": "running",
            "lease_until": sa.func.now() + sa.cast(f"{LEASE_SECONDS} seconds", sa.Interval),
            "fencing_token": token,
            "trace_id": current_trace_id(),
        }
        left = connection.execute(
            sa.select(Load.id)
            .where(Load.dataset_id == dataset_id, Load.kind == kind, Load.status == "running")
            .order_by(Load.id)
            .limit(1)
        ).scalar_one_or_none()
        if left is None:
            load_id = connection.execute(
                sa.insert(Load).values(dataset_id=dataset_id, kind=kind, **facts).returning(Load.id)
            ).scalar_one()
        else:
            load_id = left
            connection.execute(sa.update(Load).where(Load.id == left).values(attempt=Load.attempt + 1, **facts))
        latest = connection.execute(
            sa.select(Load.batch_sha256, Load.cleaning_sha256)
            .where(Load.dataset_id == dataset_id, Load.status == "published", Load.kind == kind)
            .order_by(Load.revision.desc())
            .limit(1)
        ).one_or_none()
    return Ticket(
        load_id=load_id,
        dataset_id=dataset_id,
        fencing_token=token,
        head_revision=head.revision,
        head_records=head.record_count,
        latest=(latest.batch_sha256, latest.cleaning_sha256) if latest else (None, None),
    )


def renew_lease(engine: sa.Engine, ticket: Ticket) -> None:
    """Keeps the load its own for another while."""
    with engine.begin() as connection:
        connection.execute(
            sa.update(Load)
            .where(Load.id == ticket.load_id, Load.fencing_token == ticket.fencing_token)
            .values(lease_until=sa.func.now() + sa.cast(f"{LEASE_SECONDS} seconds", sa.Interval))
        )


def close_load(engine: sa.Engine, ticket: Ticket, failure: IngestError | None) -> None:
    """Writes the last facts of a load: how long each step took, what went wrong."""
    values: dict[str, Any] = {"step_seconds": ticket.step_seconds, "notes": ticket.notes or None}
    if failure is not None:
        values |= {
            "status": "failed",
            "error_code": failure.code,
            "error": str(failure),
            "lease_until": None,
            "finished_at": sa.func.clock_timestamp(),
        }
    with engine.begin() as connection:
        connection.execute(
            sa.update(Load)
            .where(Load.id == ticket.load_id, Load.fencing_token == ticket.fencing_token)
            .values(values)
        )
