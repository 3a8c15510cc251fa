"""The outbox as workers keep it: the order of its events, the cursors of its readers, and what is forgotten."""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from catalog.storage.installation_tables import NamedLock
from catalog.storage.outbox import OUTBOX_LOCK, SEQUENCE, OutboxCursor, OutboxEvent, last_sequence
from catalog.storage.subscription_tables import Subscription

NUMBERED_AT_ONCE = 1000
KEPT = timedelta(days=7)  # however soon every reader is done with an event: it can be sent again
DELETED_AT_ONCE = 10_000
LOCK_LIMIT = "10s"  # for a process that falls asleep with the lock

# What is committed and has no number yet, in the order in which it was written. Numbers come from a sequence: none is
# given again when its event is forgotten.
NUMBER_EVENTS = sa.text(f"""
UPDATE decant.outbox AS event SET sequence = numbered.sequence
FROM (
  SELECT waiting.id, nextval('{SEQUENCE}') AS sequence
  FROM (SELECT id FROM decant.outbox WHERE sequence IS NULL ORDER BY id LIMIT :most) AS waiting
) AS numbered
WHERE event.id = numbered.id
""")


def number_events(engine: sa.Engine) -> int:
    """How many events got their place in the order, in a short transaction; 0 while another process does it.

    An event whose transaction is not yet committed gets its number later, and a higher one: no reader has passed it.
    """
    waiting = sa.select(OutboxEvent.id).where(OutboxEvent.sequence.is_(None)).limit(1)
    with engine.begin() as connection:
        if connection.execute(waiting).one_or_none() is None:
            return 0
        for limit in ("idle_in_transaction_session_timeout", "statement_timeout"):
            connection.exec_driver_sql(f"SET LOCAL {limit} = '{LOCK_LIMIT}'")
        mine = sa.select(NamedLock.name).where(NamedLock.name == OUTBOX_LOCK).with_for_update(skip_locked=True)
        if connection.execute(mine).one_or_none() is None:
            return 0
        # Read after the lock was taken: what the last holder numbered is seen.
        return connection.execute(NUMBER_EVENTS, {"most": NUMBERED_AT_ONCE}).rowcount


def open_cursor(connection: sa.Connection, reader: str) -> int:
    """The sequence that a reader is done with, its row locked; a new reader begins with what comes from now on."""
    start = insert(OutboxCursor).values(reader=reader, sequence=last_sequence(connection))
    connection.execute(start.on_conflict_do_nothing())
    stands = sa.select(OutboxCursor.sequence).where(OutboxCursor.reader == reader).with_for_update()
    return int(connection.execute(stands).scalar_one())


def move_cursor(connection: sa.Connection, reader: str, sequence: int) -> None:
    """Notes that a reader is done with every event up to this one; a cursor never goes back."""
    connection.execute(
        sa.update(OutboxCursor)
        .where(OutboxCursor.reader == reader, OutboxCursor.sequence < sequence)
        .values(sequence=sequence, moved_at=sa.func.now())
    )


def prune_outbox(engine: sa.Engine, now: datetime) -> int:
    """How many events were forgotten: those older than a week that every reader is done with."""
    cursors = sa.union_all(
        sa.select(OutboxCursor.sequence), sa.select(Subscription.cursor).where(Subscription.active)
    ).subquery()
    slowest = sa.select(sa.func.min(cursors.c[0])).scalar_subquery()
    old = (
        sa.select(OutboxEvent.id)
        .where(OutboxEvent.created_at < now - KEPT, OutboxEvent.sequence.is_not(None))
        .where(sa.or_(slowest.is_(None), OutboxEvent.sequence <= slowest))
        .limit(DELETED_AT_ONCE)
    )
    gone = 0
    while True:
        with engine.begin() as connection:
            deleted = connection.execute(
                sa.delete(OutboxEvent).where(OutboxEvent.id.in_(old)),
                execution_options={"synchronize_session": False},
            ).rowcount
        gone += deleted
        if deleted < DELETED_AT_ONCE:
            return gone
