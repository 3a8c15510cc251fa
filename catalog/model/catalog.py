"""All products of a folder of contracts, and how one dataset is found."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from catalog.model.dataset import Dataset, Product
from catalog.model.dependencies import order_by_dependency, reads_of
from catalog.model.readable_datasets import Readings
from runtime.errors import UnknownDatasetError


@dataclass(frozen=True)
class Catalog:
    """Every product of a folder of contracts, by id and major version."""

    products: Mapping[tuple[str, int], Product]

    @cached_property
    def by_address(self) -> Mapping[tuple[str, str], Product]:
        """The products by their ids and majors as addresses have them."""
        return {(name, str(major)): product for (name, major), product in self.products.items()}

    @cached_property
    def readings(self) -> Readings:
        """Which dataset's SQL may read which."""
        return Readings(self.products.values())

    def datasets(self) -> list[Dataset]:
        """Every dataset, in the order in which they can be loaded."""
        return order_by_dependency([d for p in self.products.values() for d in p.datasets.values()])

    def product_of(self, dataset: Dataset) -> Product:
        """The product that declares the dataset."""
        return self.products[dataset.product, dataset.major]

    def only(self, names: Collection[str]) -> Catalog:
        """The catalogue of the products with these ids alone."""
        return Catalog({key: product for key, product in self.products.items() if product.id in names})

    def part_of(self, datasets: Iterable[Dataset]) -> Catalog:
        """The catalogue of these datasets and of all that their queries read, through derived ones too."""
        by_schema = {product.schema: product for product in self.products.values()}
        found: dict[str, dict[str, Dataset]] = {}
        waiting = list(datasets)
        while waiting:
            dataset = waiting.pop()
            known = found.setdefault(dataset.schema, {})
            if dataset.name in known:
                continue
            known[dataset.name] = dataset
            for schema, name in reads_of(dataset):
                if schema in by_schema and name in by_schema[schema].datasets:
                    waiting.append(by_schema[schema].datasets[name])
        parts = [replace(by_schema[schema], datasets=members) for schema, members in found.items()]
        return Catalog({(product.id, product.major): product for product in parts})

    def find(self, address: str | None) -> list[Dataset]:
        """The datasets of PRODUCT[@MAJOR][.DATASET] in loading order; all where there is no address.

        Without a major the newest active one is meant. UnknownDatasetError lists what there is.
        """
        if not address:
            return self.datasets()
        # A product's id may hold dots: the longest id that fits is meant.
        for (name, major), product in sorted(self.products.items(), key=lambda item: (-len(item[0][0]), -item[0][1])):
            for head in (f"{name}@{major}", name):
                if head == name and major != self.newest_major(name):
                    continue
                rest = address.removeprefix(head)
                if address.startswith(head) and rest == "":
                    return [d for d in self.datasets() if (d.product, d.major) == (name, major)]
                if address.startswith(head) and rest[:1] == "." and rest[1:] in product.datasets:
                    return [product.datasets[rest[1:]]]
        known = ", ".join(sorted(d.address for d in self.datasets())) or "none"
        raise UnknownDatasetError(f"Unknown dataset '{address}'. Known datasets: {known}.")

    def newest_major(self, name: str) -> int:
        """The newest active major of a product, or its newest where none is active."""
        majors = [p for (other, _), p in self.products.items() if other == name]
        return max(majors, key=lambda p: (p.status == "active", p.major)).major
