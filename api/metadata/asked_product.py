"""The product that an address names, as its caller sees it."""

from __future__ import annotations

from typing import NamedTuple

from fastapi import Request

from api.auth.authenticator import Principal
from api.auth.permissions import Access, find_product
from api.context import Context, context_of
from api.http.responses import refuse_unknown
from catalog.model.dataset import Product


class AskedProduct(NamedTuple):
    """A request about one product."""

    context: Context
    principal: Principal
    product: Product
    access: Access


async def find_asked_product(request: Request) -> AskedProduct:
    """The product of a request without parameters; a problem where there is none for the caller."""
    context = context_of(request)
    principal = await context.authenticate(request)
    parts = request.path_params
    product, access = find_product(context.catalog, principal, parts["product"], parts["major"])
    refuse_unknown(request)
    return AskedProduct(context, principal, product, access)
