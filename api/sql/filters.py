"""One filter -> one SQL condition. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from api.query.operators import SEARCH, Filter
from catalog.storage.dataset_tables import search_vector

if TYPE_CHECKING:
    from api.query.view import View


def compile_filter(view: View, table: Any, condition: Filter, index: int) -> sa.ColumnElement[bool]:
    """One filter's condition, over the parameter f<index>."""
    if condition.operator == SEARCH:
        return compile_search(view, table, sa.bindparam(f"f{index}", type_=sa.Text))
    prop = view.dataset.properties[condition.property]
    column: Any = table.c[prop.column]
    value: Any = sa.bindparam(f"f{index}", type_=prop.type.sqlalchemy)
    match condition.operator:
        case "eq":
            return column == value  # type: ignore[no-any-return]
        case "ne":
            return column != value  # type: ignore[no-any-return]
        case "gt":
            return column > value  # type: ignore[no-any-return]
        case "gte":
            return column >= value  # type: ignore[no-any-return]
        case "lt":
            return column < value  # type: ignore[no-any-return]
        case "lte":
            return column <= value  # type: ignore[no-any-return]
        case "in":
            listed = sa.bindparam(f"f{index}", type_=postgresql.ARRAY(prop.type.sqlalchemy))
            return column == sa.any_(listed)  # type: ignore[no-any-return]
        case "has":
            # Contains, rather than `= ANY`: only this is answered by an index.
            return column.contains(value)  # type: ignore[no-any-return]
        case "like":
            return column.like(value)  # type: ignore[no-any-return]
        case "ilike":
            return column.ilike(value)  # type: ignore[no-any-return]
    return column.is_(None) == sa.bindparam(f"f{index}", type_=sa.Boolean)  # type: ignore[no-any-return]


def compile_search(view: View, table: Any, words: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """Whether a record's searchable texts hold the words, by the index that the contract asked for."""
    language: Any = sa.literal_column(f"'{view.dataset.search_language}'::regconfig")
    return search_vector(view.dataset, table).op("@@")(sa.func.websearch_to_tsquery(language, words))
