"""The addresses that answers name, as a caller reaches them: behind a proxy the service may lie under a path."""

from __future__ import annotations

from urllib.parse import urlsplit

from runtime.settings.settings import Settings


def address_of(settings: Settings, path: str) -> str:
    """The address of a path of the service: absolute where DECANT_PUBLIC_URL says where that is."""
    return (settings.public_url or "").rstrip("/") + path


def problem_type(settings: Settings, code: str) -> str:
    """The address of the page about a kind of problem."""
    return address_of(settings, f"/docs/problems/{code}")


def public_path(settings: Settings, path: str) -> str:
    """The same without scheme and host, for pages that may be reached by several names."""
    return urlsplit(settings.public_url or "").path.rstrip("/") + path
