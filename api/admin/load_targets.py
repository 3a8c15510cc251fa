"""Resolves a load request to the datasets that it names."""

from __future__ import annotations

from collections.abc import Collection

from api.context import Context
from api.http.problems import closest, parameter_problem
from api.http.request_body import member_problem
from catalog.model.dataset import Dataset, Product
from runtime.json_types import JsonObject


def find_products(context: Context, name: str | None, major: str | None) -> list[Product]:
    """The products that a query names, all where it names none; a problem where there is no such one."""
    products = list(context.catalog.products.values())
    choose(name, "product", [product.id for product in products])
    found = [product for product in products if name is None or product.id == name]
    choose(major, "major", [str(product.major) for product in found])
    return [product for product in found if major is None or str(product.major) == major]


def choose(given: str | None, name: str, allowed: Collection[str]) -> str | None:
    """The value, where it is one of those allowed or not given at all."""
    if given is None or given in allowed:
        return given
    near = closest(given, allowed) or sorted(set(allowed))[:20]
    raise parameter_problem("invalid_value", name, "unknown value", near)


def find_loadable(context: Context, asked: JsonObject) -> list[Dataset]:
    """The datasets to load, in order: the one named, or those of the product that have a source of their own."""
    product = find_product(context, asked)
    if asked.get("dataset") is None:
        ordered = [d for d in context.catalog.datasets() if (d.product, d.major) == (product.id, product.major)]
        found = [d for d in ordered if d.input is not None and d.input.fed.scheduled]
        if not found:
            raise member_problem("product", "no dataset of the product has a source of its own")
        return found
    dataset = find_named(context, asked)
    if dataset.input is None:
        raise member_problem("dataset", "the dataset has no input in its contract")
    return [dataset]


def find_named(context: Context, asked: JsonObject) -> Dataset:
    """The one dataset that a body names, whether it has an input or not."""
    product, dataset = find_product(context, asked), asked.get("dataset")
    if dataset is None:
        raise member_problem("dataset", "must be the name of a dataset")
    if not isinstance(dataset, str) or dataset not in product.datasets:
        raise member_problem("dataset", "unknown dataset of the product")
    return product.datasets[dataset]


def find_product(context: Context, asked: JsonObject) -> Product:
    """The product that a body names, its newest active major version where it names none."""
    name, major = asked.get("product"), asked.get("major")
    if not isinstance(name, str):
        raise member_problem("product", "must be the id of a product")
    majors = {product.major: product for product in context.catalog.products.values() if product.id == name}
    if not majors:
        raise member_problem("product", "unknown product")
    if major is None:
        major = context.catalog.newest_major(name)
    product = majors.get(major) if type(major) is int else None
    if product is None:
        raise member_problem("major", f"known are {', '.join(map(str, sorted(majors)))}")
    return product
