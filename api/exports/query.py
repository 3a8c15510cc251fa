"""The query string of an export -> ExportQuery, and its statement. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from api.exports.formats import FORMATS
from api.exports.formats.export_format import ExportFormat
from api.http.problems import parameter_problem
from api.query.condition import Filter
from api.query.cursor import digest_query
from api.query.parameters import Draft, Reader, read_at, read_draft, read_epoch
from api.query.question import Question, Target
from api.query.view import View
from api.sql.json_page import columns_of, document_of
from api.sql.keyset import order_by, order_of
from api.sql.selection import Age, conditions_of, tables_of
from catalog.model.dataset import Property
from runtime.postgres.sql_types import SqlExpression, SqlQuery


@dataclass(frozen=True)
class ExportQuery:
    """What a request for an export asks for."""

    target: Target
    filters: tuple[Filter, ...] = ()
    values: tuple[Any, ...] = ()
    sort: tuple[tuple[str, bool], ...] = ()
    properties: tuple[str, ...] | None = None
    at: int | datetime | None = None
    epoch: str | None = None
    form: ExportFormat | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it asks for all records."""
        return not self.filters


def parse_export(view: View, target: Target) -> Question:
    """The question of an export."""
    readers: dict[str, Reader] = {
        **view.validator.filter_readers(),
        "sort": view.validator.readers["sort"],
        "properties": view.validator.readers["properties"],
        "at": read_at,
        "epoch": read_epoch,
        "format": read_format,
    }
    draft = read_draft(target.query_string, readers)
    query = ExportQuery(target, filters=draft.filters, values=draft.values, **draft.facts)
    conditions = [(f.property, f.operator) for f in query.filters]
    digest = digest_query("export", conditions, query.values, query.sort, query.properties)
    return Question(query, digest.encode(), at=query.at, epoch=query.epoch, media_type=query.form)


def read_format(name: str, value: str, draft: Draft) -> None:
    """`csv`, `ndjson`, `parquet`, `arrow` or `xlsx`."""
    formats = {media_type.name: media_type for media_type in FORMATS}
    if value not in formats:
        raise parameter_problem("invalid_value", name, "unknown format", formats)
    draft.facts["form"] = formats[value]


def compile_export(view: View, query: ExportQuery, media_type: ExportFormat, *, age: Age) -> SqlQuery:
    """The statement of all records, in order: a text `line` of each for NDJSON, otherwise a column per property."""
    dataset = view.dataset
    order = columns_of(dataset, order_of(dataset, query.sort))
    properties = [view.shown[name] for name in query.properties or view.properties]
    names = dict.fromkeys([prop.column for prop in properties] + [column for column, _ in order])
    branches = [
        sa.select(*(table.c[name] for name in names)).where(*conditions_of(view, table, query.filters, age=age))
        for table in tables_of(view, age=age)
    ]
    rows = (branches[0] if len(branches) == 1 else sa.union_all(*branches)).subquery("_found")
    shown: Sequence[SqlExpression] = [exported(rows, prop, media_type) for prop in properties]
    if media_type.lines:
        shown = [sa.func.concat(document_of(rows, properties), sa.literal_column("E'\\n'")).label("line")]
    ordering = [order_by(rows.c[name], descending) for name, descending in order]
    return sa.select(*shown).select_from(rows).order_by(*ordering)


def exported(rows: sa.FromClause, prop: Property, media_type: ExportFormat) -> SqlExpression:
    """A property as a column of a file; arrays become JSON where cells hold no lists."""
    column = sa.cast(sa.null(), prop.type.sqlalchemy) if prop.masked else rows.c[prop.column]
    if prop.type.item is not None and not media_type.lists:
        return sa.cast(sa.func.to_json(column), sa.Text).label(prop.name)
    if not prop.type.arrow:
        return sa.cast(column, sa.Text).label(prop.name)
    return column.label(prop.name)
