"""The addresses of the portal: its pages, and the files that they are made of."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

from fastapi import APIRouter, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from api.http.negotiation import choose_coding
from api.http.problems import Problem
from api.http.responses import READ
from api.portal import by_session
from api.portal.action import Action, answer_action
from api.portal.assets import all_assets, encoded_asset, served_assets
from api.portal.console import loads, overview, records, rejects
from api.portal.discovery.api_catalog import API_CATALOG
from api.portal.discovery.atom import FEED
from api.portal.discovery.crawlers import ROBOTS, SITEMAP
from api.portal.discovery.croissant import CROISSANT
from api.portal.discovery.dcat import CATALOG
from api.portal.discovery.document import Document, answer_document
from api.portal.guard import HEADERS, Respond, guard
from api.portal.page import Page, answer_page
from api.portal.pages.account import ACCOUNT, END_OTHERS, ROTATE_OWN
from api.portal.pages.browse import BROWSE
from api.portal.pages.contract import CONTRACT
from api.portal.pages.dataset import DATASET
from api.portal.pages.diff import DIFF
from api.portal.pages.explore import EXPLORE
from api.portal.pages.facet import FACET
from api.portal.pages.home import HOME
from api.portal.pages.key_revocation import REVOCATION
from api.portal.pages.keys import KEYS, MAKE_KEY, REVOKE_KEY, ROTATE_KEY
from api.portal.pages.product import PRODUCT
from api.portal.pages.property import PROPERTY
from api.portal.pages.record import RECORD
from api.portal.pages.report import REPORT
from api.portal.pages.reports import REPORTS
from api.portal.pages.revisions import REVISIONS
from api.portal.pages.sign_in import DO_SIGN_IN, DO_SIGN_OUT, SIGN_IN
from api.portal.pages.sign_in_openid import CALLBACK, get_way_back, get_way_there
from api.portal.pages.webhooks import ACTIONS as WEBHOOK_ACTIONS
from api.portal.pages.webhooks import WEBHOOK, WEBHOOKS
from api.portal.signing_in.issuers import WAY_THERE

PAGES: tuple[Page, ...] = (
    HOME,
    BROWSE,
    PRODUCT,
    CONTRACT,
    DATASET,
    PROPERTY,
    EXPLORE,
    FACET,
    RECORD,
    DIFF,
    REVISIONS,
    REPORTS,
    REPORT,
    SIGN_IN,
    ACCOUNT,
    KEYS,
    REVOCATION,
    WEBHOOKS,
    WEBHOOK,
    overview.OVERVIEW,
    overview.SCHEDULE,
    loads.LIST,
    loads.ONE,
    loads.WITHHELD,
    rejects.LIST,
    records.USAGE,
    records.AUDIT,
)
ACTIONS: tuple[Action, ...] = (
    DO_SIGN_IN,
    DO_SIGN_OUT,
    END_OTHERS,
    ROTATE_OWN,
    MAKE_KEY,
    ROTATE_KEY,
    REVOKE_KEY,
    *WEBHOOK_ACTIONS,
    loads.LOAD_AGAIN,
    loads.PUBLISH_ANYWAY,
    rejects.REPLAY,
    rejects.DISMISS,
)
DOCUMENTS: tuple[Document, ...] = (
    API_CATALOG,
    CATALOG,
    CROISSANT,
    FEED,
    ROBOTS,
    SITEMAP,
)
POST = "POST"
OPEN_FOR_A_DAY = {"Cache-Control": "public, max-age=86400"}
FOREVER = {"Cache-Control": "public, max-age=31536000, immutable"}


class NamedEndpoint:
    """Answers requests by a function, and is counted under a name."""

    def __init__(self, name: str, respond: Respond) -> None:
        self.name = name
        self.respond = respond

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        response = await self.respond(Request(scope, receive))
        await response(scope, receive, send)


def make_route(path: str, name: str, respond: Respond, methods: list[str] = READ) -> Route:
    """The route of a page, a form or a document."""
    return Route(path, cast(Any, NamedEndpoint(name, respond)), methods=methods, name=name)


async def get_icon(request: Request) -> Response:
    """The icon, where browsers look for it without being told."""
    return Response(all_assets()["mark.svg"].body, 200, HEADERS | OPEN_FOR_A_DAY, "image/svg+xml")


async def get_asset(request: Request) -> Response:
    """A file, at the address that names its content."""
    asset = served_assets().get(request.path_params["name"])
    if asset is None:
        raise Problem("not_found")
    coding = choose_coding(request.headers.get("accept-encoding", ""))
    fields = {} if coding == "identity" else {"Content-Encoding": coding}
    body = encoded_asset(asset.name, coding)
    return Response(body, 200, HEADERS | FOREVER | fields | {"Vary": "Accept-Encoding"}, asset.media_type)


router = APIRouter()
PAGE_ROUTES = [make_route(page.path, page.name, guard(partial(answer_page, build=page.build))) for page in PAGES]
router.routes.extend(PAGE_ROUTES)
router.routes.extend(
    make_route(each.path, each.name, guard(partial(answer_action, action=each, pages=PAGE_ROUTES)), [POST])
    for each in ACTIONS
)
router.routes.extend(make_route(each.path, each.name, partial(answer_document, document=each)) for each in DOCUMENTS)
router.routes.extend(by_session.ROUTES)
router.routes.append(make_route(CALLBACK, "portal sign-in callback", guard(get_way_back)))
router.routes.append(make_route(WAY_THERE, "portal sign-in issuer", guard(get_way_there)))
router.routes.append(Route("/favicon.ico", get_icon, methods=READ, name="icon"))
router.routes.append(Route("/assets/{name}", get_asset, methods=READ, name="asset"))
