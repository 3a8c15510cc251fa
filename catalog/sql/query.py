"""The SQL that contracts hold, for PostgreSQL: checked node by node, and written again for what it reads. Pure.

A contract's author is trusted with one product, not with the server: a query is taken only where all of it is known
to compute from datasets and nothing else (`query_allowed`). What runs is written from the tree that was checked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import sqlglot
from sqlglot import expressions as exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.scope import traverse_scope
from sqlglot.tokenizer_core import TokenType

from catalog.sql.allowed import (
    CATALOGUE_PREFIX,
    COLLATION,
    FUNCTIONS,
    NODES,
    NONDETERMINISTIC_FUNCTIONS,
    NONDETERMINISTIC_NODES,
    PLAIN_NUMBER,
    PLAIN_WORD,
    ROW_FUNCTIONS,
    SERVER_WORDS,
    SPECIAL_TIMESTAMPS,
    TYPES,
)
from catalog.sql.dialect import ContractSql, write_sql

SHOWN_CHARACTERS = 60
STRANGE_TEXTS = (exp.UnicodeString, exp.ByteString, exp.RawString, exp.National, exp.HexString, exp.BitString)
# The nodes whose texts are written in quotes; those of all others are keywords.
QUOTED = (exp.Literal, exp.Identifier, exp.Anonymous)
KEYWORDS = re.compile(r"[A-Za-z_ ]*")
# The arguments of a table that mean something to a query over datasets.
TABLE_PARTS = frozenset({"this", "db", "catalog", "alias", "joins", "laterals", "ordinality"})
TIMESTAMP_FUNCTIONS = frozenset({"date", "time", "timetz", "timestamp", "timestamptz"})


@dataclass(frozen=True)
class TableRead:
    """A table as the query names it, and its place in the tree."""

    schema: str  # empty: the dataset's own product
    name: str
    node: exp.Table

    @property
    def read(self) -> str:
        """How an input lists it: `dataset`, or `schema.dataset`; a dot of the dataset's own name comes second."""
        return f"{self.schema}.{self.name}" if self.schema or "." in self.name else self.name


class QueryTextError(ValueError):
    """The text is no query that can be run here; the message says why."""


def parse_query(query: str, *, deterministic: bool = True) -> exp.Query:
    """The one SELECT that a text is, every name in quotes; QueryTextError where it does more than read datasets.

    `deterministic`: what gives another result each time, such as the time, is refused too.
    """
    if "\0" in query:
        raise QueryTextError("contains a NUL character")
    try:
        check_numbers(query)
        parsed = sqlglot.parse(query.strip().rstrip(";"), dialect=ContractSql)
        if len(parsed) != 1 or not isinstance(parsed[0], exp.Query):
            raise QueryTextError("must be one SELECT")
        tree = parsed[0]
        if tree.find(exp.DML, exp.DDL, exp.Command, exp.Into, exp.Lock):
            raise QueryTextError("must be one SELECT that writes and locks nothing")
        for node in tree.walk():
            check_node(node)
            if deterministic:
                check_deterministic(node)
        quote_names(tree)
    except (SqlglotError, RecursionError) as error:
        raise QueryTextError(first_line(error)) from error
    return tree


def first_line(error: Exception) -> str:
    """What the parser has to say."""
    return next(iter(str(error).splitlines()), "") or "cannot be parsed: it is nested too deeply"


def check_numbers(query: str) -> None:
    """QueryTextError for `1_000` and the like, which PostgreSQL and the parser read differently."""
    before = None
    for token in ContractSql().tokenize(query):
        joined = before is not None and token.start == before.end + 1 and token.token_type is TokenType.VAR
        if before is not None and joined and before.token_type is TokenType.NUMBER:
            raise QueryTextError(f"{before.text}{token.text}: write numbers in digits only")
        before = token


