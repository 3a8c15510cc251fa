"""What each database login may do, as grants. One place, so that a test can hold every login against it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import sqlalchemy as sa

from catalog.access_models import (
    APPENDED_TABLES,
    CHANGED_TABLES,
    AuditEntry,
    IdempotencyKey,
    RateLease,
)
from catalog.contract import Catalog
from catalog.database import INGEST_ROLE, READ_ROLE, WRITE_ROLE
from catalog.installation_models import Epoch
from catalog.models import LEDGER_TABLES, QUEUE_SCHEMA, SCHEMA, AppliedContract, Load
from catalog.tables import STAGING_SCHEMA


def grant_access(connection: sa.Connection, catalog: Catalog) -> None:
    """Gives each login what it needs and nothing else; a login that does not exist is passed over."""
    known = set(connection.scalars(sa.text("SELECT rolname FROM pg_roles")))
    for role, statements in (
        (INGEST_ROLE, ingest_grants(catalog)),
        (READ_ROLE, read_grants(catalog)),
        (WRITE_ROLE, write_grants()),
    ):
        if role in known:
            # What an older version gave, and this one does not.
            connection.execute(sa.text(f"REVOKE ALL ON ALL TABLES IN SCHEMA {SCHEMA} FROM {role}"))
            for statement in statements:
                connection.execute(sa.text(f"GRANT {statement} TO {role}"))
    if READ_ROLE in known and connection.scalar(
        sa.text("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
    ):
        connection.execute(sa.text(f"GRANT SET ON PARAMETER temp_file_limit TO {READ_ROLE}"))


def schemas_of(catalog: Catalog) -> Iterable[str]:
    """The quoted schemas of the products."""
    return [f'"{product.schema}"' for product in catalog.products.values()]


def ingest_grants(catalog: Catalog) -> Iterator[str]:
    """Writes datasets and ledger; sees no keys."""
    yield f"USAGE ON SCHEMA {SCHEMA}"
    yield f"USAGE, CREATE ON SCHEMA {STAGING_SCHEMA}"
    yield f"USAGE ON SCHEMA {QUEUE_SCHEMA}"
    yield f"SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {QUEUE_SCHEMA}"
    yield f"USAGE ON ALL SEQUENCES IN SCHEMA {QUEUE_SCHEMA}"
    yield f"EXECUTE ON FUNCTION {SCHEMA}.park_indexes(regclass), {SCHEMA}.restore_indexes(regclass)"
    for model in LEDGER_TABLES:
        yield f"SELECT, INSERT, UPDATE, DELETE ON {SCHEMA}.{model.__tablename__}"
    yield f"SELECT ON {SCHEMA}.{AppliedContract.__tablename__}"
    yield f"SELECT, INSERT ON {SCHEMA}.{Epoch.__tablename__}"
    yield f"SELECT, INSERT ON {SCHEMA}.{AuditEntry.__tablename__}"
    yield f"SELECT, DELETE ON {SCHEMA}.{IdempotencyKey.__tablename__}"
    for schema in schemas_of(catalog):
        yield f"USAGE ON SCHEMA {schema}"
        yield f"SELECT, INSERT, UPDATE, DELETE, MAINTAIN ON ALL TABLES IN SCHEMA {schema}"


def read_grants(catalog: Catalog) -> Iterator[str]:
    """Reads datasets and ledger; sees no keys, and writes nothing."""
    yield f"USAGE ON SCHEMA {SCHEMA}"
    for model in (*LEDGER_TABLES, AppliedContract, AuditEntry, Epoch):
        yield f"SELECT ON {SCHEMA}.{model.__tablename__}"
    for schema in schemas_of(catalog):
        yield f"USAGE ON SCHEMA {schema}"
        yield f"SELECT ON ALL TABLES IN SCHEMA {schema}"


def write_grants() -> Iterator[str]:
    """Writes keys, pushed events and the log of who did what; queues loads, and changes none."""
    yield f"USAGE ON SCHEMA {SCHEMA}"
    for appended in APPENDED_TABLES:
        yield f"SELECT, INSERT ON {SCHEMA}.{appended.__tablename__}"
    for changed in CHANGED_TABLES:
        yield f"SELECT, INSERT, UPDATE ON {SCHEMA}.{changed.__tablename__}"
    for swept in (IdempotencyKey, RateLease):
        yield f"DELETE ON {SCHEMA}.{swept.__tablename__}"
    columns = "dataset_id, kind, request, requested_by"
    yield f"SELECT, INSERT ({columns}) ON {SCHEMA}.{Load.__tablename__}"
    yield f"SELECT ON {SCHEMA}.datasets"
