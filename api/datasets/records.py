"""Pages of records, and single records."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from api.database.statement import Statement
from api.datasets.reader import RecordReader
from api.datasets.records_sql import COMMON_LIMITS, PageShape, compile_page, compile_record
from api.datasets.whole_answer import WholeAnswer
from api.http.negotiation import CSV, JSON, NDJSON, MediaType
from api.http.problems import Problem, parameter_problem
from api.openapi_parts.names import PAGE, operation_id, schema_name
from api.openapi_parts.parameters import (
    at_parameter,
    epoch_parameter,
    expand_parameter,
    key_parameter,
    page_parameters,
    properties_parameter,
)
from api.openapi_parts.parts import UNCHANGED, answer, problem_answers
from api.query.cursor import Cursor, digest_query, open_key, shorten_key
from api.query.pagination import check_link, check_position_found, check_room, next_page, open_cursor, text_parts
from api.query.parameters import RecordQuery
from api.query.question import Answer, Pin, Question, Target
from api.query.record_key import parse_key
from api.query.view import View
from api.sql.csv_lines import csv_header
from api.sql.keyset import Order, order_of
from api.sql.pagination import After, key_values, properties_not_in_cursor
from api.sql.selection import Age
from catalog.model.dataset import Dataset
from runtime.json_types import JsonObject


class Page(WholeAnswer):
    """A page of records."""

    name = "records"
    path = "/records"
    linked = True
    media_types: tuple[MediaType, ...] = (JSON, CSV, NDJSON)

    def parse(self, view: View, target: Target) -> Question:
        """The question of a page."""
        query = view.validator.parse(target.query_string)
        digest = digest_page(view, query)
        check_room(view, target, 1 + len(query.expand), len(query.sort))
        cursor = None if query.cursor is None else open_cursor(view, query.cursor, digest)
        return Question(
            query=PageQuery(query, digest, cursor, target),
            # `next` repeats the address as it was written.
            canonical=repr((digest, query.limit, query.count, target)).encode(),
            at=None if cursor else query.at,
            pins=cursor.revisions if cursor else (),
            epoch=cursor.epoch if cursor else query.epoch,
            related_views=tuple(view.related[name].view for name in query.expand),
        )

    def describe(self, dataset: Dataset, filters: list[JsonObject]) -> JsonObject:
        """Its operation."""
        return page_operation(dataset, filters)

    async def answer(
        self, reader: RecordReader, view: View, question: Question, pin: Pin, media_type: MediaType
    ) -> Answer:
        """The page; its `next` repeats every parameter but the cursor."""
        page: PageQuery = question.query
        query = page.query
        if query.expand and media_type is CSV:
            raise parameter_problem("invalid_value", "expand", "needs JSON: CSV has no column for it")
        if media_type is not JSON:
            check_link(view, page.target, 1 + len(query.expand), len(query.sort))
        values = page_values(page)

        def statement(age: Age) -> Statement:
            shape = shape_page(view, page, media_type, age=age)
            return view.statement(shape, lambda: compile_page(view, shape))

        read = await reader.read_pinned(view, self.name, statement, values, pin)
        revisions = pin.revisions if pin.fixed else read.revisions
        found, records, last, *total = read.payload
        if page.looks_up(view.dataset):
            check_position_found(total.pop(0))
        next_url = None
        if int(found or 0) > query.limit:
            position = make_position(view.dataset, query, json.loads(last or b"[]"))
            next_url = next_page(view, page.target, pin.epoch, revisions, page.digest, position)
        if media_type is JSON:
            body = write_page(records or b"", revisions[0], next_url, total)
        else:
            body = write_lines(view, query, media_type, records or b"")
        return Answer(body, revisions, read.modified, next_url)


class Record(WholeAnswer):
    """One record by its key."""

    name = "record"
    path = "/records/{key:path}"
    linked = False
    media_types: tuple[MediaType, ...] = (JSON,)

    def parse(self, view: View, target: Target) -> Question:
        """The question of one record; `record_not_found` where no record can have such a key."""
        allowed = ("properties", "at", "epoch", *(("expand",) if view.related else ()))
        query = view.validator.parse(target.query_string, allowed)
        key = parse_key(view, target.key)
        return Question(
            query=(query, key),
            canonical=repr((key, query.properties, query.expand)).encode(),
            at=query.at,
            epoch=query.epoch,
            related_views=tuple(view.related[name].view for name in query.expand),
        )

    def describe(self, dataset: Dataset, filters: list[JsonObject]) -> JsonObject:
        """Its operation."""
        return record_operation(dataset)

    async def answer(
        self, reader: RecordReader, view: View, question: Question, pin: Pin, media_type: MediaType
    ) -> Answer:
        """The record; `record_not_found` where this revision has none."""
        query, key = question.query
        properties = query.properties or view.properties
        values = {f"k{index}": value for index, value in enumerate(key)}

        def statement(age: Age) -> Statement:
            shape = ("record", properties, query.expand, age)
            return view.statement(shape, lambda: compile_record(view, properties, query.expand, age=age))

        read = await reader.read_pinned(view, self.name, statement, values, pin)
        revisions = pin.revisions if pin.fixed else read.revisions
        record = read.payload[0]
        if record is None:
            raise Problem("record_not_found")
        return Answer(b'{"data":%b,"revision":%d}' % (record, revisions[0]), revisions, read.modified)


class PageQuery:
    """A parsed page: what is asked, its digest, the position of the walk, and the address that `next` repeats."""

    __slots__ = ("cursor", "digest", "key", "query", "target")

    def __init__(self, query: RecordQuery, digest: str, cursor: Cursor | None, target: Target) -> None:
        self.query = query
        self.digest = digest
        self.cursor = cursor
        self.key = open_key(cursor.position[1:]) if cursor else ()
        self.target = target

    def after(self, order: Order) -> After | None:
        """The position of the walk, as its statement depends on it: bits of the cursor mark null sort values."""
        if self.cursor is None:
            return None
        nulls = tuple(bool(self.cursor.position[0] >> index & 1) for index in range(len(order)))
        return After(nulls, tuple(part.digest is not None for part in self.key))

    def looks_up(self, dataset: Dataset) -> bool:
        """Whether the statement looks for the cursor's record."""
        order = order_of(dataset, self.query.sort)
        after = self.after(order)
        return after is not None and bool(properties_not_in_cursor(dataset, order, after))


