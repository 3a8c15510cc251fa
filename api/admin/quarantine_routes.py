"""Quarantine over HTTP: replays and dismissals of rejected records, and the publication of withheld loads."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.admin.chosen_rejects import MEMBERS, WAYS, read_choice, read_text
from api.admin.load_queue import LoadOrder
from api.admin.load_targets import find_loadable, find_named
from api.admin.queueing import answer_queued, read_asked
from api.context import Context
from api.database.rows import fetch, text_of
from api.http.problems import Problem
from api.http.request_body import member_problem, parse_object
from catalog.model.dataset import Dataset
from catalog.model.load_request import Dismiss, PublishWithheld, Replay
from runtime.plain_text import NOTE_FORM

router = APIRouter()
FIND_LOAD = """
SELECT d.product, d.major, d.dataset, l.status, (
  SELECT min(id) FROM decant.loads WHERE dataset_id = l.dataset_id AND id > l.id AND status = 'published')
FROM decant.loads AS l JOIN decant.datasets AS d ON d.id = l.dataset_id
WHERE l.id = %s
"""


@router.api_route("/operations/replays", methods=["POST"])
async def post_replays(request: Request) -> Response:
    """202 and a queued load that pours rejected records, or a whole raw batch, again."""
    context, by, key, body = await read_asked(request)
    asked = parse_object(body, ("product", "major", "dataset", *MEMBERS))
    find_named(context, asked)
    (dataset,) = find_loadable(context, asked)
    choice = await read_choice(context, dataset, asked)
    # The batch of a load brings more than the records of it that were rejected.
    replay = Replay(choice.load_id) if choice.load_id is not None else Replay(None, choice)
    return await answer_queued(context, LoadOrder(by, [dataset], key, body, "POST /operations/replays", replay))


@router.api_route("/operations/dismissals", methods=["POST"])
async def post_dismissals(request: Request) -> Response:
    """202 and a queued load that closes rejected records which will not be corrected."""
    context, by, key, body = await read_asked(request)
    asked = parse_object(body, ("product", "major", "dataset", *MEMBERS, "note"))
    dataset = find_named(context, asked)
    note = read_text(asked, "note")
    if note is None:
        raise member_problem("note", f"must have {NOTE_FORM}")
    choice = await read_choice(context, dataset, asked)
    if choice.is_everything:
        raise member_problem("rule", f"one of {', '.join(WAYS)} is needed")
    wanted = LoadOrder(by, [dataset], key, body, "POST /operations/dismissals", Dismiss(choice, note.strip()))
    return await answer_queued(context, wanted)


@router.api_route("/operations/loads/{load}/publish", methods=["POST"])
async def post_publication(request: Request) -> Response:
    """202 and a queued load that publishes what a gate held back, on record."""
    context, by, key, body = await read_asked(request)
    asked = parse_object(body, ("anyway", "note"))
    if asked.get("anyway") is not True:
        raise member_problem("anyway", "must be true: a gate withheld the load")
    note = read_text(asked, "note")
    text = request.path_params["load"]
    found = await find_load(context, int(text)) if text.isascii() and text.isdigit() and len(text) < 19 else None
    dataset = find_dataset(context, found) if found else None
    if found is None or dataset is None:
        raise Problem("not_found", "The load does not exist.")
    if found[3] != "withheld":
        raise Problem("invalid_value", f"Load {text} was not withheld; it is {found[3]}.")
    if found[4] is not None:
        raise Problem("invalid_value", f"Load {text} is overtaken: load {found[4]} was published after it.")
    operation = f"POST /operations/loads/{text}/publish"
    wanted = LoadOrder(by, [dataset], key, body, operation, PublishWithheld(int(text), note))
    return await answer_queued(context, wanted)


async def find_load(context: Context, load_id: int) -> tuple[str, int, str, str, int | None] | None:
    """Product, major, dataset and status of a load, and the first load that was published after it."""
    rows = await fetch(context.read_connections, FIND_LOAD, (load_id,))
    if not rows:
        return None
    product, major, dataset, status, later = rows[0]
    return text_of(product), int(major), text_of(dataset), text_of(status), int(later) if later is not None else None


def find_dataset(context: Context, found: tuple[str, int, str, str, int | None]) -> Dataset | None:
    """The dataset of a load, where its contract is here."""
    product = context.catalog.products.get((found[0], found[1]))
    return product.datasets.get(found[2]) if product else None
