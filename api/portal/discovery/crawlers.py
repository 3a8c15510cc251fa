"""What search engines may list: robots.txt and sitemap.xml. They stay out of what can be asked in countless ways."""

from __future__ import annotations

import asyncio
from typing import Any
from xml.etree import ElementTree as Xml

from api.http.negotiation import MediaType
from api.portal.asking import Asking
from api.portal.discovery.atom import DECLARATION
from api.portal.discovery.document import Document
from api.portal.pages.catalogue import entries_of

TEXT = MediaType("text", "text/plain; charset=utf-8")
XML = MediaType("xml", "application/xml")
CLOSED = ("/data/", "/browse?", "/*/explore", "/console", "/account")


async def build_robots(asking: Asking) -> bytes:
    """robots.txt (RFC 9309)."""
    lines = ["User-agent: *", *(f"Disallow: {path}" for path in CLOSED), f"Sitemap: {asking.origin}/sitemap.xml", ""]
    return "\n".join(lines).encode()


async def build_sitemap(asking: Asking) -> bytes:
    """The pages of products and datasets."""
    reply = await asking.get("/data")
    return await asyncio.to_thread(lambda: write_sitemap(asking.origin, reply.data))


def write_sitemap(origin: str, products: list[dict[str, Any]]) -> bytes:
    """The same, of what the catalogue says of products."""
    entries = entries_of(products)
    pages: dict[str, str | None] = {"/": None, "/browse": None}
    for entry in entries:
        pages[entry.product_path] = None
        pages[entry.path] = entry.dataset["published_at"]
    root = Xml.Element("urlset", xmlns="http://www.sitemaps.org/schemas/sitemap/0.9")
    for path, modified in pages.items():
        url = Xml.SubElement(root, "url")
        Xml.SubElement(url, "loc").text = origin + path
        if modified:
            Xml.SubElement(url, "lastmod").text = modified
    text: str = Xml.tostring(root, encoding="unicode")
    return DECLARATION + text.encode()


ROBOTS = Document("robots.txt", "/robots.txt", TEXT, build_robots)
SITEMAP = Document("sitemap.xml", "/sitemap.xml", XML, build_sitemap)
