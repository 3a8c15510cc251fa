"""Loads a batch, from fetching to publishing: the list of its steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from catalog.model.dataset import Dataset, comes_continuously, file_format_of
from catalog.model.load_request import FromSource, Replay
from ingest.cleaning.engine import CleanBatch, clean_batch, find_native
from ingest.cleaning.parse_landed import parse_landed
from ingest.cleaning.plan import compile_cleaning
from ingest.cleaning.published_snapshot import PublishedSnapshot, find_snapshot, read_parents, read_published_state
from ingest.cleaning.unread import Seen, note_emptied, note_gone_keys, note_unread
from ingest.landing.fetched_batch import FetchedBatch
from ingest.landing.unpacking import UnpackLimit
from ingest.ledger.loads import end_unchanged
from ingest.ledger.running_load import RunningLoad
from ingest.loading.fetch_batch import fetch_batch
from ingest.publishing.candidate import Candidate, Outcome, RawPicker
from ingest.publishing.publish import publish
from ingest.publishing.quality_checks import least_records
from ingest.quarantine.replay_batch import is_at_rest, takes_whole
from ingest.quarantine.replay_merge import plan_replay
from ingest.quarantine.superseding import write_corrected
from ingest.readers import pick_raw
from ingest.readers.record_writer import ParsedBatch


def load_batch(load: RunningLoad) -> Outcome:
    """The steps in their order."""
    batch = fetch_batch(load)
    if is_repeated(load, batch):
        return leave_unchanged(load, batch)
    parsed, seen = parse_fetched(load, batch)
    if not parsed.raw and may_be_empty(load.dataset, batch):
        return leave_unchanged(load, batch)
    with clean_parsed(load, parsed) as (clean, filled):
        return publish(load, make_candidate(load, batch, parsed, clean, seen | filled))


def is_repeated(load: RunningLoad, batch: FetchedBatch) -> bool:
    """Whether the batch is the one that was published last, cleaned alike, with nothing rejected since."""
    # Each of these records has its own outcome, even if its bytes are those of another one.
    if comes_continuously(load.dataset) or not isinstance(load.ticket.request, FromSource):
        return False
    return load.ticket.latest == batch.digests and is_at_rest(load.engine, load.ticket.dataset_id)


def may_be_empty(dataset: Dataset, batch: FetchedBatch) -> bool:
    """Whether a batch without records is a good one that changes nothing."""
    return batch.note.may_be_empty or (not takes_whole(dataset) and not least_records(dataset))


def leave_unchanged(load: RunningLoad, batch: FetchedBatch) -> Outcome:
    """The outcome of a batch that brings nothing: empty, or the bytes and cleaning of the latest publication."""
    ticket = load.ticket
    end_unchanged(load.engine, ticket, *batch.digests, batch.note.position)
    return Outcome("unchanged", ticket.head_revision, 0, 0, 0, 0, record_count=ticket.head_records)


def parse_fetched(load: RunningLoad, batch: FetchedBatch) -> tuple[ParsedBatch, Seen]:
    """The batch's records, and what batches have had so far."""
    with load.step("cut"):
        parsed = parse_landed(load.dataset, batch.landed, load.settings, load.folder, load.progress.advance)
        note_unread(load.dataset, parsed, load.ticket)
        from_source = isinstance(load.ticket.request, FromSource)
        seen = note_gone_keys(load.engine, load.dataset, parsed, load.ticket) if from_source else {}
        load.progress.reject(parsed.malformed_count)
    return parsed, seen


@contextmanager
def clean_parsed(load: RunningLoad, parsed: ParsedBatch) -> Iterator[tuple[CleanBatch, Seen]]:
    """The records that keep the contract and those that do not, and which properties have values."""
    ticket = load.ticket
    from_source = isinstance(ticket.request, FromSource)
    snapshot = find_current(load) if from_source else None
    with ExitStack() as stack:
        with load.step("clean"):
            plan = compile_cleaning(load.dataset, parsed.header, find_native(load.dataset), is_json=parsed.is_json)
            # A replayed batch keeps the load that brought it.
            replayed = ticket.request.load_id if isinstance(ticket.request, Replay) else None
            revision_and_load = (ticket.head_revision + 1, replayed or ticket.load_id)
            clean = stack.enter_context(
                clean_batch(plan, parsed, load.folder, load.settings, revision_and_load, snapshot)
            )
            filled = note_emptied(load.engine, load.dataset, clean.tables.filled(), ticket) if from_source else {}
        load.progress.reject(parsed.malformed_count + clean.rejected)
        yield clean, filled


def find_current(load: RunningLoad) -> PublishedSnapshot | None:
    """The records that are current, where they are kept here and nobody published meanwhile."""
    with load.engine.connect() as connection:
        parents = read_parents(connection, load.dataset)
        published_state = read_published_state(connection, load.ticket.dataset_id, parents)
    is_current = published_state.revision == load.ticket.head_revision
    return find_snapshot(load.settings, load.dataset, published_state) if is_current else None


def make_candidate(
    load: RunningLoad, batch: FetchedBatch, parsed: ParsedBatch, clean: CleanBatch, seen: Seen
) -> Candidate:
    """What asks to be published."""
    limit = UnpackLimit.of(load.settings)
    return Candidate(
        ticket=load.ticket,
        batch=batch,
        parsed=parsed,
        clean=clean,
        pick_raw=make_picker(load, batch, parsed),
        replay=plan_replay(load, batch.landed, limit),
        corrected=write_corrected(load, clean),
        direct=load.ticket.head_records == 0 and not isinstance(load.ticket.request, Replay),
        seen=seen,
    )


def make_picker(load: RunningLoad, batch: FetchedBatch, parsed: ParsedBatch) -> RawPicker:
    """Finds the raw text of lines of the batch."""
    file_format, limit = file_format_of(load.dataset), UnpackLimit.of(load.settings)

    def pick(lines: Iterable[int]) -> Iterator[tuple[int, str]]:
        return pick_raw(batch.landed, file_format, parsed.parts, limit, lines, load.folder)

    return pick
