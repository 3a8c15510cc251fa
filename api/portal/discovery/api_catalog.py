"""The APIs of this host, as a link set (RFC 9727, RFC 9264)."""

from __future__ import annotations

import orjson

from api.http.negotiation import MediaType
from api.portal.asking import Asking
from api.portal.discovery.document import Document

LINKSET = MediaType("linkset", 'application/linkset+json; profile="https://www.rfc-editor.org/info/rfc9727"')


async def build_api_catalog(asking: Asking) -> bytes:
    """One API for all products, and a description for each."""
    origin = asking.origin
    products = (await asking.get("/data")).data
    described = [("/openapi.json", "application/json")]
    described += [(f"/openapi/{p['product']}/v{p['major']}.json", "application/json") for p in products]
    api = {
        "anchor": f"{origin}/data",
        "service-desc": [{"href": origin + path, "type": kind} for path, kind in described],
        "service-doc": [{"href": f"{origin}/docs", "type": "text/html"}],
        "service-meta": [{"href": f"{origin}/catalog.jsonld", "type": "application/ld+json"}],
        "status": [{"href": f"{origin}/readyz", "type": "application/json"}],
    }
    own = {"anchor": f"{origin}/.well-known/api-catalog", "item": [{"href": f"{origin}/data"}]}
    return orjson.dumps({"linkset": [own, api]})


API_CATALOG = Document("api catalog", "/.well-known/api-catalog", LINKSET, build_api_catalog)
