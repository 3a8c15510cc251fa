"""SQL as people write it for analyses: taken, and written again it means to PostgreSQL what it meant before."""
# ruff: noqa: E501 - one query on each line

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from catalog.sql.allowed import FUNCTIONS, NONDETERMINISTIC_FUNCTIONS, ROW_FUNCTIONS
from catalog.sql.query import find_tables, parse_query, select_columns, write_query
from runtime.postgres.embedded_postgres import EmbeddedPostgres

TABLES = """
CREATE SCHEMA s;
CREATE TABLE s.t (id int, a int, b numeric(9,2), n text, "Odd %" text, d timestamptz, day date, flag boolean,
  tags text[], doc jsonb, span int4range);
INSERT INTO s.t VALUES
  (1, 3, 1.50, 'Ann', 'x%', '2026-01-01 10:00+00', '2026-01-01', true, '{red,blue}', '{"a": {"b": [1, 2]}, "k.l": 5}', '[1,5)'),
  (2, -7, NULL, 'Bob', 'it''s', '2026-02-03 23:30+00', '2026-02-03', false, '{}', '{"a": null, "items": [{"q": 1}, {"q": 2}]}', '[3,9)'),
  (3, NULL, 2.25, NULL, 'back\\slash', '2026-02-28 00:00+00', '2026-02-28', NULL, '{red}', '[]', 'empty'),
  (4, 10, 2.25, 'ann', '', NULL, NULL, true, NULL, NULL, NULL);
CREATE TABLE s.u (id int, t_id int, v int);
INSERT INTO s.u VALUES (1, 1, 5), (2, 1, 7), (3, 2, NULL), (4, 9, 1);
"""
COLUMNS = {
    "t": ["id", "a", "b", "n", "Odd %", "d", "day", "flag", "tags", "doc", "span"],
    "u": ["id", "t_id", "v"],
}
QUERIES = """
select count(*), count(distinct n), sum(b) filter (where a > 1), avg(a), min(n), max(day) from t
select date_trunc('month', d)::date as month, string_agg(n, ', ' order by n desc) from t group by 1 having count(*) > 0 order by 1
select string_agg(distinct n, ',' order by n), array_agg(distinct a), count(distinct (a, b)) from t
select percentile_cont(0.5) within group (order by a) as median, percentile_disc(array[0.1, 0.9]) within group (order by b), mode() within group (order by b) from t
select id, row_number() over (partition by flag order by id desc), lag(a, 1, 0) over w, sum(a) over (order by id rows between 1 preceding and current row) from t window w as (order by id) order by id
select id, first_value(n) over (order by day range between interval '40 days' preceding and unbounded following exclude current row) from t order by id
select id, ntile(2) over (order by id), rank() over (order by b), dense_rank() over (order by b nulls first), percent_rank() over (order by b), cume_dist() over (order by id), nth_value(a, 2) over (order by id) from t order by id
select flag, a > 0 as up, count(*), grouping(flag, a > 0) from t group by grouping sets ((flag), (a > 0), ()) order by 1, 2, 3
select flag, b, sum(a) from t group by rollup (flag, b) order by 1, 2
select flag, b, sum(a) from t group by cube (flag, b) order by 1, 2
select doc->'a'->>'b', doc#>>'{a,b,0}', doc #> '{a}', doc @> '{"k.l": 5}', doc ? 'a', doc ?| array['a','z'], doc ?& array['a'], doc - 'a', doc || '{"z": 1}'::jsonb, doc @? '$.a', doc->'k.l', doc->'items'->0->>'q', '{"a":1}'::jsonb <@ doc from t where jsonb_typeof(doc) = 'object' order by id
select jsonb_path_query_first(doc, '$.items[*].q ? (@ > 1)'), jsonb_build_object('a', a, 'n', n), to_jsonb(u), row_to_json(u) from t join u on u.t_id = t.id order by u.id
select jsonb_agg(v order by v desc), json_object_agg(id, v) from u
select case when a > 1 then 'x' when a is null then 'none' else 'y' end, case a when 3 then 2 end, coalesce(a, 0), nullif(a, 3), greatest(a, 1), least(a, b) from t order by id
select extract(epoch from d), extract(year from day)::int, date_part('dow', day), to_char(d, 'YYYY-MM "at" HH24:MI'), age(d, timestamptz '2020-01-01'), d + interval '1 day', d - interval '2 hours 3 minutes', d at time zone 'Europe/Berlin', day + 3, day - date '2026-01-01' from t order by id
select interval '1' day, interval '1 month 2 days', make_interval(days => 3, hours => 2), date '2020-01-01', timestamp '2020-01-01 00:00', time '10:00', numeric '1.5', make_date(2020, 2, 29), date_bin('15 minutes', timestamp '2020-01-01 10:07', timestamp '2001-01-01'), justify_days(interval '35 days')
select regexp_replace(n, '[^a-z]+', '', 'g'), n ~ '^A', n ~* '^a', n !~ 'n$', n !~* 'B', n like 'A%', n not ilike 'a%', n similar to '(A|B)%', n not similar to 'A%', split_part(n, 'n', 1), regexp_match(n, '(.)(.)') from t order by id
select substring(n from 2 for 2), substring(n, 2, 1), substring(n from '.n'), position('n' in n), trim(both 'A' from n), trim(n), ltrim(n, 'A'), btrim(n), overlay(n placing 'x' from 2 for 1), left(n, 2), upper(n), initcap(n), n || '!', concat(n, a), concat_ws('-', n, a), lpad(n, 5, '0'), format('%s|%I', n, 'A b'), md5(n), char_length(n), strpos(n, 'n'), reverse(n), translate(n, 'An', 'Bm'), starts_with(n, 'A'), repeat(n, 2), replace(n, 'n', 'm') from t order by id
select 'it''s', 'back\\slash', 'a%b %s %%', '-- no comment', '/* nor this */', "Odd %", 'U&x' from t order by id
select n as "a ""quoted"" name", "Odd %" from t where "Odd %" like '%\\%' order by id
select g.n, s.v from generate_series(1, 3) as g(n) cross join lateral (select v from u where u.t_id = g.n order by v limit 1) s order by 1
select m::date, count(t.id) from generate_series(date '2026-01-01', date '2026-03-01', interval '1 month') as m left join t on t.day between m and m + interval '1 month' group by 1 order by 1
select x.tag, x.place from t, unnest(t.tags) with ordinality as x(tag, place) order by t.id, x.place
select unnest(tags) as tag, count(*) from t group by 1 order by 1
select e->>'q' from t cross join lateral jsonb_array_elements(doc->'items') as e order by 1
select e.key, e.value from t, jsonb_each_text(doc) e where jsonb_typeof(doc) = 'object' order by 1, 2
select r.* from t, jsonb_to_recordset(doc->'items') as r(q int) where id = 2 order by 1
select array_length(tags, 1), cardinality(tags), tags[1], tags[1:2], 'red' = any(tags), a > all(array[1, 2]), a = some(array[3]), array_to_string(tags, ','), tags && array['red'], tags @> array['blue'], array(select v from u where t_id = t.id order by v), array_position(tags, 'blue') from t order by id
select exists (select 1 from u where u.t_id = t.id), (select max(v) from u), a in (select v from u), a not in (1, 3), (id, a) in (select t_id, v from u), (id, a) = (1, 3), row(id, a) is null from t order by id
select a is null, a is not null, flag is true, flag is not false, flag is unknown, a is distinct from 3, a is not distinct from null, a between 1 and 5, a not between symmetric 5 and 1, not flag, -a, +a, a % 2, a / 2, a ^ 2, a & 1, a | 4, a # 1, ~a, a << 1, a >> 1, a <> 3, a != 3 from t order by id
select a not in (1) is true, not a in (1) is true, not a = 3 or flag, not (a between 1 and 5) is null, n || 'x' !~ 'A' || 'n', -a ^ 2, 2 ^ 3 ^ 2, 7 - 3 - 2, 2 * 3 + 4 * 5 % 3, (2 + 3) * 4, ~a + 1, not n ~ 'A' is true, n ~ 'A' is not true, 2 < 3 is true, (n ~ 'A') <> (n !~ 'B'), n like 'A%' is not true, not not flag, a::text || 'x' like '3%', 1 + 2 << 1, doc -> 'a' ->> 'b' is null, not exists (select 1) or flag from t order by id
select distinct on (flag) flag, id, n from t order by flag, id desc
select id from t union all select v from u union select t_id from u except select 9 intersect select 9 order by 1 nulls first
(select id from t order by id limit 1) union all (select id from u order by id desc limit 2)
with a as (select id as x from t), b (y) as (select x + 1 from a) select y from b order by y
with recursive r as (select 1 as n union all select n + 1 from r where n < 5) select n from r order by n
with a as materialized (select 1 as x), b as not materialized (select 2 as y) select * from a, b
select * from (values (1, 'a'), (2, 'b')) as v(id, name) order by 1
table u
select t.id, u.v from t left join u on t.id = u.t_id order by 1, 2
select count(*) from t natural join u
select t.id, o.id from t full outer join u as o using (id) cross join (select 1) x order by 1, 2
select id, sum(v) from u right join t using (id) group by id order by id
select a::numeric(10,2), cast(a as text), n::varchar(3), d::timestamp, d::timestamp(0) with time zone, a::double precision, a::float8, a::int8, flag::text::bool, tags::text, array[a]::int[], a::real, day::timestamptz, a::smallint, '10:00'::time(0) from t order by id
select round(b::numeric, 1), ceil(b), ceiling(b), floor(b), abs(a), mod(a, 2), power(a, 2), sqrt(abs(a)), ln(b), log(b), log(2.0, b), exp(1.0), sign(a), trunc(b, 1), width_bucket(a, 0, 10, 5), div(a, 2) from t order by id
select stddev(a), stddev_samp(a), variance(b), corr(a, b), regr_slope(a, b), bool_and(flag), bool_or(flag), every(flag), bit_and(a), any_value(7) from t
select span @> 3, span && int4range(4, 6), lower(span), upper(span), isempty(span) from t order by id
select n from t order by n collate "C" desc nulls last
select id from t where (day, day + 3) overlaps (date '2026-01-02', date '2026-01-09') order by id
select id from t order by id desc offset 1 fetch first 2 rows only
select id from t order by b fetch first 1 rows with ties
select count(*) * 100.0 / nullif(count(a), 0) as share, count(*) = 4, 1.5e3, 1e-2, .5 from t
select u.id from (t join u on t.id = u.t_id) order by 1
select (select array[1, 2])[1], (array[1, 2, 3])[2:3], array[[1, 2], [3, 4]]
select to_date('2020-02', 'YYYY-MM'), to_timestamp(0), to_timestamp('2020', 'YYYY'), to_number('1.5', '9.9'), encode(decode('00ff', 'hex'), 'base64'), to_hex(255), string_to_array('a,b', ','), regexp_split_to_array('a1b', '\\d'), sha256('a'::bytea)
select t.* from t as t (x, y) order by x
select /* a /* nested */ comment */ id -- and another
from t order by id
"""


