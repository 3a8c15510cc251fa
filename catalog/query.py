"""The SQL of a derived dataset: what it reads, and what it would have to be called with. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import sqlglot
from sqlglot import expressions as exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.scope import traverse_scope

# The same revisions must give the same result, so that a refresh can be repeated and an old one explained.
UNSTEADY = frozenset(
    [
        "now",
        "current_timestamp",
        "current_date",
        "current_time",
        "localtime",
        "localtimestamp",
        "clock_timestamp",
        "statement_timestamp",
        "transaction_timestamp",
        "timeofday",
        "random",
        "random_normal",
        "setseed",
        "gen_random_uuid",
        "uuid",
        "uuidv4",
        "uuidv7",
        "rand",
        "nextval",
        "currval",
        "lastval",
    ]
)
# What looks at the server instead of at the datasets, or acts on it.
FOREIGN_PREFIXES = (
    "pg_",
    "lo_",
    "dblink",
    "txid_",
    "inet_",
    "has_",
    "current_",
    "session_",
    "query_to_",
    "table_to_",
)
FOREIGN = frozenset(
    [
        "setval",
        "set_config",
        "version",
        "database_to_xml",
        "schema_to_xml",
        "cursor_to_xml",
        "user",
        "row_security_active",
        "database_to_xmlschema",
        "schema_to_xmlschema",
        "cursor_to_xmlschema",
        "database_to_xml_and_xmlschema",
        "schema_to_xml_and_xmlschema",
    ]
)
ALLOWED = frozenset({"pg_typeof"})
KEYWORDS = frozenset(
    [
        "localtime",
        "localtimestamp",
        "current_time",
        "current_catalog",
        "current_role",
        "session_user",
        "user",
        "system_user",
    ]
)
SPECIAL_MOMENTS = frozenset({"now", "today", "tomorrow", "yesterday"})
# What the parser calls otherwise than Postgres does.
SHOWN = {"rand": "random", "uuid": "gen_random_uuid", "current_timestamp": "the time now", "current_date": "today"}


@dataclass(frozen=True)
class TableName:
    """A table as the query writes it, and the characters of the query where it does."""

    schema: str  # empty: the dataset's own product
    name: str
    start: int
    end: int  # behind the last character
    aliased: bool

    @property
    def read(self) -> str:
        """How an input lists it: `dataset`, or `schema.dataset`; a dot of the dataset's own name comes second."""
        return f"{self.schema}.{self.name}" if self.schema or "." in self.name else self.name


class QueryTextError(ValueError):
    """The text is no query that can be run here; the message says why."""


def parse_query(query: str, *, steady: bool = True) -> exp.Query:
    """The one SELECT that a text is; QueryTextError where it is none, or does more than read datasets.

    `steady`: what gives another result each time, such as the time, is refused too.
    """
    try:
        parsed = sqlglot.parse(query, dialect="postgres")
    except (SqlglotError, RecursionError) as error:
        raise QueryTextError(str(error).splitlines()[0]) from error
    if len(parsed) != 1 or not isinstance(parsed[0], exp.Query):
        raise QueryTextError("must be one SELECT")
    tree = parsed[0]
    if tree.find(exp.DML, exp.DDL, exp.Command, exp.Into, exp.Lock):
        raise QueryTextError("must be one SELECT that writes and locks nothing")
    if steady and tree.find(exp.TableSample):
        raise QueryTextError("TABLESAMPLE gives another result at each refresh")
    if tree.find(exp.Placeholder, exp.Parameter):
        raise QueryTextError("holds a placeholder, which nothing fills in")
    for name in called_functions(tree):
        if steady and name in UNSTEADY:
            raise QueryTextError(
                f"{SHOWN.get(name, name)} gives another result at each refresh: only what the datasets hold may count"
            )
        if name not in ALLOWED | UNSTEADY and (name in FOREIGN or name.startswith(FOREIGN_PREFIXES)):
            raise QueryTextError(f"{name} looks at the server, not at datasets")
    return tree


def called_functions(tree: exp.Query) -> Iterator[str]:
    """The names of the functions that a query calls, in small letters."""
    for call in tree.find_all(exp.Func):
        if isinstance(call, exp.Anonymous):
            yield str(call.name).lower()
        else:
            yield call.sql_name().lower()
            yield call.key.lower()
    for cast in tree.find_all(exp.Cast):
        if cast.this.is_string and cast.this.name.strip().lower() in SPECIAL_MOMENTS:
            yield "current_timestamp"
    for column in tree.find_all(exp.Column):
        # Some of these are keywords, which parse as columns.
        if not column.table and not column.this.args.get("quoted") and column.name.lower() in KEYWORDS:
            yield column.name.lower()


def find_tables(tree: exp.Query) -> list[TableName]:
    """Every table that the query reads, in the order of its text; what `with` defines is none."""
    real = {id(source) for scope in traverse_scope(tree) for source in scope.sources.values()}
    defined = {fold(cte.args["alias"].this) for cte in tree.find_all(exp.CTE)}
    found = []
    for table in tree.find_all(exp.Table):
        if not isinstance(table.this, exp.Identifier):
            continue  # a function that gives rows
        schema = table.args.get("db")
        if table.args.get("catalog"):
            raise QueryTextError(f"{table.sql('postgres')}: no other database can be read")
        name = fold(table.this)
        if schema is None and name in defined and id(table) not in real:
            continue
        start = (schema or table.this).meta["start"]
        found.append(
            TableName(fold(schema) if schema else "", name, start, table.this.meta["end"] + 1, bool(table.alias))
        )
    return sorted(found, key=lambda table: table.start)


def fold(identifier: exp.Expression) -> str:
    """A name as Postgres reads it: small letters where it is not quoted."""
    return identifier.name if identifier.args.get("quoted") else identifier.name.lower()


def rename_tables(query: str, names: Mapping[str, str]) -> str:
    """The query with each table that it reads called as `names` says, but known inside the query as before."""
    tree = parse_query(query)
    changes: list[tuple[int, int, str]] = []
    for table in find_tables(tree):
        new = quote(names[table.read])
        changes.append((table.start, table.end, new if table.aliased else f"{new} AS {quote(table.name)}"))
    for column in tree.find_all(exp.Column):
        schema, table_part = column.args.get("db"), column.args.get("table")
        if schema is not None and table_part is not None:
            # Tables have one name only now: schema.table.column becomes table.column.
            changes.append((schema.meta["start"], table_part.meta["start"], ""))
    for start, end, text in sorted(changes, reverse=True):
        query = query[:start] + text + query[end:]
    return query


def quote(name: str) -> str:
    """A name in double quotes."""
    return '"' + name.replace('"', '""') + '"'


def output_columns(tree: exp.Query) -> list[str] | None:
    """The names of the columns that the query gives, None where its text alone does not tell."""
    names = []
    for part in tree.selects:
        if part.is_star:
            return None
        while isinstance(part, exp.Cast | exp.Paren):
            part = part.this
        if isinstance(part, exp.Alias):
            names.append(fold(part.args["alias"]))
        elif isinstance(part, exp.Column):
            names.append(fold(part.this))
        else:
            return None  # Postgres finds a name of its own for it
    return names
