"""The operations on status and schedules."""

from __future__ import annotations

from collections.abc import Iterator

from api.openapi.loads import INTEGER, MAYBE_INTEGER, MAYBE_TEXT, TEXT, TIMESTAMP, json_answer, operation
from api.openapi_parts.parts import PathItem, in_data, problem_answers
from catalog.status.attention import KINDS
from catalog.status.schedules import MAKERS
from catalog.storage.ledger_tables import LOAD_KINDS
from catalog.storage.statuses import LOAD_STATUSES
from runtime.json_types import JsonObject

MAYBE_NUMBER: JsonObject = {"type": ["number", "null"]}
BOOLEAN: JsonObject = {"type": "boolean"}
KIND = TEXT | {"enum": list(LOAD_KINDS)}
STATUS = TEXT | {"enum": list(LOAD_STATUSES)}
PLACE: JsonObject = {"product": TEXT, "major": INTEGER, "dataset": TEXT}


def status_paths() -> Iterator[tuple[str, PathItem]]:
    """The paths of `/operations` that say how things stand."""
    yield "/operations/status", {"get": status_operation()}
    yield "/operations/schedules", {"get": schedules_operation()}


def status_operation() -> JsonObject:
    """How everything stands."""
    members: JsonObject = {
        "data": list_of(dataset_status()),
        "workers": list_of(worker()) | {"description": "Alive, or seen within a day; the last seen first."},
        "attention": list_of(incident()) | {"description": "One entry for each incident, newest first."},
    }
    schema: JsonObject = {"type": "object", "required": list(members), "properties": members}
    return operation(
        "get_status",
        "Status of datasets and workers",
        "Every dataset with freshness and last loads, the workers, and what needs somebody. Needs the scope"
        " `ops:read`.",
        [],
        {"200": json_answer("The status.", schema), **problem_answers(401, 403, 422, 429, 503)},
    )


def schedules_operation() -> JsonObject:
    """What makes loads."""
    load = thing(
        {
            "id": INTEGER, "kind": KIND, "status": STATUS, "scheduled_at": TIMESTAMP, "started_at": TIMESTAMP,
            "finished_at": TIMESTAMP, "error_code": MAYBE_TEXT,
        },
        nullable=True,
    )  # fmt: skip
    schedule = thing(
        PLACE
        | {
            "made_by": list_of(TEXT | {"enum": list(MAKERS)}) | {"description": "What makes its loads."},
            "schedules": list_of(TEXT) | {"description": "Cron expressions.", "examples": [["0 6 * * *"]]},
            "timezone": MAYBE_TEXT | {"description": "Of the schedules."},
            "next_tick": TIMESTAMP,
            "last_tick": TIMESTAMP | {"description": "Null where there was none since the contract was applied."},
            "last_load": load | {"description": "The load of the last tick; null if there is none."},
            "missed_ticks": list_of(TEXT | {"format": "date-time"})
            | {
                "maxItems": 100,
                "description": "Ticks of the last 7 days, since the contract was applied, before whose next tick no"
                " load began; newest first.",
            },
        }
    )
    schema = in_data(list_of(schedule))
    return operation(
        "list_schedules",
        "Schedules",
        "The datasets whose loads a schedule, a watched input, pushed events or other datasets start. Needs the scope"
        " `ops:read`.",
        [],
        {"200": json_answer("The schedules.", schema), **problem_answers(401, 403, 422, 429, 503)},
    )


def dataset_status() -> JsonObject:
    """How one dataset stands."""
    freshness: JsonObject = {
        "fresh": {"type": ["boolean", "null"], "description": "Null if no latency is promised."},
        "latency_seconds": MAYBE_NUMBER,
        "late_seconds": MAYBE_NUMBER | {"description": "Null if nothing is promised, or nothing was ever loaded."},
        "current_at": TIMESTAMP,
        "newest_at": TIMESTAMP,
        "end_of_data": TIMESTAMP | {"description": "No record after it is expected; null where no end is known."},
    }
    place: JsonObject = {"partition": INTEGER, "next": INTEGER, "end": INTEGER}
    log = {"bytes": INTEGER | {"description": "Of the log of a replicated table."}}
    load: JsonObject = {"id": INTEGER, "kind": KIND}
    failure: JsonObject = {"finished_at": TIMESTAMP, "error_code": MAYBE_TEXT, "error": MAYBE_TEXT}
    return thing(
        PLACE
        | {
            "version": TEXT | {"description": "The version of the contract."},
            "revision": MAYBE_INTEGER | {"description": "Null if the contract is not migrated."},
            "record_count": MAYBE_INTEGER,
            "published_at": TIMESTAMP,
            "freshness": thing(freshness),
            "next_load_at": TIMESTAMP | {"description": "The next tick of a schedule."},
            "last_load": thing(load | {"status": STATUS, "started_at": TIMESTAMP} | failure, nullable=True),
            "last_failed": thing(load | failure, nullable=True),
            "last_withheld": thing(load | {"finished_at": TIMESTAMP}, nullable=True),
            "open_rejects": INTEGER,
            "added_rejects": INTEGER | {"description": "Of these, those that the newest load added."},
            "waiting_events": INTEGER,
            "queued_loads": INTEGER,
            "running_loads": INTEGER,
            "lag": thing(
                {
                    "topic": TEXT,
                    "records": INTEGER | {"description": "Offsets that waited when it was measured."},
                    "seconds": MAYBE_NUMBER | {"description": "Since everything had been read; null if never."},
                    "measured_at": TIMESTAMP,
                    "error": MAYBE_TEXT | {"description": "Why it could not be measured since."},
                    "partitions": {
                        "type": "array",
                        "items": thing(place) | {"properties": place | log},
                    },
                },
                nullable=True,
            ),
        }
    )


def worker() -> JsonObject:
    """One worker."""
    return thing(
        {
            "id": INTEGER,
            "host": TEXT,
            "concurrency": INTEGER | {"description": "Loads at once."},
            "started_at": TIMESTAMP,
            "last_heartbeat": TIMESTAMP,
            "ended_at": TIMESTAMP | {"description": "Null while it runs, and if it was killed."},
            "alive": BOOLEAN,
        }
    )


def incident() -> JsonObject:
    """One thing that needs somebody."""
    return thing(
        {
            "kind": TEXT | {"enum": list(KINDS)},
            "product": MAYBE_TEXT | {"description": "Null if it is about no single dataset."},
            "major": MAYBE_INTEGER,
            "dataset": MAYBE_TEXT,
            "since": TIMESTAMP,
            "load_id": MAYBE_INTEGER,
            "message": TEXT | {"examples": ["Load 12 failed (source_missing). Readers keep revision 41."]},
            "next": TEXT | {"description": "A command, or a request.", "examples": ["GET /operations/loads/12"]},
        }
    )


def thing(properties: JsonObject, *, nullable: bool = False) -> JsonObject:
    """An object that has all of these members, or null where it may be."""
    kind = ["object", "null"] if nullable else "object"
    return {"type": kind, "required": list(properties), "properties": properties}


def list_of(items: JsonObject) -> JsonObject:
    """A list."""
    return {"type": "array", "items": items}
