"""The addresses that answers name, as a caller reaches them: behind a proxy the service may lie under a path."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from fastapi import Request

from runtime.settings.settings import Settings

HOST = re.compile(r"[A-Za-z0-9._-]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?")


def address_of(settings: Settings, path: str) -> str:
    """The address of a path of the service: absolute where DECANT_PUBLIC_URL says where that is."""
    return (settings.public_url or "").rstrip("/") + path


def origin_of(request: Request) -> str:
    """What whole addresses of the service begin with: DECANT_PUBLIC_URL, else as the request reached it.

    A Host that is none is not repeated.
    """
    settings: Settings = request.app.state.settings
    if settings.public_url:
        return settings.public_url.rstrip("/")
    host = request.headers.get("host", "")
    return f"{request.url.scheme}://{host if HOST.fullmatch(host) else 'localhost'}"


def problem_type(settings: Settings, code: str) -> str:
    """The address of the page about a kind of problem."""
    return address_of(settings, f"/docs/problems/{code}")


def public_path(settings: Settings, path: str) -> str:
    """The same without scheme and host, for pages that may be reached by several names."""
    return urlsplit(settings.public_url or "").path.rstrip("/") + path
