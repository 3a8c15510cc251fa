"""A load that dismisses rejected records: it brings nothing, and its notes say how many it closed."""

from __future__ import annotations

from catalog.model.load_request import Dismiss
from ingest.ledger.loads import lock_head
from ingest.ledger.running_load import RunningLoad
from ingest.publishing.candidate import Outcome
from ingest.publishing.ledger_entries import end_load
from ingest.quarantine.review import dismiss_rejects


def dismiss_records(load: RunningLoad, request: Dismiss) -> Outcome:
    """How the load ended: always `unchanged`, since no record of the dataset is another one."""
    ticket = load.ticket
    outcome = Outcome("unchanged", ticket.head_revision, 0, 0, 0, 0, record_count=ticket.head_records)
    with load.step("dismiss"), load.engine.begin() as connection:
        lock_head(connection, ticket.dataset_id, ticket.fencing_token)
        by = ticket.requested_by or "loader"
        dismissed = dismiss_rejects(connection, load.dataset, ticket.dataset_id, request, by, ticket.load_id)
        closed = len(request.choice.ids) - dismissed if request.choice.ids is not None else 0
        also = f"; {closed:,} were no longer open" if closed else ""
        ticket.notes.append(f"dismissed: {dismissed:,} rejected records{also}")
        end_load(connection, ticket, outcome, notes=ticket.notes)
    return outcome
