"""Raw columns that no property reads, told to the owner or refused; keys of JSON records that are gone, told."""

from __future__ import annotations

import sqlalchemy as sa

from catalog.dataset import Dataset
from catalog.models import Load
from ingest.clean import needed_columns
from ingest.errors import SourceError
from ingest.ledger import Ticket
from ingest.readers.columns import show_names
from ingest.readers.sink import JSON_COLUMN, KNOWN_KEYS_LIMIT, CutBatch

PULLED = ("file", "bucket", "http")  # where JSON records come in batches that are comparable with one another


def note_unread(dataset: Dataset, cut: CutBatch, ticket: Ticket) -> None:
    """Notes, once per load, the raw columns that no property reads; SourceError where the contract forbids them."""
    ticket.notes.extend(cut.notes)
    needed = needed_columns(dataset)
    if cut.is_json and JSON_COLUMN in needed:
        return  # an expression over the whole record may read anything
    # Before names are cut to what is shown of them: sources may repeat what they were sent.
    unread = [ticket.hide(name) for name in cut.header if name not in needed]
    if not unread:
        return
    if dataset.reject_unknown_columns:
        raise SourceError(f"The source has columns that the contract does not read: {show_names(unread)}.")
    ticket.notes.append(f"columns that no property reads: {show_names(unread)}")


def note_gone_keys(engine: sa.Engine, dataset: Dataset, cut: CutBatch, ticket: Ticket) -> tuple[str, ...]:
    """The keys of JSON records that the contract reads and batches have had so far; notes those that are gone.

    A source that renames a key leaves null everywhere, which a header would not let pass. Optional keys may be
    missing from a small batch for good reasons, so this alone fails no load; of pushed records it says nothing.
    """
    if not cut.is_json or dataset.input is None or dataset.input.kind not in PULLED:
        return ()
    earlier = sa.select(Load.parts[0]["keys"]).where(
        Load.dataset_id == ticket.dataset_id, Load.id < ticket.load_id, Load.status == "published"
    )
    with engine.connect() as connection:
        latest = connection.execute(
            earlier.where(Load.parts[0].has_key("keys")).order_by(Load.revision.desc()).limit(1)
        ).scalar_one_or_none()
    read = [name for name in needed_columns(dataset) if name != JSON_COLUMN]
    seen, known = set(cut.header), set(latest or ())
    gone = [name for name in read if name in known and name not in seen]
    if gone and cut.raw > cut.malformed_count and len(seen) < KNOWN_KEYS_LIMIT:
        ticket.notes.append(f"keys that no record of this batch has, and earlier ones had: {show_names(gone)}")
    return tuple(name for name in read if name in seen | known)
