"""Erasures over HTTP: one key of a dataset, for good."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.admin.load_queue import LoadOrder
from api.admin.load_targets import find_named
from api.admin.queueing import answer_queued, read_asked
from api.http.request_body import member_problem, parse_object
from catalog.model.dataset import Dataset
from catalog.model.load_request import Erase
from catalog.model.record_key import hash_key, parse_key
from catalog.types.property_types import InvalidValueError

router = APIRouter()


@router.api_route("/operations/erasures", methods=["POST"])
async def post_erasures(request: Request) -> Response:
    """202 and a queued load that erases one key, of which the audit log has the digest alone."""
    context, by, key, body = await read_asked(request)
    asked = parse_object(body, ("product", "major", "dataset", "key"))
    dataset = find_named(context, asked)
    parts = read_parts(dataset, asked.get("key"))
    erasure = Erase(parts, hash_key(dataset, parts))
    return await answer_queued(context, LoadOrder(by, [dataset], key, body, "POST /operations/erasures", erasure))


def read_parts(dataset: Dataset, given: object) -> tuple[str, ...]:
    """The parts of a key of the dataset, whether it has a record or not; no problem repeats them."""
    if not isinstance(given, list) or not all(isinstance(part, str) for part in given):
        raise member_problem("key", f"must be a list of texts: {', '.join(dataset.key)}")
    try:
        parse_key(dataset, given)
    except InvalidValueError as error:
        raise member_problem("key", str(error)) from None
    return tuple(given)
