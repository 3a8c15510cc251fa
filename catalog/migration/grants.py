"""What each database login may do, as grants. One place, so that a test can hold every login against it."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from catalog.migration.partitions import find_tables
from catalog.migration.statements import QUOTES
from catalog.model.dataset import Product
from catalog.storage.access_tables import (
    APPENDED_TABLES,
    CHANGED_TABLES,
    AuditEntry,
    IdempotencyKey,
    RateLease,
    Session,
)
from catalog.storage.dataset_tables import STAGING_SCHEMA
from catalog.storage.incident_tables import IncidentMessage, OpenIncident
from catalog.storage.installation_tables import Epoch, NamedLock, WatchedInput, WorkerPresence
from catalog.storage.ledger_tables import LEDGER_TABLES, QUEUE_SCHEMA, SCHEMA, AppliedContract, Load
from catalog.storage.outbox import SEQUENCE, OutboxCursor, OutboxEvent
from catalog.storage.profile_tables import PROFILE_TABLES
from catalog.storage.stream_tables import StreamLag
from catalog.storage.subscription_tables import MOVED_COLUMNS, Delivery, Subscription
from runtime.postgres.database import INGEST_ROLE, READ_ROLE, ROLES, WRITE_ROLE

RIGHTS_OF_OWNER = """
SELECT d.datname AS name, pg_has_role(current_user, d.datdba, 'USAGE') AS is_owner, r.rolsuper AS is_superuser
FROM pg_database AS d, pg_roles AS r WHERE d.datname = current_database() AND r.rolname = current_user
"""
LARGE_OBJECT_FUNCTIONS = (
    "lo_creat(integer)",
    "lo_create(oid)",
    "lo_from_bytea(oid, bytea)",
    "lo_put(oid, bigint, bytea)",
    "lowrite(integer, bytea)",
)


def grant_ledger(connection: sa.Connection) -> None:
    """Gives each login what it needs of Decant's own schemas and nothing else; one that is missing is passed over.

    Once for a migration, not once for each product.
    """
    known = find_logins(connection)
    wanted = []
    for role, statements in (
        (INGEST_ROLE, ingest_grants()),
        (READ_ROLE, read_grants()),
        (WRITE_ROLE, write_grants()),
    ):
        if role in known:
            # What an older version gave, and this one does not.
            wanted.append(f"REVOKE ALL ON ALL TABLES IN SCHEMA {SCHEMA} FROM {role}")
            wanted += [f"GRANT {statement} TO {role}" for statement in statements]
    if wanted:
        # Some seventy: one by one they take longer to send than to run.
        connection.exec_driver_sql("; ".join(wanted))
    if READ_ROLE in known and connection.scalar(
        sa.text("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
    ):
        connection.execute(sa.text(f"GRANT SET ON PARAMETER temp_file_limit TO {READ_ROLE}"))


def grant_product(connection: sa.Connection, product: Product) -> None:
    """Lets the logins that load and read use the tables of a product."""
    schema = f'"{product.schema}"'
    known = find_logins(connection)
    for role, rights in (
        (INGEST_ROLE, "SELECT, INSERT, UPDATE, DELETE, MAINTAIN"),
        (READ_ROLE, "SELECT"),
    ):
        if role in known:
            connection.execute(sa.text(f"GRANT USAGE ON SCHEMA {schema} TO {role}"))
            connection.execute(sa.text(f"GRANT {rights} ON ALL TABLES IN SCHEMA {schema} TO {role}"))
    close_partitions(connection, product, known)


def close_partitions(connection: sa.Connection, product: Product, known: set[str]) -> None:
    """Takes from the logins what they need of tables alone: what a table keeps from them, its partitions do too.

    Whoever vacuums a table needs the right to maintain its partitions.
    """
    partitions = sorted(find_tables(connection, product.schema).partitions)
    for name in partitions:
        place = f"{QUOTES.quote(product.schema)}.{QUOTES.quote(name)}".replace(":", r"\:")
        for role in sorted(known.intersection((INGEST_ROLE, READ_ROLE))):
            connection.execute(sa.text(f"REVOKE ALL ON {place} FROM {role}"))
        if INGEST_ROLE in known:
            connection.execute(sa.text(f"GRANT MAINTAIN ON {place} TO {INGEST_ROLE}"))


def find_logins(connection: sa.Connection) -> set[str]:
    """Those of Decant's logins that exist."""
    statement = sa.text("SELECT rolname FROM pg_roles WHERE rolname = ANY(:roles)")
    return set(connection.scalars(statement, {"roles": list(ROLES)}))


