"""What keeps a contract's database input away from Decant's own database, and from the logins of this machine."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from catalog.inputs.permits import Permits
from catalog.model.sources import DatabaseSource
from ingest.errors import SourceError

# What identifies a database, however it is reached. A replica has the first of its primary; the second
# is open to logins that may not see the first.
IDENTITIES = (
    "SELECT system_identifier::text || ' ' || current_database() FROM pg_catalog.pg_control_system()",
    "SELECT extract(epoch FROM pg_catalog.pg_postmaster_start_time())::text || ' ' || current_database()",
)
NO_FILE = "/dev/null/none"  # a name that no file can have
# A file-based engine that reads no file but the database itself.
DUCKDB_ARGUMENTS: dict[str, object] = {
    "read_only": True,
    "config": {"enable_external_access": "false", "lock_configuration": "true"},
}


def refuse_own(connection: sa.Connection, own: sa.Engine, source: DatabaseSource) -> None:
    """SourceError where the connection leads to Decant's own database, through whatever names and proxies."""
    if connection.dialect.name != "postgresql":
        return
    with own.connect() as ours:
        if set(identify(connection)) & set(identify(ours)):
            raise SourceError(f"The database {source.server} is Decant's own, which contracts must not read.")


def identify(connection: sa.Connection) -> list[tuple[int, str]]:
    """What identifies the connection's database, as far as its login may know."""
    found = []
    for number, query in enumerate(IDENTITIES):
        try:
            found.append((number, str(connection.exec_driver_sql(query).scalar_one())))
        except DBAPIError as error:
            if error.connection_invalidated:
                raise
        connection.rollback()
    return found


def keep_logins(url: sa.URL, permits: Permits) -> dict[str, Any]:
    """Arguments for the driver, so that it looks for no password and no file that the contract did not name.

    libpq would send the password of PGPASSWORD or of a password file to any host that a contract names.
    """
    if url.get_backend_name() == "duckdb":
        return DUCKDB_ARGUMENTS
    if url.get_backend_name() != "postgresql" or permits.refuse_variable("PGPASSWORD") is None:
        return {}
    given = url.password is not None or "password" in url.query
    return {"passfile": NO_FILE} | ({} if given else {"password": ""})
