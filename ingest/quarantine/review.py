"""Quarantine as its owner sees it: by reason, with samples; exported whole; dismissed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from catalog.model.dataset import Dataset
from catalog.model.load_request import Dismiss
from catalog.model.reject_choice import EVERYTHING, RejectChoice
from catalog.storage.chosen_rejects import bind_choice, write_condition
from ingest.ledger.audit import record_audit

BATCH_ROWS = 2_000
SAMPLES_PER_REASON = 3

CHOSEN = f"""
r.dataset_id = :dataset_id AND (:state = 'all' OR r.state = :state) AND {write_condition(":{}")}
"""
# Each reason with how many records it has, and the first few of them.
BY_REASON = f"""
SELECT reason, max(number) AS records, jsonb_agg(sample ORDER BY number) FILTER (WHERE number <= :samples) AS samples
FROM (
  SELECT reason, row_number() OVER (PARTITION BY reason ORDER BY id) AS number,
    CASE WHEN row_number() OVER (PARTITION BY reason ORDER BY id) <= :samples THEN jsonb_build_object(
      'id', id, 'load', load_id, 'file', file, 'line', line, 'key', key,
      'value', broken ->> 'value', 'message', broken ->> 'message') END AS sample
  FROM (
    SELECT r.id, r.load_id, r.file, r.line, r.key, broken,
      coalesce(broken ->> 'property' || ': ', '') || (broken ->> 'rule') AS reason
    FROM decant.rejected_records AS r, jsonb_array_elements(r.reasons) AS broken WHERE {CHOSEN}
  ) AS found
) AS numbered
GROUP BY reason ORDER BY records DESC, reason LIMIT :limit
"""
COUNT = f"SELECT r.state, count(*) FROM decant.rejected_records AS r WHERE {CHOSEN} GROUP BY 1"
EXPORT = f"""
SELECT r.id, r.load_id, r.file, r.line, r.key, r.raw, r.reasons, r.state, r.first_seen, r.last_seen
FROM decant.rejected_records AS r WHERE {CHOSEN} ORDER BY r.id
"""
DISMISS = f"""
UPDATE decant.rejected_records AS r SET state = 'dismissed', closed_at = now(), closed_by = :by WHERE {CHOSEN}
"""


@dataclass(frozen=True)
class RejectFilter:
    """Which rejected records are read."""

    dataset_id: int
    state: str = "open"  # or all
    choice: RejectChoice = EVERYTHING

    def bind(self) -> dict[str, Any]:
        """The values of the parameters of CHOSEN."""
        return {"dataset_id": self.dataset_id, "state": self.state, **bind_choice(self.choice)}


@dataclass(frozen=True)
class ReasonGroup:
    """One reason: how many records it has, and the first few."""

    reason: str
    records: int
    samples: list[dict[str, Any]]


def count_rejects(engine: sa.Engine, wanted: RejectFilter) -> int:
    """How many records are meant."""
    with engine.connect() as connection:
        return sum(row[1] for row in connection.execute(sa.text(COUNT), wanted.bind()))


def group_rejects(engine: sa.Engine, wanted: RejectFilter, limit: int) -> list[ReasonGroup]:
    """The reasons, most records first; a record with several counts for each."""
    facts = wanted.bind() | {"samples": SAMPLES_PER_REASON, "limit": limit}
    with engine.connect() as connection:
        return [ReasonGroup(*row) for row in connection.execute(sa.text(BY_REASON), facts)]


def export_rejects(engine: sa.Engine, wanted: RejectFilter) -> Iterator[str]:
    """One line of JSON for each record, in the order in which they came to lie there; memory stays flat."""
    names = ("id", "load", "file", "line", "key", "raw", "reasons", "state", "first_seen", "last_seen")
    with engine.connect().execution_options(stream_results=True, max_row_buffer=BATCH_ROWS) as connection:
        for row in connection.execute(sa.text(EXPORT), wanted.bind()):
            yield json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False, default=show_time)


def show_time(timestamp: Any) -> str:
    """A time as RFC 3339."""
    return str(timestamp.isoformat()).replace("+00:00", "Z")


def dismiss_rejects(
    connection: sa.Connection,
    dataset: Dataset,
    dataset_id: int,
    request: Dismiss,
    by: str,
    load_id: int | None = None,
) -> int:
    """How many open records were dismissed, with an entry in the audit log; closed ones stay as they are."""
    facts = {**RejectFilter(dataset_id, "open", request.choice).bind(), "by": by}
    result = connection.execute(sa.text(DISMISS), facts, execution_options={"preserve_rowcount": True})
    dismissed = int(result.rowcount)
    record_audit(connection, by, "dismiss", dataset, dismissed, {"load": load_id} | request.to_json())
    return dismissed
