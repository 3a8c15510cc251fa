"""The revisions of a dataset as an Atom feed (RFC 4287)."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from xml.etree import ElementTree as Xml

from api.http.negotiation import MediaType
from api.portal.asking import Asking
from api.portal.discovery.document import Document
from api.portal.pages.subject import DATASET_PATH
from runtime.plain_text import plain

ATOM = MediaType("atom", "application/atom+xml")
NAMESPACE = "http://www.w3.org/2005/Atom"
ENTRIES = 30
DECLARATION = b'<?xml version="1.0" encoding="utf-8"?>\n'


async def build_feed(asking: Asking) -> bytes:
    """The newest revisions: what each inserted, updated and deleted."""
    path = asking.fill(DATASET_PATH)
    dataset = (await asking.get(path)).data
    revisions = (await asking.get(f"{path}/revisions", ("limit", str(ENTRIES)))).data
    page = asking.origin + asking.fill("/browse/{product}/v{major}/{dataset}")
    feed = Xml.Element("feed", xmlns=NAMESPACE)
    add(feed, "id", page)
    add(feed, "title", f"{dataset['dataset']}: revisions")
    add(feed, "updated", moment(revisions[0]["published_at"]) if revisions else "1970-01-01T00:00:00Z")
    Xml.SubElement(Xml.SubElement(feed, "author"), "name").text = "The owners of this service"
    Xml.SubElement(feed, "link", rel="alternate", type="text/html", href=page)
    Xml.SubElement(feed, "link", rel="self", type=ATOM.bare_type, href=f"{page}/revisions.atom")
    for revision in revisions:
        add_entry(feed, asking.origin + path, page, revision)
    text: str = Xml.tostring(feed, encoding="unicode")
    return DECLARATION + text.encode()


def add_entry(feed: Xml.Element, path: str, page: str, revision: dict[str, Any]) -> None:
    """One revision."""
    number = revision["revision"]
    entry = Xml.SubElement(feed, "entry")
    add(entry, "id", f"{page}#revision-{number}")
    add(entry, "title", f"Revision {number}")
    add(entry, "updated", moment(revision["published_at"]))
    Xml.SubElement(entry, "link", rel="alternate", type="text/html", href=page)
    changes = f"{path}/changes?since={number - 1}"
    Xml.SubElement(entry, "link", rel="related", type="application/json", href=changes)
    words = [f"{revision[name]} {name}" for name in ("inserted", "updated", "deleted") if name in revision]
    add(entry, "summary", ", ".join(words) or f"Revision {number} was published.")


def add(parent: Xml.Element, name: str, text: str) -> None:
    """An element with a text that XML can hold."""
    Xml.SubElement(parent, name).text = plain(text)


def moment(text: str) -> str:
    """A moment as RFC 3339 has it."""
    return datetime.fromisoformat(text).isoformat(timespec="seconds")


FEED = Document("revisions.atom", "/browse/{product}/v{major}/{dataset}/revisions.atom", ATOM, build_feed)
