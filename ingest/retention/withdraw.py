"""Taking records out of a dataset for good: a publication of its own, whose history goes at once.

What was before it can no longer be read: who follows the changes begins anew, and so lets go of the records too.
"""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from catalog.model.load_request import Erase, Prune, Withdrawal
from catalog.model.record_key import hash_key
from catalog.storage.ledger_tables import DatasetHead
from catalog.storage.newest import note_newest
from ingest.errors import IngestError, LoadSupersededError
from ingest.ledger.audit import record_audit
from ingest.ledger.running_load import RunningLoad
from ingest.publishing.candidate import Outcome
from ingest.publishing.ledger_entries import announce_revision, end_load, move_head
from ingest.retention.erase import Erasure, derived_from
from ingest.retention.prune import delete_history, delete_past_profiles, is_old


def withdraw(load: RunningLoad) -> Outcome:
    """How the load ended that takes out what its request says."""
    with load.step("publish"):
        match load.ticket.request:
            case Prune(element, before) as request:
                old = is_old(load.tables, element, before)
                outcome = withdraw_records(load, old, lambda connection: 0, request)
            case Erase(tuple(key)):
                outcome = erase(load, list(key))
            case _:
                raise IngestError("This erasure has ended before; its key is no longer stored.")
        if outcome.status == "published":
            delete_history(load.engine, load.tables, outcome.revision)
            delete_past_profiles(load.engine, load.ticket.dataset_id, outcome.revision)
    return outcome


def erase(load: RunningLoad, key: list[str]) -> Outcome:
    """How a load ended that takes out one key; its notes say from where, and what it cannot reach."""
    erasure = Erasure(load, key)
    erasure.redact_batches()
    counts: list[int] = []

    def erase_rows(connection: sa.Connection) -> int:
        newest = erasure.newest_history(connection)
        counts.extend(erasure.erase_rows(connection))
        return newest

    done = Erase(None, hash_key(load.dataset, key))
    outcome = withdraw_records(load, erasure.match(load.tables.current), erase_rows, done)
    erasure.delete_copies()
    history, rejected = counts
    notes = load.ticket.notes
    notes.append(
        f"erased: {outcome.deleted} current, {history} in history, {rejected} in quarantine,"
        f" {erasure.batches} raw batches rewritten"
    )
    notes += erasure.notes
    if load.dataset.input is not None and load.dataset.input.reads:
        reads = ", ".join(load.dataset.input.reads)
        notes.append(f"the dataset is derived: its next load can bring the key back from {reads}")
    if derived := derived_from(load.catalog, load.dataset):
        notes.append(
            f"datasets derived from this one can contain copies until they are refreshed: {', '.join(derived)}"
        )
    notes.append("not covered: the sources, backups of the database, earlier exports")
    return outcome


def withdraw_records(
    load: RunningLoad,
    condition: sa.ColumnElement[bool],
    also: Callable[[sa.Connection], int],
    done: Withdrawal,
) -> Outcome:
    """Takes the records out of current, and `also` what belongs to them, in one transaction.

    `also` gives the oldest revision that may still be read after it; `done` is what the ledger keeps of the request.
    """
    ticket, tables = load.ticket, load.tables
    with load.engine.begin() as connection:
        head = connection.execute(
            sa.select(DatasetHead.__table__).where(DatasetHead.id == ticket.dataset_id).with_for_update()
        ).one()
        if head.fencing_token != ticket.fencing_token:
            raise LoadSupersededError()
        oldest = max(head.oldest_revision, also(connection))
        gone = connection.execute(
            sa.delete(tables.current).where(condition), execution_options={"preserve_rowcount": True}
        ).rowcount
        revision = head.revision + 1 if gone else head.revision
        status, left = "published" if gone else "unchanged", head.record_count - gone
        outcome = Outcome(status, revision, 0, 0, 0, 0, deleted=gone, record_count=left)
        if gone:
            move_head(connection, ticket, outcome, oldest=revision)
            note_newest(connection, tables)
        else:
            values = {"oldest_revision": min(oldest, revision)}
            connection.execute(sa.update(DatasetHead).where(DatasetHead.id == ticket.dataset_id).values(values))
        # Also where only history lost something: what is kept of it elsewhere must go.
        announce_revision(connection, ticket, revision)
        if isinstance(done, Erase):
            facts = {"load": ticket.load_id, "key_sha256": done.key_sha256}
            record_audit(connection, ticket.requested_by or "loader", "erase", load.dataset, gone, facts)
        end_load(connection, ticket, outcome, request=done.to_json())
    return outcome
