"""The queries of derived datasets, without a database: what they read, and what each bad one is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.contract.load import lint_contracts
from catalog.model.catalog import Catalog
from catalog.sql.query import QueryTextError, find_tables, output_columns, parse_query, rename_tables
from runtime.errors import Finding
from runtime.settings.settings import load_settings


def reads(query: str) -> list[str]:
    return [table.read for table in find_tables(parse_query(query))]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("select * from a", ["a"]),
        ("select * from A, \"B\", other_v1.c as x, other_v1.\"D.e\"", ["a", "B", "other_v1.c", "other_v1.D.e"]),
        ('select * from "a.b"', [".a.b"]),
        ("with a as (select * from b) select * from a", ["b"]),
        ("with a as (select * from a) select * from a", ["a"]),
        ("with recursive a as (select id from b union all select id from a) select * from a", ["b"]),
        ("select * from a where exists (select 1 from b) and x in (select y from c union table d)", list("abcd")),
        ("select * from a, lateral (select * from b where b.x = a.x) s, generate_series(1, 3) g", ["a", "b"]),
        ("select (select max(x) from b) from a", ["b", "a"]),
        ("select 1", []),
    ],
)  # fmt: skip
def test_a_query_reads_what_stands_in_its_text_and_is_not_defined_there(query: str, expected: list[str]) -> None:
    assert reads(query) == expected


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("delete from a", "one SELECT"),
        ("with gone as (delete from a returning 1) select * from gone", "writes and locks nothing"),
        ("select * into b from a", "writes and locks nothing"),
        ("select * from a for update", "writes and locks nothing"),
        ("select 1; select 2", "one SELECT"),
        ("select 1; commit", "one SELECT"),
        ("copy a to '/tmp/x'", "one SELECT"),
        ("not sql at all", "Invalid expression|one SELECT"),
        ("select now()", "now has another result"),
        ("select current_date", "current_date has another result"),
        ("select localtime", "localtime has another result"),
        ("select 'now'::timestamp", "now has another result"),
        ("select date 'today'", "today has another result"),
        ("select random()", "random has another result"),
        ("select gen_random_uuid()", "gen_random_uuid has another result"),
        ("select nextval('s')", "nextval is not among the functions"),
        ("select * from a tablesample system (10)", "TABLESAMPLE"),
        ("select pg_sleep(10)", "reads the server, not datasets"),
        ("select pg_read_file('/etc/passwd')", "reads the server, not datasets"),
        ("select query_to_xml('select 1', true, true, '')", "reads the server, not datasets"),
        ("select set_config('a', 'b', false)", "reads the server, not datasets"),
        ("select current_user", "reads the server, not datasets"),
        ("select user", "reads the server, not datasets"),
        ("select * from here.there.everywhere", "no other database"),
        ("select $1", "placeholder"),
    ],
)
def test_a_query_that_could_not_be_repeated_or_does_more_than_read_is_refused(query: str, why: str) -> None:
    with pytest.raises(QueryTextError, match=why):
        find_tables(parse_query(query))


def test_what_runs_is_written_again_with_every_name_in_quotes_and_tables_renamed() -> None:
    query = "select A.x, shop_v1.b.y, 'from a' -- from a\nfrom a join shop_v1.b using (k) join a as c on true"
    assert rename_tables(query, {"a": "one.a", "shop_v1.b": "two.b"}) == (
        'SELECT "a"."x", "b"."y", \'from a\' FROM "one.a" AS "a" JOIN "two.b" AS "b" USING ("k")'
        ' JOIN "one.a" AS "c" ON TRUE'
    )


@pytest.mark.parametrize(
    ("query", "columns"),
    [
        ("select a, B, \"C\", t.d, e::text, x + 1 as f, (g) from t", ["a", "b", "C", "d", "e", "f", "g"]),
        ("select * from t", None),
        ("select t.* from t", None),
        ("select a, max(b) from t", None),
        ("select a from t union select b from t", ["a"]),
        ("with c as (select 1 as x) select x from c", ["x"]),
    ],
)  # fmt: skip
def test_the_columns_of_a_query_are_known_where_its_text_tells_them(query: str, columns: list[str] | None) -> None:
    assert output_columns(parse_query(query)) == columns


Lint = Callable[..., tuple[Catalog, list[Finding]]]


def product(name: str, **queries: str | None) -> str:
    """A contract whose datasets have an id and an x, and these queries."""
    text = f"apiVersion: v3.1.0\nkind: DataContract\nid: {name}\nversion: 1.0.0\nstatus: active\n"
    text += "customProperties: [{property: grants, value: [a, b]}]\nschema:\n"
    for dataset, query in queries.items():
        text += f"  - name: {dataset}\n    properties:\n"
        text += "      - {name: id, logicalType: integer, primaryKey: true}\n      - {name: x, logicalType: string}\n"
        if query:
            text += "    customProperties:\n      - property: input\n        value:\n"
            text += f"          query: >\n            {query}\n"
    return text


@pytest.fixture
def lint(tmp_path: Path) -> Lint:
    """Checks contracts together."""

    def check(*texts: str) -> tuple[Catalog, list[Finding]]:
        for number, text in enumerate(texts):
            (tmp_path / f"{number}.yaml").write_text(text)
        return lint_contracts(load_settings(contracts=tmp_path, home=tmp_path))

    return check


def messages(found: list[Finding]) -> list[str]:
    return [finding.message for finding in found if finding.severity == "error"]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("select id, x from bse", "unknown dataset 'bse'; did you mean base?"),
        ("select id, x from Base2", "unknown dataset 'base2'"),
        ("select id, x from derived", "input.query: must not read its own dataset"),
        ("select id, x from pg_class", "unknown dataset 'pg_class'"),
        ("select id, x from decant.loads", "unknown dataset 'decant.loads'"),
        ("select id, x from information_schema.tables", "unknown dataset 'information_schema.tables'"),
        ("select id, x from base_history", "unknown dataset 'base_history'; a query reads base"),
        ("select id, x from other_v2.base", "unknown dataset 'other_v2.base'"),
        ("select id from base", "lacks the columns x; it returns id"),
        ("select id, x, x from base", "returns two columns named x"),
        ("select 1 as id, 'a' as x", "input.query: must read a dataset"),
    ],
)
def test_a_query_that_could_never_run_is_refused_with_its_reason(lint: Lint, query: str, message: str) -> None:
    _, found = lint(product("shop", base=None, derived=query))
    assert [said for said in messages(found) if message in said], found
    assert found[0].path == "derived"
    assert found[0].line == 12


def test_a_dataset_with_capitals_is_found_in_double_quotes(lint: Lint) -> None:
    _, found = lint(product("shop", Base=None, derived="select id, x from Base"))
    assert messages(found) == ["input.query: unknown dataset 'base'; did you mean \"Base\"?"]
    _, found = lint(product("shop", Base=None, derived='select id, x from "Base"'))
    assert found == []


def test_a_query_may_read_other_products_and_loads_come_in_that_order(lint: Lint) -> None:
    catalog, found = lint(
        product("a", last="select id, x from b_v1.middle", own=None),
        product("b", middle="select b.id, o.x from base b join a_v1.own o using (id)", base=None),
    )
    assert found == []
    order = [dataset.address for dataset in catalog.datasets()]
    assert order.index("a@1.own") < order.index("b@1.middle") < order.index("a@1.last")


def test_a_circle_is_named_across_products(lint: Lint) -> None:
    _, found = lint(
        product("a", one="select id, x from b_v1.two"),
        product("b", two="select id, x from a_v1.one"),
    )
    assert messages(found) == ["datasets depend on each other in a cycle: a@1.one → b@1.two → a@1.one"]


def test_a_contract_that_is_looked_at_alone_is_warned_of_what_it_reads_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(product("a", one="select id, x from b_v1.two"))
    _, found = lint_contracts(load_settings(contracts=tmp_path, home=tmp_path), tmp_path / "a.yaml")
    assert [(f.severity, f.message) for f in found] == [("warning", "input.query: unknown product 'b_v1.two'")]
