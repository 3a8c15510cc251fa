"""The dataset that a page is about: where it stands in the API and in the portal, and what the API says of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from api.portal.asking import Asking, Reply
from api.portal.pages.catalogue import product_page

PRODUCT_PATH = "/data/{product}/v{major}"
DATASET_PATH = PRODUCT_PATH + "/{dataset}"
EXPLAINED = frozenset({404, 406, 410, 422, 504})  # problems that stand beside a question, to be corrected there


@dataclass(frozen=True)
class Subject:
    """A dataset with its product."""

    path: str  # of the dataset in the API
    product_path: str
    page: str  # the path of the dataset's page
    product: dict[str, Any]
    dataset: dict[str, Any]

    @property
    def values(self) -> dict[str, Any]:
        """What every template about a dataset is given."""
        return {
            "path": self.path,
            "page_path": self.page,
            "product_page": product_page(self.product),
            "product": self.product,
            "dataset": self.dataset,
        }


async def find_subject(asking: Asking) -> Subject:
    """The dataset of a page's address, as the caller sees it; Problem where there is none."""
    path, product_path = asking.fill(DATASET_PATH), asking.fill(PRODUCT_PATH)
    dataset, product = await asyncio.gather(asking.get(path), asking.get(product_path))
    page = f"{product_page(product.data)}/{dataset.data['dataset']}"
    return Subject(path, product_path, page, product.data, dataset.data)


async def find_whole(asking: Asking, subject: Subject, part: str, *parameters: tuple[str, str]) -> Reply | None:
    """What is made over all records, such as `profile`; callers who see some of them only are not told."""
    return None if subject.dataset["limited"] else await asking.find(f"{subject.path}/{part}", *parameters)
