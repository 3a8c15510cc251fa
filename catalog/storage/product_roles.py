"""One role of the database for each product, with which its contract's SQL runs: it reads what the contract may read.

The check of the SQL itself (`query`) is the wall; the roles stand behind it. They cannot log in. `decant migrate`
makes them where its login may, and lets the ingest login become them; where it may not, it says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

import psycopg
import sqlalchemy as sa
from psycopg import errors

from catalog.model.catalog import Catalog
from catalog.model.dataset import POSTGRES_NAME_BYTES, Product
from catalog.sql.query import quote
from runtime.postgres.database import INGEST_ROLE

ROLE_PREFIX = "decant_product_"
MEMBERSHIP_OPTIONS_FROM = 160_000  # the server version that knows SET and INHERIT for one membership
# What the roles have: (kind, role, schema, table, column or member); also which schemas are here, and which roles no
# other database of the server uses. One statement for all products.
STATE = """
WITH roles AS (SELECT oid, rolname FROM pg_roles WHERE starts_with(rolname, :prefix))
SELECT 'role', rolname, '', '', '' FROM roles
UNION ALL SELECT 'member', r.rolname, '', '', m.rolname
  FROM pg_auth_members AS a JOIN roles AS r ON r.oid = a.roleid JOIN pg_roles AS m ON m.oid = a.member
  WHERE {usable}
UNION ALL SELECT 'schema', r.rolname, n.nspname, '', ''
  FROM pg_namespace AS n CROSS JOIN LATERAL aclexplode(n.nspacl) AS a JOIN roles AS r ON r.oid = a.grantee
UNION ALL SELECT 'table', r.rolname, n.nspname, c.relname, ''
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
  CROSS JOIN LATERAL aclexplode(c.relacl) AS a JOIN roles AS r ON r.oid = a.grantee
UNION ALL SELECT 'table', r.rolname, n.nspname, c.relname, t.attname
  FROM pg_attribute AS t JOIN pg_class AS c ON c.oid = t.attrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
  CROSS JOIN LATERAL aclexplode(t.attacl) AS a JOIN roles AS r ON r.oid = a.grantee
  WHERE t.attacl IS NOT NULL
UNION ALL SELECT 'here', '', nspname, '', '' FROM pg_namespace
UNION ALL SELECT 'idle', r.rolname, '', '', '' FROM roles AS r
  WHERE NOT EXISTS (SELECT FROM pg_shdepend AS d WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = r.oid
  AND d.dbid NOT IN (SELECT oid FROM pg_database WHERE datname = current_database() UNION ALL SELECT 0::oid))
"""
# Why a role is not dropped: others use it, this login may not, somebody else was quicker.
KEPT = (errors.DependentObjectsStillExist, errors.InsufficientPrivilege, errors.UndefinedObject)
GrantRow = tuple[str, str, str, str, str]


def name_role(schema: str) -> str:
    """The role of the product with this schema; a long one is cut, with a hash that fits no other schema."""
    name = ROLE_PREFIX + schema
    if len(name) <= POSTGRES_NAME_BYTES:  # schemas are ASCII
        return name
    return f"{name[: POSTGRES_NAME_BYTES - 25]}_{hashlib.sha256(name.encode()).hexdigest()[:24]}"


def match_roles(connection: sa.Connection, catalog: Catalog) -> list[str]:
    """Makes the roles of the catalogue's products and what they may read; what could not be done, in words."""
    version = connection.connection.driver_connection.info.server_version  # type: ignore[union-attr]
    by_membership = version >= MEMBERSHIP_OPTIONS_FROM
    state = STATE.format(usable="a.set_option" if by_membership else "true")
    by_role: dict[str, list[GrantRow]] = {}
    living = {name_role(product.schema) for product in catalog.products.values()}
    idle: list[str] = []
    for kind, role, schema, table, last in connection.execute(sa.text(state), {"prefix": ROLE_PREFIX}):
        if kind == "here":
            living.add(name_role(schema))
        elif kind == "idle":
            idle.append(role)
        else:
            by_role.setdefault(role, []).append((kind, role, schema, table, last))
    members = find_members(connection)
    refused = []
    for product in catalog.products.values():
        role = name_role(product.schema)
        wanted = set(want(catalog, product, members))
        # An operator of the server may have admitted others.
        surplus = {fact for fact in by_role.get(role, ()) if fact not in wanted and fact[0] != "member"}
        lacking = wanted.difference(by_role.get(role, ()))
        if (surplus or lacking) and not match_role(connection, role, surplus, lacking, by_membership=by_membership):
            refused.append(product)
    for role in idle:
        if role not in living:
            drop_role(connection, role, by_role.get(role, []))
    return [describe_refusal(refused)] if refused else []


def drop_role(connection: sa.Connection, role: str, facts: list[GrantRow]) -> None:
    """Drops the role of a product whose schema is gone, with what it might read of others.

    A product without a contract here keeps its role as long as it keeps its data: another folder may hold it.
    """
    try:
        with connection.begin_nested():
            for fact in sorted(fact for fact in facts if fact[0] in ("schema", "table")):
                connection.exec_driver_sql(write_statement("REVOKE", fact))
            connection.exec_driver_sql(f"DROP ROLE {escape(role)}")
    except sa.exc.DBAPIError as error:
        if not isinstance(error.orig, KEPT):
            raise


