"""One product: purpose, promises, people, datasets."""

from __future__ import annotations

from typing import Any

from api.portal.asking import Asking
from api.portal.content import Content
from api.portal.page import Page
from api.portal.pages.catalogue import Entry, entries_of
from api.portal.pages.subject import PRODUCT_PATH

UNITS = {
    "d": "day",
    "day": "day",
    "h": "hour",
    "m": "minute",
    "min": "minute",
    "y": "year",
    "mo": "month",
    "w": "week",
}
NAMES = {
    "frequency": "Loaded every",
    "latency": "At most behind",
    "retention": "Revisions kept for",
    "endOfData": "No data after",
    "endOfSupport": "Supported until",
    "endOfLife": "Served until",
}
LINKED = ("https://", "http://", "mailto:")


async def build_product(asking: Asking) -> Content:
    """The page."""
    path = asking.fill(PRODUCT_PATH)
    reply = await asking.get(path)
    product = reply.data
    entries = list(entries_of([product]))
    values = {
        "product": product,
        "entries": entries,
        "description": product.get("description") or {},
        "promises": [describe_promise(promise, entries) for promise in product.get("slaProperties") or []],
        "support": [link | {"href": safe_link(link.get("url"))} for link in product.get("support") or []],
        "sources": [
            link | {"href": safe_link(link.get("url"))}
            for link in (product.get("description") or {}).get("authoritativeDefinitions") or []
        ],
        "contract": f"{path}/contract",
    }
    return Content("product.html", product["name"], values, product["purpose"], alternate=path)


def describe_promise(promise: dict[str, Any], entries: list[Entry]) -> dict[str, Any]:
    """A service level in words, and whether it is kept where that is measured: the latency of a dataset."""
    value, unit = promise.get("value"), UNITS.get(str(promise.get("unit")), promise.get("unit") or "")
    amount = f"{value} {unit}{'' if value == 1 or not unit else 's'}".strip()
    kept = None
    if promise.get("property") == "latency":
        known = [e.dataset["freshness"]["fresh"] for e in entries if e.dataset["freshness"]["fresh"] is not None]
        kept = all(known) if known else None
    name = str(promise.get("property"))
    return {"name": NAMES.get(name, name), "amount": amount, "text": promise.get("description") or "", "kept": kept}


def safe_link(url: Any) -> str | None:
    """The address, where it is one that a page may lead to: never a script's."""
    return url if isinstance(url, str) and url.lower().startswith(LINKED) else None


PRODUCT = Page("portal product", "/browse/{product}/v{major}", build_product)
