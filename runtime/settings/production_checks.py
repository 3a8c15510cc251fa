"""Checks for unsafe settings in production, before the service starts."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from runtime.errors import SettingsError
from runtime.postgres.database import DatabaseUrls

DEMO_MAKER = "decant demo"  # who made the demo's key
SECONDS = 5
SHOW_NOTHING: dict[str, Any] = {
    "require_auth": "none",  # the connection ends as soon as the server asks for anything
    "sslcertmode": "disable",
    "gssencmode": "disable",
    "connect_timeout": SECONDS,
}
DEMO_KEY = """
SELECT count(*) FROM decant.api_keys
WHERE created_by = %s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
"""


def require_safe(urls: DatabaseUrls) -> None:
    """SettingsError where a login needs no password, or the demo's key is valid.

    A database that cannot be reached now is none of its business: the service starts before its database.
    """
    for name, url in vars(urls).items():
        if accepts_anyone(url):
            said = "trust authentication is refused in production"
            raise SettingsError(f"The database lets the {name} login in with any password: {said}.")
    if has_demo_key(urls.write):
        raise SettingsError("The demo's key is valid here: `decant keys revoke` it before production.")


def accepts_anyone(url: str) -> bool:
    """Whether a login over the network gets in without showing anything; over a Unix socket the system vouches.

    No wrong password is tried: servers count those, and lock logins out.
    """
    try:
        with psycopg.connect(make_conninfo(url, **SHOW_NOTHING)) as connection:
            # Where it led is told by the connection alone: several hosts, a service or PGHOST may have decided.
            return bool(connection.info.hostaddr)
    except psycopg.OperationalError:
        return False


def has_demo_key(url: str) -> bool:
    """Whether the demo's key is valid in this database."""
    try:
        with psycopg.connect(url, connect_timeout=SECONDS) as connection:
            row = connection.execute(DEMO_KEY, (DEMO_MAKER,)).fetchone()
            return bool(row and row[0])
    except psycopg.Error:
        return False
