"""Pages of records, and single records. Two routes serve every dataset."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.auth import find_dataset, hidden_properties
from api.problems import Problem
from api.reader import Page, View
from api.service import service_of

router = APIRouter()
READ = ["GET", "HEAD"]
JSON = "application/json"


@router.api_route("/data/{product}/v{major}/{dataset}/records", methods=READ)
async def list_records(request: Request) -> Response:
    """A page of records."""
    view = await find_view(request)
    query_string: bytes = request.scope["query_string"]
    query = view.validator.parse(query_string)
    page = await service_of(request).reader.read_page(view, query, base_url(request), query_string)
    return respond(page)


@router.api_route("/data/{product}/v{major}/{dataset}/records/{key:path}", methods=READ)
async def get_record(request: Request) -> Response:
    """One record by its key."""
    view = await find_view(request)
    query = view.validator.parse(request.scope["query_string"], ("properties", "at"))
    page = await service_of(request).reader.read_record(view, split_key(request), query)
    return respond(page)


async def find_view(request: Request) -> View:
    """The dataset that the path names, as the caller may see it."""
    service = service_of(request)
    parts = request.path_params
    principal = await service.authenticate(request)
    dataset = find_dataset(service.catalog, principal, parts["product"], parts["major"], parts["dataset"])
    return service.reader.view(dataset, hidden_properties(principal, dataset))


def base_url(request: Request) -> str:
    """The address that `next` begins with: relative to the host, unless a public URL is set."""
    raw: bytes = request.scope["raw_path"]
    return (service_of(request).settings.public_url or "").rstrip("/") + raw.decode("ascii", "replace")


def split_key(request: Request) -> list[str]:
    """The parts of a key, from the raw path: a comma that is percent-encoded belongs to its part."""
    raw: bytes = request.scope["raw_path"]
    tail = raw.split(b"/records/", 1)[1]
    try:
        parts = [unquote_to_bytes(part).decode() for part in tail.split(b",")]
    except UnicodeDecodeError:
        raise Problem("invalid_text", "The key is not UTF-8.") from None
    if any("\0" in part for part in parts):
        raise Problem("invalid_text", "The key holds a NUL character.")
    return parts


def respond(page: Page) -> Response:
    """The page as it leaves."""
    headers = {"Decant-Revision": str(page.revision), "Cache-Control": "private, no-cache"}
    if page.next_url:
        headers["Link"] = f'<{page.next_url}>; rel="next"'
    return Response(page.body, 200, headers, JSON)
