"""The datasets as one caller sees them, so that a document contains nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from api.auth.permissions import Access
from api.query.view import View, Views
from catalog.model.dataset import Dataset, Product


def seen_datasets(views: Views, product: Product, access: Access) -> Iterator[tuple[Dataset, bool]]:
    """Each dataset with what is seen of it, and whether only some of its records are.

    Its view is made for this alone, and goes at once: those that requests are answered by belong to the event loop's
    thread, and are not to be pushed out by documents.
    """
    for dataset in product.datasets.values():
        if access.sees(dataset.name):
            view = Views(views.tables, views.contracts, views.secret, views.url_limit).of(dataset, access)
            yield seen_dataset(view), view.row_filtered


def seen_dataset(view: View) -> Dataset:
    """The dataset with what is seen of it."""
    links = tuple(link.key for link in view.related.values())
    searched = view.dataset.searched if "q" in view.validator.readers else ()
    kept = tuple(key for key in view.dataset.foreign_keys if key in links)
    return replace(view.dataset, properties=dict(view.shown), foreign_keys=kept, searched=searched)
