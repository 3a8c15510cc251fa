"""The catalogue as one caller sees it, so that its document tells of nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from api.access import Access
from api.views import View, Views
from catalog.contract import Catalog
from catalog.dataset import Dataset, Product


def seen_catalog(views: Views, products: Iterable[tuple[Product, Access]]) -> tuple[Catalog, frozenset[str]]:
    """The products, datasets and properties that are seen, and the addresses of those datasets that are limited."""
    shown: dict[tuple[str, int], Product] = {}
    limited = set()
    for product, access in products:
        datasets: dict[str, Dataset] = {}
        for dataset in product.datasets.values():
            if access.sees(dataset.name):
                view = views.of(dataset, access)
                datasets[dataset.name] = seen_dataset(view)
                if view.limited:
                    limited.add(dataset.address)
        shown[product.id, product.major] = replace(product, datasets=datasets)
    return Catalog(shown), frozenset(limited)


def seen_dataset(view: View) -> Dataset:
    """The dataset with what is seen of it."""
    links = tuple(link.key for link in view.related.values())
    searched = view.dataset.searched if "q" in view.validator.readers else ()
    kept = tuple(key for key in view.dataset.foreign_keys if key in links)
    return replace(view.dataset, properties=dict(view.shown), foreign_keys=kept, searched=searched)
