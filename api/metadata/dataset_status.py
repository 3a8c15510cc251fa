"""Dataset status for the catalogue, read from the ledger in one statement."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from types import SimpleNamespace
from typing import Any

from api.database.connections import ReadConnections
from api.database.rows import fetch
from catalog.model.catalog import Catalog
from catalog.model.freshness import LedgerState, evaluate_datasets

# Loads that measured rules. The quality of a dataset is told of these alone, wherever it is told.
MEASURED = "EXISTS (SELECT FROM decant.quality_results WHERE load_id = l.id)"
FACTS = f"""
SELECT json_build_object(
  'id', d.id, 'product', d.product, 'major', d.major, 'dataset', d.dataset, 'revision', d.revision,
  'record_count', d.record_count, 'published_at', d.published_at, 'newest_at', d.newest_at,
  'looked_at', i.last_success,
  'last_load', last.facts, 'refreshed', refreshed.facts, 'rules', rules.facts, 'decided', decided.facts
)::text
FROM unnest(%(products)s::text[], %(majors)s::int[], %(datasets)s::text[]) AS wanted (product, major, dataset)
JOIN decant.datasets AS d USING (product, major, dataset)
LEFT JOIN decant.input_states AS i ON i.dataset_id = d.id
LEFT JOIN LATERAL (
  SELECT json_build_object('status', status, 'finished_at', finished_at, 'raw', raw, 'rejected', rejected) AS facts
  FROM decant.loads
  WHERE dataset_id = d.id AND status NOT IN ('queued', 'running') AND kind <> 'dismiss' ORDER BY id DESC LIMIT 1
) AS last ON true
LEFT JOIN LATERAL (
  SELECT json_build_object('cause', cause, 'landed', landed, 'position', position) AS facts
  FROM decant.loads
  WHERE dataset_id = d.id AND kind = 'refresh' AND status IN ('published', 'unchanged') ORDER BY id DESC LIMIT 1
) AS refreshed ON true
LEFT JOIN LATERAL (
  SELECT json_agg(json_build_object('rule', rule, 'passed', passed, 'severity', severity, 'reads', reads)) AS facts
  FROM decant.quality_results
  WHERE load_id = (
    SELECT l.id FROM decant.loads AS l
    WHERE l.dataset_id = d.id AND {MEASURED}
    ORDER BY l.id DESC LIMIT 1
  )
) AS rules ON true
LEFT JOIN LATERAL (
  SELECT json_build_object('load', l.id, 'withheld_load', l.request->'publish', 'note', l.request->>'note',
    'by', l.requested_by, 'at', l.finished_at, 'rules', (
      SELECT json_agg(json_build_object('rule', rule, 'measured', measured, 'bound', bound, 'reads', reads)
        ORDER BY position)
      FROM decant.quality_results WHERE load_id = l.id AND NOT passed AND severity = 'error')) AS facts
  FROM (
    SELECT * FROM decant.loads AS l
    WHERE l.dataset_id = d.id AND l.status IN ('published', 'unchanged') AND {MEASURED}
    ORDER BY l.id DESC LIMIT 1
  ) AS l
  WHERE l.request->'publish' IS NOT NULL
) AS decided ON true
"""


@dataclass(frozen=True)
class DatasetStatus:
    """The status of one dataset."""

    revision: int
    record_count: int
    published_at: datetime | None
    freshness: dict[str, Any]
    last_load: dict[str, Any] | None  # {status, finished_at, raw, rejected}
    rules: list[dict[str, object]]  # of the load that measured any last: {rule, passed, severity, reads}
    # How the current records came to be published although rules failed: {load, withheld_load, at, note, by, rules},
    # each of the rules {rule, measured, bound, reads}; None where none failed.
    decided: dict[str, Any] | None = None


NOTHING = DatasetStatus(0, 0, None, {}, None, [])


async def read_dataset_statuses(read_connections: ReadConnections, catalog: Catalog) -> dict[str, DatasetStatus]:
    """The status of every migrated dataset of the catalogue, or of the part of it that is given, by its address."""
    places = [dataset.place for dataset in catalog.datasets()]
    wanted = {f"{name}s": [place[name] for place in places] for name in ("product", "major", "dataset")}
    found = await fetch(read_connections, FACTS, wanted)

    def evaluate() -> dict[str, DatasetStatus]:
        # One by one: while a whole document is parsed, no other thread runs.
        facts = (json.loads(text) for (text,) in found)
        rows = {(fact["product"], fact["major"], fact["dataset"]): fact for fact in facts}
        return evaluate_dataset_statuses(catalog, rows, datetime.now(UTC))

    # In a thread: thousands of datasets take their time, and others are answered meanwhile.
    return await asyncio.to_thread(evaluate)


def evaluate_dataset_statuses(
    catalog: Catalog, rows: dict[tuple[str, int, str], dict[str, Any]], now: datetime
) -> dict[str, DatasetStatus]:
    """The status of every dataset, from its ledger rows. Pure."""
    facts = {
        key: LedgerState(
            row["id"],
            row["revision"],
            read_timestamp(row["newest_at"]),
            read_timestamp(row["looked_at"]),
            SimpleNamespace(**row["refreshed"]) if row["refreshed"] else None,
        )
        for key, row in rows.items()
    }
    fresh = evaluate_datasets(catalog, facts, now)
    statuses = {}
    for dataset in catalog.datasets():
        found = rows.get((dataset.product, dataset.major, dataset.name))
        if found is None:
            continue
        statuses[dataset.address] = DatasetStatus(
            found["revision"],
            found["record_count"],
            read_timestamp(found["published_at"]),
            fresh[dataset.address],
            found["last_load"],
            found["rules"] or [],
            found["decided"] if found["decided"] and found["decided"]["rules"] else None,
        )
    return statuses


def read_timestamp(text: str | None) -> datetime | None:
    """A moment in UTC; a day counts until its end."""
    if text is None:
        return None
    if len(text) == len("2013-01-01"):
        return datetime.combine(date.fromisoformat(text), time.max, UTC)
    timestamp = datetime.fromisoformat(text)
    return timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=UTC)


def write_timestamp(timestamp: datetime | None) -> str | None:
    """A moment as RFC 3339 has it."""
    return timestamp.astimezone(UTC).isoformat().replace("+00:00", "Z") if timestamp else None