def close_database(connection: sa.Connection) -> list[str]:
    """What the database lets everybody do and no login of Decant needs is taken away; what cannot be, in words."""
    known = find_logins(connection)
    facts = connection.execute(sa.text(RIGHTS_OF_OWNER)).one()
    if facts.is_owner:
        connection.execute(sa.text(f'REVOKE TEMPORARY ON DATABASE "{facts.name}" FROM PUBLIC'))
        if INGEST_ROLE in known:
            connection.execute(sa.text(f'GRANT TEMPORARY ON DATABASE "{facts.name}" TO {INGEST_ROLE}'))
    if facts.is_superuser:
        connection.execute(sa.text(f"REVOKE EXECUTE ON FUNCTION {', '.join(LARGE_OBJECT_FUNCTIONS)} FROM PUBLIC"))
    left = []
    for role in sorted(known.intersection((READ_ROLE, WRITE_ROLE))):
        may = "SELECT has_database_privilege(:role, :name, 'TEMPORARY')"
        if connection.scalar(sa.text(may), {"role": role, "name": facts.name}):
            left.append(f"{role} can create temporary tables; the database's owner can revoke that from PUBLIC")
        may = "SELECT has_function_privilege(:role, 'lo_create(oid)', 'EXECUTE')"
        if connection.scalar(sa.text(may), {"role": role}):
            functions = ", ".join(LARGE_OBJECT_FUNCTIONS)
            left.append(f"{role} can create large objects; a superuser can revoke {functions} from PUBLIC")
    return left


def ingest_grants() -> Iterator[str]:
    """Writes the ledger; sees no keys."""
    yield f"USAGE ON SCHEMA {SCHEMA}"
    yield f"USAGE, CREATE ON SCHEMA {STAGING_SCHEMA}"
    yield f"USAGE ON SCHEMA {QUEUE_SCHEMA}"
    yield f"SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {QUEUE_SCHEMA}"
    yield f"USAGE ON ALL SEQUENCES IN SCHEMA {QUEUE_SCHEMA}"
    yield f"EXECUTE ON FUNCTION {SCHEMA}.park_indexes(regclass), {SCHEMA}.restore_indexes(regclass)"
    for model in (*LEDGER_TABLES, *PROFILE_TABLES):
        yield f"SELECT, INSERT, UPDATE, DELETE ON {SCHEMA}.{model.__tablename__}"
    yield f"SELECT ON {SCHEMA}.{AppliedContract.__tablename__}"
    yield f"SELECT, INSERT ON {SCHEMA}.{Epoch.__tablename__}"
    yield f"SELECT, UPDATE ON {SCHEMA}.{NamedLock.__tablename__}"
    for kept in (WatchedInput, StreamLag):
        yield f"SELECT, INSERT, UPDATE ON {SCHEMA}.{kept.__tablename__}"
    yield f"SELECT, INSERT, UPDATE, DELETE ON {SCHEMA}.{WorkerPresence.__tablename__}"
    for told in (OpenIncident, IncidentMessage):
        yield f"SELECT, INSERT, UPDATE, DELETE ON {SCHEMA}.{told.__tablename__}"
    for outbox in (OutboxEvent, OutboxCursor):
        yield f"SELECT, INSERT, UPDATE, DELETE ON {SCHEMA}.{outbox.__tablename__}"
    yield f"USAGE ON SEQUENCE {SEQUENCE}"
    # Where a webhook leads, and whose it is, only the service changes.
    yield f"SELECT, UPDATE ({', '.join(MOVED_COLUMNS)}) ON {SCHEMA}.{Subscription.__tablename__}"
    yield f"EXECUTE ON FUNCTION {SCHEMA}.webhook_scopes"
    yield f"EXECUTE ON FUNCTION {SCHEMA}.ending_keys"
    yield f"SELECT, INSERT, DELETE ON {SCHEMA}.{Delivery.__tablename__}"
    yield f"SELECT ON {SCHEMA}.{AuditEntry.__tablename__}"
    yield f"EXECUTE ON FUNCTION {SCHEMA}.note_audit"
    # Enough to forget old ones: the answers hold what keys can be made again from.
    yield f"SELECT (created_at), DELETE ON {SCHEMA}.{IdempotencyKey.__tablename__}"


def read_grants() -> Iterator[str]:
    """Reads the ledger; sees no keys, and writes nothing."""
    yield f"USAGE ON SCHEMA {SCHEMA}"
    for model in (*LEDGER_TABLES, *PROFILE_TABLES, AppliedContract, AuditEntry, Epoch, WorkerPresence, StreamLag):
        yield f"SELECT ON {SCHEMA}.{model.__tablename__}"
    for told in (OpenIncident, IncidentMessage):
        yield f"SELECT ON {SCHEMA}.{told.__tablename__}"


def write_grants() -> Iterator[str]:
    """Writes keys, pushed events and the log of who did what; queues loads, and changes none."""
    yield f"USAGE ON SCHEMA {SCHEMA}"
    yield f"EXECUTE ON FUNCTION {SCHEMA}.note_audit"
    for appended in APPENDED_TABLES:
        yield f"SELECT, INSERT ON {SCHEMA}.{appended.__tablename__}"
    for changed in CHANGED_TABLES:
        yield f"SELECT, INSERT, UPDATE ON {SCHEMA}.{changed.__tablename__}"
    for swept in (IdempotencyKey, RateLease, Session):
        yield f"DELETE ON {SCHEMA}.{swept.__tablename__}"
    yield f"SELECT, INSERT, UPDATE, DELETE ON {SCHEMA}.{Subscription.__tablename__}"
    for shown in (Delivery, OutboxEvent):
        yield f"SELECT ON {SCHEMA}.{shown.__tablename__}"
    columns = "dataset_id, kind, request, requested_by"
    yield f"SELECT, INSERT ({columns}) ON {SCHEMA}.{Load.__tablename__}"
    yield f"SELECT ON {SCHEMA}.datasets"
