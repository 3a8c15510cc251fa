"""The roles of products: what each may read, and that a migration makes them once and keeps them as contracts say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql

from catalog.migration.migrate import migrate
from catalog.storage.product_roles import become, find_usable_role, match_roles, name_role
from runtime.postgres.database import make_engine
from tests.support.contract_heads import begin
from tests.support.lab import Lab

MakeLab = Callable[..., Lab]

STAFF = (
    begin("staff", grants="reports@1")
    + """
schema:
  - name: salaries
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: salary, logicalType: integer, classification: restricted}
  - name: rooms
    physicalName: rooms %
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
"""
)
TOWN = (
    begin("town")
    + """
schema:
  - name: streets
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: name, logicalType: string, physicalName: "street %"}
      - {name: owner, logicalType: string, classification: confidential}
  - name: secrets
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
roles:
  - role: guest
    access: read
    customProperties: [{property: anonymous, value: true}, {property: rows, value: {streets: true}}]
"""
)
REPORTS = (
    begin("reports")
    + """
schema:
  - name: pay
    customProperties:
      - {property: input, value: {query: "select id, count(*) as n from staff_v1.salaries group by id"}}
    quality:
      - {type: sql, name: streets, query: "select count(*) from town_v1.streets", mustBeGreaterOrEqualTo: 0}
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: n, logicalType: integer}
"""
)


def readable(lab: Lab, role: str) -> set[str]:
    """The tables of products and of the ledger that a role may read whole."""
    rows = lab.rows(
        "SELECT n.nspname || '.' || c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
        " WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_|^information_schema'"
        " AND has_table_privilege(%s, c.oid, 'SELECT') AND has_schema_privilege(%s, n.oid, 'USAGE')",
        role,
        role,
    )
    return {name for (name,) in rows}


def test_a_role_reads_its_own_product_and_what_it_needs_of_what_is_granted(make_lab: MakeLab) -> None:
    lab = make_lab(STAFF, TOWN, REPORTS)
    assert readable(lab, "decant_product_staff_v1") == {"staff_v1.salaries", "staff_v1.rooms %"}
    assert readable(lab, "decant_product_town_v1") == {"town_v1.streets", "town_v1.secrets"}
    assert readable(lab, "decant_product_reports_v1") == {"reports_v1.pay", "staff_v1.salaries"}
    columns = lab.rows(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'town_v1.streets'::regclass AND attnum > 0"
        " AND has_column_privilege('decant_product_reports_v1', attrelid, attnum, 'SELECT')"
    )
    assert sorted(columns) == [("id",), ("street %",)]
    login, inherits = lab.rows(
        "SELECT rolcanlogin, (SELECT bool_or(inherit_option) FROM pg_auth_members"
        " WHERE roleid = r.oid AND set_option) FROM pg_roles AS r WHERE rolname = 'decant_product_reports_v1'"
    )[0]
    assert (login, inherits) == (False, False)


@pytest.mark.slow
def test_a_second_migration_sends_one_statement_for_all_roles_and_a_change_is_followed(make_lab: MakeLab) -> None:
    lab = make_lab(STAFF, TOWN, REPORTS)
    sent: list[str] = []
    engine = make_engine(lab.urls.owner)
    sa.event.listen(engine, "before_cursor_execute", lambda *facts: sent.append(facts[2]))
    with engine.begin() as connection:
        assert match_roles(connection, lab.catalog) == []
    assert len(sent) == 2  # what the roles have, and which logins load
    with psycopg.connect(lab.urls.owner, autocommit=True) as owner:
        owner.execute("GRANT SELECT ON town_v1.secrets TO decant_product_reports_v1")
        owner.execute("REVOKE SELECT ON staff_v1.salaries FROM decant_product_reports_v1")
    lab.migrate()
    assert readable(lab, "decant_product_reports_v1") == {"reports_v1.pay", "staff_v1.salaries"}


@pytest.mark.slow
def test_the_role_of_a_product_goes_with_its_schema_and_not_before(make_lab: MakeLab) -> None:
    # Under a name of its own: roles belong to the server, and other tests go on with theirs.
    lab = make_lab(STAFF.replace("reports@1", "briefs@1"), TOWN, REPORTS.replace("id: reports", "id: briefs"))
    role = "decant_product_briefs_v1"
    (lab.settings.contracts / "contract2.odcs.yaml").unlink()
    fewer = Lab(lab.settings, lab.urls)

    def is_there() -> bool:
        return lab.rows("SELECT count(*) FROM pg_roles WHERE rolname = %s", role) == [(1,)]

    with make_engine(lab.urls.owner).begin() as connection:
        assert match_roles(connection, fewer.catalog) == []
    assert readable(lab, role) == {"briefs_v1.pay", "staff_v1.salaries"}  # another folder may hold its contract
    with psycopg.connect(lab.urls.owner, autocommit=True) as owner:
        owner.execute("DROP SCHEMA briefs_v1 CASCADE")
        # Another database of the server has a product of this name.
        owner.execute("CREATE DATABASE neighbour")
        beside = lab.urls.owner.replace(str(owner.info.dbname), "neighbour")
        with psycopg.connect(beside, autocommit=True) as neighbour:
            neighbour.execute("CREATE SCHEMA briefs_v1")
            neighbour.execute(f"GRANT USAGE ON SCHEMA briefs_v1 TO {role}".encode())
        with make_engine(lab.urls.owner).begin() as connection:
            match_roles(connection, fewer.catalog)
        assert is_there()
        owner.execute("DROP DATABASE neighbour")
    # So has the template that this test's own database was made of.
    for (name,) in lab.rows(
        "SELECT datname FROM pg_database WHERE oid IN (SELECT dbid FROM pg_shdepend AS d JOIN pg_roles AS r"
        " ON r.oid = d.refobjid WHERE rolname = %s) AND datname <> current_database()",
        role,
    ):
        with psycopg.connect(lab.urls.owner.replace(lab.rows("SELECT current_database()")[0][0], name)) as template:
            template.execute(f"DROP OWNED BY {role}".encode())
    with make_engine(lab.urls.owner).begin() as connection:
        match_roles(connection, fewer.catalog)
    assert not is_there()
    assert readable(lab, "decant_product_staff_v1") == {"staff_v1.salaries", "staff_v1.rooms %"}


@pytest.mark.slow
def test_a_login_that_may_make_no_roles_migrates_and_says_so(make_lab: MakeLab, monkeypatch: Any) -> None:
    lab = make_lab(STAFF, TOWN, REPORTS)
    database = lab.rows("SELECT current_database()")[0][0]
    with psycopg.connect(lab.urls.owner, autocommit=True) as owner:
        owner.execute("DROP ROLE IF EXISTS plain_owner")
        owner.execute("CREATE ROLE plain_owner LOGIN")
        owner.execute(sql.SQL("CREATE DATABASE plain OWNER plain_owner"))
    url = lab.urls.owner.replace(database, "plain").replace("user=decant", "user=plain_owner")
    url = url.replace("//decant@", "//plain_owner@")
    monkeypatch.setattr("catalog.storage.product_roles.ROLE_PREFIX", "decant_plain_")
    try:
        report = migrate(lab.settings, url, lab.catalog)
        (warning,) = [text for text in report.warnings if "make the roles" in text]
        assert "may not make the roles decant_plain_staff_v1, decant_plain_town_v1, " in warning
        assert "Grant the login CREATEROLE" in warning
        with psycopg.connect(url) as connection:
            assert find_usable_role(connection, "staff_v1", "salaries") is None
        # One that may make roles, and no more, can then load with their rights too.
        with psycopg.connect(lab.urls.owner, autocommit=True) as owner:
            owner.execute("ALTER ROLE plain_owner CREATEROLE")
        again = migrate(lab.settings, url, lab.catalog)
        assert [text for text in again.warnings if "make the roles" in text] == []
        with psycopg.connect(url) as connection, connection.cursor() as cursor:
            role = find_usable_role(connection, "staff_v1", "salaries")
            assert role == "decant_plain_staff_v1"
            become(cursor, role, {})
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                cursor.execute("SELECT * FROM town_v1.streets")
    finally:
        with psycopg.connect(lab.urls.owner, autocommit=True) as owner:
            owner.execute("DROP DATABASE IF EXISTS plain WITH (FORCE)")
            for name in ("staff_v1", "town_v1", "reports_v1"):
                owner.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(f"decant_plain_{name}")))
            owner.execute("DROP ROLE plain_owner")


def test_the_ingest_login_can_become_a_product_and_no_other_login_can(make_lab: MakeLab) -> None:
    lab = make_lab(STAFF, TOWN, REPORTS)
    role = sql.Identifier(name_role("staff_v1"))
    for url, may in ((lab.urls.ingest, True), (lab.urls.read, False), (lab.urls.write, False)):
        with psycopg.connect(url) as connection:
            if not may:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(sql.SQL("SET LOCAL ROLE {}").format(role))
                continue
            assert find_usable_role(connection, "staff_v1", "salaries") == "decant_product_staff_v1"
            connection.execute(sql.SQL("SET LOCAL ROLE {}").format(role))
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("SELECT * FROM town_v1.streets")


def test_a_long_schema_has_a_role_with_a_name_that_postgres_does_not_cut() -> None:
    names = {name_role(f"{'x' * 55}{end}_v1") for end in "ab"}
    assert len(names) == 2
    assert all(len(name) <= 63 for name in names)