def check_node(node: exp.Expr) -> None:
    """QueryTextError for what is not known to be harmless."""
    match node:
        case exp.Placeholder() | exp.Parameter():
            raise QueryTextError("contains a placeholder, which has no value")
        case exp.TableSample():
            raise QueryTextError("TABLESAMPLE is not allowed: its result varies")
        case _ if isinstance(node, STRANGE_TEXTS):
            raise QueryTextError(f"{shorten(node)}: write texts in single quotes, without a prefix")
        case exp.Anonymous():
            check_call(node)
        case exp.Dot() if not isinstance(node.expression, exp.Identifier | exp.Star):
            raise QueryTextError(f"{shorten(node)}: functions are called without a schema")
        case exp.DataType() if node.this not in TYPES or node.args.get("kind") or node.args.get("values"):
            raise QueryTextError(f"{shorten(node)} is not a type that contracts may use")
        case exp.Column(this=exp.Identifier(this=name, quoted=False)) if (
            not node.table and name.lower() in SERVER_WORDS
        ):
            raise QueryTextError(f"{name} reads the server, not datasets")
        case exp.Table():
            check_table(node)
        case exp.CTE() if node.alias.lower().startswith(CATALOGUE_PREFIX):
            raise QueryTextError(f"{node.alias}: names that start with {CATALOGUE_PREFIX!r} are the server's own")
        case exp.Collate() if not COLLATION.fullmatch(node.expression.name):
            raise QueryTextError(f"{shorten(node)}: unknown sort order")
        case exp.Var() if not PLAIN_WORD.fullmatch(node.name):
            raise QueryTextError(f"{shorten(node)} is not allowed")
        case exp.Literal() if not node.is_string and not PLAIN_NUMBER.fullmatch(node.name):
            raise QueryTextError(f"{shorten(node)} is not a number")
        case exp.Identifier() if not node.name:
            raise QueryTextError("contains an empty name")
        case exp.Star() | exp.Cast() if any(v for k, v in node.args.items() if k not in {"this", "to"}):
            raise QueryTextError(f"{shorten(node)} is not allowed")
    if type(node) not in NODES:
        if isinstance(node, exp.Func):
            raise QueryTextError(f"{shorten(node)} reads the server, not datasets, or is not allowed")
        raise QueryTextError(f"{shorten(node)} is not allowed: contracts must not use {node.key}")
    if not isinstance(node, QUOTED):
        for value in node.args.values():
            if isinstance(value, str) and not KEYWORDS.fullmatch(value):
                raise QueryTextError(f"{shorten(node)} is not allowed")


def check_call(node: exp.Anonymous) -> None:
    """QueryTextError for a function that is not on the list."""
    name = str(node.name)
    known = name if isinstance(node.this, exp.Identifier) else name.lower()
    if known not in FUNCTIONS | ROW_FUNCTIONS | NONDETERMINISTIC_FUNCTIONS:
        raise QueryTextError(
            f"{name} is not among the functions that contracts may call: it is not a function of"
            f" PostgreSQL, or reads the server, not datasets"
        )


def check_table(node: exp.Table) -> None:
    """QueryTextError for an item of FROM that is neither a table nor a function that returns rows."""
    if node.args.get("catalog"):
        raise QueryTextError(f"{shorten(node)}: no other database can be read")
    if not isinstance(node.this, exp.Identifier | exp.Anonymous):
        raise QueryTextError(f"{shorten(node)} is not a table")
    if isinstance(node.this, exp.Anonymous) and node.args.get("db"):
        raise QueryTextError(f"{shorten(node)}: functions are called without a schema")
    if more := sorted(name for name, part in node.args.items() if part and name not in TABLE_PARTS):
        raise QueryTextError(f"{shorten(node)}: {', '.join(more)} is not allowed")


def check_deterministic(node: exp.Expr) -> None:
    """QueryTextError for what gives another result at each refresh.

    The same revisions must give the same result, so that a refresh can be repeated and an old one explained.
    """
    timestamp = None
    if isinstance(node, NONDETERMINISTIC_NODES):
        timestamp = node.sql_name().lower()
    elif isinstance(node, exp.Anonymous):
        name = str(node.name).lower()
        arguments = node.expressions
        if name in NONDETERMINISTIC_FUNCTIONS or (name == "age" and len(arguments) == 1):
            timestamp = name
        elif name in TIMESTAMP_FUNCTIONS and arguments and is_special(arguments[0]):
            timestamp = arguments[0].name
    elif isinstance(node, exp.Cast) and is_special(node.this):
        timestamp = node.this.name
    if timestamp is not None:
        raise QueryTextError(f"{timestamp} has another result at each refresh: a query must depend on datasets only")


