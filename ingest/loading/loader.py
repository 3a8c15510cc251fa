"""One load, start to end: open, land, cut, clean, stage, publish.

Each step is timed, traced and named in the ledger. Whatever stops a load, the next one finds it unfinished there and
takes it up again.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa

from catalog.model.catalog import Catalog
from catalog.model.dataset import Dataset, RawForm
from catalog.storage.dataset_tables import CatalogTables, DatasetTables, staging_name
from catalog.storage.high_water import note_heads
from ingest.cleaning.engine import clean_batch, find_native
from ingest.cleaning.plan import compile_cleaning, digest_cleaning, needed_columns
from ingest.cleaning.published_snapshot import KnownRecords, find_known, read_standing
from ingest.cleaning.unread import note_emptied, note_gone_keys, note_unread
from ingest.errors import IngestError
from ingest.inputs import open_batch
from ingest.inputs.raw_batch import InputPlace
from ingest.inputs.variables import know_values
from ingest.landing.landed_batch import LandedBatch
from ingest.landing.landing_zone import land, note_parts, recall
from ingest.landing.unpacking import UnpackLimit
from ingest.ledger.failures import explain_failure, is_outage
from ingest.ledger.lease import hold_dataset, keep_lease
from ingest.ledger.loads import LandedNote, Ticket, close_load, end_unchanged, note_landed, open_load
from ingest.loading.load_report import LoadReport, log_crash
from ingest.loading.load_request import choose_kind, poured_load, prepare_pouring, write_confirmed
from ingest.loading.progress import Progress
from ingest.loading.steps import chore, step
from ingest.loading.workspace import drop_staged, load_folder, sweep_leftovers, tell_restored
from ingest.publishing.candidate import Candidate, Outcome, Publication, RawPicker
from ingest.publishing.publish import VACUUM_SHARE, publish
from ingest.publishing.quality_checks import least_records
from ingest.publishing.refused_records import is_refusal, leave_refused
from ingest.publishing.snapshot_cache import KnownKeeper
from ingest.publishing.staging import park_indexes, stage, vacuum
from ingest.quarantine.replay_batch import is_at_rest, open_replay_batch, recall_note, takes_whole
from ingest.readers import cut_batch, pick_raw
from ingest.retention.prune import remove_unneeded
from ingest.retention.withdraw_load import withdraw_asked, withdraws
from runtime.database import translate_errors
from runtime.plain_text import plain
from runtime.private_files import make_private_folder
from runtime.settings import Settings
from runtime.telemetry import TRACER


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
            restored = tell_restored(self.settings, self.engine, dataset, requested_by)
            sweep_leftovers(self.settings, self.engine, dataset_id)
            ticket = open_load(self.engine, dataset_id, choose_kind(dataset, request), load_id, request, requested_by)
            ticket.hide = know_values(dataset, self.settings).hide
            if restored is not None:
                ticket.notes.append(restored.explain())
            outcome, failure = self.attempt(dataset, ticket, progress)
            with self.engine.connect() as connection, suppress(OSError):
                note_heads(connection, self.settings, [dataset])
        return LoadReport(
            dataset=dataset.address,
            load_id=ticket.load_id,
            outcome=outcome,
            seconds=time.perf_counter() - started,
            step_seconds=ticket.step_seconds,
            notes=tuple(map(plain, ticket.notes)),
            more=ticket.more and outcome is not None and outcome.status != "withheld",
            error_code=failure.code if failure else None,
            error=plain(str(failure)) if failure else None,
        )

    def attempt(
        self, dataset: Dataset, ticket: Ticket, progress: Progress
    ) -> tuple[Outcome | None, IngestError | None]:
        """Runs the load that the ticket is for and closes it, whatever is raised in it.

        A database that is gone cannot be told: its exception is passed on, and the load is taken up by the next one.
        """
        outcome: Outcome | None = None
        failure: IngestError | None = None
        folder = load_folder(self.settings, ticket)
        try:
            with keep_lease(self.engine, ticket.load_id, ticket.fencing_token):
                make_private_folder(self.settings.work_folder)
                folder.mkdir(mode=0o700)
                outcome = self.bring(dataset, ticket, folder, progress)
        except Exception as error:
            if is_outage(error):
                raise
            failure = explain_failure(error)
            if failure is not error:
                log_crash(dataset, ticket.load_id, error)
        except BaseException as error:  # Ctrl-C, SIGTERM
            with suppress(sa.exc.DBAPIError):
                close_load(self.engine, ticket, explain_failure(error))
            raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            drop_staged(self.engine, staging_name(ticket.load_id, ticket.fencing_token))
        return outcome, close_load(self.engine, ticket, failure)

    def bring(self, dataset: Dataset, ticket: Ticket, folder: Path, progress: Progress) -> Outcome:
        """The steps of a load, in order."""
        if withdraws(ticket.request):
            with step(self.engine, ticket, "publish", None, progress):
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
        with step(self.engine, ticket, "cut", None, progress):
            needed = needed_columns(dataset)
            batch_cut = cut_batch(landed, form, needed, folder, limit, progress.advance)
            note_unread(dataset, batch_cut, ticket)
            seen = {} if ticket.request else note_gone_keys(self.engine, dataset, batch_cut, ticket)
            progress.reject(batch_cut.malformed_count)
        brings_nothing = note.may_be_empty or (not takes_whole(dataset) and not least_records(dataset))
        if brings_nothing and not batch_cut.raw:
            return self.leave_unchanged(ticket, landed, cleaning_sha256, note)
        revision = ticket.head_revision + 1
        known = None if ticket.request else self.find_known(dataset, ticket)
        with ExitStack() as stack:
            with step(self.engine, ticket, "clean", None, progress):
                plan = compile_cleaning(dataset, batch_cut.header, find_native(dataset), is_json=batch_cut.is_json)
                # A batch that is poured again keeps the load that brought it.
                mark = {"revision": revision, "load_id": poured_load(ticket) or ticket.load_id}
                clean = stack.enter_context(clean_batch(plan, batch_cut, folder, self.settings, **mark, known=known))
                seen |= {} if ticket.request else note_emptied(self.engine, dataset, clean.tables.filled(), ticket)
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
                seen=seen,
                cleaning_sha256=cleaning_sha256,
                batch_sha256=landed.sha256,
                position=note.position,
                may_be_empty=note.may_be_empty,
                anyway="publish" in ticket.request,
                replay=prepare_pouring(ticket, landed, folder, limit),
                confirmed=write_confirmed(self.engine, ticket, clean, folder),
                expected_revision=revision,
                direct=ticket.head_records == 0 and "replay" not in ticket.request,
            )

            def find_raw(lines: Iterable[int]) -> Iterator[tuple[int, str]]:
                return pick_raw(landed, form, batch_cut.parts, limit, lines, folder)

            keeper = KnownKeeper(self.settings, dataset, clean, folder)
            with keeper.draft(wanted=not ticket.request and not clean.is_known()):
                publication = self.publish(self.tables.of(dataset), ticket, candidate, find_raw, progress)
            if outdated := publication.outcome.outdated:
                ticket.notes.append(
                    f"{outdated:,} of the duplicates are older than the current records of their keys, by orderBy"
                )
            with chore(ticket, "keeping the records for the next load"):
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
        with opening as batch, step(self.engine, ticket, "land", batch.size, progress):
            limit, drafts = self.settings.source_limit_bytes, load_folder(self.settings, ticket)
            landed = land(batch, folder, limit, progress.advance, drafts)
            note = LandedNote(batch.source, note_parts(landed), batch.position(), batch.may_be_empty)
            ticket.more = batch.more
            ticket.notes.extend(batch.notes())
        note_landed(self.engine, ticket, note, landed.sha256)
        # Nothing names them any more: an erasure would not find what they hold.
        for sha256 in {part["sha256"] for part in ticket.outdated} - {part.sha256 for part in landed.parts}:
            with suppress(OSError):
                remove_unneeded(self.engine, folder, sha256, young_seconds=0)
        return landed, note

    def publish(
        self, tables: DatasetTables, ticket: Ticket, candidate: Candidate, find_raw: RawPicker, progress: Progress
    ) -> Publication:
        """The last steps: stage where there is something to compare with, publish, tidy up."""
        try:
            publication = self.publish_staged(tables, ticket, candidate, find_raw, progress)
        except (psycopg.Error, sa.exc.DBAPIError) as error:
            if not is_refusal(error):
                raise
            with step(self.engine, ticket, "stage", None, progress):
                accepted = leave_refused(self.engine, tables, candidate)
            if accepted is None:
                raise
            publication = self.publish_staged(tables, ticket, accepted, find_raw, progress)
        outcome = publication.outcome
        changed = outcome.inserted + outcome.updated + outcome.deleted
        if outcome.status == "published" and changed > VACUUM_SHARE * outcome.record_count:
            with step(self.engine, ticket, "vacuum", None, progress), chore(ticket, "tidying the tables"):
                vacuum(self.engine, tables)
        return publication

    def publish_staged(
        self, tables: DatasetTables, ticket: Ticket, candidate: Candidate, find_raw: RawPicker, progress: Progress
    ) -> Publication:
        """Stages the records, where that is not done, and publishes them."""
        if not candidate.direct and not candidate.refused:
            with step(self.engine, ticket, "stage", None, progress):
                stage(self.engine, tables, candidate.load_id, candidate.fencing_token, candidate.accepted_file)
        with step(self.engine, ticket, "publish", None, progress):
            if candidate.direct:
                park_indexes(self.engine, tables)
            return publish(self.engine, self.tables, tables, candidate, find_raw)

    def find_known(self, dataset: Dataset, ticket: Ticket) -> KnownRecords | None:
        """The records that are current, where they are kept here and nobody published meanwhile."""
        standing = read_standing(self.engine, dataset, ticket.dataset_id)
        return find_known(self.settings, dataset, standing) if standing.revision == ticket.head_revision else None

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
