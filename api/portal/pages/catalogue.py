"""Datasets of the catalogue, as pages list them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

# What needs attention comes first.
STATES = {
    "failed": "last load failed",
    "withheld": "last load withheld",
    "late": "late",
    "empty": "no data yet",
    "fresh": "fresh",
    "complete": "complete",
    "open": "published",
}


@dataclass(frozen=True)
class Entry:
    """One dataset, with what the catalogue says of it."""

    product: dict[str, Any]
    dataset: dict[str, Any]

    @property
    def path(self) -> str:
        """The path of its page."""
        return f"{product_page(self.product)}/{self.dataset['dataset']}"

    @property
    def product_path(self) -> str:
        """The path of its product's page."""
        return product_page(self.product)

    @property
    def matched(self) -> list[dict[str, Any]]:
        """Where a search found its words."""
        return self.dataset.get("matched") or []

    @property
    def dataset_path(self) -> str:
        """The path of the dataset in the API."""
        return f"/data/{self.product['product']}/v{self.product['major']}/{self.dataset['dataset']}"

    @property
    def state(self) -> str:
        """How it stands: one of STATES."""
        return state_of(self.dataset)

    @property
    def state_text(self) -> str:
        """The same in words."""
        return STATES[self.state]


def entries_of(products: Iterable[dict[str, Any]]) -> Iterator[Entry]:
    """The datasets of products."""
    for product in products:
        for dataset in product["datasets"]:
            yield Entry(product, dataset)


def state_of(dataset: dict[str, Any]) -> str:
    """How a dataset stands: one of STATES."""
    last = (dataset.get("quality") or {}).get("last_load")
    if last in {"failed", "withheld"}:
        return str(last)
    if not dataset["revision"]:
        return "empty"
    fresh = dataset["freshness"]["fresh"]
    if fresh is None:
        return "open"
    if fresh and has_ended(dataset["freshness"]):
        return "complete"
    return "fresh" if fresh else "late"


def has_ended(freshness: dict[str, Any]) -> bool:
    """Whether no new records are expected any more."""
    end = freshness.get("end_of_data")
    return end is not None and datetime.fromisoformat(end) <= datetime.now(UTC)


def owner_of(product: dict[str, Any]) -> str | None:
    """The name of the team that a product belongs to; a list of members has none."""
    team = product.get("team")
    return team.get("name") if isinstance(team, dict) else None


def product_page(product: dict[str, Any]) -> str:
    """The path of a product's page."""
    return f"/browse/{product['product']}/v{product['major']}"
