"""Taking records out of a dataset for good: a publication of its own, whose history goes at once.

What was before it can no longer be read: who follows the changes begins anew, and so lets go of the records too.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from catalog.storage.dataset_tables import CatalogTables, DatasetTables
from catalog.storage.ledger_tables import REVISIONS_CHANNEL, DatasetHead, Load, Revision
from catalog.storage.newest import note_newest
from ingest.errors import IngestError, LoadSupersededError
from ingest.ledger.loads import Ticket
from ingest.publishing.candidate import Outcome
from ingest.retention.erase import Erasure, derived_from, hash_key
from ingest.retention.prune import forget_history, is_old
from runtime.settings import Settings


def withdraws(request: dict[str, Any]) -> bool:
    """Whether a load is there to take records out, and brings none."""
    return "prune" in request or "erase" in request


def withdraw_asked(
    settings: Settings, engine: sa.Engine, catalog: CatalogTables, tables: DatasetTables, ticket: Ticket, folder: Path
) -> Outcome:
    """How the load ended that takes out what its request says."""
    if "prune" in ticket.request:
        asked = ticket.request["prune"]
        old = is_old(tables, asked["element"], datetime.fromisoformat(asked["before"]))
        outcome = withdraw(engine, tables, old, ticket, lambda connection: 0, ticket.request)
    else:
        outcome = erase(settings, engine, catalog, tables, ticket, folder)
    if outcome.status == "published":
        forget_history(engine, tables, outcome.revision)
    return outcome


def erase(
    settings: Settings, engine: sa.Engine, catalog: CatalogTables, tables: DatasetTables, ticket: Ticket, folder: Path
) -> Outcome:
    """How a load ended that takes out one key; its notes say from where, and what it cannot reach."""
    key = ticket.request["erase"].get("key")
    if key is None:
        raise IngestError("This erasure was done before; its key is no longer known.")
    erasure = Erasure(settings, engine, tables, ticket.dataset_id, key, folder)
    erasure.redact_batches()
    counts: list[int] = []

    def erase_rows(connection: sa.Connection) -> int:
        newest = erasure.newest_history(connection)
        counts.extend(erasure.erase_rows(connection))
        return newest

    done = {"erase": {"key_sha256": hash_key(tables.dataset, key)}}
    outcome = withdraw(engine, tables, erasure.match(tables.current), ticket, erase_rows, done)
    erasure.forget_copies()
    history, rejected = counts
    ticket.notes.append(
        f"erased: {outcome.deleted} current, {history} in history, {rejected} in quarantine,"
        f" {erasure.batches} raw batches rewritten"
    )
    ticket.notes += erasure.notes
    if derived := derived_from(catalog, tables.dataset):
        ticket.notes.append(
            f"datasets made from this one may hold copies until they are refreshed: {', '.join(derived)}"
        )
    ticket.notes.append("not reached: the sources themselves, backups of the database, what was exported before")
    return outcome


def withdraw(
    engine: sa.Engine,
    tables: DatasetTables,
    condition: sa.ColumnElement[bool],
    ticket: Ticket,
    also: Callable[[sa.Connection], int],
    request: dict[str, Any],
) -> Outcome:
    """Takes the records out of current, and `also` what belongs to them, in one transaction.

    `also` gives the oldest revision that may still be read after it; `request` is what the ledger keeps.
    """
    with engine.begin() as connection:
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
        left = head.record_count - gone
        values: dict[str, Any] = {"oldest_revision": min(oldest, revision)}
        if gone:
            values = {
                "revision": revision,
                "oldest_revision": revision,
                "record_count": left,
                "published_at": sa.func.now(),
            }
        connection.execute(sa.update(DatasetHead).where(DatasetHead.id == ticket.dataset_id).values(values))
        if gone:
            note_newest(connection, tables)
            connection.execute(
                sa.insert(Revision).values(
                    dataset_id=ticket.dataset_id,
                    revision=revision,
                    load_id=ticket.load_id,
                    record_count=left,
                    inserted=0,
                    updated=0,
                    deleted=gone,
                )
            )
        # Also where only history lost something: what is kept of it elsewhere must go.
        connection.execute(sa.select(sa.func.pg_notify(REVISIONS_CHANNEL, f"{ticket.dataset_id}:{revision}")))
        status = "published" if gone else "unchanged"
        connection.execute(
            sa.update(Load)
            .where(Load.id == ticket.load_id)
            .values(
                status=status,
                revision=revision if gone else None,
                request=request,
                raw=0,
                accepted=0,
                rejected=0,
                duplicates=0,
                inserted=0,
                updated=0,
                deleted=gone,
                unchanged=0,
                lease_until=None,
                finished_at=sa.func.clock_timestamp(),
            )
        )
    return Outcome(
        status=status, revision=revision, raw=0, accepted=0, rejected=0, duplicates=0, deleted=gone, record_count=left
    )
