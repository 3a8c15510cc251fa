"""Catalogue endpoints: products, datasets, contracts."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.auth.permissions import Access, find_dataset, visible_products
from api.auth.rule_access import RuleAccess, count_rules, pick_rules
from api.context import Context, context_of
from api.datasets.resources import dataset_resources
from api.http.addresses import address_of
from api.http.negotiation import JSON, YAML, choose_media_type
from api.http.responses import READ, answer, answer_json, answer_members, refuse_unknown
from api.metadata.asked_product import find_asked_product
from api.metadata.catalog_search import (
    Listed,
    count_facets,
    describe_matched,
    list_candidates,
    parse_catalog_query,
    search_of,
)
from api.metadata.contract_document import show_contract, write_yaml
from api.metadata.dataset_status import NOTHING, DatasetStatus, read_dataset_statuses, read_timestamp, write_timestamp
from api.query.view import View
from catalog.model.dataset import Dataset, Product
from catalog.types.filter_operators import operators_of

LINEAGE = "/lineage"
COUNTING = ("/profile", "/quality", "/loads")  # not for callers who see some records only

router = APIRouter()
DatasetStatuses = dict[str, DatasetStatus]
RuleAccessOf = Callable[..., RuleAccess]  # of a dataset and the names that are hidden in it


@router.api_route("/data", methods=READ)
async def list_products(request: Request) -> Response:
    """The products and datasets that the caller may see, or those of them that a search leaves."""
    context = context_of(request)
    principal = await context.authenticate(request)
    query = parse_catalog_query(request.scope["query_string"])
    statuses = await read_dataset_statuses(context.read_connections, context.catalog)
    products = visible_products(context.catalog, principal)
    rule_access_of = partial(RuleAccess, context.catalog, principal)

    def fresh_of(product: Product, dataset: Dataset, access: Access) -> bool | None:
        status = statuses.get(dataset.address, NOTHING)
        fresh = describe_freshness(status, product, dataset, access)["fresh"]
        return fresh if isinstance(fresh, bool) else None

    search = search_of(request)
    if query.text is not None:
        await search.prepare()

    def describe() -> Response:
        candidates = list_candidates(search, query, products, fresh_of)
        shown: dict[str, list[Listed]] = defaultdict(list)
        for each in candidates:
            if each.fits(query.chosen):
                shown[each.product.schema].append(each)
        data = (describe_listed(context, listed, statuses, rule_access_of) for listed in shown.values())
        return answer_members(request, data, {"facets": count_facets(candidates, query)}, link_page(context, {}, "/"))

    # In a thread: what thousands of datasets have to say takes its time, and others are answered meanwhile.
    return await asyncio.to_thread(describe)


@router.api_route("/data/{product}/v{major}", methods=READ)
async def get_product(request: Request) -> Response:
    """One product, with its description, owner, promises and datasets."""
    context, principal, product, access = await find_asked_product(request)
    asked = context.catalog.part_of(product.datasets.values())
    statuses = await read_dataset_statuses(context.read_connections, asked)
    shown = ("description", "domain", "tags", "team", "support", "slaProperties", "price", "authoritativeDefinitions")
    rule_access_of = partial(RuleAccess, context.catalog, principal)
    document = show_contract(product, access, context.views, rule_access_of, operator="ops:read" in principal.scopes)
    facts = {name: document[name] for name in shown if name in document}
    facts["contract_url"] = address_of(context.settings, f"/data/{product.id}/v{product.major}/contract")
    body = {"data": describe_product(context, product, access, statuses, rule_access_of) | facts}
    headers = dataset_resources(request).headers.lifecycle_of(product)
    return answer_json(request, body, link_page(context, headers, f"/browse/{product.id}/v{product.major}"))


@router.api_route("/data/{product}/v{major}/contract", methods=READ)
async def get_contract(request: Request) -> Response:
    """The contract, without what the caller may not know of."""
    context, principal, product, access = await find_asked_product(request)
    media_type = choose_media_type(request.headers.get("accept", ""), (YAML, JSON))
    rule_access_of = partial(RuleAccess, context.catalog, principal)
    document = show_contract(product, access, context.views, rule_access_of, operator="ops:read" in principal.scopes)
    headers = dataset_resources(request).headers.lifecycle_of(product)
    if media_type is JSON:
        return answer_json(request, document, headers)
    return answer(request, write_yaml(document).encode(), YAML, headers)


@router.api_route("/data/{product}/v{major}/{dataset}", methods=READ)
async def get_dataset(request: Request) -> Response:
    """One dataset, with its properties, key, revision, freshness, and quality at a glance."""
    context = context_of(request)
    principal = await context.authenticate(request)
    parts = request.path_params
    dataset, access = find_dataset(context.catalog, principal, parts["product"], parts["major"], parts["dataset"])
    refuse_unknown(request)
    product = context.catalog.product_of(dataset)
    statuses = await read_dataset_statuses(context.read_connections, context.catalog.part_of([dataset]))
    view = context.views.of(dataset, access)
    rule_access_of = partial(RuleAccess, context.catalog, principal)
    facts = describe_dataset(context, product, dataset, access, statuses, rule_access_of)
    body = {"data": facts | describe_view(context, view, dataset_resources(request).links)}
    headers = dataset_resources(request).headers.lifecycle_of(product)
    page = f"/browse/{product.id}/v{product.major}/{dataset.name}"
    return answer_json(request, body, link_page(context, headers, page))


def link_page(context: Context, headers: dict[str, str], path: str) -> dict[str, str]:
    """The headers with a link to the page for people that shows the same."""
    link = f'<{address_of(context.settings, path)}>; rel="alternate"; type="text/html"'
    return headers | {"Link": f"{headers['Link']}, {link}" if "Link" in headers else link}


def describe_listed(
    context: Context, listed: Sequence[Listed], statuses: DatasetStatuses, rule_access_of: RuleAccessOf
) -> dict[str, Any]:
    """What the catalogue says of a product, with those of its datasets that are listed, in their order."""
    product, access = listed[0].product, listed[0].access
    datasets = [each.dataset for each in listed if each.dataset is not None]
    facts = describe_product(context, product, access, statuses, rule_access_of, datasets)
    for described, each in zip(facts["datasets"], listed, strict=False):
        if each.found is not None:
            described["matched"] = describe_matched(each.found)
    return facts


def describe_product(
    context: Context,
    product: Product,
    access: Access,
    statuses: DatasetStatuses,
    rule_access_of: RuleAccessOf,
    datasets: Iterable[Dataset] | None = None,
) -> dict[str, Any]:
    """What the catalogue says of a product, with all datasets that are seen or with these."""
    if datasets is None:
        datasets = [dataset for dataset in product.datasets.values() if access.sees(dataset.name)]
    return {
        "product": product.id,
        "major": product.major,
        "version": product.version,
        "name": product.name,
        "purpose": product.description.strip(),
        "status": product.status,
        "url": address_of(context.settings, f"/data/{product.id}/v{product.major}"),
        "datasets": [
            describe_dataset(context, product, dataset, access, statuses, rule_access_of) for dataset in datasets
        ],
    }


def describe_dataset(
    context: Context,
    product: Product,
    dataset: Dataset,
    access: Access,
    statuses: DatasetStatuses,
    rule_access_of: RuleAccessOf,
) -> dict[str, object]:
    """What the catalogue says of a dataset; nothing that counts all records to whoever sees only some.

    `rule_access_of` makes what decides on the rules that are counted.
    """
    status = statuses.get(dataset.address, NOTHING)
    facts = {
        "dataset": dataset.name,
        "description": dataset.description,
        "revision": status.revision,
        "published_at": write_timestamp(status.published_at),
        "freshness": describe_freshness(status, product, dataset, access),
        "url": address_of(context.settings, dataset.path),
        "records_url": address_of(context.settings, f"{dataset.path}/records"),
    }
    if access.predicate(dataset.name) is None:
        hidden = [prop.name for prop in dataset.properties.values() if not access.shows(prop)]
        facts |= {
            "record_count": status.record_count,
            "quality": describe_quality(status, rule_access_of(dataset, hidden)),
        }
    return facts


def describe_freshness(
    status: DatasetStatus, product: Product, dataset: Dataset, access: Access
) -> dict[str, object]:
    """Whether the contract's latency is kept: `fresh` is null where nothing is promised, or may be told."""
    freshness = status.freshness
    facts = {"fresh": None, "latency_seconds": freshness.get("latency_seconds"), "current_at": None}
    facts |= {"end_of_data": write_timestamp(freshness.get("end_of_data"))}
    element = product.sla.latency_element
    if element is not None and element[0] == dataset.name and not access.shows(dataset.properties[element[1]]):
        return facts
    facts |= {"fresh": freshness.get("fresh"), "current_at": write_timestamp(freshness.get("current_at"))}
    # The newest moment may be that of a record which the caller does not see.
    row_filtered = access.predicate(dataset.name) is not None
    return facts if row_filtered else facts | {"newest_at": write_timestamp(freshness.get("newest"))}


