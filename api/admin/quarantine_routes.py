"""Quarantine over HTTP: rejected records, replays, and the publication of withheld loads."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.admin.load_queue import LoadOrder
from api.admin.load_targets import choose, find_loadable, find_products
from api.admin.queueing import answer_queued, read_asked
from api.auth.permissions import require_scope
from api.context import Context, context_of
from api.database.rows import fetch, split_page, text_of, timestamp
from api.http.problems import Problem
from api.http.query_string import read_count, read_number, refuse_parameters
from api.http.request_body import member_problem, parse_object
from api.http.responses import READ, answer_fresh_list
from catalog.model.dataset import Dataset
from catalog.model.load_request import PublishWithheld, Replay
from catalog.storage.statuses import REJECT_STATES

router = APIRouter()
LIST_PARAMETERS = ("product", "major", "dataset", "state", "reason", "load", "limit", "before")
LIST = f"""
SELECT r.id, json_build_object('id', r.id, 'product', d.product, 'major', d.major, 'dataset', d.dataset,
  'load', r.load_id, 'file', r.file, 'line', r.line, 'key', r.key, 'raw', r.raw, 'reasons', r.reasons,
  'state', r.state, 'first_seen', {timestamp("r.first_seen")}, 'last_seen', {timestamp("r.last_seen")},
  'closed_at', {timestamp("r.closed_at")}, 'closed_by', r.closed_by)::text
FROM decant.rejected_records AS r JOIN decant.datasets AS d ON d.id = r.dataset_id
WHERE (%(product)s::text IS NULL OR d.product = %(product)s) AND (%(major)s::int IS NULL OR d.major = %(major)s)
  AND (%(dataset)s::text IS NULL OR d.dataset = %(dataset)s) AND (%(state)s = 'all' OR r.state = %(state)s)
  AND (%(load)s::bigint IS NULL OR r.load_id = %(load)s) AND (%(before)s::bigint IS NULL OR r.id < %(before)s)
  AND (%(reason)s::text IS NULL OR EXISTS (SELECT FROM jsonb_array_elements(r.reasons) AS broken
    WHERE %(reason)s IN (broken ->> 'rule', broken ->> 'property')))
ORDER BY r.id DESC LIMIT %(limit)s
"""
FIND_LOAD = """
SELECT d.product, d.major, d.dataset, l.status FROM decant.loads AS l JOIN decant.datasets AS d ON d.id = l.dataset_id
WHERE l.id = %s
"""


@router.api_route("/operations/rejects", methods=READ)
async def get_rejects(request: Request) -> Response:
    """Rejected records with their reasons and raw texts, the latest first."""
    context = context_of(request)
    require_scope(await context.authenticate(request), "ops:read")
    refuse_parameters(request, LIST_PARAMETERS)
    given = request.query_params
    reason = given.get("reason")
    products = find_products(context, given.get("product"), given.get("major"))
    limit = read_count(request, "limit", 100, 1000, "limit_out_of_range")
    facts = {
        "product": given.get("product"),
        "major": int(given["major"]) if "major" in given else None,
        "dataset": choose(given.get("dataset"), "dataset", [name for p in products for name in p.datasets]),
        "state": choose(given.get("state"), "state", (*REJECT_STATES, "all")) or "open",
        "reason": reason,
        "load": read_number(request, "load", "invalid_value"),
        "before": read_number(request, "before", "invalid_cursor"),
        "limit": limit + 1,
    }
    if "\0" in (reason or ""):
        raise Problem("invalid_text")
    members, behind = split_page(await fetch(context.read_connections, LIST, facts), limit)
    return answer_fresh_list(request, members, behind, context.settings)


@router.api_route("/operations/replays", methods=["POST"])
async def post_replays(request: Request) -> Response:
    """202 and a queued load that pours rejected records, or a whole raw batch, again."""
    context, by, key, body = await read_asked(request)
    asked = parse_object(body, ("product", "major", "dataset", "load"))
    if asked.get("dataset") is None:
        raise member_problem("dataset", "must be the name of a dataset")
    (dataset,) = find_loadable(context, asked)
    given = asked.get("load")
    load = given if type(given) is int and 0 < given < 2**63 else None
    if given is not None:
        found = await find_load(context, load) if load is not None else None
        if found is None or found[:3] != (dataset.product, dataset.major, dataset.name):
            raise member_problem("load", "unknown load of the dataset")
    wanted = LoadOrder(by, [dataset], key, body, "POST /operations/replays", Replay(load))
    return await answer_queued(context, wanted)


@router.api_route("/operations/loads/{load}/publish", methods=["POST"])
async def post_publication(request: Request) -> Response:
    """202 and a queued load that publishes what a gate held back, on record."""
    context, by, key, body = await read_asked(request)
    if parse_object(body, ("anyway",)).get("anyway") is not True:
        raise member_problem("anyway", "must be true: a gate withheld the load")
    text = request.path_params["load"]
    found = await find_load(context, int(text)) if text.isascii() and text.isdigit() and len(text) < 19 else None
    dataset = find_dataset(context, found) if found else None
    if found is None or dataset is None:
        raise Problem("not_found", "The load does not exist.")
    if found[3] != "withheld":
        raise Problem("invalid_value", f"Load {text} was not withheld; it is {found[3]}.")
    operation = f"POST /operations/loads/{text}/publish"
    wanted = LoadOrder(by, [dataset], key, body, operation, PublishWithheld(int(text)))
    return await answer_queued(context, wanted)


async def find_load(context: Context, load_id: int) -> tuple[str, int, str, str] | None:
    """Product, major, dataset and status of a load."""
    rows = await fetch(context.read_connections, FIND_LOAD, (load_id,))
    if not rows:
        return None
    product, major, dataset, status = rows[0]
    return text_of(product), int(major), text_of(dataset), text_of(status)


def find_dataset(context: Context, found: tuple[str, int, str, str]) -> Dataset | None:
    """The dataset of a load, where its contract is here."""
    product = context.catalog.products.get((found[0], found[1]))
    return product.datasets.get(found[2]) if product else None
