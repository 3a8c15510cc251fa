"""Reads pages and records: a view's validator and statements, run on the pool; bytes out."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from opentelemetry import trace
from opentelemetry.trace import SpanKind
from psycopg_pool import AsyncConnectionPool

from api.cursor import Cursor, InvalidCursorError, decode_cursor, digest_query, encode_cursor
from api.params import RecordQuery, Validator
from api.problems import Problem, parameter_problem
from api.sql import PageShape, compile_page, compile_record, order_of
from catalog.database import translate_error
from catalog.dataset import Dataset
from catalog.errors import DatabaseUnavailableError
from catalog.tables import CatalogTables, DatasetTables
from catalog.telemetry import TRACER
from catalog.types import InvalidValueError

STATEMENTS_MAXIMUM = 200  # compiled statements kept per view
VIEWS_MAXIMUM = 1000

REVISION_AT = (
    "SELECT max(r.revision) FROM decant.revisions r JOIN decant.datasets d ON d.id = r.dataset_id"
    " WHERE d.product = %s AND d.major = %s AND d.dataset = %s AND r.published_at <= %s"
)


class View:
    """One dataset as one kind of caller sees it, with everything compiled that its requests need."""

    def __init__(self, tables: DatasetTables, hidden: frozenset[str]) -> None:
        self.tables = tables
        self.dataset = tables.dataset
        self.hidden = hidden
        self.validator = Validator(self.dataset, hidden)
        self.properties = tuple(self.validator.visible)
        self.statements: OrderedDict[Any, str] = OrderedDict()
        self.head = {"product": self.dataset.product, "major": self.dataset.major, "dataset": self.dataset.name}

    def page_statement(self, shape: PageShape) -> str:
        """The statement of a shape, compiled on its first use."""
        statement = self.statements.get(shape)
        if statement is None:
            statement = compile_page(self.tables, shape)
            self.keep(shape, statement)
        return statement

    def record_statement(self, properties: tuple[str, ...], *, pinned: bool) -> str:
        """The statement of one record."""
        shape = (properties, pinned)
        statement = self.statements.get(shape)
        if statement is None:
            statement = compile_record(self.tables, properties, pinned=pinned)
            self.keep(shape, statement)
        return statement

    def keep(self, shape: Any, statement: str) -> None:
        """Remembers a statement; strangers choose shapes, so their number is bounded."""
        self.statements[shape] = statement
        if len(self.statements) > STATEMENTS_MAXIMUM:
            self.statements.popitem(last=False)


@dataclass(frozen=True)
class Page:
    """A page's bytes, and what its headers say."""

    body: bytes
    revision: int
    next_url: str | None


