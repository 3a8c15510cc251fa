"""Contracts of somebody who is trusted with one product and means more: nothing else is read, run or changed.

The check of their SQL refuses each by name. Behind it stand PostgreSQL's rights and a locked DuckDB, tried here with
the same SQL as if there were no check: with separate logins, and with one superuser's.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest
from psycopg import errors

from catalog.contract.load import lint_contracts
from catalog.sql.query import QueryTextError, parse_query
from catalog.storage.product_roles import become, name_role
from ingest.cleaning.lint import lint
from ingest.cleaning.transforms import TransformError, check_expression
from ingest.publishing.quality_checks import run_in_savepoint
from runtime.duckdb_connection import open_duckdb
from runtime.errors import Finding
from runtime.postgres.database import DatabaseUrls, make_engine
from runtime.settings.settings import load_settings
from tests.support.lab import Lab

MakeLab = Callable[..., Lab]

STAFF = """
apiVersion: v3.1.0
kind: DataContract
id: staff
version: 1.0.0
status: active
schema:
  - name: salaries
    customProperties: [{property: input, value: {server: here, path: salaries.csv}}]
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: salary, logicalType: integer, classification: restricted}
servers:
  - {server: here, type: local, path: "${DECANT_DATA}", format: csv}
"""
MINE = """
apiVersion: v3.1.0
kind: DataContract
id: mine
version: 1.0.0
status: active
servers:
  - {server: here, type: local, path: "${DECANT_DATA}", format: csv}
