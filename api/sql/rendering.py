"""Questions about records -> one SQL statement that returns finished JSON. Pure.

A statement is compiled once per shape of a question: filters' operators, order and properties, but not its values.
Reading the current revision needs the current table only: one statement sees one snapshot, in which the table *is*
the head's revision. What is pinned to an older revision reads current and history; filter, order and limit stand in
both branches, and the history branch is skipped by a one-time filter while the revision is still the head.

Every statement's first column is `heads`: for each dataset that it reads its revision, its oldest revision and when
what was read was published; so the answer and what it is an answer from are of one snapshot.
"""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from api.query.condition import SEARCH, Filter
from catalog.types.filter_operators import find_operator
from runtime.postgres.sql_types import SqlExpression

# Names of our own begin with _, as no property's and no table's does: the row `document` would be taken for the
# column of that name.
NUMBER = "_n"
DOCUMENT = '"_document"'


def constant(value: str | int) -> SqlExpression:
    """A literal for what does not come from the caller: statements without parameters keep their plans."""
    if isinstance(value, int):
        return sa.literal_column(str(value), sa.BigInteger)
    quoted = value.replace("'", "''")
    return sa.literal_column(f"'{quoted}'", sa.Text)


def is_deterministic(filters: Iterable[Filter]) -> bool:
    """Whether these filters narrow a query alike whatever their values: then one plan serves all."""
    return all(condition.operator != SEARCH and find_operator(condition.operator).keeps_plan for condition in filters)