def make_position(dataset: Dataset, query: RecordQuery, last: list[Any]) -> list[Any]:
    """What a cursor holds of the last record: which sort values are null, as bits, and the key."""
    size = len(order_of(dataset, query.sort))
    nulls = sum(is_null << index for index, is_null in enumerate(last[:size]))
    return [nulls, *shorten_key(last[size:], text_parts(dataset))]


def shape_page(view: View, page: PageQuery, media_type: MediaType, *, age: Age) -> PageShape:
    """What the statement of a page depends on."""
    query = page.query
    order = order_of(view.dataset, query.sort)
    return PageShape(
        filters=query.filters,
        order=order,
        properties=query.properties or view.properties,
        limit=query.limit if query.limit in COMMON_LIMITS else None,
        age=age,
        after=page.after(order),
        count=query.count,
        expand=query.expand,
        media_type=media_type.name,
    )


def page_values(page: PageQuery) -> dict[str, Any]:
    """The values of a page's statement."""
    query = page.query
    values: dict[str, Any] = {"limit": query.limit, "fetch": query.limit + 1}
    for index, value in enumerate(query.values):
        values[f"f{index}"] = value
    return values | key_values(page.key)


def write_lines(view: View, query: RecordQuery, media_type: MediaType, records: bytes) -> bytes:
    """The body of a page in a form of lines."""
    if media_type is CSV:
        properties = [view.shown[name] for name in query.properties or view.properties]
        return csv_header(properties).encode() + records
    return records + b"\n" if records else b""


def write_page(records: bytes, revision: int, next_url: str | None, total: Sequence[bytes | None]) -> bytes:
    """The body of a page as JSON."""
    count = b""
    if total:
        exact = b"true" if total[1] == b"t" else b"false"
        count = b',"count":{"value":%b,"exact":%b}' % (total[0] or b"0", exact)
    following = json.dumps(next_url).encode() if next_url else b"null"
    return b'{"data":[%b],"revision":%d,"next":%b%b}' % (records, revision, following, count)


def digest_page(view: View, query: RecordQuery) -> str:
    """What a cursor binds: filters, sort, properties, `at`, `expand` and view, but neither limit nor form."""
    return digest_query(
        view.dataset.address,
        view.seen,
        [(f.property, f.operator) for f in query.filters],
        query.values,
        query.sort,
        query.properties,
        query.at,
        query.expand,
    )


def page_operation(dataset: Dataset, filters: list[JsonObject]) -> JsonObject:
    """A page of records."""
    return {
        "operationId": operation_id("list", dataset),
        "summary": f"A page of {dataset.name}",
        "description": f"{dataset.description}\n\nOrdered by its key "
        f"({', '.join(dataset.key)}) unless `sort` is sent.".strip(),
        "parameters": [*page_parameters(dataset), *filters],
        "responses": {
            "200": page_answer(schema_name(dataset)),
            "304": UNCHANGED,
            **problem_answers(401, 404, 406, 410, 422, 429, 503, 504),
        },
    }


def record_operation(dataset: Dataset) -> JsonObject:
    """One record."""
    schema = {
        "type": "object",
        "required": ["data", "revision"],
        "properties": {
            "data": {"$ref": f"#/components/schemas/{schema_name(dataset)}"},
            "revision": {"type": "integer", "description": "The revision that was read."},
        },
    }
    return {
        "operationId": operation_id("get", dataset),
        "summary": f"One record of {dataset.name}",
        "description": "The record with this key.",
        "parameters": [
            key_parameter(dataset),
            properties_parameter(list(dataset.key[:1])),
            at_parameter(),
            epoch_parameter(),
            *expand_parameter(dataset),
        ],
        "responses": {
            "200": answer("The record.", schema),
            "304": UNCHANGED,
            **problem_answers(401, 404, 406, 410, 422, 429, 503, 504),
        },
    }


def page_answer(name: str) -> JsonObject:
    """A page, in each of its forms."""
    schema = {"$ref": f"#/components/schemas/{name}{PAGE}"}
    return answer("A page of records.", schema, [form.bare_type for form in (CSV, NDJSON)], link=True)
