"""Checks for unsafe settings in production, before the service starts."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from runtime.errors import SettingsError
from runtime.postgres.database import DatabaseUrls

DEMO_MAKER = "decant demo"  # `created_by` of the demo's key
SECONDS = 5
SHOW_NOTHING: dict[str, Any] = {
    "require_auth": "none",  # the connection fails as soon as the server asks for a credential
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

    A database that cannot be reached now is not checked: the service can start before its database.
    """
    for name, url in vars(urls).items():
        if accepts_anyone(url):
            said = "trust authentication is not allowed in production"
            raise SettingsError(f"The database accepts the {name} login with any password: {said}.")
    if has_demo_key(urls.write):
        raise SettingsError("The demo's key is valid in this database: revoke it with `decant keys revoke`.")


def accepts_anyone(url: str) -> bool:
    """Whether a login over the network succeeds without a credential; a Unix socket is authenticated by the system.

    No wrong password is tried: servers count failed attempts, and lock logins out.
    """
    try:
        with psycopg.connect(make_conninfo(url, **SHOW_NOTHING)) as connection:
            # Only the connection knows its host: several hosts, a service or PGHOST may have decided it.
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
