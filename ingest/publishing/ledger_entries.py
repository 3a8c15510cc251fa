"""What a publication writes into the ledger: the head that moves, its revision, how the load ended, measurements."""

from __future__ import annotations

from dataclasses import asdict
from math import isfinite
from typing import Any

import sqlalchemy as sa

from catalog.storage.channels import REVISIONS_CHANNEL
from catalog.storage.epoch import read_epochs
from catalog.storage.ledger_tables import DatasetHead, Load, QualityResult, Revision
from catalog.storage.outbox import tell
from ingest.ledger.loads import Ticket, move_input
from ingest.publishing.candidate import Candidate, Outcome


def move_head(connection: sa.Connection, ticket: Ticket, outcome: Outcome, *, oldest: int) -> None:
    """Makes the outcome's revision the current one, and tells of it; `oldest` is the first that can be read."""
    connection.execute(
        sa.update(DatasetHead)
        .where(DatasetHead.id == ticket.dataset_id)
        .values(
            revision=outcome.revision,
            oldest_revision=oldest,
            record_count=outcome.record_count,
            published_at=sa.func.now(),
        )
    )
    connection.execute(
        sa.insert(Revision).values(
            dataset_id=ticket.dataset_id,
            revision=outcome.revision,
            load_id=ticket.load_id,
            record_count=outcome.record_count,
            inserted=outcome.inserted,
            updated=outcome.updated,
            deleted=outcome.deleted,
        )
    )
    facts = {"revision": outcome.revision, "epoch": read_epochs(connection)[-1], "load": ticket.load_id}
    counts = {name: getattr(outcome, name) for name in ("inserted", "updated", "deleted")}
    tell(
        connection,
        "revision.published",
        ticket.dataset_id,
        facts | {"counts": counts | {"records": outcome.record_count}},
    )


def announce_revision(connection: sa.Connection, ticket: Ticket, revision: int) -> None:
    """Notifies the services of the dataset, once the transaction is committed, to look at its head."""
    connection.execute(sa.select(sa.func.pg_notify(REVISIONS_CHANNEL, f"{ticket.dataset_id}:{revision}")))


def end_load(connection: sa.Connection, ticket: Ticket, outcome: Outcome, **values: Any) -> None:
    """Writes into the load's row how it ended, and `values` of other columns."""
    names = ("raw", "accepted", "rejected", "duplicates", "inserted", "updated", "deleted", "unchanged")
    connection.execute(
        sa.update(Load)
        .where(Load.id == ticket.load_id)
        .values(
            status=outcome.status,
            revision=outcome.revision if outcome.status == "published" else None,
            lease_until=None,
            finished_at=sa.func.clock_timestamp(),
            **{name: getattr(outcome, name) for name in names},
            **values,
        )
    )


def finish_load(connection: sa.Connection, candidate: Candidate, outcome: Outcome) -> None:
    """Writes how a load ended that brought a batch, and every measurement; its input moves on where it ended well."""
    ticket, batch = candidate.ticket, candidate.batch
    end_load(
        connection,
        ticket,
        outcome,
        batch_sha256=batch.landed.sha256,
        cleaning_sha256=batch.cleaning_sha256,
        position=batch.note.position,
        parts=describe_parts(candidate),
    )
    if outcome.status != "withheld" and candidate.replay is None:
        move_input(connection, ticket.dataset_id, batch.note.position)
    names = ("rule", "dimension", "measured", "bound", "passed", "severity", "error", "reads")
    rows = [
        {"load_id": ticket.load_id, "position": position, **{name: getattr(measurement, name) for name in names}}
        for position, measurement in enumerate(outcome.measurements)
    ]
    connection.execute(sa.delete(QualityResult).where(QualityResult.load_id == ticket.load_id))
    if rows:
        connection.execute(sa.insert(QualityResult), rows)
    if outcome.status == "withheld":
        tell(connection, "load.withheld", ticket.dataset_id, {"load": ticket.load_id, "rules": show_failing(outcome)})


def show_failing(outcome: Outcome) -> list[dict[str, object]]:
    """The rules that withhold a load, with what they measured; null where that is no number."""
    return [
        {
            "rule": failing.rule,
            "measured": failing.measured if failing.measured is None or isfinite(failing.measured) else None,
            "bound": failing.bound,
        }
        for failing in outcome.measurements
        if failing.withholds
    ]


def describe_parts(candidate: Candidate) -> list[dict[str, object]]:
    """The parts as the ledger keeps them; the first one has what batches have had so far."""
    parts = [asdict(part) for part in candidate.parsed.parts]
    if parts:
        parts[0] |= {kind: names for kind, names in candidate.seen.items() if names}
    return parts
