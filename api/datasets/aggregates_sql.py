"""An aggregate -> one SQL statement that returns finished JSON. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from api.database.statement import Statement
from api.datasets.aggregates_parameters import Group, Measure
from api.query.condition import Filter
from api.query.view import View
from api.sql.json_page import page_body
from api.sql.keyset import order_by
from api.sql.rendering import constant
from api.sql.selection import Age, revision_rows, with_heads
from api.sql.statement_text import render
from catalog.model.dataset import Dataset
from catalog.types.parametrized_types import SAFE_INTEGER
from catalog.types.property_types import PropertyType

PERCENTILES = {"median": "0.5", "p95": "0.95"}


@dataclass(frozen=True)
class AggregateShape:
    """Everything about an aggregate that its statement depends on."""

    groups: tuple[Group, ...]
    measures: tuple[Measure, ...]
    filters: tuple[Filter, ...]
    order: tuple[tuple[str, bool], ...]  # sort, then the groups
    age: Age


def order_groups(groups: tuple[Group, ...], sort: tuple[tuple[str, bool], ...]) -> tuple[tuple[str, bool], ...]:
    """The sort with the groups as its last tiebreakers."""
    named = {name for name, _ in sort}
    return sort + tuple((group.name, False) for group in groups if group.name not in named)


def compile_aggregate(view: View, shape: AggregateShape) -> Statement:
    """The statement of a page of groups; gives what the statement of a page of records gives.

    Parameters are the filters', `timezone`, `limit`, `fetch`, and `offset` for where a walk stands: all groups are
    made for every page, and of one revision they are the same in the same order.
    """
    grouped = group_rows(view, shape)
    limit, fetch, offset = (sa.bindparam(name, type_=sa.Integer) for name in ("limit", "fetch", "offset"))
    parts: list[Group | Measure] = [*shape.groups, *shape.measures]
    columns = {part.name: label_of(index) for index, part in enumerate(parts)}
    ordering = [order_by(grouped.c[columns[name]], descending) for name, descending in shape.order]
    page = sa.select(grouped).order_by(*ordering).limit(fetch).offset(offset)
    body = page_body(page.subquery("_page"), limit, lambda row: [], lambda row: write_group(view.dataset, row, parts))
    return render(with_heads([view], list(body.c), body, age=shape.age))


def label_of(index: int) -> str:
    """What the statement calls a column of the groups: Postgres would cut the names of the answer at 63 bytes."""
    return f"_{index}"


def group_rows(view: View, shape: AggregateShape) -> sa.Subquery:
    """The groups with their measures, as a relation."""
    used = [group.of for group in shape.groups] + [m.of for m in shape.measures if m.of]
    wanted = list(dict.fromkeys(used)) or list(view.dataset.key[:1])
    rows = revision_rows(view, shape.filters, wanted, age=shape.age)
    keys = [compile_group(view.dataset, rows, group) for group in shape.groups]
    measures = [compile_measure(view.dataset, rows, measure) for measure in shape.measures]
    labelled = [column.label(label_of(index)) for index, column in enumerate((*keys, *measures))]
    # By position: the same parameter written twice would be two expressions to Postgres.
    positions: list[Any] = [sa.literal_column(str(index)) for index in range(1, len(keys) + 1)]
    return sa.select(*labelled).select_from(rows).group_by(*positions).subquery("_grouped")


def compile_group(dataset: Dataset, rows: Any, group: Group) -> sa.ColumnElement[Any]:
    """The value that records of one group share."""
    prop = dataset.properties[group.of]
    column = rows.c[prop.column]
    if group.bucket is None:
        return column  # type: ignore[no-any-return]
    if group.width is not None:
        return compile_bin(prop.type, column, group.width)
    bucket = sa.literal_column(f"'{group.bucket}'", sa.Text)
    if prop.type.zoned:
        zone = sa.bindparam("timezone", type_=sa.Text)
        return sa.func.date_trunc(bucket, column, zone, type_=prop.type.sqlalchemy)
    timestamp = sa.cast(column, sa.TIMESTAMP())
    return sa.cast(sa.func.date_trunc(bucket, timestamp), prop.type.sqlalchemy)


def compile_bin(kind: PropertyType, column: sa.ColumnElement[Any], width: str) -> sa.ColumnElement[Any]:
    """The lower edge of the bin that a value lies in: the greatest multiple of the width that is not above it."""
    # A float is what its text says, as the answer shows it: 0.3 lies in the bin of 0.3, though its bits are below.
    # A cast without the text keeps 15 digits only.
    exact = sa.cast(sa.cast(column, sa.Text), sa.Numeric()) if kind.floating else sa.cast(column, sa.Numeric())
    wide = sa.literal_column(f"CAST('{width}' AS NUMERIC)", sa.Numeric())
    # The remainder is exact where a quotient is rounded. It has the sign of the value.
    rest = sa.func.mod(exact, wide, type_=sa.Numeric())
    below = sa.case((rest < sa.literal_column("0"), wide), else_=sa.literal_column("0"))
    edge = exact - rest - below
    # The edges of whole numbers may lie below what their column holds.
    return sa.cast(edge, kind.sqlalchemy) if kind.floating else edge


def compile_measure(dataset: Dataset, rows: Any, measure: Measure) -> sa.ColumnElement[Any]:
    """What is measured of a group."""
    if measure.of is None:
        return sa.func.count()
    prop = dataset.properties[measure.of]
    column = rows.c[prop.column]
    exact = prop.type.json_as_text
    match measure.function:
        case "count":
            return sa.func.count(column)
        case "distinct":
            return sa.func.count(column.distinct())
        case "min" | "max":
            return getattr(sa.func, measure.function)(column, type_=prop.type.sqlalchemy)  # type: ignore[no-any-return]
        case "sum" | "avg" if prop.type.floating:
            # Sums of floats depend on the order of the records, which differs between the current table and history:
            # one revision would have several sums.
            total = getattr(sa.func, measure.function)(sa.cast(column, sa.Numeric()))
            return sa.cast(total, sa.Double())
        case "sum":
            return sa.cast(sa.func.sum(column), sa.Numeric())
        case "avg" if exact:
            return sa.func.avg(column, type_=sa.Numeric())
        case "avg":
            return sa.cast(sa.func.avg(column), sa.Double())
    share: Any = sa.literal_column(PERCENTILES[measure.function])
    return sa.func.percentile_cont(share).within_group(sa.cast(column, sa.Double()))


def shown_as_text(dataset: Dataset, part: Group | Measure) -> bool:
    """Whether the answer shows it as text, since JSON readers would lose digits."""
    if part.of is None or (isinstance(part, Measure) and part.function in {"count", "distinct", *PERCENTILES}):
        return False
    return dataset.properties[part.of].type.json_as_text


def may_be_large(dataset: Dataset, part: Group | Measure) -> bool:
    """Whether it is made of whole numbers and may be larger than each of them: a sum, or the edge of a bin."""
    made = part.function == "sum" if isinstance(part, Measure) else part.width is not None
    return made and part.of is not None and dataset.properties[part.of].logical_type == "integer"


def write_group(dataset: Dataset, row: Any, parts: Sequence[Group | Measure]) -> sa.ColumnElement[str]:
    """A group as JSON text."""
    pieces: list[sa.ColumnElement[Any]] = []
    for index, part in enumerate(parts):
        shown: Any = row.c[label_of(index)]
        written: sa.ColumnElement[Any] = sa.func.to_json(shown)
        if shown_as_text(dataset, part):
            written = sa.func.to_json(sa.cast(shown, sa.Text))
        elif may_be_large(dataset, part):
            # A number as long as JSON readers keep all its digits.
            wide = sa.func.abs(shown) > sa.literal_column(str(SAFE_INTEGER))
            written = sa.case((wide, sa.func.to_json(sa.cast(shown, sa.Text))), else_=written)
        name = json.dumps(part.name, ensure_ascii=False)
        value = sa.func.coalesce(sa.cast(written, sa.Text), constant("null"))
        pieces += [constant(f"{',' if index else '{'}{name}:"), value]
    return sa.func.concat(*pieces, constant("}"))
