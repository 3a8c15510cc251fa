"""The database's epoch: within one, a revision number always means the same records.

A restored backup publishes revision numbers anew, so what consumers keep under the old numbers (entity tags, cursors,
the revision of a synced copy) would silently name other records. A new epoch makes all of that foreign at once.
"""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from catalog.storage.audit import AuditEntry, note_audit
from catalog.storage.channels import REVISIONS_CHANNEL
from catalog.storage.installation_tables import Epoch

EPOCH_BYTES = 4  # eight hexadecimal digits
RENEWED = "epoch"  # what the notification says instead of a dataset and its revision


def read_epochs(connection: sa.Connection) -> list[str]:
    """Every epoch that the database has had, the current one last."""
    return list(connection.scalars(sa.select(Epoch.epoch).order_by(Epoch.id)))


def renew_epoch(connection: sa.Connection, expected: str, reason: str, by: str) -> str:
    """The epoch after `expected`, begun on record in the connection's transaction, or by another process before."""
    following = sa.select(sa.func.max(Epoch.id) + 1).where(Epoch.epoch == expected).scalar_subquery()
    epoch = secrets.token_hex(EPOCH_BYTES)
    # The number decides between processes that find the same: one begins the epoch, the other waits, and takes it.
    begun = connection.execute(
        insert(Epoch).values(id=following, epoch=epoch, reason=reason).on_conflict_do_nothing().returning(Epoch.id)
    ).one_or_none()
    if begun is None:
        return read_epochs(connection)[-1]
    facts = {"epoch": epoch, "before": expected, "reason": reason}
    note_audit(connection, by, AuditEntry("new epoch", facts=facts))
    connection.execute(sa.select(sa.func.pg_notify(REVISIONS_CHANNEL, RENEWED)))
    return epoch
