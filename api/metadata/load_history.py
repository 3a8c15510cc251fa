"""Load history of one dataset from the ledger: profile, loads, quality results, as JSON built by Postgres."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import orjson

from api.database.connections import ReadConnections
from api.database.rows import Part, fetch, fetch_part, timestamp
from api.metadata.dataset_status import MEASURED
from catalog.model.dataset import Dataset

Pick = Callable[[list[Any]], list[Any]]
MINE = "(SELECT id FROM decant.datasets WHERE product = %(product)s AND major = %(major)s AND dataset = %(dataset)s)"
PROFILE = f"""
SELECT json_build_object('revision', revision, 'record_count', record_count, 'properties', properties,
  'made_at', {timestamp("made_at")})::text
FROM decant.profiles WHERE dataset_id = {MINE}
"""
# Of a revision that can no longer be read no figure is shown either.
PAST_PROFILES = f"""
SELECT p.revision, json_build_object('revision', p.revision, 'record_count', p.record_count,
  'made_at', {timestamp("p.made_at")}, 'properties', p.properties)::text
FROM decant.profile_history AS p JOIN decant.datasets AS d ON d.id = p.dataset_id
WHERE d.id = {MINE} AND p.revision >= d.oldest_revision AND (%(before)s::bigint IS NULL OR p.revision < %(before)s)
ORDER BY p.revision DESC LIMIT %(limit)s
"""
LOADS = f"""
SELECT id, json_build_object('id', id, 'kind', kind, 'status', status, 'revision', revision, 'raw', raw,
  'accepted', accepted, 'rejected', rejected, 'duplicates', duplicates, 'inserted', inserted, 'updated', updated,
  'deleted', deleted, 'unchanged', unchanged, 'started_at', {timestamp("started_at")},
  'finished_at', {timestamp("finished_at")}, 'error_code', error_code)::text
FROM decant.loads
WHERE dataset_id = {MINE} AND (%(status)s::text IS NULL OR status = %(status)s)
  AND (%(before)s::bigint IS NULL OR id < %(before)s)
ORDER BY id DESC LIMIT %(limit)s
"""
QUALITY = f"""
SELECT l.id, json_build_object('load', l.id, 'status', l.status, 'revision', l.revision,
  'published_anyway', l.status IN ('published', 'unchanged') AND l.request->'publish' IS NOT NULL AND EXISTS (
    SELECT FROM decant.quality_results WHERE load_id = l.id AND NOT passed AND severity = 'error'),
  'measured_at', {timestamp("l.finished_at")}, 'raw', l.raw, 'rejected', l.rejected,
  'rules', coalesce((SELECT json_agg(json_build_object('rule', rule, 'dimension', dimension, 'measured', measured,
      'bound', bound, 'passed', passed, 'severity', severity, 'reads', reads) ORDER BY position)
    FROM decant.quality_results WHERE load_id = l.id), '[]'))::text
FROM decant.loads AS l
WHERE dataset_id = {MINE} AND {MEASURED}
  AND (%(before)s::bigint IS NULL OR l.id < %(before)s)
ORDER BY l.id DESC LIMIT %(limit)s
"""


async def read_profile(read_connections: ReadConnections, dataset: Dataset) -> dict[str, Any] | None:
    """The dataset's profile, None where it has none yet."""
    rows = await fetch(read_connections, PROFILE, dataset.place)
    return json.loads(rows[0][0]) if rows else None


async def list_profiles(
    read_connections: ReadConnections, dataset: Dataset, pick: Pick, part: Part
) -> tuple[bytes, int | None]:
    """The figures of the latest revisions as the members of a JSON array, and the revision behind which the next
    part begins; `pick` chooses the properties that are shown.
    """
    members, behind = await fetch_part(read_connections, PAST_PROFILES, dataset.place, part)
    return pick_from(members, "properties", pick), behind


async def list_loads(
    read_connections: ReadConnections, dataset: Dataset, status: str | None, part: Part
) -> tuple[bytes, int | None]:
    """The loads as the members of a JSON array, and the id behind which the next part begins."""
    return await fetch_part(read_connections, LOADS, dataset.place | {"status": status}, part)


async def list_quality(
    read_connections: ReadConnections, dataset: Dataset, pick: Pick, part: Part
) -> tuple[bytes, int | None]:
    """What was measured at each load, likewise; `pick` chooses the rules of a load that are shown."""
    members, behind = await fetch_part(read_connections, QUALITY, dataset.place, part)
    return pick_from(members, "rules", pick), behind


def pick_from(members: bytes, name: str, pick: Pick) -> bytes:
    """The members of a JSON array, each with what `pick` leaves of its list of that name."""
    return b",".join(orjson.dumps(each | {name: pick(each[name])}) for each in orjson.loads(b"[%b]" % members))