def describe_quality(status: DatasetStatus, access: RuleAccess) -> dict[str, object]:
    """Quality at a glance: how the last load ended, and how many of the rules that may be told were kept."""
    load = status.last_load or {}
    return {
        "last_load": load.get("status"),
        "last_load_at": write_timestamp(read_timestamp(load.get("finished_at"))),
        "raw": load.get("raw"),
        "rejected": load.get("rejected"),
        "rules": count_rules(access, status.rules),
        "published_anyway": describe_decision(status.decided, access) if status.decided else None,
    }


def describe_decision(decided: dict[str, Any], access: RuleAccess) -> dict[str, object]:
    """Which rules failed when the current records were published anyway; to operators, whose and why."""
    described: dict[str, object] = {
        "load": decided["load"],
        "withheld_load": decided["withheld_load"],
        "at": write_timestamp(read_timestamp(decided["at"])),
        "failed": pick_rules(access, decided["rules"]),
    }
    return described | (
        {"by": decided["by"], "note": decided["note"]} if "ops:read" in access.principal.scopes else {}
    )


def describe_view(context: Context, view: View, questions: Iterable[str]) -> dict[str, object]:
    """What one dataset's own page adds: key, scopes and properties as the caller sees them, where to go on."""
    dataset = view.dataset
    paths = (*questions, LINEAGE, *(() if view.row_filtered else COUNTING))
    product = context.catalog.product_of(dataset)
    scopes = [role.scope for role in product.roles if role.access == "read" and not role.anonymous]
    return {
        "key": list(dataset.key),
        "scope": f"{dataset.product}:read",
        "scopes": scopes,
        "open": product.anonymous,
        "limited": view.row_filtered,
        "properties": [
            {
                "name": prop.name,
                "type": prop.type.name,
                "required": prop.required,
                "description": prop.description,
                "classification": prop.classification,
                "masked": prop.masked,
                "examples": [] if prop.masked else list(prop.examples),
                "operators": [] if prop.masked else list(operators_of(prop.type)),
            }
            for prop in view.shown.values()
        ],
        "expand": list(view.related),
        "links": {path.removeprefix("/"): address_of(context.settings, dataset.path + path) for path in paths},
    }
