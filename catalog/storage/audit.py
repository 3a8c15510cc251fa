"""The audit log: who did what; never which values.

One function of the database writes it, with rights that no login has, and chains each entry to the one before it:
whoever may add entries can change none, remove none, and claim no other login. `decant.broken_audit()` names the
entries that were tampered with, and 0 where the last ones are gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from catalog.storage.ledger_tables import SCHEMA

BY_KEY = "key "  # before a credential's id where the ledger says who asked; the audit log has the id alone
NOTE_AUDIT = f"""
SELECT {SCHEMA}.note_audit(%(principal)s, %(operation)s, %(product)s, %(dataset)s, %(records)s, %(facts)s)
"""


@dataclass(frozen=True)
class AuditEntry:
    """One entry: what was done, and to what."""

    operation: str
    product: str | None = None
    dataset: str | None = None  # with its major version
    records: int | None = None
    facts: dict[str, Any] | None = None


def note_audit(connection: sa.Connection, principal: str, entry: AuditEntry) -> None:
    """Writes an audit entry in the connection's transaction."""
    note = sa.func.decant.note_audit(
        sa.cast(principal, sa.Text),
        sa.cast(entry.operation, sa.Text),
        sa.cast(entry.product, sa.Text),
        sa.cast(entry.dataset, sa.Text),
        sa.cast(entry.records, sa.BigInteger),
        sa.cast(entry.facts, JSONB(none_as_null=True)),
    )
    connection.execute(sa.select(note))
