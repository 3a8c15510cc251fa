"""Change feed: records inserted, updated and deleted after a revision, for clients that keep a copy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from api.database.statement import Statement
from api.datasets.changes_sql import ChangesShape, compile_changes
from api.datasets.reader import RecordReader, pinned_values
from api.datasets.whole_answer import WholeAnswer
from api.http.negotiation import JSON, MediaType
from api.http.problems import Problem, parameter_problem
from api.openapi_parts.names import operation_id, schema_name
from api.openapi_parts.parameters import at_parameter, page_parameters
from api.openapi_parts.parts import NEXT, UNCHANGED, answer, parameter, problem_answers
from api.query.cursor import KeyPart, digest_query, open_key, shorten_key
from api.query.pagination import check_position_found, check_room, next_page, open_cursor, text_parts
from api.query.parameters import (
    LIMIT_DEFAULT,
    REVISION_DIGITS,
    Draft,
    Reader,
    read_at,
    read_cursor,
    read_draft,
    read_epoch,
    read_limit,
)
from api.query.question import Answer, Pin, Question, Target
from api.query.view import View
from api.sql.pagination import After, key_values
from catalog.model.dataset import Dataset
from runtime.json_types import JsonObject


@dataclass(frozen=True)
class ChangesQuery:
    """What a request for changes asks for."""

    since: int
    properties: tuple[str, ...] | None = None
    limit: int = LIMIT_DEFAULT
    cursor: str | None = None
    at: int | datetime | None = None
    epoch: str | None = None


class Changes(WholeAnswer):
    """A page of changes; a walk over them is pinned to the revision that `at` names, or that was current first."""

    name = "changes"
    path = "/changes"
    linked = True
    media_types: tuple[MediaType, ...] = (JSON,)

    def parse(self, view: View, target: Target) -> Question:
        """The question of a page of changes."""
        readers: dict[str, Reader] = {
            "since": read_since,
            "properties": view.validator.readers["properties"],
            "limit": read_limit,
            "cursor": read_cursor,
            "at": read_at,
            "epoch": read_epoch,
        }
        draft = read_draft(target.query_string, readers)
        if "since" not in draft.facts:
            raise parameter_problem(
                "invalid_value", "since", "must be a revision; 0 returns every record as inserted"
            )
        query = ChangesQuery(**draft.facts)
        bound = () if query.at is None else (query.at,)
        digest = digest_query("changes", view.dataset.address, view.seen, query.since, query.properties, *bound)
        check_room(view, target)
        cursor = None if query.cursor is None else open_cursor(view, query.cursor, digest)
        return Question(
            query=(query, digest, cursor, target),
            canonical=repr((digest, query.limit, target)).encode(),
            at=None if cursor else query.at,
            pins=cursor.revisions if cursor else (),
            epoch=cursor.epoch if cursor else query.epoch,
            seen=query.since,
        )

    def describe(self, dataset: Dataset, filters: list[JsonObject]) -> JsonObject:
        """Its operation."""
        return changes_operation(dataset)

    async def answer(
        self, reader: RecordReader, view: View, question: Question, pin: Pin, media_type: MediaType
    ) -> Answer:
        """The changes, and where more of them are; on the last page, from where the next walk goes on."""
        query, digest, cursor, target = question.query
        check_order(query.since, pin)
        check_kept(query.since, pin.heads[0].oldest_revision)
        after = open_key(cursor.position) if cursor else ()
        statement = changes_statement(view, query, after)
        values = changes_values(query, after) | pinned_values(pin) | {"revision_1": query.since}
        read = await reader.read(view, self.name, statement, values)
        # What was pruned meanwhile is no longer known to have been there.
        check_kept(query.since, read.oldest[0])
        reader.check_read(read, pin)
        found, changes, last, *placed = read.payload
        if placed:
            check_position_found(placed[0])
        next_url = None
        if int(found or 0) > query.limit:
            position = shorten_key(json.loads(last or b"[]"), text_parts(view.dataset))
            next_url = next_page(view, target, pin.epoch, pin.revisions, digest, position)
        facts = {
            "revision": pin.revision,
            "since": query.since,
            "next": next_url,
            "next_since": None if next_url else pin.revision,
            "next_epoch": None if next_url else pin.epoch,
        }
        body = b'{"data":[%b],%b' % (changes or b"", json.dumps(facts, separators=(",", ":")).encode()[1:])
        return Answer(body, pin.revisions, read.modified, next_url)


def read_since(name: str, value: str, draft: Draft) -> None:
    """The revision that the caller's copy stands at."""
    if not (value.isascii() and value.isdigit() and len(value) <= REVISION_DIGITS):
        raise parameter_problem("invalid_value", name, "expected a revision such as 41")
    draft.facts["since"] = int(value)


