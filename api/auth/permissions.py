"""Authorization: the only module that decides which products, datasets, records and properties a principal may see.

Everything that shows data, or tells of it, goes through an `Access`: whoever has the same one sees the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from api.auth.authenticator import CHALLENGE, Principal, refuse
from api.http.problems import Problem
from catalog.model.catalog import Catalog
from catalog.model.dataset import CLASSIFIED, Dataset, Product, Property
from catalog.model.roles import Role, RowPredicate, Rows, held_roles, join_rows

SERVED = ("active", "deprecated")


@dataclass(frozen=True)
class Access:
    """What a principal may see of a product."""

    classifications: frozenset[str] = frozenset()  # beside what is public or internal
    rows: Rows | None = None  # the datasets that are seen, and the records of each; None: all of everything

    def sees(self, dataset: str) -> bool:
        """Whether the dataset exists for whoever has this access."""
        return self.rows is None or any(name == dataset for name, _ in self.rows)

    def predicate(self, dataset: str) -> RowPredicate | None:
        """The condition that a record must meet to be seen; None where all are."""
        return None if self.rows is None else dict(self.rows)[dataset]

    def shows(self, prop: Property) -> bool:
        """Whether the values of a property may be seen, where its dataset is."""
        return prop.classification not in CLASSIFIED or prop.classification in self.classifications


def access_of(principal: Principal, product: Product) -> Access | None:
    """The principal's access to a product, None where it may not read it at all."""
    known = principal.cache.get(product.schema)
    if known is None:
        known = principal.cache[product.schema] = (find_access(principal, product),)
    access: Access | None = known[0]
    return access


def find_access(principal: Principal, product: Product) -> Access | None:
    """The access that the principal's scopes give, with what everybody has."""
    if product.status not in (*SERVED, "retired"):
        return None
    held = roles_of(principal, product, "read")
    if not held:
        return None
    classifications = (word for word in CLASSIFIED if f"{product.id}:read:{word}" in principal.scopes)
    return Access(frozenset(classifications), join_rows(held))


def roles_of(principal: Principal, product: Product, access: str) -> list[Role]:
    """The roles of a product that a principal has, for reading or for writing."""
    return held_roles(product.roles, principal.scopes, access)


def may_write(principal: Principal, product: Product) -> bool:
    """Whether a principal may push records to a product; nobody may without a credential."""
    return product.status in (*SERVED, "retired") and bool(roles_of(principal, product, "write"))


def visible_products(catalog: Catalog, principal: Principal) -> Iterable[tuple[Product, Access]]:
    """The products that a principal may read, but those that are retired, with its access to each."""
    for product in catalog.products.values():
        access = access_of(principal, product)
        if access is not None and product.status != "retired":
            yield product, access


def find_product(catalog: Catalog, principal: Principal, name: str, major: str) -> tuple[Product, Access]:
    """A product that the principal may read, and its access.

    Without a credential everything that is not open answers 401, existing or not; with one, what is not visible
    does not exist.
    """
    product = find_known_product(catalog, name, major)
    access = access_of(principal, product) if product is not None else None
    if product is None or access is None:
        raise nothing_there(principal)
    if product.status == "retired":
        raise Problem("product_retired")
    return product, access


def find_dataset(
    catalog: Catalog, principal: Principal, name: str, major: str, dataset: str
) -> tuple[Dataset, Access]:
    """A dataset that the principal may read, and its access; refused as `find_product` does."""
    product, access = find_product(catalog, principal, name, major)
    found = product.datasets.get(dataset)
    if found is None or not access.sees(dataset):
        # Where everything of a product is open, a wrong name need not look like a closed door.
        raise nothing_there(principal) if access.rows is not None else Problem("not_found")
    return found, access


def nothing_there(principal: Principal) -> Problem:
    """The answer for what is not visible, whether it exists or not."""
    return refuse(sent=False) if principal.id is None else Problem("not_found")


def find_writable_dataset(catalog: Catalog, principal: Principal, name: str, major: str, dataset: str) -> Dataset:
    """A dataset that the principal may push records to.

    What it may only read it is told of (`insufficient_scope`); what it may not even see does not exist.
    """
    if principal.id is None:
        raise refuse(sent=False)
    product = find_known_product(catalog, name, major)
    access = access_of(principal, product) if product is not None else None
    if product is not None and may_write(principal, product):
        return pick_dataset(product, dataset)
    if product is None or access is None or not access.sees(dataset):
        raise Problem("not_found")
    raise lacks_scope(f"{product.id}:write")


def find_watched_dataset(catalog: Catalog, principal: Principal, name: str, major: str, dataset: str) -> Dataset:
    """A dataset whose receipts the principal may ask for: a writer's, a reader's or an operator's."""
    if principal.id is None:
        raise refuse(sent=False)
    product = find_known_product(catalog, name, major)
    if product is None:
        raise Problem("not_found")
    access = access_of(principal, product)
    visible = may_write(principal, product) or (access is not None and access.sees(dataset))
    if not (visible or (product.status in SERVED and "ops:read" in principal.scopes)):
        raise Problem("not_found")
    return pick_dataset(product, dataset)


def require_scope(principal: Principal, scope: str) -> None:
    """`unauthorized` without a credential, `insufficient_scope` for one that lacks the scope."""
    if principal.id is None:
        raise refuse(sent=False)
    if scope not in principal.scopes:
        raise lacks_scope(scope)


def lacks_scope(scope: str) -> Problem:
    """What a valid credential without the scope gets (RFC 6750)."""
    challenge = f'{CHALLENGE["WWW-Authenticate"]}, error="insufficient_scope", scope="{scope}"'
    detail = f"The credential is valid but lacks the scope {scope}."
    return Problem("insufficient_scope", detail, headers={"WWW-Authenticate": challenge})


def find_known_product(catalog: Catalog, name: str, major: str) -> Product | None:
    """The product at an address, whoever asks."""
    return catalog.by_address.get((name, major))


def pick_dataset(product: Product, name: str) -> Dataset:
    """A dataset of a product that the caller knows of."""
    if product.status == "retired":
        raise Problem("product_retired")
    found = product.datasets.get(name)
    if found is None:
        raise Problem("not_found")
    return found