def find_members(connection: sa.Connection) -> list[str]:
    """The logins that load: they must be able to become the roles. A superuser always is."""
    rows = connection.execute(
        sa.text("SELECT rolname FROM pg_roles WHERE rolname IN (:ingest, current_user) AND NOT rolsuper"),
        {"ingest": INGEST_ROLE},
    )
    return [str(name) for (name,) in rows]


def want(catalog: Catalog, product: Product, members: list[str]) -> Iterator[GrantRow]:
    """What the role of a product has to have."""
    role = name_role(product.schema)
    yield ("role", role, "", "", "")
    yield from (("member", role, "", "", member) for member in members)
    yield ("schema", role, product.schema, "", "")
    yield from (("table", role, product.schema, dataset.table, "") for dataset in product.datasets.values())
    for source in catalog.readings.foreign(product):
        dataset = source.dataset
        yield ("schema", role, dataset.schema, "", "")
        columns = [""] if source.granted else [dataset.properties[name].column for name in source.properties]
        yield from (("table", role, dataset.schema, dataset.table, column) for column in columns)


def match_role(
    connection: sa.Connection, role: str, surplus: set[GrantRow], lacking: set[GrantRow], *, by_membership: bool
) -> bool:
    """Gives a role what it lacks and takes what it has too much of; False where the login may not."""
    made = ("role", role, "", "", "")
    try:
        with connection.begin_nested():
            if made in lacking:
                make_role(connection, role)
            for fact in sorted(surplus):
                connection.exec_driver_sql(write_statement("REVOKE", fact))
            for fact in sorted(lacking - {made}):
                options = " WITH INHERIT FALSE, SET TRUE" if fact[0] == "member" and by_membership else ""
                connection.exec_driver_sql(write_statement("GRANT", fact) + options)
    except sa.exc.ProgrammingError as error:
        if isinstance(error.orig, errors.InsufficientPrivilege):
            return False
        raise
    return True


def make_role(connection: sa.Connection, role: str) -> None:
    """Makes a role that cannot log in; another database of the server may be quicker with the same one."""
    try:
        with connection.begin_nested():
            connection.exec_driver_sql(f"CREATE ROLE {escape(role)} NOLOGIN")
    except sa.exc.DBAPIError as error:
        if not isinstance(error.orig, errors.DuplicateObject | errors.UniqueViolation):
            raise


def write_statement(verb: str, fact: GrantRow) -> str:
    """The statement that gives or takes one thing."""
    kind, role, schema, table, last = fact
    way = "TO" if verb == "GRANT" else "FROM"
    match kind:
        case "member":
            return f"{verb} {escape(role)} {way} {escape(last)}"
        case "schema":
            return f"{verb} {'USAGE' if verb == 'GRANT' else 'ALL'} ON SCHEMA {escape(schema)} {way} {escape(role)}"
    columns = f" ({escape(last)})" if last else ""
    right = "SELECT" if verb == "GRANT" else "ALL"
    return f"{verb} {right}{columns} ON {escape(schema)}.{escape(table)} {way} {escape(role)}"


def escape(name: str) -> str:
    """A quoted name, with its percent signs as the driver wants them."""
    return quote(name).replace("%", "%%")


def describe_refusal(products: list[Product]) -> str:
    """What it means that roles could not be made."""
    names = ", ".join(name_role(product.schema) for product in products[:3])
    more = f" and {len(products) - 3} more" if len(products) > 3 else ""
    return (
        f"The login that migrates may not make the roles {names}{more}: the SQL of these contracts runs with the"
        " rights of the ingest login, and only its check stands before it. Grant the login CREATEROLE, or make the"
        f" roles and grant them to {INGEST_ROLE} (WITH INHERIT FALSE, SET TRUE), and migrate again."
    )


def find_usable_role(driver: psycopg.Connection, schema: str, table: str) -> str | None:
    """The role of a product, where this login can become it and `decant migrate` has given it its rights."""
    right = "SET" if driver.info.server_version >= MEMBERSHIP_OPTIONS_FROM else "MEMBER"
    row = driver.execute(
        "SELECT has_table_privilege(oid, to_regclass(%s), 'SELECT') AND pg_has_role(oid, %s)"
        " FROM pg_roles WHERE rolname = %s",
        (f"{quote(schema)}.{quote(table)}", right, name_role(schema)),
    ).fetchone()
    return name_role(schema) if row is not None and row[0] else None


def become(cursor: psycopg.Cursor, role: str | None, settings: Mapping[str, str]) -> None:
    """Runs what follows in the transaction, or in its savepoint, with a role's rights and these settings alone."""
    if settings:
        calls = ", ".join(["set_config(%s, %s, true)"] * len(settings))
        cursor.execute(f"SELECT {calls}".encode(), [part for setting in settings.items() for part in setting])
    if role is not None:
        cursor.execute(f"SET LOCAL ROLE {quote(role)}".encode())
