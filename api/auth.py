"""Credentials -> Principal, and what a principal sees of a dataset.

The one place that decides on views: which datasets a principal may read, and which of their properties it sees.
"""

from __future__ import annotations

import hmac
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.datastructures import Headers

from api.keys import hash_secret, parse_key
from api.lanes import Lanes
from api.problems import Problem
from catalog.contract import Catalog
from catalog.database import translate_error
from catalog.dataset import Dataset, Product

KEY_CACHE_SECONDS = 4.0  # a revocation holds everywhere within 5 s
KEY_CACHE_ENTRIES = 10_000
SERVED = ("active", "deprecated")
CLASSIFIED = ("confidential", "restricted")
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="decant"'}

FIND_KEY = (
    "SELECT secret_hash, scopes, expires_at, revoked_at FROM decant.api_keys"
    " WHERE id = %s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())"
)


@dataclass(frozen=True)
class Principal:
    """Who is calling: `id` is None for anonymous."""

    id: str | None = None
    scopes: frozenset[str] = frozenset()


ANONYMOUS = Principal()


@dataclass(frozen=True)
class StoredKey:
    """What the database says of a key."""

    secret_hash: bytes
    scopes: frozenset[str]
    expires_at: datetime | None


class Authenticator:
    """Turns credentials into principals; keys are looked up once in a few seconds, not once a request."""

    def __init__(self, lanes: Lanes, pepper: bytes) -> None:
        self.lanes = lanes
        self.pepper = pepper
        self.cache: OrderedDict[str, tuple[float, StoredKey | None]] = OrderedDict()

    async def authenticate(self, headers: Headers) -> Principal:
        """The principal of a request; `unauthorized` for any credential that is not valid, without saying why."""
        text = read_credential(headers)
        if text is None:
            return ANONYMOUS
        parsed = parse_key(text)
        stored = await self.find(parsed.id) if parsed else None
        # Compared in any case, so that an unknown id takes as long as a wrong secret.
        offered = hash_secret(parsed.secret if parsed else "", self.pepper)
        if not hmac.compare_digest(offered, stored.secret_hash if stored else b"\0" * len(offered)):
            raise refuse(sent=True)
        if stored is None or parsed is None or (stored.expires_at and stored.expires_at <= datetime.now(UTC)):
            raise refuse(sent=True)
        return Principal(parsed.id, stored.scopes)

    async def find(self, key_id: str) -> StoredKey | None:
        """The key with this id, from the cache or from the database."""
        now = time.monotonic()
        cached = self.cache.get(key_id)
        if cached and now - cached[0] < KEY_CACHE_SECONDS:
            return cached[1]
        try:
            async with self.lanes.connection() as connection:
                row = await (await connection.execute(FIND_KEY, (key_id,))).fetchone()
        except Exception as error:
            raise translate_error(error) from error
        stored = StoredKey(row[0], frozenset(row[1]), row[2]) if row else None
        self.cache[key_id] = (now, stored)
        while len(self.cache) > KEY_CACHE_ENTRIES:
            self.cache.popitem(last=False)
        return stored


def read_credential(headers: Headers) -> str | None:
    """The key or token that a request carries, or None where it carries none."""
    authorization = headers.get("authorization")
    if authorization is not None:
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() != "bearer" or not value.strip():
            raise refuse(sent=True)
        return value.strip()
    return headers.get("x-api-key")


def refuse(*, sent: bool) -> Problem:
    """The one answer to every bad credential; `error=` only where one was sent (RFC 6750)."""
    headers = {"WWW-Authenticate": CHALLENGE["WWW-Authenticate"] + (', error="invalid_token"' if sent else "")}
    return Problem("unauthorized", headers=headers)


def may_read(principal: Principal, product: Product) -> bool:
    """Whether a principal may read a product at all."""
    if product.status not in (*SERVED, "retired"):
        return False
    return product.anonymous or f"{product.id}:read" in principal.scopes


