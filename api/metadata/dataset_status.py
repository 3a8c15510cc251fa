"""How datasets stand, as the ledger says: for the catalogue. One statement for all of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from types import SimpleNamespace
from typing import Any

from api.database.connections import Lanes
from catalog.model.catalog import Catalog
from catalog.model.freshness import LedgerFacts, judge_datasets
from runtime.database import translate_error

FACTS = """
SELECT coalesce(json_agg(json_build_object(
  'id', d.id, 'product', d.product, 'major', d.major, 'dataset', d.dataset, 'revision', d.revision,
  'record_count', d.record_count, 'published_at', d.published_at, 'newest_at', d.newest_at,
  'looked_at', i.last_success,
  'last_load', last.facts, 'refreshed', refreshed.facts, 'rules', rules.facts
)), '[]')::text
FROM decant.datasets AS d
LEFT JOIN decant.input_states AS i ON i.dataset_id = d.id
LEFT JOIN LATERAL (
  SELECT json_build_object('status', status, 'finished_at', finished_at, 'raw', raw, 'rejected', rejected) AS facts
  FROM decant.loads WHERE dataset_id = d.id AND status NOT IN ('queued', 'running') ORDER BY id DESC LIMIT 1
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
    SELECT max(id) FROM decant.loads AS l
    WHERE dataset_id = d.id AND EXISTS (SELECT FROM decant.quality_results WHERE load_id = l.id)
  )
) AS rules ON true
"""


@dataclass(frozen=True)
class Standing:
    """How one dataset stands."""

    revision: int
    record_count: int
    published_at: datetime | None
    freshness: dict[str, Any]
    last_load: dict[str, Any] | None  # {status, finished_at, raw, rejected}
    rules: list[dict[str, Any]]  # of the load that measured any last: {rule, passed, severity, reads}


NOTHING = Standing(0, 0, None, {}, None, [])


async def read_standings(lanes: Lanes, catalog: Catalog) -> dict[str, Standing]:
    """Every migrated dataset's standing, by its address."""
    try:
        async with lanes.connection() as connection:
            row = await (await connection.execute(FACTS.encode())).fetchone()
    except Exception as error:
        raise translate_error(error) from error
    rows = {(fact["product"], fact["major"], fact["dataset"]): fact for fact in json.loads(row[0] if row else "[]")}
    return judge_standings(catalog, rows, datetime.now(UTC))


def judge_standings(
    catalog: Catalog, rows: dict[tuple[str, int, str], dict[str, Any]], now: datetime
) -> dict[str, Standing]:
    """Every dataset's standing, from what the ledger says of it. Pure."""
    facts = {
        place: LedgerFacts(
            row["id"],
            row["revision"],
            read_moment(row["newest_at"]),
            read_moment(row["looked_at"]),
            SimpleNamespace(**row["refreshed"]) if row["refreshed"] else None,
        )
        for place, row in rows.items()
    }
    fresh = judge_datasets(catalog, facts, now)
    standings = {}
    for dataset in catalog.datasets():
        found = rows.get((dataset.product, dataset.major, dataset.name))
        if found is None:
            continue
        standings[dataset.address] = Standing(
            found["revision"],
            found["record_count"],
            read_moment(found["published_at"]),
            fresh[dataset.address],
            found["last_load"],
            found["rules"] or [],
        )
    return standings


def read_moment(text: str | None) -> datetime | None:
    """A moment in UTC; a day counts until its end."""
    if text is None:
        return None
    if len(text) == len("2013-01-01"):
        return datetime.combine(date.fromisoformat(text), time.max, UTC)
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def write_moment(moment: datetime | None) -> str | None:
    """A moment as RFC 3339 has it."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z") if moment else None
