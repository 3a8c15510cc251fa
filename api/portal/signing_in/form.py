"""Forms of pages: read within limits, and only where a page of ours was what sent them."""

from __future__ import annotations

import base64
import hmac
import secrets
from urllib.parse import parse_qsl, urlsplit

from fastapi import Request

from api.auth.sessions import Session
from api.http.addresses import origin_of
from api.http.body_memory import read_body
from api.http.problems import Problem
from runtime.settings.secret import read_secret
from runtime.settings.settings import Settings

FORM_LIMIT_BYTES = 65_536
FIELDS_MAXIMUM = 2_000  # rejected records that are ticked, among them
MEDIA_TYPE = "application/x-www-form-urlencoded"
PROOF_FIELD = "form"
DIGEST_BYTES = 32
NOT_OURS = "The form was not sent from a page of this service. Open the page again, and send it from there."


class Form:
    """The fields of a form, in their order."""

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        self.fields = fields

    def get(self, name: str) -> str:
        """The value of a field, without blanks around it; empty where it was not sent."""
        return next((value.strip() for key, value in self.fields if key == name), "")

    def all(self, name: str) -> list[str]:
        """Every value of a field."""
        return [value for key, value in self.fields if key == name]


async def read_form(request: Request) -> Form:
    """The form that a request brings; Problem for one that no page of ours has sent."""
    check_origin(request)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != MEDIA_TYPE:
        raise Problem("unsupported_media_type", headers={"Accept-Post": MEDIA_TYPE})
    body = await read_body(request, FORM_LIMIT_BYTES)
    try:
        fields = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            encoding="utf-8",
            errors="strict",
            max_num_fields=FIELDS_MAXIMUM,
        )
    except UnicodeError:
        raise Problem("invalid_text") from None
    except ValueError:
        raise Problem("body_too_large", f"A form has at most {FIELDS_MAXIMUM:,} fields.") from None
    if any("\0" in part for field in fields for part in field):
        raise Problem("invalid_text")
    return Form(fields)


def check_origin(request: Request) -> None:
    """`cross_site_request` unless the browser says that a page of this service sends the request.

    Where it says nothing of the site (Sec-Fetch-Site), the Origin has to be the service's own.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        is_ours = site == "same-origin"
    else:
        ours = urlsplit(origin_of(request))
        is_ours = request.headers.get("origin") == f"{ours.scheme}://{ours.netloc}"
    if not is_ours:
        raise Problem("cross_site_request", NOT_OURS)


def check_token(request: Request, session: Session, form: Form) -> None:
    """`cross_site_request` unless the form has a token that pages of this session have."""
    expected = token_digest(request.app.state.settings, session)
    try:
        masked = base64.urlsafe_b64decode(form.get(PROOF_FIELD).encode() + b"==")
    except ValueError:
        masked = b""
    given = mask(masked[:DIGEST_BYTES], masked[DIGEST_BYTES:])
    if len(masked) != 2 * DIGEST_BYTES or not hmac.compare_digest(given, expected):
        raise Problem("cross_site_request", NOT_OURS)


def form_token(settings: Settings, session: Session) -> str:
    """What forms of a session's pages carry: nobody else can make it, and it tells nothing of the cookie.

    It is another text on each page: the size of a compressed page that repeats what was asked for would tell whether
    that is a part of it.
    """
    pad = secrets.token_bytes(DIGEST_BYTES)
    return base64.urlsafe_b64encode(pad + mask(pad, token_digest(settings, session))).decode().rstrip("=")


def token_digest(settings: Settings, session: Session) -> bytes:
    """What every token of a session hides."""
    return hmac.digest(read_secret(settings), b"form:" + session.token_sha256, "sha256")


def mask(pad: bytes, content: bytes) -> bytes:
    """The content hidden by a pad of its length, or shown again."""
    return bytes(left ^ right for left, right in zip(pad, content, strict=False))


def local_path(text: str) -> str:
    """The path of a page of this service that a text names, with its query; `/` for any other text."""
    if not text.startswith("/") or text.startswith("//") or not (text.isascii() and text.isprintable()):
        return "/"
    parts = urlsplit(text)
    if "\\" in text or parts.scheme or parts.netloc or not parts.path.startswith("/"):
        return "/"
    return parts.path + (f"?{parts.query}" if parts.query else "")