class RecordReader:
    """Answers requests for records."""

    def __init__(self, pool: AsyncConnectionPool[Any], tables: CatalogTables, secret: bytes) -> None:
        self.pool = pool
        self.tables = tables
        self.secret = secret
        self.views: OrderedDict[tuple[str, str, frozenset[str]], View] = OrderedDict()

    def view(self, dataset: Dataset, hidden: frozenset[str]) -> View:
        """The dataset without the hidden properties."""
        place = (dataset.schema, dataset.name, hidden)
        view = self.views.get(place)
        if view is None:
            view = self.views[place] = View(self.tables.of(dataset), hidden)
            if len(self.views) > VIEWS_MAXIMUM:
                self.views.popitem(last=False)
        return view

    async def read_page(self, view: View, query: RecordQuery, path: str, query_string: bytes) -> Page:
        """The page that a query asks for; its `next` repeats every parameter but the cursor."""
        order = order_of(view.dataset, query.sort)
        digest = ""
        cursor = None
        if query.cursor is not None:
            digest = self.digest(view, query)
            cursor = self.open_cursor(query.cursor, digest)
        revision = cursor.revision if cursor else await self.revision_at(view, query.at)
        shape = PageShape(
            filters=query.filters,
            order=order,
            properties=query.properties or view.properties,
            pinned=revision is not None,
            after=tuple(value is None for value in cursor.after) if cursor else None,
        )
        values: dict[str, Any] = {**view.head, "limit": query.limit, "fetch": query.limit + 1}
        values |= {f"f{index}": value for index, value in enumerate(query.values)}
        if revision is not None:
            values["revision"] = revision
        if cursor:
            values |= self.cursor_values(view, order, cursor)
        row = await self.fetch(view, "page", view.page_statement(shape), values)
        head, oldest, found, records, last = row
        check_revision(revision, head, oldest)
        served = head if revision is None else revision
        next_url = None
        if found > query.limit:
            after = tuple(json.loads(last))
            token = encode_cursor(Cursor(served, digest or self.digest(view, query), after), self.secret)
            next_url = f"{path}?{without_cursor(query_string)}cursor={token}"
        body = b'{"data":[%b],"revision":%d,"next":%b}' % (
            records or b"",
            served,
            json.dumps(next_url).encode(),
        )
        return Page(body, served, next_url)

    async def read_record(self, view: View, key: Sequence[str], query: RecordQuery) -> Page:
        """One record by its key; `record_not_found` where this revision has none."""
        values: dict[str, Any] = dict(view.head)
        if len(key) != len(view.dataset.key):
            names = ",".join(view.dataset.key)
            raise Problem("record_not_found", f"The key has {len(view.dataset.key)} part(s): {names}.")
        for index, (name, text) in enumerate(zip(view.dataset.key, key, strict=True)):
            try:
                values[f"k{index}"] = view.dataset.properties[name].type.parse(text)
            except InvalidValueError as error:
                raise Problem("record_not_found", f"{name}: {error}.") from None
        revision = await self.revision_at(view, query.at)
        if revision is not None:
            values["revision"] = revision
        statement = view.record_statement(query.properties or view.properties, pinned=revision is not None)
        head, oldest, record = await self.fetch(view, "record", statement, values)
        check_revision(revision, head, oldest)
        if record is None:
            raise Problem("record_not_found")
        served = head if revision is None else revision
        return Page(b'{"data":%b,"revision":%d}' % (record, served), served, None)

    async def revision_at(self, view: View, at: int | datetime | None) -> int | None:
        """The revision that `at` names, or None for the current one."""
        if not isinstance(at, datetime):
            return at
        head = view.head
        values = (head["product"], head["major"], head["dataset"], at)
        (revision,) = await self.fetch(view, "revision", REVISION_AT, values)
        if revision is None:
            raise Problem("revision_gone", "Nothing had been published at that time.")
        return int(revision)

    def cursor_values(self, view: View, order: tuple[tuple[str, bool], ...], cursor: Cursor) -> dict[str, Any]:
        """The cursor's values as parameters of the statement."""
        return {
            f"a{index}": None if text is None else view.dataset.properties[name].type.parse(text)
            for index, ((name, _), text) in enumerate(zip(order, cursor.after, strict=True))
        }

    def digest(self, view: View, query: RecordQuery) -> str:
        """What a cursor binds: filters, sort, properties, `at` and view, but neither limit nor format."""
        return digest_query(
            view.dataset.address,
            sorted(view.hidden),
            [(f.property, f.operator) for f in query.filters],
            query.values,
            query.sort,
            query.properties,
            query.at,
        )

    def open_cursor(self, text: str, digest: str) -> Cursor:
        """The cursor, if it is ours and belongs to this query."""
        try:
            return decode_cursor(text, self.secret, digest)
        except InvalidCursorError as error:
            raise parameter_problem("invalid_cursor", "cursor", str(error)) from None

    async def fetch(self, view: View, kind: str, statement: str, values: Any) -> Any:
        """The one row of a statement; the database's errors become ours. Traced where the request is."""
        if not trace.get_current_span().is_recording():
            return await self.run(statement, values)
        name = f"SELECT {view.dataset.schema}.{view.dataset.table}"
        facts = {
            "db.system.name": "postgresql",
            "db.query.summary": f"{name} ({kind})",
            "db.query.text": statement,
            "db.collection.name": f"{view.dataset.schema}.{view.dataset.table}",
        }
        with TRACER.start_as_current_span(name, kind=SpanKind.CLIENT, attributes=facts):
            return await self.run(statement, values)

    async def run(self, statement: str, values: Any) -> Any:
        """Runs a prepared statement on a connection of the pool."""
        try:
            async with self.pool.connection() as connection:
                cursor = await connection.execute(statement.encode(), values, prepare=True)
                row = await cursor.fetchone()
        except Exception as error:
            raise translate_error(error) from error
        if row is None:
            raise DatabaseUnavailableError("The dataset has no table yet: run `decant migrate`.")
        return row


def check_revision(revision: int | None, head: int, oldest: int) -> None:
    """Refuses revisions that are not yet, or no longer, there."""
    if revision is None:
        return
    if revision > head:
        raise parameter_problem("invalid_value", "at", f"the newest revision is {head}")
    if revision < oldest:
        raise Problem("revision_gone", f"The oldest revision that can be read is {oldest}.")


def without_cursor(query_string: bytes) -> str:
    """The raw query string with every parameter but the cursor, ready for one more; safe in a Link header."""
    kept = [part for part in query_string.split(b"&") if part and not part.startswith(b"cursor=")]
    text = b"&".join(kept)
    return quote(text, safe="=&%[]+,:*-._~!$'()/?@") + ("&" if text else "")
