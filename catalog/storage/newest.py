"""The newest timestamp of a dataset's records, for freshness by a property that the contract names."""

from __future__ import annotations

import sqlalchemy as sa

from catalog.storage.dataset_tables import DatasetTables
from catalog.storage.heads import is_head_of
from catalog.storage.ledger_tables import TIMESTAMP, DatasetHead
from runtime.postgres.sql_types import SqlExpression


def newest_timestamp(tables: DatasetTables) -> SqlExpression:
    """SQL for the greatest value of the property, in UTC; null where none is named. A date counts until its end."""
    name = tables.dataset.freshness_property
    if name is None:
        return sa.cast(sa.null(), TIMESTAMP)
    column = tables.current.c[tables.dataset.properties[name].column]
    greatest: SqlExpression = sa.func.max(column)
    if isinstance(column.type, sa.Date):
        greatest = sa.cast(greatest, sa.TIMESTAMP()) + sa.text("interval '1 day' - interval '1 microsecond'")
    if not (isinstance(column.type, sa.DateTime) and column.type.timezone):
        greatest = sa.func.timezone("UTC", greatest)
    return sa.select(greatest).select_from(tables.current).scalar_subquery()


def note_newest(connection: sa.Connection, tables: DatasetTables) -> None:
    """Keeps the newest moment of what the current table holds now; in the transaction that changed it."""
    dataset = tables.dataset
    connection.execute(sa.update(DatasetHead).where(is_head_of(dataset)).values(newest_at=newest_timestamp(tables)))
