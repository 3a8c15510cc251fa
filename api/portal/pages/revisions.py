"""All revisions of a dataset, newest first: when each was published, and what it changed."""

from __future__ import annotations

from urllib.parse import urlsplit

from api.portal.asking import Asking
from api.portal.content import Content
from api.portal.page import Page
from api.portal.pages.subject import find_subject

REVISIONS_SHOWN = 50


async def build_revisions(asking: Asking) -> Content:
    """The page; `before` asks for those before a revision."""
    subject = await find_subject(asking)
    parameters = [("limit", str(REVISIONS_SHOWN))]
    if before := asking.request.query_params.get("before"):
        parameters.append(("before", before))
    reply = await asking.get(f"{subject.path}/revisions", *parameters)
    following = reply.value["next"]
    values = subject.values | {
        "revisions": reply.data,
        "following": f"{subject.page}/revisions?{urlsplit(following).query}" if following else None,
    }
    return Content(
        "revisions.html",
        f"Revisions of {subject.dataset['dataset']}",
        values,
        alternate=f"{subject.path}/revisions",
        indexed=False,
    )


REVISIONS = Page("portal revisions", "/browse/{product}/v{major}/{dataset}/revisions", build_revisions)
