"""How the SQL of contracts is read and written: PostgreSQL's, each function under the name that it is called by.

What runs is never a contract's own text but a text written from the parsed and checked tree, with every name in
quotes, so that nothing depends on whether two parsers agree about comments, escapes, keywords or quoting. sqlglot's
own reading of PostgreSQL turns functions into other ones that mean nearly the same; here they stay.
"""

from __future__ import annotations

from typing import Any, ClassVar

from sqlglot import expressions as exp
from sqlglot.dialects.postgres import Postgres
from sqlglot.generators.postgres import PostgresGenerator
from sqlglot.parsers.postgres import PostgresParser
from sqlglot.tokenizer_core import TokenType

# The functions whose arguments are no plain list.
SPECIAL_FORMS = ("CAST", "EXTRACT", "TRIM", "POSITION", "SUBSTRING", "OVERLAY")


class JsonArrow(exp.Expression, exp.Binary):
    """`->`: the key stays the text or number that it is; sqlglot would read a path into it."""


class JsonArrowText(exp.Expression, exp.Binary):
    """`->>`."""


class ContractParser(PostgresParser):
    """Leaves every call what it is: an `Anonymous` node with the name as written."""

    FUNCTIONS: ClassVar[dict[str, Any]] = {}
    FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {
        name: parse for name, parse in PostgresParser.FUNCTION_PARSERS.items() if name in SPECIAL_FORMS
    }
    # `f(doc -> 'a')` is the JSON operator, no function of a variable; `f(days => 1)` stays.
    LAMBDAS: ClassVar[dict[TokenType, Any]] = {TokenType.FARROW: PostgresParser.LAMBDAS[TokenType.FARROW]}
    JSON_OPERATORS: ClassVar[dict[TokenType, Any]] = {
        **PostgresParser.JSON_OPERATORS,
        TokenType.ARROW: lambda self, this, path: self.expression(JsonArrow(this=this, expression=path)),
        TokenType.DARROW: lambda self, this, path: self.expression(JsonArrowText(this=this, expression=path)),
    }


class ContractGenerator(PostgresGenerator):
    """Writes operators in the order in which they stood, so that PostgreSQL's own precedence decides as before."""

    MULTI_ARG_DISTINCT = True
    TRANSFORMS: ClassVar[dict[Any, Any]] = {
        **{node: write for node, write in PostgresGenerator.TRANSFORMS.items() if node is not exp.Pow},
        JsonArrow: lambda self, node: self.between_sides(node, "->"),
        JsonArrowText: lambda self, node: self.between_sides(node, "->>"),
        exp.Pow: lambda self, node: self.between_sides(node, "^"),
    }

    def between_sides(self, node: exp.Expr, operator: str) -> str:
        """Both sides of an operator with the operator between them."""
        return f"{self.sql(node, 'this')} {operator} {self.sql(node, 'expression')}"

    def not_sql(self, expression: exp.Not) -> str:
        """`a NOT IN (…)` where it stood so: a NOT in front binds weaker than whatever comes before `a`."""
        inner = expression.this
        match inner:
            case exp.RegexpLike():
                return self.between_sides(inner, "!~")
            case exp.RegexpILike():
                return self.between_sides(inner, "!~*")
            case exp.SimilarTo():
                return self.between_sides(inner, "NOT SIMILAR TO")
            case exp.In():
                listed = inner.args.get("query") or exp.Tuple(expressions=inner.expressions)
                return f"{self.sql(inner, 'this')} NOT IN {self.sql(listed)}"
            case exp.Between():
                symmetric = " SYMMETRIC" if inner.args.get("symmetric") else ""
                bounds = f"{self.sql(inner, 'low')} AND {self.sql(inner, 'high')}"
                return f"{self.sql(inner, 'this')} NOT BETWEEN{symmetric} {bounds}"
            case exp.Is() if isinstance(inner.expression, exp.Boolean) and not inner.args.get("negate"):
                return self.between_sides(inner, "IS NOT")
        return f"NOT {self.sql(inner)}"


class ContractSql(Postgres):
    """PostgreSQL as contracts may write it."""

    Parser = ContractParser
    Generator = ContractGenerator


def write_sql(tree: exp.Expr) -> str:
    """The SQL of a tree: no comments, functions as they were called."""
    return str(tree.sql(dialect=ContractSql, normalize_functions=False, comments=False))
