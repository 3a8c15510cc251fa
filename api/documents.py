"""The OpenAPI documents of a running service: one for all callers who see the same."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from api.access import Access, visible_products
from api.addresses import address_of
from api.auth import Principal
from api.openapi import build_document, render_document
from api.openapi.seen import seen_catalog
from api.views import Views
from catalog.contract import Catalog
from catalog.dataset import Product
from catalog.settings import Settings

DOCUMENTS_MAXIMUM = 50


class Documents:
    """Makes documents when they are asked for, and keeps some."""

    def __init__(self, catalog: Catalog, views: Views, settings: Settings) -> None:
        self.settings = settings
        self.catalog = catalog
        self.views = views
        self.made: OrderedDict[tuple[tuple[str, Access], ...], bytes] = OrderedDict()

    def build(self, seen: Sequence[tuple[Product, Access]]) -> dict[str, Any]:
        """The document of what is seen."""
        server = address_of(self.settings, "") or "/"
        return build_document(*seen_catalog(self.views, seen), self.settings.token_issuers, server)

    def of(self, principal: Principal) -> bytes:
        """The document for a caller, as JSON."""
        seen = list(visible_products(self.catalog, principal))
        place = tuple((product.schema, access) for product, access in seen)
        document = self.made.get(place)
        if document is None:
            document = render_document(self.build(seen)).encode()
            self.made[place] = document
            if len(self.made) > DOCUMENTS_MAXIMUM:
                self.made.popitem(last=False)
        return document
