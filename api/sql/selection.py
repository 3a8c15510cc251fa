"""Which rows: conditions, row permissions, revision."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from api.query.condition import Filter
from api.query.view import View
from api.sql.filters import compile_filter
from api.sql.rendering import constant
from api.sql.statement_text import DIALECT
from catalog.model.dataset import Dataset
from catalog.model.roles import RowPredicate
from catalog.storage.dataset_tables import REVISION, UNTIL
from catalog.storage.ledger_tables import DatasetHead, Revision
from runtime.postgres.sql_types import SqlExpression, SqlQuery


@dataclass(frozen=True, slots=True)
class Age:
    """How old the revisions of a statement are, which decides where it looks for them."""

    behind: int  # 0: whatever is current; 1: each is the head or the one before; 2: as old as history is
    # Where `behind` is 1. They are in the statement itself: planned once for what they are, it keeps its plan.
    revisions: tuple[int, ...] = ()

    @property
    def pinned(self) -> bool:
        """Whether revisions are named, so that current tables alone may not hold them."""
        return self.behind > 0

    @property
    def keeps_plan(self) -> bool:
        """Whether one plan is right as often as the statement is asked."""
        return self.behind < OLDER.behind


HEAD, OLDER = Age(0), Age(2)


def conditions_of(
    view: View,
    table: sa.Table,
    filters: Sequence[Filter] = (),
    *,
    age: Age = HEAD,
    index: int = 0,
    source: sa.FromClause | None = None,
) -> list[sa.ColumnElement[bool]]:
    """Everything that a row of one table, current or history, must meet to be among a view's records.

    The one function that says so, for every statement and every branch of it. `index` tells the datasets of a
    statement apart: the revision of the n-th is the parameter revision_<n>. `source` is what the statement
    calls the table, where it has another name there.
    """
    rows = table if source is None else source
    conditions = [compile_filter(view.dataset, rows, condition, index) for index, condition in enumerate(filters)]
    if view.rows is not None:
        conditions.append(compile_predicate(view, view.rows, rows))
    if age.pinned:
        revision = pinned_revision(index, age)
        conditions.append(rows.c[REVISION] <= revision)
        if table is view.tables.history and age.revisions:
            conditions.append(rows.c[UNTIL] == revision + constant(1))
        elif table is view.tables.history:
            conditions += [rows.c[UNTIL] > revision, revision < revision_now(view.dataset)]
    return conditions


def compile_predicate(view: View, predicate: RowPredicate, rows: sa.FromClause) -> sa.ColumnElement[bool]:
    """What limits a view to some records, as a condition on `rows`."""

    def name_column(name: str) -> str:
        return str(rows.c[view.dataset.properties[name].column].compile(dialect=DIALECT))

    return sa.literal_column(predicate.render(name_column), sa.Boolean)


def revision_now(dataset: Dataset) -> sa.ScalarSelect[int]:
    """The dataset's current revision; compared with a parameter, it lets Postgres skip a branch at once."""
    head = DatasetHead.__table__.alias("_now")
    return sa.select(head.c.revision).where(*is_head(head.c, dataset)).scalar_subquery()


def pinned_revision(index: int = 0, age: Age = OLDER) -> sa.ColumnElement[int]:
    """The revision of the n-th dataset of a statement."""
    if age.revisions:
        return constant(age.revisions[index])
    return sa.bindparam(f"revision_{index}", type_=sa.BigInteger)


def tables_of(view: View, *, age: Age) -> tuple[sa.Table, ...]:
    """The tables that hold a revision: for the head's the current one alone."""
    return (view.tables.current, view.tables.history) if age.pinned else (view.tables.current,)


def revision_rows(
    view: View,
    filters: Sequence[Filter] = (),
    properties: Iterable[str] | None = None,
    *,
    age: Age = HEAD,
    name: str = "_found",
) -> sa.Subquery:
    """All records of a revision that meet the filters, as a relation with the columns of these properties."""
    wanted = view.properties if properties is None else properties
    columns = [view.dataset.properties[prop].column for prop in wanted]
    branches = [
        sa.select(*(table.c[column] for column in columns)).where(*conditions_of(view, table, filters, age=age))
        for table in tables_of(view, age=age)
    ]
    return (branches[0] if len(branches) == 1 else sa.union_all(*branches)).subquery(name)


def with_heads(
    views: Sequence[View], payload: Sequence[SqlExpression], source: sa.FromClause | None = None, *, age: Age = HEAD
) -> SqlQuery:
    """A statement of one row: the heads of the datasets that it reads, then the payload."""
    facts: list[SqlExpression] = []
    conditions: list[sa.ColumnElement[bool]] = []
    froms: list[sa.FromClause] = [] if source is None else [source]
    for index, view in enumerate(views):
        head = DatasetHead.__table__.alias(f"_head_{index}")
        conditions += is_head(head.c, view.dataset)
        froms.append(head)
        published: SqlExpression = head.c.published_at
        if age.pinned:
            revisions = Revision.__table__
            published = (
                sa.select(revisions.c.published_at)
                .where(revisions.c.dataset_id == head.c.id, revisions.c.revision == pinned_revision(index, age))
                .scalar_subquery()
            )
        timestamp = sa.cast(sa.func.floor(sa.func.date_part(sa.literal_column("'epoch'"), published)), sa.BigInteger)
        facts += [head.c.revision, head.c.oldest_revision, sa.func.coalesce(timestamp, sa.literal_column("0"))]
    columns: list[SqlExpression] = [postgresql.array(facts).label("heads"), *payload]
    return sa.select(*columns).select_from(*froms).where(*conditions)


def is_head(columns: Any, dataset: Dataset) -> list[sa.ColumnElement[bool]]:
    """The conditions of a dataset's head row."""
    return [
        columns.product == constant(dataset.product),
        columns.major == constant(dataset.major),
        columns.dataset == constant(dataset.name),
    ]
