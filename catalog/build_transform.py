"""What a property's transformLogic reads of a raw record."""

from __future__ import annotations

import sqlglot
from sqlglot import expressions as exp

from catalog.document import Findings, Trail


def find_raw_columns(transform: str, trail: Trail, findings: Findings) -> tuple[str, ...]:
    """The raw columns that an expression reads; an error where it is not one expression over them."""
    place = (*trail, "transformLogic")
    try:
        parsed = sqlglot.parse(transform, dialect="duckdb")
    except sqlglot.errors.SqlglotError as error:
        findings.error(place, f"is not a DuckDB expression: {str(error).splitlines()[0]}")
        return ()
    if len(parsed) != 1 or parsed[0] is None or not isinstance(parsed[0], exp.Expression):
        findings.error(place, "must be one DuckDB expression")
        return ()
    tree = parsed[0]
    if tree.find(exp.Query, exp.Table, exp.Command, exp.DDL, exp.DML, exp.Star, exp.Columns):
        findings.error(place, "must be an expression over the raw columns: no SELECT, no table, no *, no statement")
        return ()
    # The variable of a list comprehension looks like a column.
    own = {
        name.name
        for comprehension in tree.find_all(exp.Comprehension)
        for name in comprehension.args["expression"].find_all(exp.Column, exp.Identifier)
    }
    if hidden := [c.name for c in tree.find_all(exp.Column) if c.name.lower().startswith("_decant")]:
        findings.error(place, f"{hidden[0]}: names that start with '_decant' are Decant's own")
        return ()
    return tuple(dict.fromkeys(c.name for c in tree.find_all(exp.Column) if c.name not in own))
