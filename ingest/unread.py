"""Raw columns that no property reads: told to the owner, or refused."""

from __future__ import annotations

from catalog.dataset import Dataset
from ingest.clean import needed_columns
from ingest.errors import SourceError
from ingest.ledger import Ticket
from ingest.readers.columns import show_names
from ingest.readers.sink import JSON_COLUMN, CutBatch


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
