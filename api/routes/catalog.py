"""What there is: the catalogue, products, datasets."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.responses import Response

from api.auth import Principal, find_dataset, find_product, hidden_properties, may_read
from api.problems import closest, parameter_problem
from api.service import Service, service_of
from catalog.database import translate_error
from catalog.dataset import Dataset, Product

router = APIRouter()
READ = ["GET", "HEAD"]

HEADS = (
    "SELECT product, major, dataset, revision, record_count, published_at FROM decant.datasets"
    " WHERE product = ANY(%s::text[])"
)


@router.api_route("/data", methods=READ)
async def list_products(request: Request) -> Response:
    """The products and datasets that the caller may see."""
    refuse_parameters(request)
    service = service_of(request)
    principal = await service.authenticate(request)
    products = [p for p in service.catalog.products.values() if may_read(principal, p) and p.status != "retired"]
    heads = await read_heads(service, products)
    return JSONResponse({"data": [describe_product(product, heads) for product in products]})


@router.api_route("/data/{product}/v{major}", methods=READ)
async def get_product(request: Request) -> Response:
    """One product, with its description, owner, promises and datasets."""
    refuse_parameters(request)
    service = service_of(request)
    principal = await service.authenticate(request)
    parts = request.path_params
    product = find_product(service.catalog, principal, parts["product"], parts["major"])
    heads = await read_heads(service, [product])
    shown = ("description", "domain", "tags", "team", "support", "slaProperties", "price", "authoritativeDefinitions")
    facts = {name: product.document[name] for name in shown if name in product.document}
    return JSONResponse({"data": describe_product(product, heads) | facts})


@router.api_route("/data/{product}/v{major}/{dataset}", methods=READ)
async def get_dataset(request: Request) -> Response:
    """One dataset, with its properties, key and revision."""
    refuse_parameters(request)
    service = service_of(request)
    principal = await service.authenticate(request)
    parts = request.path_params
    dataset = find_dataset(service.catalog, principal, parts["product"], parts["major"], parts["dataset"])
    heads = await read_heads(service, [service.catalog.product_of(dataset)])
    facts = describe_dataset(dataset, heads) | {
        "key": list(dataset.key),
        "scope": f"{dataset.product}:read",
        "properties": describe_properties(dataset, principal),
    }
    return JSONResponse({"data": facts})


def refuse_parameters(request: Request) -> None:
    """A problem for any query parameter: these addresses take none."""
    for name in request.query_params:
        raise parameter_problem("unknown_parameter", name, "unknown parameter", closest(name, []))


async def read_heads(service: Service, products: list[Product]) -> dict[tuple[str, int, str], Any]:
    """Revision, number of records and time of publication of every dataset of these products."""
    try:
        async with service.lanes.connection() as connection:
            rows = await (await connection.execute(HEADS, ([p.id for p in products],))).fetchall()
    except Exception as error:
        raise translate_error(error) from error
    return {(row[0].decode(), row[1], row[2].decode()): row[3:] for row in rows}


def describe_product(product: Product, heads: dict[tuple[str, int, str], Any]) -> dict[str, Any]:
    """What the catalogue says of a product."""
    return {
        "product": product.id,
        "major": product.major,
        "version": product.version,
        "name": product.name,
        "purpose": product.description.strip(),
        "status": product.status,
        "url": f"/data/{product.id}/v{product.major}",
        "datasets": [describe_dataset(dataset, heads) for dataset in product.datasets.values()],
    }


def describe_dataset(dataset: Dataset, heads: dict[tuple[str, int, str], Any]) -> dict[str, Any]:
    """What the catalogue says of a dataset."""
    revision, count, published = heads.get((dataset.product, dataset.major, dataset.name), (0, 0, None))
    return {
        "dataset": dataset.name,
        "description": dataset.description,
        "revision": revision,
        "record_count": count,
        "published_at": published.isoformat().replace("+00:00", "Z") if published else None,
        "url": dataset.path,
        "records_url": f"{dataset.path}/records",
    }


def describe_properties(dataset: Dataset, principal: Principal) -> list[dict[str, Any]]:
    """The properties that the caller sees."""
    hidden = hidden_properties(principal, dataset)
    return [
        {
            "name": prop.name,
            "type": prop.type.name,
            "required": prop.required,
            "description": prop.description,
            "examples": list(prop.examples),
            "operators": list(prop.type.operators),
        }
        for prop in dataset.properties.values()
        if prop.name not in hidden
    ]