def check_order(since: int, pin: Pin) -> None:
    """Nothing comes back where the revision of the caller's copy is none that comes later than the walk's."""
    if since > pin.heads[0].revision:
        raise parameter_problem("invalid_value", "since", f"the newest revision is {pin.heads[0].revision}")
    if since > pin.revision:
        raise parameter_problem("invalid_value", "at", f"revision {pin.revision} comes before since={since}")


def check_kept(since: int, oldest: int) -> None:
    """Nothing comes back where it can be told what changed; from nothing at all it always can."""
    if 0 < since < oldest:
        hint = f"The kept history begins at revision {oldest}: begin a new copy with since=0."
        raise Problem("revision_gone", hint)


def changes_statement(view: View, query: ChangesQuery, key: Sequence[KeyPart]) -> Statement:
    """The statement of a page of changes, behind a cursor's key where there is one."""
    after = After((False,) * len(key), tuple(part.digest is not None for part in key)) if key else None
    shape = ChangesShape(query.properties or view.properties, after)
    return view.statement(shape, lambda: compile_changes(view, shape))


def changes_values(query: ChangesQuery, key: Sequence[KeyPart]) -> dict[str, Any]:
    """The values of a page's statement."""
    return {"limit": query.limit, "fetch": query.limit + 1} | key_values(key)


def changes_operation(dataset: Dataset) -> JsonObject:
    """What to do to a copy of an older revision."""
    since = parameter(
        "since",
        "The revision of the caller's copy; 0 returns every record as inserted.",
        {"type": "integer", "minimum": 0, "examples": [0]},
    )
    at = at_parameter() | {
        "description": "Up to which revision: its number, or a moment (RFC 3339) for the one that was current then;"
        " the newest where left out."
    }
    shared = [p for p in page_parameters(dataset) if p["name"] in {"limit", "cursor", "epoch", "properties"}]
    return {
        "operationId": operation_id("list_changes", dataset),
        "summary": f"Changes of {dataset.name}",
        "description": "Inserted, updated and deleted records after a revision, in the order of the key.",
        "parameters": [since | {"required": True}, at, *shared],
        "responses": {
            "200": answer("A page of changes.", changes_schema(dataset), link=True),
            "304": UNCHANGED,
            **problem_answers(401, 404, 406, 410, 422, 429, 503, 504),
        },
    }


def changes_schema(dataset: Dataset) -> JsonObject:
    """A page of changes."""
    record = {"$ref": f"#/components/schemas/{schema_name(dataset)}"}
    change: JsonObject = {
        "type": "object",
        "required": ["change", "key", "record"],
        "properties": {
            "change": {"type": "string", "enum": ["inserted", "updated", "deleted"]},
            "key": {"type": "object", "description": f"The record's {', '.join(dataset.key)}."},
            "record": {
                "oneOf": [record, {"type": "null"}],
                "description": "The record at that revision; null if it was deleted.",
            },
        },
    }
    return {
        "type": "object",
        "required": ["data", "revision", "since", "next", "next_since", "next_epoch"],
        "properties": {
            "data": {"type": "array", "items": change},
            "revision": {"type": "integer", "description": "The last revision that the walk covers."},
            "since": {"type": "integer", "description": "The requested revision."},
            "next": NEXT,
            "next_since": {
                "type": ["integer", "null"],
                "description": "On the last page: the value of `since` for the next walk.",
            },
            "next_epoch": {
                "type": ["string", "null"],
                "description": "On the last page: the epoch of `next_since`; send it as `epoch`.",
            },
        },
    }