def is_special(node: exp.Expr) -> bool:
    """Whether a text means the current time."""
    return bool(node.is_string) and node.name.strip().lower() in SPECIAL_TIMESTAMPS


def shorten(node: exp.Expr) -> str:
    """A part of a query, short enough for a message."""
    text = " ".join(write_sql(node).split())
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"


def quote_names(tree: exp.Expr) -> None:
    """Puts every name in quotes, as PostgreSQL would read it: then no name is a keyword or a function."""
    for node in tree.find_all(exp.Identifier):
        node.set("this", fold(node))
        node.set("quoted", True)


def fold(identifier: exp.Expr) -> str:
    """A name as PostgreSQL reads it: without quotes, the letters A to Z are small ones."""
    name = str(identifier.name)
    return name if identifier.args.get("quoted") else re.sub("[A-Z]+", lambda found: found[0].lower(), name)


def find_tables(tree: exp.Query) -> list[TableRead]:
    """Every table that the query reads, in the order of its text; what `with` defines is none."""
    real = {id(source) for scope in traverse_scope(tree) for source in scope.sources.values()}
    defined = {cte.alias for cte in tree.find_all(exp.CTE)}
    found = []
    for table in tree.find_all(exp.Table, bfs=False):
        if not isinstance(table.this, exp.Identifier):
            continue  # a function that gives rows
        schema = table.args.get("db")
        if schema is None and table.name in defined and id(table) not in real:
            continue
        found.append(TableRead(schema.name if schema else "", table.name, table))
    return found


def write_query(tree: exp.Query, make: Callable[[TableRead], exp.Expr]) -> str:
    """The SQL of a query with what `make` gives in the place of each table, known inside the query as before."""
    tree = tree.copy()
    for table in find_tables(tree):
        made = make(table)
        alias = table.node.args.get("alias") or exp.TableAlias()
        if not alias.args.get("this"):
            alias.set("this", exp.to_identifier(table.name, quoted=True))
        made.set("alias", alias)
        for name in ("joins", "laterals"):
            made.set(name, table.node.args.get(name))
        table.node.replace(made)
    for column in tree.find_all(exp.Column):
        column.set("db", None)  # tables have one name only now: schema.table.column is table.column
    return write_sql(tree)


def rename_tables(query: str, names: Mapping[str, str]) -> str:
    """The query with each table that it reads called as `names` says, but known inside the query as before."""
    return write_query(
        parse_query(query), lambda table: exp.Table(this=exp.to_identifier(names[table.read], quoted=True))
    )


def select_columns(schema: str, table: str, columns: Mapping[str, str]) -> exp.Subquery:
    """A table as a query sees it: these columns alone, by other names. `columns`: shown name -> column."""
    place = exp.Table(this=exp.to_identifier(table, quoted=True), db=exp.to_identifier(schema, quoted=True))
    parts = [
        exp.Alias(
            this=exp.Column(this=exp.to_identifier(column, quoted=True)), alias=exp.to_identifier(name, quoted=True)
        )
        for name, column in columns.items()
    ]
    return exp.Subquery(this=exp.Select(expressions=parts, from_=exp.From(this=place)))


def quote(name: str) -> str:
    """A name in double quotes."""
    return '"' + name.replace('"', '""') + '"'


def output_columns(tree: exp.Query) -> list[str] | None:
    """The names of the columns that the query gives, None where its text alone does not say."""
    names = []
    for part in tree.selects:
        name = output_name(part)
        if name is None:
            return None
        names.append(name)
    return names


def output_name(part: exp.Expr) -> str | None:
    """The name of one column of a result, None where the text does not say."""
    if part.is_star:
        return None
    while isinstance(part, exp.Cast | exp.Paren):
        part = part.this
    if isinstance(part, exp.Alias):
        return str(part.args["alias"].name)
    if isinstance(part, exp.Column):
        return str(part.this.name)
    return None  # Postgres finds a name of its own for it
