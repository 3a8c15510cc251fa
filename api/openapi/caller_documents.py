"""The OpenAPI documents of a running service: made in a thread of their own, one for all callers who see the same.

A document of many datasets takes seconds: on the event loop nobody would be answered meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from fastapi import Request

from api.auth.authenticator import Principal
from api.auth.permissions import Access, visible_products
from api.http.addresses import address_of
from api.http.negotiation import JSON
from api.http.responses import Encoded, encode_answer
from api.openapi import Writer, build_dataset
from api.openapi.seen import seen_datasets
from api.query.view import Views
from catalog.model.catalog import Catalog
from catalog.model.dataset import Product
from runtime.json_types import JsonObject
from runtime.settings.settings import Settings

WHOLE_LIMIT_BYTES = 5_000_000  # a document that is larger has an index of its products instead
KEPT_LIMIT_BYTES = 64 * 1024 * 1024
ENTRY_OVERHEAD_BYTES = 1000  # keys, objects
PLAIN = "identity"

Seen = tuple[tuple[Product, Access], ...]
DocumentKey = tuple[str, tuple[tuple[str, Access], ...], str]


class Documents:
    """Makes documents when they are asked for, each once however many ask, and keeps the bytes of some."""

    def __init__(
        self,
        catalog: Catalog,
        views: Views,
        settings: Settings,
        whole_limit: int = WHOLE_LIMIT_BYTES,
        kept_limit: int = KEPT_LIMIT_BYTES,
    ) -> None:
        self.settings = settings
        self.catalog = catalog
        self.views = views
        self.whole_limit = whole_limit
        self.kept_limit = kept_limit
        self.kept: OrderedDict[DocumentKey, Encoded] = OrderedDict()
        self.bytes = 0
        self.making: dict[DocumentKey, asyncio.Future[Encoded]] = {}
        # One thread: however many kinds of callers ask, documents take one core and the memory of one.
        self.worker = ThreadPoolExecutor(1, "openapi")

    async def of(self, principal: Principal, coding: str) -> Encoded:
        """The document for a caller: of all that is seen, or an index where that is too large."""
        seen = tuple(visible_products(self.catalog, principal))
        return await self.find("whole", seen, coding, self.make_whole)

    async def of_product(self, product: Product, access: Access, coding: str) -> Encoded:
        """The document of one product, as it is seen with this access."""
        return await self.find("product", ((product, access),), coding, self.make_product)

    async def find(self, kind: str, seen: Seen, coding: str, make: Callable[[Seen], bytes]) -> Encoded:
        """The document of what is seen, in a coding."""
        names = tuple((product.schema, access) for product, access in seen)
        key = (kind, names, coding)
        if coding == PLAIN or key in self.kept:
            return await self.get(key, lambda: encode_answer(make(seen), JSON, PLAIN))
        plain = await self.get((kind, names, PLAIN), lambda: encode_answer(make(seen), JSON, PLAIN))
        return await self.get(key, lambda: encode_answer(plain.body, JSON, coding))

    async def get(self, key: DocumentKey, make: Callable[[], Encoded]) -> Encoded:
        """What is kept, or else is made in the thread; callers that ask for it meanwhile wait for the same."""
        kept = self.kept.get(key)
        if kept is not None:
            self.kept.move_to_end(key)
            return kept
        making = self.making.get(key)
        if making is None:
            making = asyncio.get_running_loop().run_in_executor(self.worker, make)
            self.making[key] = making
            making.add_done_callback(partial(self.keep, key))
        # Who goes away while it is made leaves it to the others.
        return await asyncio.shield(making)

    def keep(self, key: DocumentKey, making: asyncio.Future[Encoded]) -> None:
        """Keeps what was made, and lets those go that were not asked for longest."""
        del self.making[key]
        if making.cancelled() or making.exception() is not None:
            return
        encoded = making.result()
        size = len(encoded.body) + ENTRY_OVERHEAD_BYTES
        if size > self.kept_limit:
            return
        self.kept[key] = encoded
        self.bytes += size
        while self.bytes > self.kept_limit:
            _, oldest = self.kept.popitem(last=False)
            self.bytes -= len(oldest.body) + ENTRY_OVERHEAD_BYTES

    async def close(self) -> None:
        """Makes no more documents; one that is being made is waited for off the event loop."""
        await asyncio.to_thread(self.worker.shutdown, cancel_futures=True)

    def make_whole(self, seen: Seen) -> bytes:
        """The document of all that is seen; the common operations alone where it would be too large."""
        writer = Writer(self.settings.token_issuers)
        for product, access in seen:
            for dataset, row_filtered in seen_datasets(self.views, product, access):
                writer.add(build_dataset(product, dataset, row_filtered=row_filtered))
                if writer.size > self.whole_limit:
                    return self.finish(Writer(self.settings.token_issuers), seen)
        whole = self.finish(writer, seen)
        if len(whole) > self.whole_limit:
            return self.finish(Writer(self.settings.token_issuers), seen)
        return whole

    def make_product(self, seen: Seen) -> bytes:
        """The document of one product, however large."""
        writer = Writer(self.settings.token_issuers)
        for product, access in seen:
            for dataset, row_filtered in seen_datasets(self.views, product, access):
                writer.add(build_dataset(product, dataset, row_filtered=row_filtered))
        return self.finish(writer, seen)

    def finish(self, writer: Writer, seen: Seen) -> bytes:
        """The document of what was written, with the scopes and the index of all that is seen."""
        catalog = Catalog({(product.id, product.major): product for product, _ in seen})
        server = address_of(self.settings, "") or "/"
        return writer.document(catalog, server, [self.entry_of(product) for product, _ in seen])

    def entry_of(self, product: Product) -> JsonObject:
        """What the index says of a product."""
        url = address_of(self.settings, f"/openapi/{product.id}/v{product.major}.json")
        return {"url": url, "product": product.id, "major": product.major, "title": product.name}


def documents_of(request: Request) -> Documents:
    """Those of the application that a request came to."""
    documents: Documents = request.app.state.documents
    return documents
