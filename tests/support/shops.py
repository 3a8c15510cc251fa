"""The product `shop`, made of files, and the service that tests of the API ask about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.support.lab import Lab

HEAD = """
apiVersion: v3.1.0
kind: DataContract
id: shop
name: Shop
version: {version}
status: active
servers:
  - {{server: here, type: local, path: "${{DECANT_DATA}}", format: csv}}
schema:
"""
ANYBODY = """
  - {role: "shop:read", access: read, customProperties: [{property: anonymous, value: true}]}
"""


def make_shop(datasets: str, *, version: str = "1.0.0", roles: str = ANYBODY) -> str:
    """The contract of a shop with these datasets; anybody may read it unless its roles say otherwise."""
    return f"{HEAD.format(version=version)}{datasets.lstrip(chr(10))}roles:{roles}"


@pytest.fixture
def shop(request: pytest.FixtureRequest, product: Callable[..., Lab]) -> Lab:
    """The product that `load_shop` of the test's module builds and loads."""
    return product(request.module.load_shop)


@pytest.fixture
def client(shop: Lab) -> Iterator[httpx.Client]:
    """A client of the shop's service."""
    with shop.serve() as client:
        yield client
