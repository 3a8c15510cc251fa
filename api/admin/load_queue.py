"""Loads for the API: reads them from the ledger as JSON built by Postgres, and queues new ones for the workers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from api.database.connections import ReadConnections
from api.database.idempotency import KEEP_KEY, find_answer
from api.database.rows import fetch, timestamp
from api.http.problems import Problem
from catalog.model.dataset import Dataset
from catalog.model.load_request import ERASED_KEY, FromSource, LoadRequest, show_request
from catalog.storage.audit import BY_KEY, NOTE_AUDIT
from catalog.storage.channels import LOADS_CHANNEL
from runtime.errors import DatabaseUnavailableError
from runtime.plain_text import keep_text, map_texts
from runtime.postgres.database import translate_error
from runtime.postgres.poolers import ConnectionPool

FROM_SOURCE = FromSource()
OPERATION = "POST /operations/loads"
SHOWN_REQUEST = f"l.request #- '{{{','.join(ERASED_KEY)}}}'"


FACTS = f"""
  'id', l.id, 'product', d.product, 'major', d.major, 'dataset', d.dataset, 'kind', l.kind, 'status', l.status,
  'revision', l.revision, 'raw', l.raw, 'accepted', l.accepted, 'rejected', l.rejected, 'duplicates', l.duplicates,
  'inserted', l.inserted, 'updated', l.updated, 'deleted', l.deleted, 'unchanged', l.unchanged,
  'attempt', l.attempt, 'started_at', {timestamp("l.started_at")}, 'finished_at', {timestamp("l.finished_at")},
  'retry_at', {timestamp("l.retry_at")}, 'error_code', l.error_code, 'error', l.error, 'requested_by', l.requested_by,
  'url', %(loads_url)s::text || l.id
"""
FROM = "FROM decant.loads AS l JOIN decant.datasets AS d ON d.id = l.dataset_id"
LIST = f"""
SELECT l.id, json_build_object({FACTS})::text {FROM}
WHERE (%(product)s::text IS NULL OR d.product = %(product)s) AND (%(major)s::int IS NULL OR d.major = %(major)s)
  AND (%(dataset)s::text IS NULL OR d.dataset = %(dataset)s) AND (%(status)s::text IS NULL OR l.status = %(status)s)
  AND (%(before)s::bigint IS NULL OR l.id < %(before)s)
ORDER BY l.id DESC LIMIT %(limit)s
"""
# Of a load that rejected very many, the first records show the reasons.
GET = f"""
SELECT (json_build_object({FACTS})::jsonb || jsonb_build_object(
  'source', l.source, 'parts', l.parts, 'position', l.position, 'request', {SHOWN_REQUEST}, 'cause', l.cause,
  'scheduled_at', {timestamp("l.scheduled_at")}, 'batch_sha256', l.batch_sha256, 'step_seconds', l.step_seconds,
  'notes', coalesce(l.notes, '[]'), 'trace_id', l.trace_id,
  'overtaken_by', (SELECT min(id) FROM decant.loads
    WHERE dataset_id = l.dataset_id AND id > l.id AND status = 'published'),
  'gates', (SELECT coalesce(jsonb_agg(jsonb_build_object('rule', rule, 'measured', measured, 'bound', bound,
      'passed', passed, 'severity', severity, 'error', error) ORDER BY position), '[]')
    FROM decant.quality_results WHERE load_id = l.id),
  'reasons', (SELECT coalesce(jsonb_agg(jsonb_build_object('property', property, 'rule', rule, 'records', records)
      ORDER BY records DESC, property, rule), '[]')
    FROM (
      SELECT reason->>'property' AS property, reason->>'rule' AS rule, count(*) AS records
      FROM (SELECT reasons FROM decant.rejected_records WHERE load_id = l.id ORDER BY id LIMIT 10000) AS r,
        jsonb_array_elements(reasons) AS reason
      GROUP BY 1, 2
    ) AS counted)
))::text {FROM} WHERE l.id = %(id)s
"""
QUEUE = """
INSERT INTO decant.loads (dataset_id, kind, request, requested_by)
SELECT id, %(kind)s, %(request)s, %(requested_by)s FROM decant.datasets
WHERE product = %(product)s AND major = %(major)s AND dataset = %(dataset)s
RETURNING id
"""


@dataclass(frozen=True)
class LoadOrder:
    """What one caller wants loaded: `datasets` in the order in which they are to be loaded."""

    principal: str
    datasets: Sequence[Dataset]
    key: str | None  # the Idempotency-Key
    body: bytes
    operation: str = OPERATION
    request: LoadRequest = FROM_SOURCE


async def get_load(read_connections: ReadConnections, load_id: int, loads_url: str) -> bytes:
    """One load as JSON; `not_found` where there is none."""
    rows = await fetch(read_connections, GET, {"id": load_id, "loads_url": loads_url})
    if not rows:
        raise Problem("not_found", f"Load {load_id} does not exist.")
    found: bytes = rows[0][0]
    return found


async def queue_loads(pool: ConnectionPool, wanted: LoadOrder) -> dict[str, Any]:
    """The response, once the loads are in the ledger; the same again for a repeated request."""
    try:
        async with pool.connection() as connection, connection.transaction():
            known = {
                "principal": wanted.principal,
                "operation": wanted.operation,
                "key": wanted.key,
                "body_sha256": hashlib.sha256(wanted.body).hexdigest(),
            }
            if wanted.key is not None and (answer := await find_answer(connection, known)) is not None:
                return answer
            queued = [await queue_one(connection, wanted, dataset) for dataset in wanted.datasets]
            await connection.execute("SELECT pg_notify(%s, '')", (LOADS_CHANNEL,))
            answer = {"data": queued}
            if wanted.key is not None:
                await connection.execute(KEEP_KEY, {**known, "answer": Jsonb(answer)})
            return answer
    except Problem:
        raise
    except Exception as error:
        raise translate_error(error) from error


async def queue_one(connection: AsyncConnection, wanted: LoadOrder, dataset: Dataset) -> dict[str, object]:
    """A queued load, on record."""
    request = wanted.request.to_json()
    facts = {
        **dataset.place,
        "kind": wanted.request.kind(dataset),
        "request": Jsonb(map_texts(request, keep_text)) if request is not None else None,
        "requested_by": f"{BY_KEY}{wanted.principal}",
    }
    row = await (await connection.execute(QUEUE, facts)).fetchone()
    if row is None:
        raise DatabaseUnavailableError()  # the contract has no table yet
    noted = {"load": row[0]} | (show_request(request) or {})
    where = {"product": dataset.product, "dataset": dataset.name, "records": None}
    entry = {**where, "principal": wanted.principal, "operation": wanted.operation, "facts": Jsonb(noted)}
    await connection.execute(NOTE_AUDIT, entry)
    return {
        "id": row[0],
        **dataset.place,
        "kind": facts["kind"],
        "status": "queued",
        "url": f"/operations/loads/{row[0]}",
    }
