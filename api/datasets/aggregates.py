"""Aggregate queries: counts, sums and other measures, over all records or by group."""

from __future__ import annotations

import json
from typing import Any

from psycopg.errors import InvalidParameterValue

from api.database.statement import Statement
from api.datasets.aggregates_parameters import MEASURES, AggregateQuery, AggregateValidator
from api.datasets.aggregates_sql import AggregateShape, compile_aggregate, order_groups
from api.datasets.reader import RecordReader
from api.datasets.whole_answer import WholeAnswer
from api.http.negotiation import JSON, MediaType
from api.http.problems import parameter_problem
from api.openapi_parts.names import operation_id
from api.openapi_parts.parameters import (
    page_parameters,
)
from api.openapi_parts.parts import NEXT, REVISION, UNCHANGED, answer, list_parameter, parameter, problem_answers
from api.query.cursor import Cursor, digest_query
from api.query.pagination import check_room, next_page, open_cursor
from api.query.question import Answer, Pin, Question, Target
from api.query.view import View
from api.sql.selection import Age
from catalog.model.dataset import Dataset
from catalog.types.filter_operators import EQUAL
from runtime.errors import DatabaseError
from runtime.json_types import JsonObject


class Aggregate(WholeAnswer):
    """A page of groups with their measures."""

    name = "aggregate"
    path = "/aggregate"
    linked = True
    media_types: tuple[MediaType, ...] = (JSON,)

    def parse(self, view: View, target: Target) -> Question:
        """The question of an aggregate."""
        query = AggregateValidator(view.validator).parse(target.query_string)
        digest = digest_aggregate(view, query)
        check_room(view, target)
        cursor = None if query.cursor is None else open_cursor(view, query.cursor, digest)
        return Question(
            query=(query, digest, cursor, target),
            canonical=repr((digest, query.limit, target)).encode(),
            at=None if cursor else query.at,
            pins=cursor.revisions if cursor else (),
            epoch=cursor.epoch if cursor else query.epoch,
        )

    def describe(self, dataset: Dataset, filters: list[JsonObject]) -> JsonObject:
        """Its operation."""
        return aggregate_operation(dataset, filters)

    async def answer(
        self, reader: RecordReader, view: View, question: Question, pin: Pin, media_type: MediaType
    ) -> Answer:
        """The groups, and where more of them are."""
        query, digest, cursor, target = question.query

        def statement(age: Age) -> Statement:
            shape = shape_aggregate(query, age=age)
            return view.statement(shape, lambda: compile_aggregate(view, shape))

        values = aggregate_values(query, cursor)
        try:
            read = await reader.read_pinned(view, self.name, statement, values, pin)
        except DatabaseError as error:
            if isinstance(error.__cause__, InvalidParameterValue):
                # Postgres has a list of time zones of its own.
                raise parameter_problem("invalid_value", "timezone", "unknown time zone") from error
            raise
        revisions = pin.revisions if pin.fixed else read.revisions
        found, groups, _ = read.payload
        next_url = None
        if int(found or 0) > query.limit:
            next_url = next_page(view, target, pin.epoch, revisions, digest, [values["offset"] + query.limit])
        following = json.dumps(next_url).encode()
        body = b'{"data":[%b],"revision":%d,"next":%b}' % (groups or b"", revisions[0], following)
        return Answer(body, revisions, read.modified, next_url)


def shape_aggregate(query: AggregateQuery, *, age: Age) -> AggregateShape:
    """What the statement of an aggregate depends on."""
    return AggregateShape(
        groups=query.groups,
        measures=query.measures,
        filters=query.filters,
        order=order_groups(query.groups, query.sort),
        age=age,
    )


def aggregate_values(query: AggregateQuery, cursor: Cursor | None) -> dict[str, Any]:
    """The values of an aggregate's statement."""
    offset = cursor.position[0] if cursor else 0
    values = {"timezone": query.timezone, "limit": query.limit, "fetch": query.limit + 1, "offset": offset}
    return values | {f"f{index}": value for index, value in enumerate(query.values)}


def digest_aggregate(view: View, query: AggregateQuery) -> str:
    """What a cursor binds: everything that is asked but the limit, and whose view it is."""
    return digest_query(
        "aggregate",
        view.dataset.address,
        view.seen,
        [(group.of, group.bucket, *([group.width] if group.width else [])) for group in query.groups],
        [(measure.function, measure.of) for measure in query.measures],
        [(f.property, f.operator) for f in query.filters],
        query.values,
        query.sort,
        query.timezone,
        query.at,
    )


def aggregate_operation(dataset: Dataset, filters: list[JsonObject]) -> JsonObject:
    """Counts, sums and their like."""
    properties = [p for p in dataset.properties.values() if not p.masked]
    timestamp = next((p for p in properties if p.type.buckets), None)
    number = next((p for p in properties if p.type.is_number and p.name not in dataset.key), None)
    plain = next((p for p in properties if p.name not in dataset.key and EQUAL.applies(p.type)), None)
    groups = [p.name for p in (plain,) if p] + ([f"month({timestamp.name})"] if timestamp else [])
    groups += [f"bin({number.name},10)"] if number else []
    measures = ["count"] + ([f"avg:{number.name}"] if number else [])
    schema = {
        "type": "object",
        "required": ["data", "revision", "next"],
        "properties": {
            "data": {
                "type": "array",
                "description": "A row for each group: its values and measures, such as `count` or `avg_price`.",
                "items": {
                    "type": "object",
                    "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
                },
            },
            "revision": REVISION,
            "next": NEXT,
        },
    }
    shared = [p for p in page_parameters(dataset) if p["name"] in {"limit", "cursor", "at", "epoch", "q"}]
    return {
        "operationId": operation_id("aggregate", dataset),
        "summary": f"Aggregates of {dataset.name}",
        "description": "Counts, sums and other measures of all records or of groups. Filters are the same as"
        " for records.",
        "parameters": [
            list_parameter(
                "group_by",
                "Properties, time buckets of them (`year`, `quarter`, `month`, `week`, `day`, `hour`, `minute`), or"
                " bins of numbers: `bin(PROPERTY,WIDTH)`, whose value is the lower edge, a multiple of the width.",
                groups or list(dataset.key[:1]),
            ),
            list_parameter("measure", f"Measures: {', '.join(MEASURES)}; all but `count` need a property.", measures),
            list_parameter("sort", "Names of groups and measures; a leading `-` sorts descending.", ["-count"]),
            parameter("timezone", "Time zone of the buckets.", {"type": "string", "default": "UTC"}),
            *shared,
            *filters,
        ],
        "responses": {
            "200": answer("A page of groups.", schema, link=True),
            "304": UNCHANGED,
            **problem_answers(401, 404, 406, 410, 422, 429, 503, 504),
        },
    }
