"""The pages for people: Swagger UI with its files served from here, and a page for each kind of problem."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from starlette.responses import FileResponse, HTMLResponse, Response

from api.context import context_of
from api.datasets.resources import dataset_resources
from api.http.addresses import public_path
from api.http.negotiation import JSON, choose_coding
from api.http.problems import KINDS, Problem
from api.http.responses import READ, answer_encoded, refuse_unknown
from api.metadata.asked_product import find_asked_product
from api.openapi.caller_documents import documents_of
from runtime.settings.token_issuers import TokenIssuer

router = APIRouter()
SWAGGER_FILES = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
    # Where an issuer leads back to after a login.
    "oauth2-redirect.html": "text/html",
    "oauth2-redirect.js": "text/javascript",
}
OWN_FILES = {"docs.js": "text/javascript", "docs.css": "text/css"}
FOLDER = Path(__file__).resolve().parent / "static"
# Nothing from another host, no inline script; Swagger UI sets styles of its own and draws with data: images.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self';"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGE_HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
}
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="icon" href="{base}/static/favicon-32x32.png">
{head}
</head>
<body>
<header class="portal"><a href="{base}/">← Decant: catalogue and pages</a></header>
{body}
</body>
</html>
"""


@router.api_route("/docs", methods=READ, include_in_schema=False)
async def swagger(request: Request) -> Response:
    """Swagger UI."""
    settings = context_of(request).settings
    base = escape(public_path(settings, ""))
    head = (
        f'<link rel="stylesheet" href="{base}/static/swagger-ui.css">'
        f'<link rel="stylesheet" href="{base}/static/docs.css">'
    )
    issuers = settings.token_issuers
    body = (
        '<form class="documents" hidden><label>Document <select id="documents"></select></label></form>'
        f'<div id="swagger-ui" data-client-id="{escape(login_client(issuers))}" data-base="{base}"></div>'
        f'<script src="{base}/static/swagger-ui-bundle.js"></script><script src="{base}/static/docs.js"></script>'
    )
    found = page("Decant", head, body, base)
    found.headers["Content-Security-Policy"] = login_policy(issuers)
    return found


@router.api_route("/static/{name}", methods=READ, include_in_schema=False)
async def static(name: str) -> Response:
    """One of the few files that the pages are made of."""
    headers = PAGE_HEADERS | {"Cache-Control": "public, max-age=3600"}
    if name in OWN_FILES:
        return FileResponse(FOLDER / name, media_type=OWN_FILES[name], headers=headers)
    if name in SWAGGER_FILES:
        return FileResponse(swagger_folder() / name, media_type=SWAGGER_FILES[name], headers=headers)
    raise Problem("not_found")


@router.api_route("/docs/problems/{code}", methods=READ, include_in_schema=False)
async def problem_page(request: Request, code: str) -> Response:
    """What a kind of problem means."""
    kind = KINDS.get(code)
    if kind is None:
        raise Problem("not_found")
    base = escape(public_path(context_of(request).settings, ""))
    body = (
        f'<main class="page"><p class="code">{kind.status} {escape(code)}</p><h1>{escape(kind.title)}</h1>'
        f"<p>{escape(kind.meaning)}</p><p><a href='{base}/docs'>API documentation</a></p></main>"
    )
    return page(kind.title, f'<link rel="stylesheet" href="{base}/static/docs.css">', body, base)


@router.api_route("/openapi.json", methods=READ, include_in_schema=False)
async def openapi(request: Request) -> Response:
    """The specification, of what the caller may see; an index of its products where that is too large."""
    context = context_of(request)
    principal = await context.authenticate(request)
    refuse_unknown(request)
    coding = choose_coding(request.headers.get("accept-encoding", ""))
    return answer_encoded(request, await documents_of(request).of(principal, coding), JSON, {})


@router.api_route("/openapi/{product}/v{major}.json", methods=READ, include_in_schema=False)
async def product_openapi(request: Request) -> Response:
    """The specification of one product, as the caller sees it."""
    _, _, product, access = await find_asked_product(request)
    coding = choose_coding(request.headers.get("accept-encoding", ""))
    document = await documents_of(request).of_product(product, access, coding)
    return answer_encoded(request, document, JSON, dataset_resources(request).headers.lifecycle_of(product))


def login_client(issuers: Sequence[TokenIssuer]) -> str:
    """The login of Swagger UI: it supports one, that of the first issuer which has one."""
    return next((issuer.client_id for issuer in issuers if issuer.authorization_url and issuer.token_url), "")


def login_policy(issuers: Sequence[TokenIssuer]) -> str:
    """The policy of Swagger UI, which fetches tokens from these issuers itself."""
    urls = [urlsplit(issuer.token_url) for issuer in issuers if issuer.token_url]
    origins = dict.fromkeys(f"{url.scheme}://{url.netloc}" for url in urls)
    return POLICY.replace("connect-src 'self'", " ".join(["connect-src 'self'", *origins]))


def page(title: str, head: str, body: str, base: str) -> Response:
    """An HTML page under the strict policy; its files lie below the path `base`."""
    text = PAGE.format(title=escape(title), head=head, body=body, base=base)
    return HTMLResponse(text, headers=PAGE_HEADERS)


def swagger_folder() -> Path:
    """Where the installed Swagger UI lies."""
    vendor = Path(str(files("swagger_ui_bundle"))) / "vendor"
    return next(vendor.glob("swagger-ui-*"))
