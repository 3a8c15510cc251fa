"""The raw batch of a load in the landing zone: from the input, or from there where it was brought before."""

from __future__ import annotations

from contextlib import AbstractContextManager, suppress

from catalog.model.load_request import Replay
from ingest.cleaning.plan import digest_cleaning
from ingest.inputs import open_batch
from ingest.inputs.raw_batch import InputContext, RawBatch
from ingest.landing.fetched_batch import FetchedBatch
from ingest.landing.landed_batch import LandedBatch
from ingest.landing.landing_zone import LandingZone, land, note_parts
from ingest.ledger.landed_note import LandedNote
from ingest.ledger.loads import note_landed
from ingest.ledger.running_load import RunningLoad
from ingest.quarantine.replay_batch import open_replay_batch, recall_note
from runtime.errors import StoreError


def fetch_batch(load: RunningLoad) -> FetchedBatch:
    """What the load works on; SourceError where it cannot be had."""
    ticket, zone = load.ticket, LandingZone.of(load.settings)
    cleaning_sha256 = digest_cleaning(load.dataset)
    if ticket.landed is not None:
        return FetchedBatch(zone.recall(ticket.landed.parts, load.folder), ticket.landed, cleaning_sha256)
    if note := recall_note(load.engine, load.dataset, ticket.dataset_id, ticket.request):
        landed = zone.recall(note.parts, load.folder)
        with load.engine.begin() as connection:
            note_landed(connection, ticket, note, landed.sha256)
    else:
        landed, note = land_batch(load, cleaning_sha256)
        with load.engine.begin() as connection:
            landed = zone.place(connection, landed)
            note_landed(connection, ticket, note, landed.sha256)
    delete_outdated(load, zone, landed)
    return FetchedBatch(landed, note, cleaning_sha256)


def land_batch(load: RunningLoad, cleaning_sha256: str) -> tuple[LandedBatch, LandedNote]:
    """Brings a new raw batch into the load's folder."""
    ticket, settings = load.ticket, load.settings
    with open_source(load, cleaning_sha256) as batch, load.step("land", batch.size):
        limit = settings.source_limit_bytes
        landed = land(batch, load.folder, limit, load.progress.advance)
        note = LandedNote(batch.source, note_parts(landed), batch.position(), batch.may_be_empty)
        ticket.more = batch.more
        ticket.notes.extend(batch.notes())
    return landed, note


def open_source(load: RunningLoad, cleaning_sha256: str) -> AbstractContextManager[RawBatch]:
    """What is brought: what the input holds now, or the rejected records of earlier loads."""
    if isinstance(load.ticket.request, Replay):
        return open_replay_batch(load)
    ticket = load.ticket
    context = InputContext(
        load.dataset, load.settings, load.catalog, load.engine, ticket.load_id, ticket.state, cleaning_sha256
    )
    return open_batch(context)


def delete_outdated(load: RunningLoad, zone: LandingZone, landed: LandedBatch) -> None:
    """Removes what an earlier attempt brought and nothing names any more: an erasure would not find what it holds."""
    for sha256 in {part["sha256"] for part in load.ticket.outdated} - {part.sha256 for part in landed.parts}:
        with suppress(OSError, StoreError):
            zone.remove_unneeded(load.engine, sha256)
