"""The revisions of a dataset: when each was published, and what it changed."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import aggregate_order_by

from api.database.statement import Statement
from api.datasets.reader import RecordReader
from api.datasets.whole_answer import WholeAnswer
from api.http.negotiation import JSON, MediaType
from api.http.problems import closest, parameter_problem
from api.http.query_string import split_query
from api.openapi_parts.names import operation_id
from api.openapi_parts.parameters import (
    page_parameters,
)
from api.openapi_parts.parts import NEXT, REVISION, UNCHANGED, answer, parameter, problem_answers
from api.query.parameters import LIMIT_DEFAULT, REVISION_DIGITS, Draft, read_limit
from api.query.question import Answer, Pin, Question, Target
from api.query.view import View
from api.sql.selection import is_head, with_heads
from api.sql.statement_text import render
from catalog.model.dataset import Dataset
from catalog.storage.ledger_tables import DatasetHead, Load, Revision
from runtime.json_types import JsonObject

PARAMETERS = ("limit", "before")
NEWEST = 10**REVISION_DIGITS  # before it are all
# The first two are no counts: those are made over all records, of which a view may show some only.
SHOWN = ("revision", "published_at", "record_count", "inserted", "updated", "deleted")
DECIDED = "published_anyway"


class Revisions(WholeAnswer):
    """A page of a dataset's publications, newest first."""

    name = "revisions"
    path = "/revisions"
    linked = True
    media_types: tuple[MediaType, ...] = (JSON,)

    def parse(self, view: View, target: Target) -> Question:
        """The question of a page: at most `limit` publications `before` a revision."""
        draft = Draft()
        for name, value in split_query(target.query_string):
            if name not in PARAMETERS:
                raise parameter_problem("unknown_parameter", name, "unknown parameter", closest(name, PARAMETERS))
            if name in draft.facts:
                raise parameter_problem("duplicate_parameter", name, "is repeated")
            if name == "limit":
                read_limit(name, value, draft)
            elif value.isascii() and value.isdigit() and len(value) <= REVISION_DIGITS:
                draft.facts[name] = int(value)
            else:
                raise parameter_problem("invalid_value", name, "expected a revision such as 42")
        limit, before = draft.facts.get("limit", LIMIT_DEFAULT), draft.facts.get("before", NEWEST)
        return Question((limit, before, target.path), repr((limit, before, target.path)).encode())

    def describe(self, dataset: Dataset, filters: list[JsonObject]) -> JsonObject:
        """Its operation."""
        return revisions_operation(dataset)

    async def answer(
        self, reader: RecordReader, view: View, question: Question, pin: Pin, media_type: MediaType
    ) -> Answer:
        """The page; its `next` asks for what was published before it."""
        limit, before, path = question.query
        statement = view.statement(self.name, lambda: compile_revisions(view))
        read = await reader.read(view, self.name, statement, {"limit": limit, "before": before})
        members, lowest, first = read.payload
        following = None
        if lowest is not None and first is not None and int(lowest) > int(first):
            following = f"{path}?limit={limit}&before={int(lowest)}"
        written = b'"%b"' % following.encode() if following else b"null"
        body = b'{"data":[%b],"revision":%d,"next":%b}' % (members or b"", read.revisions[0], written)
        return Answer(body, read.revisions, read.modified, following)


def compile_revisions(view: View) -> Statement:
    """The statement of a page: its members as JSON, its lowest revision, and the first there ever was."""
    table: Any = Revision.__table__
    head = DatasetHead.__table__.alias("_own")
    mine = table.c.dataset_id == sa.select(head.c.id).where(*is_head(head.c, view.dataset)).scalar_subquery()
    columns: list[Any] = [table.c[name] for name in (SHOWN[:2] if view.row_filtered else SHOWN)]
    if not view.row_filtered:  # who sees some records is told nothing of rules, which are measured over all
        columns.append(was_decided(table).label(DECIDED))
    page = (
        sa.select(*columns)
        .where(mine, table.c.revision < sa.bindparam("before", type_=sa.BigInteger))
        .order_by(table.c.revision.desc())
        .limit(sa.bindparam("limit", type_=sa.BigInteger))
        .subquery("_page")
    )
    row = sa.cast(sa.func.row_to_json(sa.literal_column('"_page"')), sa.Text)
    members = sa.func.string_agg(row, aggregate_order_by(sa.literal_column("','"), page.c.revision.desc()))
    shown = sa.select(members.label("members"), sa.func.min(page.c.revision).label("lowest")).subquery("_shown")
    first = sa.select(sa.func.min(table.c.revision)).where(mine).scalar_subquery()
    return render(with_heads([view], [shown.c.members, shown.c.lowest, first], shown))


def was_decided(revisions: Any) -> Any:
    """Whether the load of a revision was withheld at first, and published by an owner's decision."""
    loads: Any = Load.__table__
    asked = loads.c.request.op("->")(sa.literal_column("'publish'"))
    return sa.exists().where(loads.c.id == revisions.c.load_id, asked.is_not(None))


def revisions_operation(dataset: Dataset) -> JsonObject:
    """What was published when."""
    number: dict[str, Any] = {"type": "integer"}
    facts = dict.fromkeys(("revision", "record_count", "inserted", "updated", "deleted"), number)
    publication: JsonObject = {
        "published_at": {"type": "string", "format": "date-time"},
        DECIDED: {
            "type": "boolean",
            "description": "Whether its load was withheld, and an owner had it published all the same.",
        },
    }
    one = {"type": "object", "properties": facts | publication}
    schema = {
        "type": "object",
        "required": ["data", "revision", "next"],
        "properties": {"data": {"type": "array", "items": one}, "revision": REVISION, "next": NEXT},
    }
    earlier = {"type": "integer", "minimum": 0, "maximum": 10**REVISION_DIGITS - 1}
    before = parameter("before", "Only older revisions; `next` contains it.", earlier)
    return {
        "operationId": operation_id("list_revisions", dataset),
        "summary": f"Revisions of {dataset.name}",
        "description": "Newest first: time of publication, record count and changes of each revision.",
        "parameters": [before, *[p for p in page_parameters(dataset) if p["name"] == "limit"]],
        "responses": {
            "200": answer("A page of revisions.", schema, link=True),
            "304": UNCHANGED,
            **problem_answers(401, 404, 406, 410, 422, 429, 503, 504),
        },
    }
