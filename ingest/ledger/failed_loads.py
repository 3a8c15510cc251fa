"""The end of an attempt that failed, as the ledger has it; of a load that is not tried again, others are told."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from catalog.storage.ledger_tables import DatasetHead, Load
from catalog.storage.outbox import tell

OPEN = ("queued", "running")


def write_failure(
    connection: sa.Connection,
    load_id: int,
    values: Mapping[str, object],
    *conditions: sa.ColumnElement[bool],
    wait: bool = True,
) -> bool:
    """Whether the load, where it is open and the conditions hold, got what `end_attempt` says of it.

    The head is locked before: what is told of a dataset stands in order. Without `wait`, a dataset that is being
    published is left alone, and so is the load.
    """
    dataset = sa.select(Load.dataset_id).where(Load.id == load_id).scalar_subquery()
    head = sa.select(DatasetHead.id).where(DatasetHead.id == dataset).with_for_update(read=True, skip_locked=not wait)
    if connection.execute(head).one_or_none() is None:
        return False
    ended = connection.execute(
        sa.update(Load)
        .where(Load.id == load_id, Load.status.in_(OPEN), *conditions)
        .values(values)
        .returning(Load.dataset_id, Load.status, Load.kind, Load.error_code, Load.attempt)
    ).one_or_none()
    if ended is None:
        return False
    if ended.status == "failed":
        facts = {"load": load_id, "kind": ended.kind, "error_code": ended.error_code, "attempts": ended.attempt}
        tell(connection, "load.failed", ended.dataset_id, facts)
    return True