@dataclass(frozen=True)
class Access:
    """What a principal may see of a product: whoever has the same access sees the same."""

    classifications: frozenset[str] = frozenset()  # beside what is public or internal


def access_of(principal: Principal, product: str) -> Access:
    """The principal's access to a product that it may read."""
    held = (word for word in CLASSIFIED if f"{product}:read:{word}" in principal.scopes)
    return Access(frozenset(held))


def hidden_from(access: Access, dataset: Dataset) -> frozenset[str]:
    """The properties that are not seen with this access: classified ones, unless it names their class."""
    return frozenset(
        prop.name
        for prop in dataset.properties.values()
        if prop.classification in CLASSIFIED and prop.classification not in access.classifications
    )


def hidden_properties(principal: Principal, dataset: Dataset) -> frozenset[str]:
    """The properties that a principal does not see."""
    return hidden_from(access_of(principal, dataset.product), dataset)


def find_product(catalog: Catalog, principal: Principal, name: str, major: str) -> Product:
    """A product that the principal may read.

    Without a credential everything that is not open answers 401, existing or not; with one, what is not visible
    does not exist.
    """
    product = find_known_product(catalog, name, major)
    if product is None or not may_read(principal, product):
        raise refuse(sent=False) if principal.id is None else Problem("not_found")
    if product.status == "retired":
        raise Problem("product_retired")
    return product


def find_dataset(catalog: Catalog, principal: Principal, name: str, major: str, dataset: str) -> Dataset:
    """A dataset that the principal may read; refused as `find_product` does."""
    product = find_product(catalog, principal, name, major)
    found = product.datasets.get(dataset)
    if found is None:
        raise Problem("not_found")
    return found


def may_write(principal: Principal, product: Product) -> bool:
    """Whether a principal may push records to a product; nobody may without a credential."""
    return product.status in (*SERVED, "retired") and f"{product.id}:write" in principal.scopes


def find_writable_dataset(catalog: Catalog, principal: Principal, name: str, major: str, dataset: str) -> Dataset:
    """A dataset that the principal may push records to.

    What it may only read it is told of (`insufficient_scope`); what it may not even see does not exist.
    """
    if principal.id is None:
        raise refuse(sent=False)
    product = find_known_product(catalog, name, major)
    if product is None or not (may_write(principal, product) or may_read(principal, product)):
        raise Problem("not_found")
    if not may_write(principal, product):
        scope = f"{product.id}:write"
        challenge = f'{CHALLENGE["WWW-Authenticate"]}, error="insufficient_scope", scope="{scope}"'
        detail = f"The credential is valid but lacks the scope {scope}."
        raise Problem("insufficient_scope", detail, headers={"WWW-Authenticate": challenge})
    return pick_dataset(product, dataset)


def find_watched_dataset(catalog: Catalog, principal: Principal, name: str, major: str, dataset: str) -> Dataset:
    """A dataset whose receipts the principal may ask for: a writer's, a reader's or an operator's."""
    if principal.id is None:
        raise refuse(sent=False)
    product = find_known_product(catalog, name, major)
    visible = product is not None and (may_write(principal, product) or may_read(principal, product))
    operator = product is not None and product.status in SERVED and "ops:read" in principal.scopes
    if product is None or not (visible or operator):
        raise Problem("not_found")
    return pick_dataset(product, dataset)


def find_known_product(catalog: Catalog, name: str, major: str) -> Product | None:
    """The product at an address, whoever asks."""
    return (
        catalog.products.get((name, int(major))) if major.isascii() and major.isdigit() and len(major) < 9 else None
    )


def pick_dataset(product: Product, name: str) -> Dataset:
    """A dataset of a product that the caller knows of."""
    if product.status == "retired":
        raise Problem("product_retired")
    found = product.datasets.get(name)
    if found is None:
        raise Problem("not_found")
    return found
