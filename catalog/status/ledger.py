"""What the ledger knows of all datasets and workers: one statement, however many there are.

It is text for psycopg, since the command line and the API reach the database in different ways.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from catalog.model.catalog import Catalog
from catalog.model.dataset import is_derived
from catalog.storage.installation_tables import STALLED_SECONDS

WORKERS_SHOWN = 100
BAD_LOADS_SEEN = 100  # of each dataset, the latest
# What a load is about: a failure is overtaken by a later success of the same. A replay of a whole batch brings what
# failed to come; a load of new data leaves nothing to be replayed. Each erased key is an affair of its own.
FLOW = """
CASE {load}.kind WHEN 'replay' THEN 'replay' WHEN 'dismiss' THEN 'dismiss'
  WHEN 'prune' THEN CASE WHEN {load}.request ? 'erase' THEN 'erase' ELSE 'prune' END ELSE 'batch' END
"""
ERASED = """
coalesce({load}.request #>> '{{erase,key_sha256}}', (
  SELECT encode(sha256(convert_to(d.product || '@' || d.major || '.' || d.dataset || '/'
    || string_agg(part, ',' ORDER BY place), 'UTF8')), 'hex')
  FROM jsonb_array_elements_text({load}.request #> '{{erase,key}}') WITH ORDINALITY AS key (part, place)))
"""
# A dismissal hides how the records of a dataset fared: it is never the last load.
LEDGER = f"""
WITH unfinished AS (
  SELECT dataset_id, count(*) FILTER (WHERE status = 'queued') AS queued,
    count(*) FILTER (WHERE status = 'running') AS running,
    min(started_at) FILTER (WHERE status = 'queued') AS queued_since
  FROM decant.loads WHERE status IN ('queued', 'running') GROUP BY dataset_id
), rejects AS (
  SELECT dataset_id, count(*) AS open FROM decant.rejected_records WHERE state = 'open' GROUP BY dataset_id
), waiting AS (
  SELECT dataset_id, count(*) AS events FROM decant.events WHERE load_id IS NULL GROUP BY dataset_id
)
SELECT json_build_object(
  'workers', (
    SELECT coalesce(json_agg(json_build_object('id', id, 'host', host, 'concurrency', concurrency,
      'started_at', started_at, 'last_heartbeat', seen_at, 'ended_at', ended_at,
      'alive', ended_at IS NULL AND seen_at > now() - interval '{STALLED_SECONDS} seconds')
      ORDER BY seen_at DESC, id DESC), '[]')
    FROM (SELECT * FROM decant.workers WHERE seen_at > now() - interval '1 day'
      ORDER BY seen_at DESC LIMIT {WORKERS_SHOWN}) AS lately),
  'worker_seen_at', (SELECT max(seen_at) FROM decant.workers),
  'datasets', (SELECT coalesce(json_agg(json_build_object(
    'id', d.id, 'product', d.product, 'major', d.major, 'dataset', d.dataset, 'revision', d.revision,
    'record_count', d.record_count, 'published_at', d.published_at, 'newest_at', d.newest_at,
    'contract_sha256', d.contract_sha256, 'looked_at', i.last_success, 'refreshed', refreshed.facts,
    'last_load', last.facts, 'failed', failed.facts, 'withheld', withheld.facts, 'bad', bad.facts,
    'open_rejects', coalesce(rejects.open, 0), 'added', added.facts, 'waiting_events', coalesce(waiting.events, 0),
    'queued', coalesce(unfinished.queued, 0), 'running', coalesce(unfinished.running, 0),
    'queued_since', unfinished.queued_since, 'lag', lag.facts)), '[]')
  FROM decant.datasets AS d
  LEFT JOIN decant.input_states AS i ON i.dataset_id = d.id
  LEFT JOIN unfinished ON unfinished.dataset_id = d.id
  LEFT JOIN rejects ON rejects.dataset_id = d.id
  LEFT JOIN waiting ON waiting.dataset_id = d.id
  LEFT JOIN LATERAL (
    SELECT json_build_object('topic', topic, 'records', records, 'caught_up_at', caught_up_at,
      'measured_at', measured_at, 'error', error, 'partitions', partitions) AS facts
    FROM decant.stream_lags WHERE dataset_id = d.id
  ) AS lag ON true
  LEFT JOIN LATERAL (
    SELECT json_build_object('cause', cause, 'landed', landed, 'position', position) AS facts FROM decant.loads
    WHERE d.product || '@' || d.major || '.' || d.dataset = ANY(%(derived)s::text[]) AND dataset_id = d.id
      AND kind = 'refresh' AND status IN ('published', 'unchanged') ORDER BY id DESC LIMIT 1
  ) AS refreshed ON true
  LEFT JOIN LATERAL (
    SELECT json_build_object('id', id, 'kind', kind, 'status', status, 'started_at', started_at,
      'finished_at', finished_at, 'error_code', error_code, 'error', error) AS facts
    FROM decant.loads WHERE dataset_id = d.id AND kind <> 'dismiss' ORDER BY id DESC LIMIT 1
  ) AS last ON true
  LEFT JOIN LATERAL (
    SELECT json_build_object('id', id, 'kind', kind, 'finished_at', finished_at, 'error_code', error_code,
      'error', error) AS facts
    FROM decant.loads WHERE dataset_id = d.id AND status = 'failed' ORDER BY id DESC LIMIT 1
  ) AS failed ON true
  LEFT JOIN LATERAL (
    SELECT json_build_object('id', id, 'kind', kind, 'finished_at', finished_at) AS facts
    FROM decant.loads WHERE dataset_id = d.id AND status = 'withheld' ORDER BY id DESC LIMIT 1
  ) AS withheld ON true
  LEFT JOIN LATERAL (
    SELECT json_build_object('load', ended.id, 'at', ended.finished_at, 'records', (
      SELECT count(*) FROM decant.rejected_records AS r
      WHERE r.load_id = ended.id AND r.dataset_id = d.id AND r.state = 'open')) AS facts
    FROM (SELECT id, finished_at FROM decant.loads
      WHERE dataset_id = d.id AND status IN ('published', 'unchanged', 'withheld')
        AND kind NOT IN ('prune', 'dismiss')
      ORDER BY id DESC LIMIT 1) AS ended
  ) AS added ON true
  LEFT JOIN LATERAL (
    SELECT json_agg(json_build_object('id', ended.id, 'flow', ended.flow, 'about', ended.about,
      'status', ended.status, 'error_code', ended.error_code, 'at', ended.at, 'rules', CASE ended.status
        WHEN 'withheld' THEN (SELECT json_agg(json_build_object('rule', rule, 'measured', measured, 'bound', bound)
          ORDER BY position) FROM decant.quality_results
          WHERE load_id = ended.id AND NOT passed AND severity = 'error') END)
      ORDER BY ended.id DESC) AS facts
    FROM (SELECT l.id, {FLOW.format(load="l")} AS flow, {ERASED.format(load="l")} AS about, l.status, l.error_code,
        coalesce(l.finished_at, l.started_at) AS at
      FROM decant.loads AS l WHERE l.dataset_id = d.id AND l.status IN ('failed', 'withheld')
      ORDER BY l.id DESC LIMIT {BAD_LOADS_SEEN}) AS ended
    WHERE NOT EXISTS (
      SELECT FROM decant.loads AS good
      WHERE good.dataset_id = d.id AND good.id > ended.id AND good.status IN ('published', 'unchanged')
        AND CASE ended.flow WHEN 'erase' THEN {ERASED.format(load="good")} = ended.about
          WHEN 'batch' THEN {FLOW.format(load="good")} = 'batch' OR good.request #> '{{replay,load}}' IS NOT NULL
          WHEN 'replay' THEN {FLOW.format(load="good")} IN ('replay', 'batch')
          ELSE {FLOW.format(load="good")} = ended.flow END)
  ) AS bad ON true)
)::text
"""


def ledger_values(catalog: Catalog) -> dict[str, object]:
    """What LEDGER is run with."""
    return {"derived": [dataset.address for dataset in catalog.datasets() if is_derived(dataset)]}


def parse_ledger(text: str | bytes) -> dict[str, Any]:
    """What LEDGER gives: its moments stay texts."""
    found: dict[str, Any] = json.loads(text)
    return found


def read_moment(text: str | None) -> datetime | None:
    """A moment of the ledger."""
    return datetime.fromisoformat(text) if text is not None else None


def by_place(facts: Mapping[str, Any]) -> dict[tuple[str, int, str], dict[str, Any]]:
    """The facts of each dataset by product, major and name."""
    return {(row["product"], row["major"], row["dataset"]): row for row in facts["datasets"]}
