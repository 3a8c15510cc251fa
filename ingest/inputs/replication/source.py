"""The source of a replicated table: its slot, its columns, its rows, and what the slot holds.

Everything is asked with SQL functions, in transactions that only read, so that it works through poolers too. Reading
takes nothing off the slot: it peeks. Only `advance` says what need not be kept any more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from catalog.model.sources import ReplicationSource
from ingest.errors import SourceError, SourceUnavailableError
from ingest.inputs.database.engine import make_source_engine, make_url
from ingest.inputs.database.errors import explain
from ingest.inputs.database.input import as_bytes
from ingest.inputs.database.own_database import refuse_own
from ingest.inputs.database.session import holds_any_bytes, read_only
from ingest.inputs.kept import KeptConnections
from ingest.inputs.raw_batch import InputContext
from ingest.inputs.replication.changes import read_lsn, write_lsn
from ingest.inputs.replication.pgoutput import Column
from ingest.inputs.replication.position import SlotState
from ingest.inputs.replication.table import Table, quote, source_of
from ingest.inputs.replication.values import Types
from ingest.inputs.variables import VariableExpander

IN_USE = "55006"  # SQLSTATE: another session reads the slot
WAITING_SECONDS = 10.0  # for it: a look is short, and the session of a killed load ends soon
PAUSE_SECONDS = 0.1
STREAMED: dict[str, Any] = {"stream_results": True, "max_row_buffer": 1_000}  # a cursor on the server
COUNTED_CHANGES = 1_000  # at which the count of what waits ends, at the end of a transaction
FIND_SLOT = (
    "SELECT s.plugin, s.database = current_database(), s.wal_status, s.confirmed_flush_lsn::text,"
    " (pg_current_wal_lsn() - s.restart_lsn)::bigint, pg_current_wal_flush_lsn()::text"
    " FROM (SELECT) AS here LEFT JOIN pg_replication_slots AS s ON s.slot_name = %s"
)
FIND_SYSTEM = (
    "SELECT has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')",
    "SELECT system_identifier::text FROM pg_catalog.pg_control_system()",
)
# Autovacuum counts the records of partitions, and never those of the table that they belong to.
FIND_TABLE = (
    "SELECT n.nspname, c.relname, c.relreplident::text, greatest(1, c.reltuples, ("
    "WITH RECURSIVE part AS (SELECT c.oid AS id, c.relkind AS kind, c.reltuples AS number UNION ALL"
    " SELECT p.oid, p.relkind, p.reltuples FROM part JOIN pg_inherits AS i"
    " ON i.inhparent = part.id AND part.kind = 'p' JOIN pg_class AS p ON p.oid = i.inhrelid)"
    " SELECT sum(greatest(number, 0)) FROM part WHERE kind <> 'p'))::bigint FROM pg_class AS c"
    " JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = to_regclass(%s)"
)
FIND_COLUMNS = (
    "SELECT a.attname, a.atttypid::bigint, a.attlen = -1 AND a.attstorage <> 'p', c.relreplident = 'f' OR EXISTS ("
    "SELECT FROM pg_index AS i WHERE i.indrelid = c.oid AND a.attnum = ANY (i.indkey)"
    " AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident END)"
    " FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid"
    " WHERE c.oid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
)
FIND_PUBLISHED = (
    "SELECT to_jsonb(p) FROM pg_publication_tables AS p WHERE pubname = %s AND schemaname = %s AND tablename = %s"
)
# Domains, and arrays of types that are the source's own.
FIND_TYPES = (
    "SELECT t.oid::bigint, t.typtype::text, t.typbasetype::bigint, t.typelem::bigint FROM pg_type AS t"
    " LEFT JOIN pg_type AS e ON e.oid = t.typelem"
    " WHERE t.typtype = 'd' OR (t.typcategory = 'A' AND t.oid >= 16384 AND e.typtype <> 'c')"
)
PEEK = "pg_logical_slot_peek_binary_changes(%s, %s::pg_lsn, %s, 'proto_version', '1', 'publication_names', %s)"
Answer = TypeVar("Answer")
KEPT: KeptConnections[sa.URL, sa.Connection] = KeptConnections()


class ReplicationOrigin:
    """A connection to the source's database."""

    def __init__(self, connection: sa.Connection, source: ReplicationSource) -> None:
        self.connection = connection
        self.source = source

    def find_slot(self) -> SlotState:
        """The slot, and how far the log is written."""
        with explain(self.source.database), read_only(self.connection, self.source.database):
            row = self.ask(FIND_SLOT, self.source.slot)[0]
            knows = self.ask(FIND_SYSTEM[0])[0][0]
            system = str(self.ask(FIND_SYSTEM[1])[0][0]) if knows else None
        plugin, is_here, status, confirmed, kept, end = row
        return SlotState(
            system=system,
            end=read_lsn(end),
            exists=is_here is not None or plugin is not None,
            is_own=plugin == "pgoutput" and bool(is_here),
            status=status or "lost",
            confirmed=read_lsn(confirmed) if confirmed else 0,
            kept_bytes=int(kept or 0),
        )

    def find_table(self) -> Table:
        """The table as it is now and as the publication has it; SourceError where it has not."""
        source, database = self.source, self.source.database
        name = quote(database.schema, database.table)
        with explain(database), read_only(self.connection, database):
            found = self.ask(FIND_TABLE, name)
            if not found:
                raise SourceError(f"Reading {source.address} failed: there is no such table.")
            schema, table, identity, rows = found[0]
            columns = self.ask(FIND_COLUMNS, name)
            published = self.ask(FIND_PUBLISHED, source.publication, schema, table)
            types = self.ask(FIND_TYPES)
        if not published:
            raise SourceError(
                f"The publication {source.publication} of {database.server} does not have the table {schema}.{table}:"
                " `decant replication create` makes a publication that does not exist; to one that does, the table's"
                " owner adds it (ALTER PUBLICATION … ADD TABLE; a partitioned one needs publish_via_partition_root)."
            )
        names = published[0][0].get("attnames") or [each[0] for each in columns]
        return Table(
            schema=schema,
            name=table,
            identity=identity,
            rows=int(rows),
            columns=tuple(Column(each[0], each[1], bool(each[3])) for each in columns if each[0] in names),
            large=frozenset(each[0] for each in columns if each[2] and each[0] in names),
            row_filter=published[0][0].get("rowfilter"),
            types=Types(
                {oid: base for oid, kind, base, _ in types if kind == "d"},
                {oid: element for oid, kind, _, element in types if kind != "d"},
            ),
        )

    def advance(self, lsn: int) -> None:
        """Lets the source forget what lies before this place of its log."""
        statement = "SELECT pg_replication_slot_advance(%s, %s::pg_lsn)"
        self.wait_for_slot(lambda: self.ask(statement, self.source.slot, write_lsn(lsn)))

    def count_changes(self, end: int) -> int:
        """How many changed rows the slot holds up to there, of all tables of its publication; a count of about
        COUNTED_CHANGES is one that has ended early."""
        query = f"SELECT count(*) FILTER (WHERE get_byte(data, 0) IN (68, 73, 84, 85)) FROM {PEEK}"
        return int(self.wait_for_slot(lambda: self.ask(query, *self.peeked(end, COUNTED_CHANGES))[0][0]))

    @contextmanager
    def peek(self, end: int, limit: int) -> Iterator[Iterator[bytes]]:
        """The messages of whole transactions that commit before `end`; the one that reaches the limit is the last."""
        with explain(self.source.database), read_only(self.connection, self.source.database):

            def ask() -> sa.CursorResult[Any]:
                query = f"SELECT data FROM {PEEK}"
                return self.connection.exec_driver_sql(query, self.peeked(end, limit), execution_options=STREAMED)

            with closing(self.wait_in_transaction(ask)) as result:
                yield (bytes(row[0]) for row in result)

    def read_rows(self, table: Table) -> Generator[list[bytes | None]]:
        """Every row, as one snapshot of the table has it."""
        listed = ", ".join(f"{quote(column.name)}::text" for column in table.columns)
        query = f"SELECT {listed} FROM {quote(table.schema, table.name)}"
        if table.row_filter:
            query += f" WHERE {table.row_filter}"
        with explain(self.source.database), read_only(self.connection, self.source.database):
            self.connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            options = STREAMED | {"no_parameters": True}
            with closing(self.connection.exec_driver_sql(query, execution_options=options)) as result:
                for row in result:
                    yield [None if value is None else as_bytes(value) for value in row]

    def make_publication(self) -> bool:
        """Makes the publication of this one table where it does not exist; whether it did not."""
        source, database = self.source, self.source.database
        with explain(database), read_only(self.connection, database):
            if self.ask("SELECT 1 FROM pg_publication WHERE pubname = %s", source.publication):
                return False
        name = quote(source.publication).replace("%", "%%")
        table = quote(database.schema, database.table).replace("%", "%%")
        self.run(f"CREATE PUBLICATION {name} FOR TABLE {table} WITH (publish_via_partition_root = true)")
        return True

    def run(self, statement: str, *values: Any) -> None:
        """Runs a statement in a transaction of its own that may write."""
        with explain(self.source.database):
            self.connection.rollback()
            self.connection.exec_driver_sql(statement, values)
            self.connection.commit()

    def peeked(self, end: int, limit: int) -> tuple[Any, ...]:
        """The parameters of a peek."""
        return (self.source.slot, write_lsn(end), limit, f'"{self.source.publication}"')

    def ask(self, query: str, *values: Any) -> list[Any]:
        """The rows of a query."""
        return list(self.connection.exec_driver_sql(query, values or None))

    def wait_for_slot(self, ask: Callable[[], Answer]) -> Answer:
        """What is asked in a transaction of its own, when no other session reads the slot."""
        with explain(self.source.database), read_only(self.connection, self.source.database):
            return self.wait_in_transaction(ask)

    def wait_in_transaction(self, ask: Callable[[], Answer]) -> Answer:
        """What is asked, again and again while another session reads the slot; SourceUnavailableError in the end."""
        deadline = time.monotonic() + WAITING_SECONDS
        while True:
            savepoint = self.connection.begin_nested()
            try:
                return ask()
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) != IN_USE:
                    raise
                savepoint.rollback()
            if time.monotonic() > deadline:
                raise SourceUnavailableError(
                    f"The slot {self.source.slot} of {self.source.database.server} is in use by another session."
                )
            time.sleep(PAUSE_SECONDS)


