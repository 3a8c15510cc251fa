"""What pages of other origins may do (CORS)."""

from __future__ import annotations

from typing import Any

from runtime.settings.settings import Settings

SENT = [
    "Authorization",
    "X-API-Key",
    "Content-Type",
    "If-Modified-Since",
    "If-None-Match",
    "If-Range",
    "Last-Event-ID",
    "Decant-Min-Revision",
    "Idempotency-Key",
    "Range",
    "traceparent",
    "tracestate",
]
SHOWN = [
    "Accept-Ranges", "Content-Disposition", "Content-Range", "Decant-Revision", "Deprecation", "ETag",
    "Last-Modified", "Link", "Location", "RateLimit", "RateLimit-Policy", "Repr-Digest", "Retry-After",
    "Server-Timing", "Sunset",
    "WWW-Authenticate", "traceresponse",
]  # fmt: skip
PREFLIGHT_SECONDS = 600


def cors_options(settings: Settings) -> dict[str, Any]:
    """The middleware's options. Cookies mean nothing here, so a browser's own credentials are not asked for."""
    return {
        "allow_origins": list(settings.cors_origins),
        "allow_methods": ["GET", "HEAD", "POST", "DELETE"],
        "allow_headers": SENT,
        "expose_headers": SHOWN,
        "max_age": PREFLIGHT_SECONDS,
    }
