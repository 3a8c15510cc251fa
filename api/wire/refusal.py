"""A whole HTTP answer with a problem, for requests that never reach the application."""

from __future__ import annotations

import secrets

from api.http.problems import KINDS, MEDIA_TYPE, RETRY_AFTER_SECONDS, Problem, write_problem
from runtime.settings.settings import Settings

REASONS = {
    400: "Bad Request",
    408: "Request Timeout",
    413: "Content Too Large",
    414: "URI Too Long",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}


def render_refusal(settings: Settings, code: str, url: bytes) -> bytes:
    """The answer, which is the last on its connection."""
    path = url.partition(b"?")[0].decode("ascii", "replace")[:1000] if url else ""
    status = KINDS[code].status
    # No span is made for what never becomes a request.
    content = write_problem(settings, Problem(code), path if path.startswith("/") else "/", secrets.token_hex(16))
    lines = [
        f"HTTP/1.1 {status} {REASONS.get(status, KINDS[code].title)}",
        f"content-type: {MEDIA_TYPE}",
        f"content-length: {len(content)}",
        "cache-control: no-store",
        "x-content-type-options: nosniff",
        *([f"retry-after: {RETRY_AFTER_SECONDS}"] if status == 503 else []),
        "connection: close",
        "",
        "",
    ]
    return "\r\n".join(lines).encode() + content
