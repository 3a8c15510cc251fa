"""Rejected records over HTTP: listed with their reasons and raw texts, and counted by reason."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.admin.load_targets import choose
from api.admin.parameters import PART_PARAMETERS, PLACE_PARAMETERS, admit_reader, read_limit, read_part, read_place
from api.database.rows import fetch, fetch_part, timestamp
from api.http.query_string import read_number
from api.http.responses import READ, answer_fresh, answer_fresh_list
from catalog.model.reject_choice import RejectChoice
from catalog.storage.chosen_rejects import bind_choice, write_condition
from catalog.storage.statuses import REJECT_STATES

router = APIRouter()
STATE_PARAMETERS = (*PLACE_PARAMETERS, "state")
LIST_PARAMETERS = (*STATE_PARAMETERS, "reason", "rule", "property", "load", *PART_PARAMETERS)
SAMPLES_PER_REASON = 3
SAMPLE_CHARACTERS = 200
COUNTED_MAXIMUM = 100_000  # records, the latest: a quarantine of any size is answered in time
WHERE = """
(%(product)s::text IS NULL OR d.product = %(product)s) AND (%(major)s::int IS NULL OR d.major = %(major)s)
  AND (%(dataset)s::text IS NULL OR d.dataset = %(dataset)s)
"""
STATE = "(%(state)s = 'all' OR r.state = %(state)s)"
LIST = f"""
SELECT r.id, json_build_object('id', r.id, 'product', d.product, 'major', d.major, 'dataset', d.dataset,
  'load', r.load_id, 'file', r.file, 'line', r.line, 'key', r.key, 'raw', r.raw, 'reasons', r.reasons,
  'state', r.state, 'first_seen', {timestamp("r.first_seen")}, 'last_seen', {timestamp("r.last_seen")},
  'closed_at', {timestamp("r.closed_at")}, 'closed_by', r.closed_by)::text
FROM decant.rejected_records AS r JOIN decant.datasets AS d ON d.id = r.dataset_id
WHERE {WHERE} AND {STATE} AND {write_condition("%({})s")} AND (%(before)s::bigint IS NULL OR r.id < %(before)s)
ORDER BY r.id DESC LIMIT %(limit)s
"""
# The latest records are counted, and those that break the same rules together: what a record breaks is looked at once
# for all that are alike. It counts once for each rule, and the latest are the samples. Only their texts are read.
REASONS = f"""
WITH chosen AS (
  SELECT r.id, r.dataset_id, r.first_seen, r.last_seen, r.reasons,
    jsonb_path_query_array(r.reasons, '$[*].rule') AS rules,
    jsonb_path_query_array(r.reasons, '$[*].property') AS properties
  FROM decant.rejected_records AS r
  WHERE r.dataset_id = ANY(ARRAY(SELECT d.id FROM decant.datasets AS d WHERE {WHERE})) AND {STATE}
  ORDER BY r.id DESC LIMIT %(counted)s
), alike AS (
  SELECT dataset_id, count(*) AS records, min(first_seen) AS first_seen, max(last_seen) AS last_seen,
    max(id) AS newest, array_agg(id) AS ids
  FROM chosen GROUP BY dataset_id, rules, properties,
    CASE WHEN jsonb_array_length(rules) <> jsonb_array_length(properties) THEN reasons END
), broken AS (
  SELECT alike.*, reason.property, reason.rule,
    ARRAY(SELECT id FROM unnest(alike.ids) AS id ORDER BY id DESC LIMIT %(samples)s) AS latest
  FROM alike, LATERAL (
    SELECT DISTINCT one ->> 'property' AS property, one ->> 'rule' AS rule
    FROM jsonb_array_elements((SELECT reasons FROM decant.rejected_records WHERE id = alike.newest)) AS one
  ) AS reason
), counted AS (
  SELECT dataset_id, property, rule, sum(records)::bigint AS records, min(first_seen) AS first_seen,
    max(last_seen) AS last_seen, count(*) OVER () AS reasons
  FROM broken GROUP BY dataset_id, property, rule
  ORDER BY records DESC, dataset_id, property NULLS FIRST, rule LIMIT %(limit)s
)
SELECT c.reasons, (SELECT sum(records)::bigint FROM alike), json_build_object(
  'product', d.product, 'major', d.major, 'dataset', d.dataset, 'property', c.property, 'rule', c.rule,
  'records', c.records, 'first_seen', {timestamp("c.first_seen")}, 'last_seen', {timestamp("c.last_seen")},
  'samples', (
    SELECT json_agg(json_build_object('id', s.id, 'load', s.load_id, 'file', s.file, 'line', s.line, 'key', s.key,
      'value', left(one ->> 'value', %(characters)s), 'message', left(one ->> 'message', %(characters)s),
      'raw', left(s.raw, %(characters)s)) ORDER BY s.id DESC)
    FROM decant.rejected_records AS s, LATERAL (
      SELECT found.one FROM jsonb_array_elements(s.reasons) AS found (one)
      WHERE found.one ->> 'rule' = c.rule AND found.one ->> 'property' IS NOT DISTINCT FROM c.property LIMIT 1
    ) AS broken
    WHERE s.id = ANY(ARRAY(
      SELECT id FROM broken AS b, unnest(b.latest) AS id
      WHERE b.dataset_id = c.dataset_id AND b.rule = c.rule AND b.property IS NOT DISTINCT FROM c.property
      ORDER BY id DESC LIMIT %(samples)s))
  ))::text
FROM counted AS c JOIN decant.datasets AS d ON d.id = c.dataset_id
ORDER BY c.records DESC, c.dataset_id, c.property NULLS FIRST, c.rule
"""


@router.api_route("/operations/rejects", methods=READ)
async def get_rejects(request: Request) -> Response:
    """Rejected records with their reasons and raw texts, the latest first."""
    context = await admit_reader(request, LIST_PARAMETERS)
    given = request.query_params
    choice = RejectChoice(
        reason=given.get("reason"),
        rule=given.get("rule"),
        prop=given.get("property"),
        load_id=read_number(request, "load", "invalid_value"),
    )
    facts = read_place(context, request) | read_state(request) | bind_choice(choice)
    members, behind = await fetch_part(context.read_connections, LIST, facts, read_part(request))
    return answer_fresh_list(request, members, behind, context.settings)


@router.api_route("/operations/rejects/reasons", methods=READ)
async def get_reasons(request: Request) -> Response:
    """The reasons of rejected records, those with the most records first, each with a few samples."""
    context = await admit_reader(request, (*STATE_PARAMETERS, "limit"))
    sizes = {
        "limit": read_limit(request),
        "samples": SAMPLES_PER_REASON,
        "characters": SAMPLE_CHARACTERS,
        "counted": COUNTED_MAXIMUM,
    }
    rows = await fetch(context.read_connections, REASONS, read_place(context, request) | read_state(request) | sizes)
    members, total, counted = b",".join(row[2] for row in rows), *(rows[0][:2] if rows else (0, 0))
    exact = b"true" if counted < COUNTED_MAXIMUM else b"false"
    body = b'{"data":[%b],"reasons":%d,"count":{"value":%d,"exact":%b}}' % (members, total, counted, exact)
    return answer_fresh(request, body)


def read_state(request: Request) -> dict[str, object]:
    """The state of the records that a query asks for."""
    return {"state": choose(request.query_params.get("state"), "state", (*REJECT_STATES, "all")) or "open"}
