"""Search: datasets by words, and by what they have in common."""

from __future__ import annotations

from api.http.query_string import split_query
from api.portal.asking import Asking
from api.portal.content import Content
from api.portal.page import Page
from api.portal.pages.catalogue import entries_of

FACETS = ("product", "tag", "status", "fresh")


async def build_browse(asking: Asking) -> Content:
    """The page: the catalogue, narrowed by the same parameters as the API's."""
    given = [(name, value) for name, value in split_query(asking.request.scope["query_string"]) if value]
    reply = await asking.get("/data", *given)
    search = next((value for name, value in given if name == "q"), "")
    values = {"entries": list(entries_of(reply.data)), "given": given, "facets": facets_of(reply.value, given)}
    title = f"{search} – search" if search else "Browse"
    return Content("browse.html", title, values, alternate=reply.address, search=search, indexed=not given)


def facets_of(answer: dict, given: list[tuple[str, str]]) -> list:  # type: ignore[type-arg]
    """TODO."""
    return []


BROWSE = Page("portal browse", "/browse", build_browse)
