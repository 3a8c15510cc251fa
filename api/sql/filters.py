"""One filter -> one SQL condition. Pure."""

from __future__ import annotations

import sqlalchemy as sa

from api.query.condition import SEARCH, Filter
from catalog.model.dataset import Dataset
from catalog.storage.dataset_tables import search_vector
from catalog.types.filter_operators import find_operator
from runtime.postgres.sql_types import SqlExpression


def compile_filter(dataset: Dataset, table: sa.FromClause, condition: Filter, index: int) -> sa.ColumnElement[bool]:
    """One filter's condition, over the parameter f<index>."""
    if condition.operator == SEARCH:
        return compile_search(dataset, table, sa.bindparam(f"f{index}", type_=sa.Text))
    prop = dataset.properties[condition.property]
    column = table.c[prop.column]
    operator = find_operator(condition.operator)
    return operator.compile(column, sa.bindparam(f"f{index}", type_=operator.bound_type(prop.type)))


def compile_search(dataset: Dataset, table: sa.FromClause, words: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """Whether a record's searchable texts hold the words, by the index that the contract asked for."""
    language: SqlExpression = sa.literal_column(f"'{dataset.search_language}'::regconfig")
    return search_vector(dataset, table).op("@@")(sa.func.websearch_to_tsquery(language, words))