schema:
  - name: own
    customProperties: [{property: input, value: {server: here, path: own.csv}}]
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: x, logicalType: string}
"""
# What a query is, and what the refusal has to name.
REFUSED = [
    # Strings and names that two parsers may read in two ways.
    ('select U&"pg\\005fsleep"(3)', "005fsleep is not among"),
    ("select U&'\\0041'", "without a prefix"),
    ("select E'\\x41' from own", "without a prefix"),
    ("select N'x'", "without a prefix"),
    ("select B'1'", "without a prefix"),
    ("select X'41'", "without a prefix"),
    ("select $$a$$", "without a prefix"),
    ("select $tag$select 1$tag$", "without a prefix"),
    ("select 1_000", "1_000"),
    ("select 1\0", "NUL"),
    ("select '\\'; drop table own; --'", "must be one SELECT"),
    # Comments.
    ("select pg_sleep/* */(3)", "pg_sleep"),
    ("select pg_sleep -- \n (3)", "pg_sleep"),
    ("select /* /* */ */ pg_sleep(3)", "pg_sleep"),
    # Functions that look at files, settings, the catalogue, other sessions, or run what they are given.
    ("select pg_sleep(3)", "pg_sleep"),
    ('select "pg_sleep"(3)', "pg_sleep"),
    ("select PG_SLEEP(3)", "PG_SLEEP"),
    ("select pg_catalog.pg_sleep(3)", "without a schema"),
    ("select public.mine()", "without a schema"),
    ("select coalesce(upper(pg_read_file('/etc/passwd')), '')", "pg_read_file"),
    ("select pg_read_binary_file('/etc/passwd')", "pg_read_binary_file"),
    ("select pg_ls_dir('/')", "pg_ls_dir"),
    ("select ts_stat('select to_tsvector(salary::text) from staff_v1.salaries')", "ts_stat"),
    ("select * from ts_stat('select 1')", "ts_stat"),
    ("select query_to_xml('select * from staff_v1.salaries', true, true, '')", "query_to_xml"),
    ("select table_to_xml('staff_v1.salaries'::regclass, true, true, '')", "table_to_xml"),
    ("select database_to_xml(true, true, '')", "database_to_xml"),
    ("select cursor_to_xml('c', 1, true, true, '')", "cursor_to_xml"),
    ("select xpath('/a', 'b'::xml)", "xpath"),
    ("select xmlparse(document '<a/>')", ""),
    ("select ts_rewrite('a'::tsquery, 'select 1')", "ts_rewrite"),
    ("select current_setting('data_directory')", "current_setting"),
    ("select set_config('role', 'none', false)", "set_config"),
    ("select nextval('s')", "nextval"),
    ("select currval('s')", "currval"),
    ("select setval('s', 1)", "setval"),
    ("select pg_advisory_lock(1)", "pg_advisory_lock"),
    ("select pg_try_advisory_xact_lock(1)", "pg_try_advisory_xact_lock"),
    ("select pg_notify('decant', 'x')", "pg_notify"),
    ("select pg_terminate_backend(1)", "pg_terminate_backend"),
    ("select txid_current()", "txid_current"),
    ("select has_table_privilege('a', 'b')", "has_table_privilege"),
    ("select inet_server_addr()", "inet_server_addr"),
    ("select version()", "version"),
    ("select dblink('host=x', 'select 1')", "dblink"),
    ("select lo_import('/etc/passwd')", "lo_import"),
    ("select lo_get(1)", "lo_get"),
    ("select loread(1, 2)", "loread"),
    ("select lo_from_bytea(0, 'x')", "lo_from_bytea"),
    ("select to_regclass('staff_v1.salaries')", "to_regclass"),
    ("select count(*) filter (where pg_sleep(1) is null) from own", "pg_sleep"),
    ("select sum(id) over (order by pg_sleep(1)) from own", "pg_sleep"),
    ("select array_agg(id order by pg_sleep(1)) from own", "pg_sleep"),
    ("select case when true then pg_sleep(1) end", "pg_sleep"),
    ("select array[pg_sleep(1)]", "pg_sleep"),
    ("select 1 from own group by pg_sleep(1)", "pg_sleep"),
    ("select 1 from own limit length(pg_read_file('/etc/passwd'))", "pg_read_file"),
    ("select * from pg_ls_dir('/') as x", "pg_ls_dir"),
    ("select * from lateral pg_ls_dir('/') as x", "pg_ls_dir"),
    ("select * from rows from (generate_series(1, 2), pg_ls_dir('/')) as x", ""),
    ("select * from own, json_populate_recordset(null::staff_v1.salaries, '[]')", ""),
    ("select user", "user"),
    ("select current_user", "CURRENT_USER"),
    ("select session_user", "SESSION_USER"),
    ("select current_role", "current_role"),
    ("select current_catalog", "CURRENT_CATALOG"),
    ("select current_schema", "CURRENT_SCHEMA"),
    # Types that look names up, or that are not PostgreSQL's own.
    ("select 'staff_v1.salaries'::regclass", "REGCLASS"),
    ("select cast('x' as regproc)", "REGPROC"),
    ("select regrole '10'", "REGROLE"),
    ("select 1::oid", "OID"),
    ("select '<a/>'::xml", "XML"),
    ("select 'x'::name", "NAME"),
    ("select null::staff_v1.salaries", "staff_v1"),
    ("select 'x'::\"regclass\"", "REGCLASS"),
    ("select 'x'::pg_catalog.regclass", "pg_catalog"),
    ("select x::regclass[]", ""),
    ("select * from jsonb_to_recordset('[]') as x(a regclass)", "REGCLASS"),
    ("select 'x'::tsquery", "tsquery"),
    # Operators that are functions, sort orders that are none.
    ("select 1 operator(pg_catalog.+) 1", "OPERATOR"),
    ('select id from own order by x collate "a""b"', "sort order"),
    # What is no SELECT, is more than one, writes, or locks.
    ("copy own to '/tmp/x'", "must be one SELECT"),
    ("copy (select 1) to program 'id'", "must be one SELECT"),
    ("do $$ begin perform 1; end $$", "must be one SELECT"),
    ("set role postgres", "must be one SELECT"),
    ("reset role", "must be one SELECT"),
    ("set local session authorization default", "must be one SELECT"),
    ("select 1; reset role", "must be one SELECT"),
    ("explain analyze delete from own", "must be one SELECT"),
    ("prepare p as select 1", "must be one SELECT"),
    ("listen x", "must be one SELECT"),
    ("lock table own", "must be one SELECT"),
    ("call mine()", "must be one SELECT"),
    ("create table y as select 1", "must be one SELECT"),
    ("values (pg_sleep(1))", "must be one SELECT"),
    ("select 1 into y", "writes and locks nothing"),
    ("select * from own for update", "writes and locks nothing"),
    ("select * from (select * from own for share) x", "writes and locks nothing"),
    ("with gone as (delete from own returning id) select * from gone", "writes and locks nothing"),
    ("with new as (insert into own values (1) returning id) select * from new", "writes and locks nothing"),
    ("with new as (update own set id = 1 returning id) select * from new", "writes and locks nothing"),
    ("with m as (merge into own using own o on true when matched then delete returning 1) select 1", "SELECT"),
    ("select (with gone as (delete from own returning id) select count(*) from gone)", "writes and locks nothing"),
    ("select * from own tablesample system (1)", "TABLESAMPLE"),
    ("select * from only own", "only"),
    ("select $1", "placeholder"),
    ("select :x", "placeholder"),
    ("select * from other.staff_v1.salaries", "no other database"),
    ("with pg_class as (select 1) select * from pg_class", "pg_class"),
]
# What would be a table that belongs to somebody else, in a query and in a rule.
FOREIGN = [
    "staff_v1.salaries",
    '"staff_v1"."salaries"',
    "staff_v1.salaries_history",
    "mine_v1.own_history",
    "decant.api_keys",
    "decant.loads",
    "decant_queue.procrastinate_jobs",
    "pg_catalog.pg_authid",
    "pg_shadow",
    "pg_stat_activity",
    "pg_largeobject",
    "information_schema.tables",
    "pg_temp.x",
]


@pytest.mark.parametrize(("query", "named"), REFUSED, ids=[row[0][:50].replace("\0", "NUL") for row in REFUSED])
@pytest.mark.parametrize("steady", [True, False])
def test_what_is_more_than_a_query_over_datasets_is_refused_by_name(query: str, named: str, steady: bool) -> None:
    with pytest.raises(QueryTextError) as caught:
        parse_query(query, deterministic=steady)
    assert named in str(caught.value)


@pytest.mark.parametrize("character", [chr(code) for code in range(0x20, 0x7F)])
def test_a_name_of_any_character_is_a_name_and_never_more(character: str) -> None:
    name = f"a{character}b"
    quoted = '"' + name.replace('"', '""') + '"'
    tree = parse_query(f"select {quoted} from {quoted} where {quoted} = 'x'")
    assert tree.sql(dialect="postgres") == f"SELECT {quoted} FROM {quoted} WHERE {quoted} = 'x'"
    with pytest.raises(QueryTextError, match="is not among the functions"):
        parse_query(f"select {quoted}(1)")


def check(folder: Path, *texts: str) -> list[Finding]:
    """What lint has against contracts."""
    for number, text in enumerate(texts):
        (folder / f"{number}.yaml").write_text(text)
    _, found = lint_contracts(load_settings(contracts=folder, home=folder))
    return [finding for finding in found if finding.severity == "error"]


def with_rule(query: str) -> str:
    """The second product with a quality rule."""
    rule = json.dumps([{"type": "sql", "name": "odd", "query": query, "mustBe": 0}])
    return MINE.replace("    properties:\n", f"    quality: {rule}\n    properties:\n")


def with_query(query: str) -> str:
    """The second product with a derived dataset."""
    return MINE + (
        f"  - name: made\n    customProperties: [{{property: input, value: {{query: {json.dumps(query)}}}}}]\n"
        "    properties:\n      - {name: id, logicalType: integer, primaryKey: true}\n"
    )


@pytest.mark.parametrize("table", FOREIGN)
def test_a_table_of_somebody_else_is_refused_in_queries_and_rules(tmp_path: Path, table: str) -> None:
    for text in (with_query(f"select 1 as id from {table}"), with_rule(f"select count(*) from {table}")):
        found = check(tmp_path, STAFF, text)
        assert len(found) == 1, found
        assert "unknown dataset" in found[0].message or "staff@1.salaries is not granted" in found[0].message
    inner = f"select id from own where exists (with x as (select * from {table}) select 1 from x)"
    assert check(tmp_path, STAFF, with_query(inner))


def test_a_rule_of_a_contract_that_is_not_fed_is_left_out_and_not_measured(tmp_path: Path) -> None:
    text = with_rule("select pg_sleep(3)").replace(
        "customProperties: [{property: input, value: {server: here, path: own.csv}}]",
        "description: Nothing feeds it.",
    )
    assert check(tmp_path, text) == []
    catalog, found = lint_contracts(load_settings(contracts=tmp_path, home=tmp_path))
    assert [finding.message for finding in found if "pg_sleep" in finding.message]
    assert catalog.find("mine.own")[0].gates == ()


@pytest.fixture
def lab(make_lab: MakeLab) -> Lab:
    lab = make_lab(STAFF, MINE)
    assert lab.ingest("staff.salaries", "id,salary\n1,5000\n2,7000\n", "salaries.csv").status == "published"
    assert lab.ingest("mine.own", "id,x\n1,a\n", "own.csv").status == "published"
    return lab


STOLEN = [
    "SELECT max(salary) FROM staff_v1.salaries",
    "SELECT max(salary) FROM staff_v1.salaries_history",
    "SELECT count(*) FROM decant.api_keys",
    "SELECT count(*) FROM decant.loads",
    "SELECT count(*) FROM pg_authid",
    "SELECT length(pg_read_file('/etc/hostname'))",
    "SELECT count(*) FROM pg_ls_dir('/')",
    "SELECT count(*) FROM ts_stat('SELECT to_tsvector(salary::text) FROM staff_v1.salaries')",
    "SELECT length(query_to_xml('SELECT * FROM staff_v1.salaries', true, true, '')::text)",
    "SELECT lo_import('/etc/hostname')::bigint",
    "SELECT length(lo_from_bytea(0, 'x')::text)",
    "SELECT count(*) FROM mine_v1.own_history",
    "WITH gone AS (DELETE FROM mine_v1.own RETURNING 1) SELECT count(*) FROM gone",
    "SELECT count(*) FROM mine_v1.own FOR UPDATE",
    "SELECT 1; RESET ROLE",
    "COPY mine_v1.own TO '/tmp/decant-stolen'",
    "COPY (SELECT 1) TO PROGRAM 'id'",
    "DO $$ BEGIN PERFORM 1; END $$",
    "RESET ROLE",
]


def list_logins(urls: DatabaseUrls) -> Iterator[str]:
    """The login that loads where there are several, and where there is but one, which may everything."""
    yield urls.ingest
    yield urls.owner


def test_without_any_check_postgres_itself_denies_what_was_not_granted(lab: Lab) -> None:
    for url in list_logins(lab.urls):
        with make_engine(url).connect() as connection:
            for statement in STOLEN:
                with pytest.raises((psycopg.Error, ValueError)) as caught:
                    run_in_savepoint(connection, statement, name_role("mine_v1"))
                refused = (errors.InsufficientPrivilege, errors.SyntaxError, errors.ReadOnlySqlTransaction)
                assert isinstance(caught.value, (*refused, errors.FeatureNotSupported)), (statement, caught.value)
            assert run_in_savepoint(connection, "SELECT count(*) FROM mine_v1.own", name_role("mine_v1")) == 1
            # Afterwards the transaction is the login's again.
            user = connection.exec_driver_sql("SELECT current_user = session_user").scalar()
            assert user is True
            connection.rollback()
    assert lab.rows("SELECT count(*) FROM mine_v1.own") == [(1,)]


def test_with_one_superuser_login_a_load_measures_with_the_rights_of_its_product(lab: Lab) -> None:
    with psycopg.connect(lab.urls.owner) as connection, connection.cursor() as cursor:
        become(cursor, name_role("mine_v1"), {"search_path": "pg_catalog, pg_temp"})
        row = cursor.execute("SELECT current_user, current_setting('is_superuser')").fetchone()
        assert row == ("decant_product_mine_v1", "off")
        with pytest.raises(errors.InsufficientPrivilege):
            cursor.execute("SELECT * FROM staff_v1.salaries")


@pytest.mark.slow
@pytest.mark.parametrize("single", [False, True])
def test_rules_and_queries_load_with_their_own_rights(make_lab: MakeLab, single: bool) -> None:
    text = with_query("select id from own union select n from generate_series(10, 12) as n").replace(
        "    properties:\n",
        '    quality: [{type: sql, name: rows, query: "select count(*) from {object}", mustBeGreaterThan: 0}]\n'
        "    properties:\n",
    )
    lab = make_lab(STAFF, text)
    if single:
        lab.urls = DatabaseUrls(*[lab.urls.owner] * 4)
    assert lab.ingest("mine.own", "id,x\n1,a\n", "own.csv").status == "published"
    report = lab.ingest("mine.made")
    assert report.status == "published", report.error
    assert report.outcome
    assert [m.measured for m in report.outcome.measurements if m.rule == "rows"] == [4]
    assert lab.rows("SELECT id FROM mine_v1.made ORDER BY id") == [(1,), (10,), (11,), (12,)]


EXPRESSIONS = [
    ("(SUMMARIZE '/etc/passwd')", "subquery"),
    ("(SELECT content FROM read_text('/etc/passwd'))", "subquery"),
    ("(FROM '/etc/passwd')", "subquery"),
    ("(DESCRIBE SELECT 1)", "subquery"),
    ("(TABLE x)", "subquery"),
    ("x IN (SELECT 1)", "subquery"),
    ("EXISTS (FROM duckdb_settings())", "subquery"),
    ("x = ANY (SELECT 1)", "subquery"),
    ("getenv('HOME')", "getenv"),
    ("x.getenv()", "getenv"),
    ("current_setting('home_directory')", "current_setting"),
    ("getvariable('x')", "getvariable"),
    ("read_text('/etc/passwd')", "read_text"),
    ("glob('/*')", "glob"),
    ("query('select 1')", "query"),
    ("query_table('x')", "query_table"),
    ("sql_auto_complete('x')", "sql_auto_complete"),
    ("json_serialize_sql('select 1')", "json_serialize_sql"),
    ("write_log('x')", "write_log"),
    ("sleep_ms(1000)", "sleep_ms"),
    ("nextval('s')", "nextval"),
    ("version()", "version"),
    ("list_transform([x], lambda v: getenv(v))[1]", "getenv"),
    ("[getenv(v) for v in [x]][1]", "getenv"),
    ("{'a': getenv('HOME')}", "getenv"),
    ("CASE WHEN true THEN getenv('HOME') END", "getenv"),
    ("current_user", "current_user"),
    ("x::regclass", "regclass"),
    ("x) FROM read_text('/etc/passwd'), (SELECT 1", ""),
    ("x); DROP TABLE judged; SELECT (1", "Only SELECT"),
    ("x; SELECT 1", ""),
    ("COLUMNS(*)", "star"),
    ("*", "star"),
    ("sum(x) OVER ()", "window"),
    ("$1", "parameter"),
    ("x\0", "NUL"),
    ("_decant_record", "_decant_record"),
]


@pytest.mark.parametrize(("expression", "named"), EXPRESSIONS, ids=[row[0][:50].strip("\0") for row in EXPRESSIONS])
def test_a_transform_that_is_more_than_an_expression_is_refused_by_name(expression: str, named: str) -> None:
    with open_duckdb() as engine, pytest.raises(TransformError) as caught:
        check_expression(engine, expression, ("x",))
    assert named in str(caught.value)


def with_transform(expression: str) -> str:
    """The second product with a transform."""
    return MINE.replace(
        "{name: x, logicalType: string}",
        f"{{name: x, logicalType: string, transformLogic: {json.dumps(expression)}}}",
    )


def test_lint_and_loads_refuse_such_a_transform_and_read_nothing(make_lab: MakeLab, tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("canary\n")
    lab = make_lab(with_transform("coalesce(x, getenv('HOME'))"))
    findings, _ = lint(lab.settings)
    assert [finding.message for finding in findings if "getenv is not among" in finding.message], findings
    report = lab.ingest("mine.own", "id,x\n1,a\n", "own.csv")
    assert report.status == "failed"
    assert "getenv is not among the functions" in (report.error or "")


def test_duckdb_sees_no_file_and_no_variable_and_cannot_be_unlocked(tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("canary\n")
    (tmp_path / "seen").mkdir()
    frame = secret  # noqa: F841 - a variable that a table of its name would find
    denied = [
        f"SELECT * FROM read_text('{secret}')",
        f"SUMMARIZE '{secret}'",
        f"SELECT * FROM '{secret}'",
        f"COPY (SELECT 1) TO '{tmp_path}/written.csv'",
        f"ATTACH '{tmp_path}/other.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SELECT * FROM read_csv('https://example.org/x.csv')",
        "SELECT * FROM frame",
        "SET enable_external_access = true",
        "SET memory_limit = '100GB'",
        "SET lock_configuration = false",
    ]
    for options in ({}, {"folder": tmp_path / "seen"}, {"optimizer": "off"}):
        with open_duckdb(**options) as engine:  # type: ignore[arg-type]
            for statement in denied:
                with pytest.raises(duckdb.Error):
                    engine.execute(statement)
    assert not (tmp_path / "written.csv").exists()


def test_duckdb_is_opened_in_one_place() -> None:
    root = Path(__file__).parents[2]
    opened = [
        f"{path.relative_to(root)}"
        for folder in ("api", "catalog", "commands", "ingest", "runtime")
        for path in sorted((root / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "connect" and getattr(node.value, "id", "") == "duckdb"
    ]
    assert opened == ["runtime/duckdb_connection.py"]


def test_what_looks_at_nothing_is_computed_at_lint_without_being_run(make_lab: MakeLab) -> None:
    lab = make_lab(with_transform("repeat('x', 10000000000)"))
    findings: list[Any] = lint(lab.settings)[0]
    assert findings == []