@pytest.fixture(scope="module")
def database(server: EmbeddedPostgres) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE accepted_sql")
    with psycopg.connect(server.url(database="accepted_sql")) as connection:
        connection.execute("SET search_path = s, pg_catalog; SET TimeZone = 'UTC'")
        connection.execute(TABLES.encode())
        yield connection
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("DROP DATABASE accepted_sql WITH (FORCE)")


def list_queries() -> list[str]:
    lines = QUERIES.strip().split("\n")
    return [*lines[:-2], "\n".join(lines[-2:])]


def run(database: psycopg.Connection[Any], query: str) -> Any:
    """The rows that a query gives, and the types of its columns."""
    with database.transaction(force_rollback=True), database.cursor() as cursor:
        rows = cursor.execute(query.encode()).fetchall()
        assert cursor.description is not None
        return rows, [(column.type_code) for column in cursor.description]


@pytest.mark.parametrize("query", list_queries())
def test_a_usual_query_is_taken_and_gives_the_same(database: psycopg.Connection[Any], query: str) -> None:
    tree = parse_query(query)
    for table in find_tables(tree):
        assert table.name in COLUMNS
    written = write_query(
        tree, lambda table: select_columns("s", table.name, {name: name for name in COLUMNS[table.name]})
    )
    assert run(database, written) == run(database, query), written
    again = write_query(parse_query(written), lambda table: select_columns("s", table.name, {}))
    assert parse_query(again)


