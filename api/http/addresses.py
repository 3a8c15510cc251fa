"""The addresses that answers name, as a caller reaches them: behind a proxy the service may lie under a path."""

from __future__ import annotations

import re
from ipaddress import ip_network
from urllib.parse import urlsplit

from fastapi import Request

from api.http.client_address import is_trusted, parse_address
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
    return f"{scheme_of(request)}://{host if HOST.fullmatch(host) else 'localhost'}"


def asked_address(request: Request) -> str:
    """Path and query of a request as they stand in its address: what is encoded there separates nothing."""
    raw_path, query_string = request.scope["raw_path"], request.scope["query_string"]
    raw: bytes = raw_path + (b"?" + query_string if query_string else b"")
    return raw.decode("ascii", "replace")


def scheme_of(request: Request) -> str:
    """`https` or `http`, as the caller reaches the service: a trusted proxy says it for connections of its own."""
    settings: Settings = request.app.state.settings
    if settings.public_url:
        return urlsplit(settings.public_url).scheme
    peer = parse_address((request.scope.get("client") or ("",))[0])
    trusted = [ip_network(text) for text in settings.trusted_proxies]
    if peer is not None and is_trusted(peer, trusted):
        scheme = request.headers.get("x-forwarded-proto", "").rpartition(",")[2].strip().lower()
        if scheme in {"http", "https"}:
            return scheme
    return request.url.scheme


def problem_type(settings: Settings, code: str) -> str:
    """The address of the page about a kind of problem."""
    return address_of(settings, f"/docs/problems/{code}")


def public_path(settings: Settings, path: str) -> str:
    """The same without scheme and host, for pages that may be reached by several names."""
    return urlsplit(settings.public_url or "").path.rstrip("/") + path
