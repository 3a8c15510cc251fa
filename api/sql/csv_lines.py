"""A record -> one line of CSV (RFC 4180), built by Postgres. Pure.

Null is an empty field and an empty text is `""`. Text that a spreadsheet would run as a formula is told apart by an
apostrophe; numbers, dates and times never are.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import sqlalchemy as sa

from catalog.model.dataset import Property
from runtime.postgres.sql_types import SqlExpression

LINE_END = "\r\n"
QUOTED = sa.literal_column("""E'[",\\r\\n]|^$'""", sa.Text)
# What a spreadsheet takes for the beginning of a formula; some take the wide forms for the plain ones.
FORMULA_MARKS = "=+@\t\r\n\uff1d\uff0b\uff0d\uff20-"
FORMULA = sa.literal_column("E'^[" + FORMULA_MARKS.replace("\t\r\n", r"\t\r\n") + "]'", sa.Text)


def csv_header(properties: Sequence[Property]) -> str:
    """The first line: the names of the properties, quoted where they have to be."""
    line = io.StringIO()
    csv.writer(line, lineterminator=LINE_END).writerow([prop.name for prop in properties])
    return line.getvalue()


def csv_line(source: sa.FromClause, properties: Sequence[Property]) -> sa.ColumnElement[str]:
    """The line of one record with its line end, from the columns of `source`."""
    cells = [csv_cell(source.c[prop.column], prop) for prop in properties]
    line = sa.func.concat_ws(sa.literal_column("','"), *cells)
    return sa.func.concat(line, sa.literal_column("E'\\r\\n'"))


def csv_cell(column: SqlExpression, prop: Property) -> sa.ColumnElement[str]:
    """One field of the line; never null, since `concat_ws` would leave it out."""
    nothing = sa.literal_column("''", sa.Text)
    if prop.masked:
        return nothing
    # Arrays as JSON has them: how Postgres writes them, few can read.
    text: SqlExpression = sa.cast(sa.func.to_json(column) if prop.type.item else column, sa.Text)
    if prop.type.family == "moment":
        # As the JSON has it: RFC 3339.
        text = sa.func.btrim(sa.cast(sa.func.to_json(column), sa.Text), sa.literal_column("'\"'"))
    if prop.type.plain:
        return sa.func.coalesce(text, nothing)
    safe = sa.case((text.op("~")(FORMULA), sa.literal_column("''''", sa.Text).op("||")(text)), else_=text)
    quote = sa.literal_column("'\"'", sa.Text)
    escaped = sa.func.replace(safe, quote, sa.literal_column("'\"\"'", sa.Text))
    quoted = quote.op("||")(escaped).op("||")(quote)
    return sa.func.coalesce(sa.case((text.op("~")(QUOTED), quoted), else_=safe), nothing)
