"""The OpenAPI documents of a running service: one for all callers who see the same."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from api.access import Access, visible_products
from api.auth import Principal
from api.openapi import build_document, render_document
from api.openapi.seen import seen_catalog
from api.views import Views
from catalog.contract import Catalog
from catalog.settings import TokenIssuer

DOCUMENTS_MAXIMUM = 50


class Documents:
    """Makes documents when they are asked for, and keeps some."""

    def __init__(self, catalog: Catalog, views: Views, issuers: Sequence[TokenIssuer]) -> None:
        self.issuers = issuers
        self.catalog = catalog
        self.views = views
        self.made: OrderedDict[tuple[tuple[str, Access], ...], bytes] = OrderedDict()

    def of(self, principal: Principal) -> bytes:
        """The document for a caller, as JSON."""
        seen = list(visible_products(self.catalog, principal))
        place = tuple((product.schema, access) for product, access in seen)
        document = self.made.get(place)
        if document is None:
            document = render_document(build_document(*seen_catalog(self.views, seen), self.issuers)).encode()
            self.made[place] = document
            if len(self.made) > DOCUMENTS_MAXIMUM:
                self.made.popitem(last=False)
        return document
