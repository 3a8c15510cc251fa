"""Guards paths that no route matches, so that an unauthorized caller cannot probe which resources exist."""

from __future__ import annotations

from fastapi import Request

from api.auth.permissions import find_dataset, find_product
from api.context import context_of

DATA = "/data"


async def guard_unrouted_path(request: Request) -> None:
    """Raises a problem if the caller may not see the path under `/data`; returns nothing otherwise.

    Without a credential all that is not open answers the same, also where nothing is.
    """
    parts = request.url.path.split("/")
    if f"/{parts[1] if len(parts) > 1 else ''}" != DATA:
        return
    context = context_of(request)
    principal = await context.authenticate(request)
    product, major, dataset = (*parts[2:5], "", "", "")[:3]
    if not product:
        return
    if dataset and dataset != "contract":
        find_dataset(context.catalog, principal, product, major.removeprefix("v"), dataset)
    else:
        find_product(context.catalog, principal, product, major.removeprefix("v"))
