"""The contract of a product: readable with anchors, as YAML, and what changed since the major version before."""

from __future__ import annotations

import asyncio
from typing import Any

from markupsafe import Markup

from api.http.negotiation import YAML
from api.portal.asking import Asking
from api.portal.content import Content
from api.portal.contract_text import (
    OF_SERVERS,
    compare_documents,
    custom_in,
    facts_in,
    rules_in,
    type_of,
)
from api.portal.highlighting import highlight_yaml
from api.portal.page import Page
from api.portal.pages.catalogue import product_page
from api.portal.pages.rules import rules_of
from api.portal.pages.subject import PRODUCT_PATH

AS_YAML = "yaml"


async def build_contract(asking: Asking) -> Content:
    """The page; `view=yaml` shows the document itself."""
    path = asking.fill(PRODUCT_PATH)
    is_yaml = asking.request.query_params.get("view") == AS_YAML
    product, document = await asyncio.gather(asking.get(path), asking.get(f"{path}/contract"))
    values: dict[str, Any] = {
        "product": product.data,
        "product_page": product_page(product.data),
        "path": path,
        "document": document.value,
        "yaml": None,
    }
    if is_yaml:
        values["yaml"] = await write_yaml(asking, path)
    else:
        values |= describe(document.value) | await compare_before(asking, product.data, document.value)
    return Content(
        "contract.html",
        f"Contract of {product.data['name']}",
        values,
        product.data["purpose"],
        alternate=f"{path}/contract",
        indexed=not is_yaml,
    )


async def write_yaml(asking: Asking, path: str) -> Markup:
    """The document as YAML, coloured."""
    reply = await asking.get_as(f"{path}/contract", YAML)
    return await asyncio.to_thread(highlight_yaml, reply.body.decode())


def describe(document: dict[str, Any]) -> dict[str, Any]:
    """What a template shows of a contract's document."""
    return {
        "datasets": [
            {
                "part": part,
                "rules": rules_in(part),
                "custom": custom_in(part),
                "properties": [
                    {
                        "part": prop,
                        "type": type_of(prop),
                        "limits": list(rules_of(prop)),
                        "rules": rules_in(prop),
                        "custom": [(name, value) for name, value in custom_in(prop) if name != "enum"],
                    }
                    for prop in part.get("properties") or []
                ],
            }
            for part in document.get("schema") or []
        ],
        "roles": [{"part": role, "custom": custom_in(role)} for role in document.get("roles") or []],
        "levels": document.get("slaProperties") or [],
        "servers": [
            {"part": server, "facts": facts_in(server, OF_SERVERS)} for server in document.get("servers") or []
        ],
    }


async def compare_before(asking: Asking, product: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """What changed since the greatest smaller major version that the caller sees; nothing where there is none."""
    catalogue = await asking.get("/data", ("product", product["product"]))
    older = [
        each for each in catalogue.data if each["product"] == product["product"] and each["major"] < product["major"]
    ]
    if not older:
        return {"before": None, "differences": []}
    before = max(older, key=lambda each: int(each["major"]))
    reply = await asking.get(f"/data/{before['product']}/v{before['major']}/contract")
    return {
        "before": before,
        "before_page": product_page(before),
        "differences": compare_documents(reply.value, document),
    }


CONTRACT = Page("portal contract", "/browse/{product}/v{major}/contract", build_contract)
