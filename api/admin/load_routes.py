"""Running and watching ingestion: the loads of the ledger, and new ones for the workers."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from api.admin.load_queue import LoadFilter, LoadRequest, get_load, list_loads, parse_object, queue_loads
from api.auth.permissions import require_scope
from api.context import Service, service_of
from api.http.addresses import address_of
from api.http.body_memory import read_body
from api.http.problems import Problem, closest, parameter_problem
from api.push.event_body import read_idempotency_key
from api.push.routes import read_count, read_number, refuse_parameters
from catalog.model.dataset import Dataset, Product
from catalog.storage.ledger_tables import LOAD_STATUSES

router = APIRouter()
READ = ["GET", "HEAD"]
NO_STORE = {"Cache-Control": "no-store"}
LOADS = "/operations/loads/"
BODY_LIMIT_BYTES = 65_536
LIST_PARAMETERS = ("product", "major", "dataset", "status", "limit", "before")
FED_OTHERWISE = ("query", "events")  # loaded when what they read is published, or as records are pushed


@router.api_route("/operations/loads", methods=READ)
async def get_loads(request: Request) -> Response:
    """The latest loads, newest first."""
    service = service_of(request)
    require_scope(await service.authenticate(request), "ops:read")
    refuse_parameters(request, LIST_PARAMETERS)
    given = request.query_params
    products = find_products(service, given.get("product"), given.get("major"))
    wanted = LoadFilter(
        product=given.get("product"),
        major=int(given["major"]) if "major" in given else None,
        dataset=choose(given.get("dataset"), "dataset", [name for p in products for name in p.datasets]),
        status=choose(given.get("status"), "status", LOAD_STATUSES),
        before=read_number(request, "before", "invalid_cursor"),
        limit=read_count(request, "limit", 100, 1000, "limit_out_of_range"),
    )
    members, behind = await list_loads(service.lanes, wanted, address_of(service.settings, LOADS))
    next_url = None
    if behind is not None:
        following = request.url.include_query_params(before=behind)
        next_url = address_of(service.settings, f"{following.path}?{following.query}")
    body = b'{"data":[%b],"next":%b}' % (members, f'"{next_url}"'.encode() if next_url else b"null")
    link = {"Link": f'<{next_url}>; rel="next"'} if next_url else {}
    return Response(body, 200, NO_STORE | link, "application/json")


@router.api_route("/operations/loads/{load}", methods=READ)
async def get_one_load(request: Request) -> Response:
    """Everything about one load."""
    service = service_of(request)
    require_scope(await service.authenticate(request), "ops:read")
    refuse_parameters(request, ())
    text = request.path_params["load"]
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Problem("not_found")
    found = await get_load(service.lanes, int(text), address_of(service.settings, LOADS))
    body = b'{"data":%b}' % found
    return Response(body, 200, NO_STORE, "application/json")


@router.api_route("/operations/loads", methods=["POST"])
async def post_loads(request: Request) -> Response:
    """202 and the loads, once they are queued."""
    service = service_of(request)
    principal = await service.authenticate(request)
    require_scope(principal, "ops:write")
    refuse_parameters(request, ())
    key = read_idempotency_key(request.headers.getlist("idempotency-key"))
    body = await read_json(request)
    datasets = find_loadable(service, parse_object(body, ("product", "major", "dataset")))
    answer = await queue_loads(service.events.pool, LoadRequest(principal.id or "", datasets, key, body))
    loads = [load | {"url": address_of(service.settings, load["url"])} for load in answer["data"]]
    return JSONResponse({"data": loads}, 202, NO_STORE | {"Location": loads[0]["url"]})


async def read_json(request: Request) -> bytes:
    """A short JSON body."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise Problem("unsupported_media_type", headers={"Accept-Post": "application/json"})
    return await read_body(request, BODY_LIMIT_BYTES)


def find_products(service: Service, name: str | None, major: str | None) -> list[Product]:
    """The products that a query names, all where it names none; a problem where there is no such one."""
    products = list(service.catalog.products.values())
    choose(name, "product", [product.id for product in products])
    found = [product for product in products if name is None or product.id == name]
    choose(major, "major", [str(product.major) for product in found])
    return [product for product in found if major is None or str(product.major) == major]


def choose(given: Any, name: str, allowed: Any) -> Any:
    """The value, where it is one of those allowed or not given at all."""
    if given is None or given in allowed:
        return given
    near = closest(given, allowed) or sorted(set(allowed))[:20]
    raise parameter_problem("invalid_value", name, "is not known", near)


def find_loadable(service: Service, asked: dict[str, Any]) -> list[Dataset]:
    """The datasets to load, in order: the one named, or those of the product that have a source of their own."""
    name, major, dataset = asked.get("product"), asked.get("major"), asked.get("dataset")
    if not isinstance(name, str):
        raise member_problem("product", "the id of a product is needed")
    majors = {product.major: product for product in service.catalog.products.values() if product.id == name}
    if not majors:
        raise member_problem("product", "there is no such product")
    if major is None:
        major = service.catalog.newest_major(name)
    product = majors.get(major) if type(major) is int else None
    if product is None:
        raise member_problem("major", f"known are {', '.join(map(str, sorted(majors)))}")
    if dataset is None:
        ordered = [d for d in service.catalog.datasets() if (d.product, d.major) == (product.id, product.major)]
        found = [d for d in ordered if d.input is not None and d.input.kind not in FED_OTHERWISE]
        if not found:
            raise member_problem("product", "no dataset of it has a source of its own")
        return found
    if not isinstance(dataset, str) or dataset not in product.datasets:
        raise member_problem("dataset", "the product has no such dataset")
    if product.datasets[dataset].input is None:
        raise member_problem("dataset", "it has no input in its contract")
    return [product.datasets[dataset]]


def member_problem(name: str, message: str) -> Problem:
    """A problem with one member of the body."""
    return Problem("invalid_value", f"{name}: {message}", errors=[{"pointer": f"/{name}", "message": message}])
