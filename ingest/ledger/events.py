"""Pushed events and the loads that took them: which are given back, and which the next load takes over."""

from __future__ import annotations

import sqlalchemy as sa

from catalog.storage.ledger_tables import Event, Load


def release_events(connection: sa.Connection, load_id: int) -> int:
    """How many events a load has given back, all that it took, where it failed for good; else none."""
    failed = sa.select(Load.id).where(Load.id == load_id, Load.status == "failed")
    statement = sa.update(Event).where(Event.load_id.in_(failed)).values(load_id=None, line=None)
    return connection.execute(statement.execution_options(synchronize_session=False)).rowcount


def take_over(connection: sa.Connection, dataset_id: int, load_id: int) -> None:
    """Gives back what other loads of the dataset took and have not brought to an end; nobody else is loading it now.

    Whoever comes first takes all that waits, so that older events never come behind newer ones. The loads that lose
    theirs have nothing in the landing zone any more, and their old token writes nothing.
    """
    unfinished = sa.select(Load.id).where(
        Load.dataset_id == dataset_id, Load.id != load_id, Load.status.in_(("queued", "running", "failed"))
    )
    statement = sa.update(Event).where(Event.dataset_id == dataset_id, Event.load_id.in_(unfinished))
    lost = connection.execute(
        sa.select(Event.load_id).where(Event.dataset_id == dataset_id, Event.load_id.in_(unfinished)).distinct()
    ).scalars()
    if losers := list(lost):
        connection.execute(
            sa.update(Load)
            .where(Load.id.in_(losers), Load.status.in_(("queued", "running")))
            .values(landed=sa.null(), fencing_token=None)
        )
        connection.execute(statement.values(load_id=None, line=None).execution_options(synchronize_session=False))
