"""What the owner of a subscription may be told: judged when it is made, and again whenever something is sent."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from catalog.model.dataset import Product
from catalog.model.roles import Rows, held_roles, join_rows
from catalog.storage.outbox import KINDS

OPERATORS_SCOPE = "ops:read"
SERVED = ("active", "deprecated")
# What a webhook can be told of: all that happens to a dataset.
SUBSCRIBED_KINDS = tuple(name for name, kind in KINDS.items() if kind.of_dataset)


@dataclass(frozen=True)
class Wanted:
    """What a subscription is told of."""

    datasets: Sequence[str] | None  # of one product; None for all of it
    kinds: Sequence[str]


@dataclass(frozen=True)
class Readable:
    """What a key may read of a product."""

    rows: Rows | None  # as join_rows has it

    def sees(self, dataset: str) -> bool:
        """Whether the dataset exists for it."""
        return self.rows is None or dataset in dict(self.rows)

    def sees_all(self, dataset: str) -> bool:
        """Whether it sees every record of the dataset, and so may know how many there are."""
        return self.rows is None or dict(self.rows).get(dataset, False) is None


def find_readable(product: Product | None, scopes: AbstractSet[str]) -> Readable | None:
    """What these scopes let a key read of a product; None where that is nothing."""
    held = held_roles(product.roles, scopes, "read") if product is not None and product.status in SERVED else []
    return Readable(join_rows(held)) if held else None


def find_lacking(wanted: Wanted, product: Product | None, scopes: AbstractSet[str]) -> str | None:
    """What a key lacks to be told what is wanted, in words; None where it lacks nothing."""
    readable = find_readable(product, scopes)
    if readable is None or product is None:
        return "its key may no longer read the product"
    for dataset in wanted.datasets or ():
        if dataset not in product.datasets or not readable.sees(dataset):
            return f"its key may no longer read the dataset {dataset}"
    if OPERATORS_SCOPE not in scopes and any(KINDS[kind].audience == "operators" for kind in wanted.kinds):
        return f"its key lacks the scope {OPERATORS_SCOPE}"
    return None
