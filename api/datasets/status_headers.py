"""Response headers from the dataset's state: cache lifetime and the product's life cycle."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from email.utils import format_datetime

from api.auth.authenticator import Principal
from api.auth.permissions import SERVED
from api.http.addresses import address_of
from api.http.header_fields import Field, Fields
from api.query.question import Pin
from catalog.model.catalog import Catalog
from catalog.model.dataset import Dataset, Product
from catalog.model.schedule import next_load
from runtime.settings.settings import Settings

FRESH_SECONDS = 60  # how long anybody may keep what is open to all
PINNED_SECONDS = 300  # what names its revision does not change, but records may be erased from it
DAY_SECONDS = 86_400
PRIVATE = (b"cache-control", b"private, no-cache")


class StatusHeaders:
    """The headers that products and schedules decide."""

    def __init__(self, catalog: Catalog, settings: Settings) -> None:
        self.catalog = catalog
        self.lifecycle = {
            key: lifecycle_headers(catalog, product, settings) for key, product in catalog.products.items()
        }
        self.next_loads: dict[str, float] = {}  # dataset -> when it is loaded next, in seconds since 1970

    def of(self, principal: Principal, dataset: Dataset, pin: Pin) -> Fields:
        """The headers of an answer about a dataset."""
        return [self.cache_control(principal, dataset, pin), *self.lifecycle[dataset.product, dataset.major]]

    def lifecycle_of(self, product: Product) -> dict[str, str]:
        """The headers that say how long a product will be there; several links as one."""
        fields: dict[str, str] = {}
        for name, value in self.lifecycle[product.id, product.major]:
            text = value.decode()
            key = name.decode().title()
            fields[key] = f"{fields[key]}, {text}" if key in fields else text
        return fields

    def cache_control(self, principal: Principal, dataset: Dataset, pin: Pin) -> Field:
        """How long an answer may be kept, and by whom: by all only what is open, asked for without a credential."""
        if principal.id is not None or not self.catalog.products[dataset.product, dataset.major].anonymous:
            return PRIVATE
        seconds = (
            PINNED_SECONDS
            if pin.fixed and not pin.by_time
            else min(FRESH_SECONDS, self.seconds_to_next_load(dataset))
        )
        return (b"cache-control", b"public, max-age=%d" % seconds)

    def seconds_to_next_load(self, dataset: Dataset) -> int:
        """How long it is until a schedule loads the dataset; very long where none does."""
        now = time.time()
        timestamp = self.next_loads.get(dataset.address, 0.0)
        if timestamp <= now:
            tick = next_load(self.catalog, dataset, datetime.fromtimestamp(now, UTC))
            timestamp = self.next_loads[dataset.address] = tick.timestamp() if tick else float("inf")
        return int(min(timestamp - now, DAY_SECONDS))


def lifecycle_headers(catalog: Catalog, product: Product, settings: Settings) -> Fields:
    """Deprecation (RFC 9745), Sunset (RFC 8594) and where to go, for a product that is on its way out."""
    if product.status != "deprecated":
        return []
    since, end = product.sla.end_of_support, product.sla.end_of_life
    page = address_of(settings, f"/data/{product.id}/v{product.major}")
    fields = [
        (b"deprecation", b"@%d" % (int(since.timestamp()) if since else 0)),
        (b"link", f'<{page}>; rel="deprecation"'.encode()),
    ]
    if end is not None:
        fields.append((b"sunset", format_datetime(end.astimezone(UTC), usegmt=True).encode()))
    newer = [p for p in catalog.products.values() if p.id == product.id and p.major > product.major]
    successors = [p.major for p in newer if p.status in SERVED]
    if successors:
        newest = address_of(settings, f"/data/{product.id}/v{max(successors)}")
        fields.append((b"link", f'<{newest}>; rel="successor-version"'.encode()))
    return fields
