"""What a property's transformLogic reads of a raw record."""

from __future__ import annotations

from collections.abc import Iterator

import sqlglot
from sqlglot import expressions as exp

from catalog.document.findings import Findings
from catalog.document.yaml_document import YamlPath


def find_raw_columns(transform: str, trail: YamlPath, findings: Findings) -> tuple[str, ...]:
    """The raw columns that an expression reads; an error where it is not one expression over them."""
    path = (*trail, "transformLogic")
    try:
        parsed = sqlglot.parse(transform, dialect="duckdb")
    except sqlglot.errors.SqlglotError as error:
        findings.error(path, f"is not a DuckDB expression: {str(error).splitlines()[0]}")
        return ()
    if len(parsed) != 1 or parsed[0] is None or not isinstance(parsed[0], exp.Expression):
        findings.error(path, "must be one DuckDB expression")
        return ()
    tree = parsed[0]
    if tree.find(exp.Query, exp.Table, exp.Command, exp.DDL, exp.DML, exp.Star, exp.Columns):
        findings.error(path, "must be an expression over the raw columns: no SELECT, no table, no *, no statement")
        return ()
    # The variable of a list comprehension looks like a column.
    own = {
        name.name
        for comprehension in tree.find_all(exp.Comprehension)
        for name in comprehension.args["expression"].find_all(exp.Column, exp.Identifier)
    }
    # There are no tables here: of a dotted name, the first part is the column.
    names = [column.parts[0].name for column in tree.find_all(exp.Column)]
    names += [*find_receivers(tree), *find_documents(tree)]
    if hidden := [name for name in names if name.lower().startswith("_decant")]:
        findings.error(path, f"{hidden[0]}: names that start with '_decant' are Decant's own")
        return ()
    return tuple(dict.fromkeys(name for name in names if name not in own))


def find_documents(tree: exp.Expression) -> Iterator[str]:
    """The columns in calls such as `lower(raw->>'a')`, which the parser takes for a function of a variable."""
    for arrow in tree.find_all(exp.Lambda):
        used = {name.name for name in arrow.this.find_all(exp.Identifier)}
        yield from (name.name for name in arrow.expressions if name.name not in used)


def find_receivers(tree: exp.Expression) -> Iterator[str]:
    """The columns in calls such as `b.trim().upper()`, which the parser takes for parts of a name."""
    for dot in tree.find_all(exp.Dot):
        for name in dot.find_all(exp.Identifier):
            around = name.parent
            if isinstance(
                around, exp.Column | exp.ColumnDef | exp.Lambda | exp.Alias | exp.PropertyEQ | exp.DataType
            ):
                continue
            if isinstance(around, exp.Dot) and around.expression is name:
                continue  # a name after a dot is a part of the name before it
            scopes = [scope for scope in iterate_parents(name) if isinstance(scope, exp.Lambda)]
            if not any(name.name == variable.name for scope in scopes for variable in scope.expressions):
                yield name.name


def iterate_parents(node: exp.Expr) -> Iterator[exp.Expr]:
    """The node's ancestors, from the inside out."""
    while (around := node.parent) is not None:
        yield around
        node = around