def connect(context: InputContext) -> sa.Connection:
    """A new connection to the source's database; SourceError where that is Decant's own, or there is no way to it."""
    source = source_of(context.source)
    engine = make_source_engine(source.database, VariableExpander(context.permits))
    with explain(source.database):
        connection = engine.connect()
        try:
            refuse_own(connection, context.engine, source.database)
            if holds_any_bytes(connection):
                raise SourceError(
                    f"The database {source.database.server} has the encoding SQL_ASCII, whose texts may be any bytes:"
                    " its tables cannot be followed."
                )
        except BaseException:
            connection.close()
            raise
    return connection


@contextmanager
def open_origin(context: InputContext) -> Iterator[ReplicationOrigin]:
    """A new connection to the source's database, closed afterwards."""
    connection = connect(context)
    try:
        yield ReplicationOrigin(connection, source_of(context.source))
    finally:
        connection.close()


@contextmanager
def borrow_origin(context: InputContext) -> Iterator[ReplicationOrigin]:
    """A connection to the source's database for a look, kept or new; SourceError where that cannot be had."""
    source = source_of(context.source)
    url = make_url(source.database, VariableExpander(context.permits))  # permits and variables are those of now
    with KEPT.lend(url, lambda: connect(context)) as connection:
        yield ReplicationOrigin(connection, source)
