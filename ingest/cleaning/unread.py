"""Schema drift at the source: reports or refuses raw columns that no property reads; reports missing ones.

Missing ones are those that published batches had and this one lacks. They fail no load by themselves: a source may
have good reasons to lack something, and only its owner knows them.
"""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from catalog.model.dataset import Dataset
from catalog.storage.ledger_tables import Load
from ingest.cleaning.plan import needed_columns
from ingest.errors import SourceError
from ingest.ledger.loads import Ticket
from ingest.readers.columns import show_names
from ingest.readers.record_writer import JSON_COLUMN, KNOWN_KEYS_LIMIT, ParsedBatch

Seen = dict[str, tuple[str, ...]]  # what a batch had, as the ledger keeps it with the batch's first part
UNREAD_NOTE = "columns that no property reads"
GONE_NOTE = "keys of earlier batches that no record of this batch has"
KEYS = "keys"
FILLED = "filled"
MOST = 0.5  # of the good records of a batch


def note_unread(dataset: Dataset, parsed: ParsedBatch, ticket: Ticket) -> None:
    """Notes, once per load, the raw columns that no property reads; SourceError where the contract forbids them."""
    ticket.notes.extend(parsed.notes)
    needed = needed_columns(dataset)
    if parsed.is_json and JSON_COLUMN in needed:
        return  # an expression over the whole record may read anything
    # Before names are shortened to what is shown of them: sources may repeat what they were sent.
    unread = [ticket.hide(name) for name in parsed.header if name not in needed]
    if not unread:
        return
    if dataset.reject_unknown_columns:
        raise SourceError(f"The source has columns that the contract does not read: {show_names(unread)}.")
    ticket.notes.append(f"{UNREAD_NOTE}: {show_names(unread)}")


def note_gone_keys(engine: sa.Engine, dataset: Dataset, parsed: ParsedBatch, ticket: Ticket) -> Seen:
    """The keys of JSON records that the contract reads and batches have had so far; notes those that are gone.

    A source that renames a key leaves null everywhere, which a header would not let pass. Optional keys may be
    missing from a small batch for good reasons, so this alone fails no load; of pushed records it says nothing.
    """
    if not parsed.is_json or dataset.input is None or not dataset.input.fed.sampled:
        return {}
    read = [name for name in needed_columns(dataset) if name != JSON_COLUMN]
    seen, known = set(parsed.header), find_snapshot(engine, ticket, KEYS)
    gone = [name for name in read if name in known and name not in seen]
    if gone and parsed.raw > parsed.malformed_count and len(seen) < KNOWN_KEYS_LIMIT:
        ticket.notes.append(f"{GONE_NOTE}: {show_names(gone)}")
    return {KEYS: tuple(name for name in read if name in seen | known)}


def note_emptied(engine: sa.Engine, dataset: Dataset, filled: Mapping[str, float], ticket: Ticket) -> Seen:
    """The properties that most records have a value of; notes those that had, and have none in a whole snapshot.

    That shows what no header and no key does: a name that moved within a nested value, a column that is there and
    empty, a join that finds nothing. What few records have, and a batch that is not all of the dataset, may lack
    values for good reasons.
    """
    if dataset.input is None or dataset.input.mode != "snapshot" or not filled:
        return {}
    known = find_snapshot(engine, ticket, FILLED)
    empty = [name for name in dataset.properties if name in known and not filled[name]]
    if empty:
        ticket.notes.append(f"properties without any value, though most records had one earlier: {show_names(empty)}")
    return {FILLED: tuple(name for name, share in filled.items() if share > MOST or name in empty)}


def find_snapshot(engine: sa.Engine, ticket: Ticket, kind: str) -> set[str]:
    """What the batch that was published last knew of this kind."""
    statement = (
        sa.select(Load.parts[0][kind])
        .where(Load.dataset_id == ticket.dataset_id, Load.id < ticket.load_id, Load.status == "published")
        .where(Load.parts[0].has_key(kind))
        .order_by(Load.revision.desc())
        .limit(1)
    )
    with engine.connect() as connection:
        return set(connection.execute(statement).scalar_one_or_none() or ())
