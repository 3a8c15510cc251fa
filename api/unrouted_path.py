"""What a request gets that no route takes: whoever may not know what there is must not learn it from this."""

from __future__ import annotations

from fastapi import Request

from api.auth.permissions import find_dataset, find_product
from api.context import context_of

DATA = "/data"


async def judge_nowhere(request: Request) -> None:
    """A problem where an address under `/data` is no business of the caller's; nothing comes back otherwise.

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
