"""One load, start to end: open, land, cut, clean, stage, publish.

Each step is timed, traced and named in the ledger. Whatever stops a load, the next one finds it unfinished there and
takes it up again.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from catalog.contract import Catalog
from catalog.database import translate_errors
from catalog.dataset import Dataset, RawForm
from catalog.high_water import RestoredDatabase, check_restored, note_heads
from catalog.logs import log
from catalog.private_files import make_private_folder
from catalog.settings import Settings
from catalog.tables import CatalogTables, DatasetTables
from catalog.telemetry import TRACER
from ingest.clean import compile_cleaning, digest_cleaning, needed_columns
from ingest.engine import CleanBatch, clean_batch, find_native
from ingest.errors import IngestError, SourceError
from ingest.inputs import open_batch
from ingest.inputs.batch import InputPlace
from ingest.keeper import KnownKeeper
from ingest.known import KnownRecords, find_known, read_standing
from ingest.landing import LandedBatch, land, note_parts, recall
from ingest.lease import hold_dataset, keep_lease
from ingest.ledger import (
    LandedNote,
    Ticket,
    close_load,
    end_unchanged,
    find_leftovers,
    note_landed,
    open_load,
    renew_lease,
)
from ingest.pouring import Pouring, list_open_keys, write_origins
from ingest.progress import Progress
from ingest.publish import VACUUM_SHARE, Candidate, Outcome, Publication, RawPicker, publish
from ingest.readers import cut_batch, pick_raw
from ingest.readers.columns import show_names
from ingest.readers.sink import JSON_COLUMN, CutBatch
from ingest.replay import is_at_rest, open_replay_batch, recall_note
from ingest.staging import park_indexes, stage, unstage, vacuum
from ingest.unpacking import UnpackLimit
from ingest.withdrawal import withdraw_asked, withdraws

LOG = logging.getLogger("decant.loads")


@dataclass(frozen=True)
class LoadReport:
    """How one load went, for whoever asked for it."""

    dataset: str
    load_id: int
    outcome: Outcome | None
    seconds: float
    step_seconds: dict[str, float]
    notes: tuple[str, ...] = ()
    more: bool = False  # whether the input holds another batch behind this one
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

    def run(
        self,
        dataset: Dataset,
        progress: Progress | None = None,
        *,
        load_id: int | None = None,
        request: dict[str, Any] | None = None,
        requested_by: str | None = None,
    ) -> LoadReport:
        """Loads what the dataset's input holds now, or does what `request` says; what fails is in the report.

        `load_id` names a load that the ledger knows already. DatasetBusyError where another worker is at it.
        """
        progress = progress or Progress()
        started = time.perf_counter()
        with (
            TRACER.start_as_current_span("load", attributes={"decant.dataset": dataset.address}),
            translate_errors(),
            hold_dataset(self.engine, dataset) as dataset_id,
        ):
            restored = self.check_restored(dataset, requested_by)
            self.sweep(dataset, dataset_id)
            ticket = open_load(self.engine, dataset_id, choose_kind(dataset, request), load_id, request, requested_by)
            if restored is not None:
                ticket.notes.append(restored.explain())
            folder = self.load_folder(ticket.load_id)
            make_private_folder(self.settings.work_folder)
            folder.mkdir(mode=0o700)
            outcome = None
            failure: IngestError | None = None
            try:
                with keep_lease(self.engine, ticket.load_id, ticket.fencing_token):
                    outcome = self.bring(dataset, ticket, folder, progress)
            except IngestError as error:
                failure = error
            finally:
                shutil.rmtree(folder, ignore_errors=True)
                unstage(self.engine, self.tables.of(dataset), ticket.load_id)
            close_load(self.engine, ticket, failure)
            with self.engine.connect() as connection:
                note_heads(connection, self.settings, [dataset])
        return LoadReport(
            dataset=dataset.address,
            load_id=ticket.load_id,
            outcome=outcome,
            seconds=time.perf_counter() - started,
            step_seconds=ticket.step_seconds,
            notes=tuple(ticket.notes),
            more=ticket.more and outcome is not None and outcome.status != "withheld",
            error_code=failure.code if failure else None,
            error=str(failure) if failure else None,
        )

    def check_restored(self, dataset: Dataset, by: str | None) -> RestoredDatabase | None:
        """What is found where the database lacks a publication of the dataset that this host has seen."""
        with self.engine.begin() as connection:
            restored = check_restored(connection, self.settings, [dataset], by or "loader")
        if restored is not None:
            log(LOG, "database_restored", logging.WARNING, epoch=restored.epoch, reason=restored.reason)
        return restored

    def bring(self, dataset: Dataset, ticket: Ticket, folder: Path, progress: Progress) -> Outcome:
        """The steps of a load, in order."""
        if withdraws(ticket.request):
            with self.step(ticket, "publish", None, progress):
                tables = self.tables.of(dataset)
                return withdraw_asked(self.settings, self.engine, self.tables, tables, ticket, folder)
        cleaning_sha256 = digest_cleaning(dataset)
        landed, note = self.fetch(dataset, ticket, progress, cleaning_sha256)
        # Each pushed record is told its own outcome, be its bytes those of another one.
        pushed = dataset.input is not None and dataset.input.kind == "events"
        known_batch = not ticket.request and not pushed and ticket.latest == (landed.sha256, cleaning_sha256)
        if known_batch and is_at_rest(self.engine, ticket.dataset_id):
            return self.leave_unchanged(ticket, landed, cleaning_sha256, note)
        form = dataset.input.form if dataset.input else RawForm()
        limit = UnpackLimit.of(self.settings)
        with self.step(ticket, "cut", None, progress):
            needed = needed_columns(dataset)
            batch_cut = cut_batch(landed, form, needed, folder, limit, progress.advance)
            note_unread(dataset, batch_cut, ticket)
            progress.reject(batch_cut.malformed_count)
        if note.may_be_empty and not batch_cut.raw:
            return self.leave_unchanged(ticket, landed, cleaning_sha256, note)
        revision = ticket.head_revision + 1
        known = None if ticket.request else self.find_known(dataset, ticket)
        with ExitStack() as stack:
            with self.step(ticket, "clean", None, progress):
                plan = compile_cleaning(dataset, batch_cut.header, find_native(dataset), is_json=batch_cut.is_json)
                # A batch that is poured again keeps the load that brought it.
                mark = {"revision": revision, "load_id": poured_load(ticket) or ticket.load_id}
                clean = stack.enter_context(clean_batch(plan, batch_cut, folder, self.settings, **mark, known=known))
            progress.reject(batch_cut.malformed_count + clean.rejected)
            candidate = Candidate(
                dataset_id=ticket.dataset_id,
                load_id=ticket.load_id,
                fencing_token=ticket.fencing_token,
                accepted_file=clean.accepted_file,
                reject_files=(batch_cut.malformed, clean.rejected_file),
                missing_file=clean.missing_file,
                raw=batch_cut.raw,
                duplicates=clean.duplicates,
                parts=batch_cut.parts,
                cleaning_sha256=cleaning_sha256,
                batch_sha256=landed.sha256,
                position=note.position,
                may_be_empty=note.may_be_empty,
                anyway="publish" in ticket.request,
                replay=self.prepare_replay(ticket, landed, folder),
                confirmed=self.find_confirmed(ticket, clean, folder),
                expected_revision=revision,
                direct=ticket.head_records == 0 and "replay" not in ticket.request,
            )

            def find_raw(lines: Iterable[int]) -> Iterator[tuple[int, str]]:
                return pick_raw(landed, form, batch_cut.parts, limit, lines, folder)

            keeper = KnownKeeper(self.settings, dataset, clean, folder)
            with keeper.draft(wanted=not ticket.request and not clean.is_known()):
                publication = self.publish(self.tables.of(dataset), ticket, candidate, find_raw, progress)
            keeper.keep(publication)
        return publication.outcome

    def fetch(
        self, dataset: Dataset, ticket: Ticket, progress: Progress, cleaning_sha256: str
    ) -> tuple[LandedBatch, LandedNote]:
        """The raw batch in the landing zone: from the input, or from there where it was brought before."""
        folder = self.settings.landing_folder
        if ticket.landed is not None:
            return recall(folder, ticket.landed.parts), ticket.landed
        if note := recall_note(self.engine, dataset, ticket.dataset_id, ticket.request):
            landed = recall(folder, note.parts)
            note_landed(self.engine, ticket, note, landed.sha256)
            return landed, note
        place = InputPlace(
            dataset,
            self.settings,
            self.tables,
            self.engine,
            ticket.load_id,
            ticket.state,
            ticket.request,
            cleaning_sha256,
        )
        opening = open_replay_batch(place) if "replay" in ticket.request else open_batch(place)
        with opening as batch, self.step(ticket, "land", batch.size, progress):
            limit, drafts = self.settings.source_limit_bytes, self.load_folder(ticket.load_id)
            landed = land(batch, folder, limit, progress.advance, drafts)
            note = LandedNote(batch.source, note_parts(landed), batch.position(), batch.may_be_empty)
            ticket.more = batch.more
            ticket.notes.extend(batch.notes())
        note_landed(self.engine, ticket, note, landed.sha256)
        return landed, note

    def publish(
        self, tables: DatasetTables, ticket: Ticket, candidate: Candidate, find_raw: RawPicker, progress: Progress
    ) -> Publication:
        """The last steps: stage where there is something to compare with, publish, tidy up."""
        if not candidate.direct:
            with self.step(ticket, "stage", None, progress):
                stage(self.engine, tables, candidate.load_id, candidate.accepted_file)
        with self.step(ticket, "publish", None, progress):
            if candidate.direct:
                park_indexes(self.engine, tables)
            publication = publish(self.engine, self.tables, tables, candidate, find_raw)
        outcome = publication.outcome
        changed = outcome.inserted + outcome.updated + outcome.deleted
        if outcome.status == "published" and changed > VACUUM_SHARE * outcome.record_count:
            with self.step(ticket, "vacuum", None, progress):
                vacuum(self.engine, tables)
        return publication

    def find_known(self, dataset: Dataset, ticket: Ticket) -> KnownRecords | None:
        """The records that are current, where they are kept here and nobody published meanwhile."""
        standing = read_standing(self.engine, dataset, ticket.dataset_id)
        return find_known(self.settings, dataset, standing) if standing.revision == ticket.head_revision else None

    def prepare_replay(self, ticket: Ticket, landed: LandedBatch, folder: Path) -> Pouring | None:
        """What is poured again, where the load is a replay."""
        if "replay" not in ticket.request:
            return None
        if (load_id := poured_load(ticket)) is not None:
            return Pouring(load_id, None)
        write_origins(landed, folder / "origins.csv", UnpackLimit.of(self.settings))
        return Pouring(None, folder / "origins.csv")

    def find_confirmed(self, ticket: Ticket, clean: CleanBatch, folder: Path) -> Path | None:
        """The file of the good records whose keys lie in quarantine; None where none do."""
        if "replay" in ticket.request:
            return None
        with self.engine.connect() as connection:
            if not list_open_keys(connection, ticket.dataset_id, ticket.load_id, folder / "open.csv"):
                return None
        clean.tables.write_confirmed(folder / "confirmed.csv", folder / "open.csv")
        return folder / "confirmed.csv"

    def leave_unchanged(self, ticket: Ticket, landed: LandedBatch, cleaning_sha256: str, note: LandedNote) -> Outcome:
        """The outcome of a batch that brings nothing: empty, or the bytes and cleaning of the latest publication."""
        end_unchanged(self.engine, ticket, landed.sha256, cleaning_sha256, note.position)
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


def poured_load(ticket: Ticket) -> int | None:
    """The load whose whole batch is poured again."""
    load_id: int | None = ticket.request.get("replay", {}).get("load")
    return load_id


def reads_query(dataset: Dataset) -> bool:
    """Whether the dataset is derived from others."""
    return dataset.input is not None and dataset.input.kind == "query"


def choose_kind(dataset: Dataset, request: dict[str, Any] | None) -> str:
    """What the ledger calls a load: `replay` where one was asked for, else by the input."""
    if request and "replay" in request:
        return "replay"
    if request and withdraws(request):
        return "prune"
    return "refresh" if reads_query(dataset) else "ingest"


def note_unread(dataset: Dataset, cut: CutBatch, ticket: Ticket) -> None:
    """Notes, once per load, the raw columns that no property reads; SourceError where the contract forbids them."""
    ticket.notes.extend(cut.notes)
    needed = needed_columns(dataset)
    if cut.is_json and JSON_COLUMN in needed:
        return  # an expression over the whole record may read anything
    unread = [name for name in cut.header if name not in needed]
    if not unread:
        return
    if dataset.reject_unknown_columns:
        raise SourceError(f"The source has columns that the contract does not read: {show_names(unread)}.")
    ticket.notes.append(f"columns that no property reads: {show_names(unread)}")
