"""Incremental reads of a database: rows after the watermark, and the highest watermarks in the database's order."""

from __future__ import annotations

from contextlib import closing
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from catalog.model.dataset import Dataset
from catalog.model.sources import DatabaseSource
from ingest.inputs.database.errors import explain
from ingest.inputs.database.rows import Writer, write_text
from ingest.inputs.incremental import Watermark, in_zone
from ingest.inputs.raw_batch import InputContext
from ingest.inputs.raw_marks import WATERMARKS_KEPT, RawWatermark, filter_watermarks, is_plain
from runtime.postgres.sql_types import SqlExpression, SqlQuery

ROWS_AT_ONCE = 1_000  # the greatest marks that are looked at, most of which are one and the same now and then
MOST_ROUNDS = 100


def choose_rows(query: SqlQuery, watermark: Watermark, dataset: Dataset, dialect: str) -> SqlQuery:
    """The rows from the watermark on, and those without one: they cannot be distinguished from new rows."""
    column: SqlExpression = sa.column(watermark.incremental.target)
    if watermark.asked is None and watermark.value is None:
        return query
    value = watermark.asked.raw if watermark.asked is not None else write_value(watermark, dataset, dialect)
    return query.where(sa.or_(column >= bind(value), column.is_(None)))


def bind(value: object) -> sa.BindParameter[Any]:
    """The value as the driver takes it, in whatever type the column has."""
    return sa.bindparam(None, value, type_=sa.types.NullType())


def write_value(watermark: Watermark, dataset: Dataset, dialect: str) -> object:
    """A value of the property as the source's column may hold it, where no mark of its own is known."""
    value = watermark.value
    if watermark.incremental.format is not None:
        text = watermark.text or ""
        return int(text) if watermark.incremental.format.startswith("epoch") else text
    # Few columns know zones: then they hold what the clock of the property's zone shows.
    value = in_zone(value, dataset.properties[watermark.incremental.property].type.zone)
    if isinstance(value, datetime) and dialect != "postgresql":
        value = value.replace(tzinfo=None)
    if isinstance(value, date) and dialect in {"postgresql", "sqlite"}:
        return value.isoformat(sep=" ") if isinstance(value, datetime) else value.isoformat()
    if isinstance(value, Decimal) and dialect == "sqlite":
        return int(value) if value == value.to_integral_value() else float(value)
    return str(value) if dialect == "postgresql" else value


def read_watermarks(
    connection: sa.Connection,
    source: DatabaseSource,
    query: SqlQuery,
    context: InputContext,
    watermark: Watermark,
    write: Writer,
) -> list[RawWatermark]:
    """The greatest marks of the rows of the query that may be gone on from, the greatest first.

    `write` is how the mark's column is written into the batch.
    """
    incremental = watermark.incremental
    column: SqlExpression = sa.column(incremental.target)
    rows = query.with_only_columns(*choose_columns(column, connection.dialect.name)).where(column.isnot(None))
    found: list[RawWatermark] = []
    last: Any = None
    with context.open_folder() as folder:
        for _ in range(MOST_ROUNDS):
            part = rows if last is None else rows.where(column < bind(last))
            with (
                explain(source),
                closing(connection.execute(part.order_by(column.desc()).limit(ROWS_AT_ONCE))) as result,
            ):
                block = [(row[0], row[1] if len(row) > 1 else write_text(write(row[0]))) for row in result]
            pairs = [(raw, text) for raw, text in dict.fromkeys(block) if isinstance(text, str)]
            checked = filter_watermarks(
                pairs,
                context.dataset,
                incremental.property,
                context.settings,
                folder,
                plain=is_plain(context.dataset, incremental.property, incremental.target),
            )
            found += [pair[0] for pair in checked]
            if found or len(block) < ROWS_AT_ONCE:
                break
            last = block[-1][0]
    return found[:WATERMARKS_KEPT]


def choose_columns(column: SqlExpression, dialect: str) -> list[SqlExpression]:
    """The mark as the source takes it back; for Postgres also the text that its record has."""
    if dialect != "postgresql":
        return [column]
    shown = sa.func.to_json(column).op("#>>")(sa.literal_column("'{}'"))
    # Under names of their own: ORDER BY would take a text called like the column for it.
    return [sa.cast(column, sa.Text()).label("_decant_raw"), shown.label("_decant_shown")]
