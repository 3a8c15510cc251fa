"""Record provenance: load, file, line, raw text, property lineage and earlier versions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from fastapi import Request
from sqlalchemy.dialects.postgresql import aggregate_order_by

from api.database.statement import Statement
from api.datasets.reader import RecordReader
from api.http.addresses import address_of
from api.http.problems import Problem
from api.query.view import View
from api.sql.selection import conditions_of, with_heads
from api.sql.statement_text import render
from catalog.model.dataset import Dataset
from catalog.storage.dataset_tables import LINE, LOAD, REVISION, UNTIL
from catalog.storage.ledger_tables import Event, Load, Revision
from runtime.postgres.sql_types import SqlExpression
from runtime.settings.settings import Settings

VERSIONS_MAXIMUM = 100  # of one record, the latest first
# (dataset, the load's {landed, parts}, line of the batch) -> the raw record's text, None where it cannot be had here.
RawLookup = Callable[[Dataset, dict[str, Any], int], str | None]


@dataclass(frozen=True)
class Provenance:
    """What provenance is read with; without a lookup no raw text can be had here."""

    settings: Settings
    reader: RecordReader
    raw_lookup: RawLookup | None


def provenance_of(request: Request) -> Provenance:
    """That of the application that a request came to."""
    provenance: Provenance = request.app.state.provenance
    return provenance


async def read_provenance(sources: Provenance, view: View, key: list[Any]) -> dict[str, object]:
    """Everything that is known of a record's origin; `record_not_found` where no revision that is kept has it."""
    statement = view.statement("provenance", lambda: compile_provenance(view))
    values = {f"k{index}": value for index, value in enumerate(key)}
    read = await sources.reader.read(view, "provenance", statement, values)
    versions: list[dict[str, Any]] = json.loads(read.payload[0] or b"[]")
    if not versions:
        raise Problem("record_not_found")
    latest = versions[0]
    origin = find_origin(latest)
    raw = latest["event"]
    if raw is None and sources.raw_lookup is not None and latest["line"] is not None:
        raw = await asyncio.to_thread(sources.raw_lookup, view.dataset, latest, latest["line"])
    return {
        "key": {name: str(value) for name, value in zip(view.dataset.key, key, strict=True)},
        "read_at_revision": read.revisions[0],
        "revision": latest["revision"],
        "published_at": latest["published_at"],
        "deleted_in_revision": latest["until"],
        "load": describe_load(sources.settings, latest),
        **origin,
        "raw": raw,
        "properties": [
            {"property": prop.name, "raw_columns": list(prop.raw_columns), "transform": prop.transform}
            for prop in view.shown.values()
        ],
        "earlier": [
            {name: version[name] for name in ("revision", "until", "published_at")} | {"load": version["load"]}
            for version in versions[1:]
        ],
    }


def compile_provenance(view: View) -> Statement:
    """The statement of a record's versions as a JSON array, the latest first."""
    keys = [view.dataset.properties[name] for name in view.dataset.key]
    values = [sa.bindparam(f"k{index}", type_=prop.type.sqlalchemy) for index, prop in enumerate(keys)]
    branches = []
    for table in (view.tables.current, view.tables.history):
        same = [table.c[prop.column] == value for prop, value in zip(keys, values, strict=True)]
        until = table.c[UNTIL] if table is view.tables.history else sa.cast(sa.null(), sa.BigInteger)
        columns = [table.c[REVISION].label("revision"), until.label("until"), table.c[LOAD].label("load")]
        columns.append(table.c[LINE].label("line"))
        branches.append(sa.select(*columns).where(*same, *conditions_of(view, table)))
    found = sa.union_all(*branches).subquery("_found")
    newest = found.c.revision.desc()
    versions = sa.select(found).order_by(newest).limit(sa.literal_column(str(VERSIONS_MAXIMUM))).subquery("_versions")
    entry = sa.func.jsonb_build_object(*version_members(versions))
    shown: SqlExpression = sa.func.jsonb_agg(aggregate_order_by(entry, versions.c.revision.desc()))
    loads = Load.__table__
    listed = sa.select(sa.cast(shown, sa.Text)).select_from(versions.outerjoin(loads, loads.c.id == versions.c.load))
    return render(with_heads([view], [listed.scalar_subquery().label("versions")]))


def version_members(versions: sa.FromClause) -> list[SqlExpression]:
    """The names and values of one version's JSON object."""
    loads = Load.__table__
    revisions = Revision.__table__
    events = Event.__table__
    published = (
        sa.select(revisions.c.published_at)
        .where(revisions.c.dataset_id == loads.c.dataset_id, revisions.c.revision == versions.c.revision)
        .correlate(loads, versions)
        .scalar_subquery()
    )
    pushed = (
        sa.select(events.c.payload)
        .where(events.c.load_id == versions.c.load, events.c.line == versions.c.line)
        .correlate(versions)
        .limit(sa.literal_column("1"))
        .scalar_subquery()
    )
    members: list[SqlExpression] = []
    for name, value in (
        ("revision", versions.c.revision),
        ("until", versions.c.until),
        ("load", versions.c.load),
        ("line", versions.c.line),
        ("published_at", published),
        ("event", pushed),
        *((name, loads.c[name]) for name in LOAD_MEMBERS),
    ):
        members += [sa.literal_column(f"'{name}'", sa.Text), value]
    return members


LOAD_MEMBERS = (
    "kind",
    "source",
    "batch_sha256",
    "landed",
    "parts",
    "cause",
    "request",
    "requested_by",
    "started_at",
    "finished_at",
)


def describe_load(settings: Settings, version: dict[str, Any]) -> dict[str, object]:
    """The load that brought a version."""
    shown = (name for name in LOAD_MEMBERS if name not in {"landed", "parts", "request"})
    facts = {name: version[name] for name in shown}
    replayed = bool((version["request"] or {}).get("replay") is not None and version["request"])
    url = address_of(settings, f"/operations/loads/{version['load']}")
    return {"id": version["load"], **facts, "replay": replayed, "url": url}


def find_origin(version: dict[str, Any]) -> dict[str, object]:
    """The file of the batch that the record stood in, and its line there; both null where nobody knows."""
    line = version["line"]
    spans = [part for part in version["parts"] or [] if line is not None and part["offset"] < line]
    if not spans:
        return {"file": None, "line": line}
    part = max(spans, key=lambda span: int(span["offset"]))
    return {"file": part["name"], "line": line - part["offset"]}
