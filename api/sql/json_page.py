"""Rows -> JSON, inside Postgres."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from api.sql.keyset import Order
from api.sql.rendering import DOCUMENT, NUMBER
from catalog.model.dataset import Dataset, Property
from runtime.postgres.sql_types import SqlExpression


def document_of(
    source: sa.FromClause, properties: Sequence[Property], extra: Sequence[SqlExpression] = ()
) -> sa.ColumnElement[str]:
    """A record as JSON text, from the columns of `source`."""
    # A whole row of a lateral select becomes one ROW(…) with names: the fastest way to JSON that Postgres has.
    columns = [*(shown(source, prop) for prop in properties), *extra]
    document = sa.select(*columns).correlate(source).subquery("_document")
    row = sa.cast(sa.func.row_to_json(sa.literal_column(DOCUMENT)), sa.Text)
    return sa.select(row).select_from(document).scalar_subquery()


def shown(source: sa.FromClause, prop: Property) -> SqlExpression:
    """A property as the JSON shows it: text where JSON readers would lose digits, null where it is masked."""
    if prop.masked:
        return sa.cast(sa.null(), sa.Text).label(prop.name)
    column = source.c[prop.column]
    text = postgresql.ARRAY(sa.Text()) if prop.type.item else sa.Text()
    return (sa.cast(column, text) if prop.type.json_as_text else column).label(prop.name)


def columns_of(dataset: Dataset, order: Order) -> list[tuple[str, bool]]:
    """The order by column instead of by property."""
    return [(dataset.properties[name].column, descending) for name, descending in order]


def page_body(
    page: sa.Subquery,
    limit: SqlExpression,
    position: Callable[[sa.FromClause], Sequence[SqlExpression]],
    text: Callable[[sa.FromClause], SqlExpression],
    separator: str = "','",
) -> sa.Subquery:
    """A page's rows as one row: how many were found, their texts up to `limit`, and the place of the last as JSON.

    `page` holds one row more than `limit` where there is a next page; `text` writes a row down, and `position` says
    of the last one what a cursor needs.
    """
    numbered = sa.select(sa.func.row_number().over().label(NUMBER), page).subquery("_numbered")
    last = sa.func.json_build_array(*position(numbered))
    rows = (
        sa.select(
            numbered.c[NUMBER],
            text(numbered).label("text"),
            # Made for one row alone, not for each.
            sa.case((numbered.c[NUMBER] == limit, sa.cast(last, sa.Text))).label("last"),
        )
        .select_from(numbered)
        .subquery("_rows")
    )
    between: SqlExpression = sa.literal_column(separator)
    return sa.select(
        sa.func.count().label("found"),
        sa.func.string_agg(rows.c.text, between).filter(rows.c[NUMBER] <= limit).label("records"),
        sa.func.max(rows.c.last).label("last"),
    ).subquery("_body")
