"""Request URLs of an API: variables expanded, and never above the contract's base path."""

from __future__ import annotations

import re
from urllib.parse import quote, urlencode

import httpx

from catalog.model.sources import HttpSource
from ingest.errors import SourceError
from ingest.inputs.variables import VariableExpander


def find_location(source: HttpSource, expander: VariableExpander) -> httpx.URL:
    """The server's address, its variables filled in; SourceError where it is none."""
    try:
        url = httpx.URL(expander.expand(source.location))
        good = url.scheme in {"http", "https"} and bool(url.host) and not url.userinfo and not url.fragment
    except (httpx.InvalidURL, ValueError):
        good = False
    if not good:
        raise SourceError(f"{source.location} is not an address such as https://host/folder.")
    return url


def find_address(source: HttpSource, expander: VariableExpander) -> httpx.URL:
    """What is asked, variables filled in; SourceError where that would lead above the server's address."""
    location = find_location(source, expander)
    if not source.path:
        return location
    path = expander.expand(source.path, lambda value: quote(value, safe=""))
    if {".", ".."}.intersection(re.split(r"/|%2F", path.replace("%2e", "."), flags=re.IGNORECASE)):
        raise SourceError(f"{source.address} is above the server's address.")
    try:
        return location.copy_with(
            raw_path=location.raw_path.rstrip(b"/") + b"/" + quote(path, safe="/%:@!$&'()*+,;=~").encode()
        )
    except httpx.InvalidURL:
        raise SourceError(f"{source.address} is not an address.") from None


def add_params(url: httpx.URL, params: list[tuple[str, object]]) -> httpx.URL:
    """The address with some more parameters behind those that it has."""
    if not params:
        return url
    path, _, query = url.raw_path.partition(b"?")
    added = urlencode(params).encode()
    return url.copy_with(raw_path=path + b"?" + (query + b"&" + added if query else added))