def test_a_query_that_is_written_again_stays_what_it_is() -> None:
    for query in list_queries():
        once = write_query(parse_query(query), lambda table: table.node.copy())
        assert write_query(parse_query(once), lambda table: table.node.copy()) == once


def test_every_function_on_the_list_is_postgres_own_and_changes_nothing(database: psycopg.Connection[Any]) -> None:
    rows = database.execute(
        "SELECT proname, bool_or(provolatile = 'v') FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace"
        " AND prokind <> 'p' GROUP BY 1"
    ).fetchall()
    volatile = dict(rows)
    grammar = {"all", "any", "some", "row", "array", "exists", "coalesce", "nullif", "greatest", "least", "grouping"}
    unknown = {name for name in FUNCTIONS | ROW_FUNCTIONS if name not in volatile} - grammar
    # Written by name here, known to the grammar or to the newest server under another one.
    assert unknown <= {"overlay", "normalize", "extract", "substring", "trim", "position"}
    assert {name for name in FUNCTIONS | ROW_FUNCTIONS if volatile.get(name)} == set()
    assert {"random", "clock_timestamp", "gen_random_uuid"} <= NONDETERMINISTIC_FUNCTIONS
    assert not NONDETERMINISTIC_FUNCTIONS & (FUNCTIONS | ROW_FUNCTIONS)
