"""Reading records over HTTP, from a real service on a real Postgres."""

from __future__ import annotations

import random
from collections.abc import Callable
from operator import itemgetter
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.lab import PEOPLE, Lab, walk
from tests.support.shops import make_shop

THINGS = make_shop(
    """
  - name: things
    customProperties:
      - {property: input, value: {server: here, path: things.csv, mode: snapshot, nullValues: ["NULL"]}}
      - {property: maxDeleted, value: 100}
    properties:
      - {name: area, logicalType: string, primaryKey: true, primaryKeyPosition: 1}
      - {name: code, logicalType: string, primaryKey: true, primaryKeyPosition: 2}
      - {name: size, logicalType: integer, customProperties: [{property: indexed, value: true}]}
      - {name: price, logicalType: number, physicalType: "numeric(12,2)"}
      - {name: weight, logicalType: number}
      - {name: sold, logicalType: boolean, customProperties: [{property: indexed, value: true}]}
      - {name: day, logicalType: date, customProperties: [{property: indexed, value: true}]}
      - {name: seen, logicalType: timestamp}
      - {name: serial, logicalType: integer, physicalType: bigint}
      - {name: limit, logicalType: integer}
      - {name: extra, logicalType: object}
      - {name: secret, logicalType: string, classification: restricted}
""",
    version="1.2.0",
)
HEADER = "area,code,size,price,weight,sold,day,seen,serial,limit,extra,secret\n"
RECORDS = "/data/shop/v1/things/records"


def make_rows(number: int, seed: int = 7) -> list[dict[str, Any]]:
    """Records with few distinct values, many nulls and awkward keys."""
    source = random.Random(seed)
    keys = ["a", "b,c", "d/e", "f g", "é", "100%", "+", "z'"]
    return [
        {
            "area": source.choice(keys),
            "code": f"{source.choice(keys)}{index}",
            "size": source.choice([None, 1, 2, 3, -5]),
            "weight": source.choice([None, 0.1, 1e22, -2.5]),
            "sold": source.choice([None, True, False]),
            "day": source.choice([None, "2013-01-01", "2013-03-10"]),
        }
        for index in range(number)
    ]


def as_csv(rows: list[dict[str, Any]]) -> str:
    def show(value: Any) -> str:
        return "NULL" if value is None else '"' + str(value).replace('"', '""') + '"'

    names = HEADER.strip().split(",")
    return HEADER + "".join(",".join(show(row.get(name)) for name in names) + "\n" for row in rows)


def load_shop(make_lab: Callable[..., Lab]) -> Lab:
    lab = make_lab(THINGS)
    lab.ingest("shop.things", as_csv(make_rows(300)), "things.csv")
    return lab


@pytest.fixture
def aged(shop: Lab, client: httpx.Client) -> httpx.Client:
    """A client of three revisions: all, some changed or deleted, and some of them as they were."""
    rows = make_rows(300)
    shop.ingest(
        "shop.things", as_csv([row | {"size": 3, "day": None} for row in rows[:150]] + rows[170:]), "things.csv"
    )
    shop.ingest("shop.things", as_csv([*rows[:20], *rows[190:]]), "things.csv")
    return client


def problem(client: httpx.Client, url: str, status: int, code: str) -> dict[str, Any]:
    answer = client.get(url)
    body: dict[str, Any] = answer.json()
    assert answer.status_code == status, body
    assert answer.headers["content-type"] == "application/problem+json"
    assert (body["status"], body["code"]) == (status, code)
    assert set(body) >= {"type", "title", "status", "detail", "instance", "code", "trace_id"}
    return body


def test_a_walk_gives_every_record_once_in_the_order_of_its_key(client: httpx.Client) -> None:
    records = walk(client, f"{RECORDS}?limit=7")
    keys = [(r["area"], r["code"]) for r in records]
    assert len(keys) == len(set(keys)) == 300
    assert keys == sorted(keys)


def test_the_last_page_of_a_walk_is_never_empty(client: httpx.Client) -> None:
    answer = client.get(f"{RECORDS}?limit=300").json()
    assert len(answer["data"]) == 300
    assert answer["next"] is None


def test_next_in_the_body_and_in_the_link_header_agree(client: httpx.Client) -> None:
    answer = client.get(f"{RECORDS}?limit=10&size[gte]=1&sort=-size")
    assert answer.headers["link"] == f'<{answer.json()["next"]}>; rel="next"'
    assert answer.headers["decant-revision"] == "1"


@pytest.mark.slow
@pytest.mark.alone
def test_a_walk_sees_each_record_of_its_revision_once_while_loads_are_published(
    shop: Lab, client: httpx.Client
) -> None:
    rows = make_rows(300)
    before = {(r["area"], r["code"]): r for r in walk(client, f"{RECORDS}?limit=300")}
    seen: list[dict[str, Any]] = []
    following: str | None = f"{RECORDS}?limit=20&sort=-size"
    turn = 0
    while following:
        answer = client.get(following).json()
        assert answer["revision"] == 1
        seen += answer["data"]
        following = answer["next"]
        turn += 1
        # Between any two pages: some records change, some go, some come.
        for row in random.Random(turn).sample(rows, 30):
            row["size"] = turn
        changed = [*rows[turn * 5 :], {"area": "new", "code": str(turn), "size": 2}]
        assert shop.ingest("shop.things", as_csv(changed), "things.csv").status == "published"
    assert len(seen) == len(before)
    assert {(r["area"], r["code"]): r for r in seen} == before
    assert client.get(RECORDS).json()["revision"] == turn + 1


@pytest.mark.slow
@pytest.mark.alone
def test_any_revision_that_is_kept_can_be_read(shop: Lab, client: httpx.Client) -> None:
    versions = [walk(client, RECORDS)]
    for turn in range(3):
        rows = make_rows(300 - turn * 20, seed=7)
        for row in rows[:: turn + 2]:
            row["size"] = 40 + turn
        shop.ingest("shop.things", as_csv(rows), "things.csv")
        versions.append(walk(client, RECORDS))
    for revision, expected in enumerate(versions, 1):
        assert walk(client, f"{RECORDS}?at={revision}&limit=41") == expected
    problem(client, f"{RECORDS}?at=5", 422, "invalid_value")
    problem(client, f"{RECORDS}?at=0", 410, "revision_gone")


@pytest.mark.slow
@pytest.mark.alone
def test_at_takes_a_timestamp_too(shop: Lab, client: httpx.Client) -> None:
    ((published,),) = shop.rows(
        'SELECT to_char(published_at, \'YYYY-MM-DD"T"HH24:MI:SS.US"Z"\') FROM decant.revisions'
    )
    shop.ingest("shop.things", as_csv(make_rows(10)), "things.csv")
    assert client.get(f"{RECORDS}?at={published}").json()["revision"] == 1
    # Which revision a moment means may change as long as publications may begin, or end, before it.
    for timestamp in (published, "2999-01-01T00:00:00Z"):
        assert client.get(f"{RECORDS}?at={timestamp}").headers["cache-control"] == "public, max-age=60"
    assert client.get(f"{RECORDS}?at=1").headers["cache-control"] == "public, max-age=300"
    problem(client, f"{RECORDS}?at=2001-01-01T00:00:00Z", 410, "revision_gone")
    problem(client, f"{RECORDS}?at=yesterday", 422, "invalid_value")


def test_one_record_is_found_by_its_composite_key_whatever_it_holds(client: httpx.Client) -> None:
    for record in walk(client, f"{RECORDS}?limit=100"):
        key = ",".join(quote(part, safe="") for part in (record["area"], record["code"]))
        answer = client.get(f"{RECORDS}/{key}")
        assert answer.json()["data"] == record
    problem(client, f"{RECORDS}/a,nothing", 404, "record_not_found")
    problem(client, f"{RECORDS}/a", 404, "record_not_found")
    problem(client, f"{RECORDS}/a,%FF", 422, "invalid_text")


@pytest.mark.alone
def test_values_leave_as_their_types_promise(shop: Lab) -> None:
    line = 'k,1,1,10.50,0.1,true,2013-01-31,2013-01-31T10:15:00+02:00,9223372036854775807,5,"{""a"": [1]}",s\n'
    shop.ingest("shop.things", HEADER + line, "things.csv")
    with shop.serve() as client:
        (record,) = client.get(RECORDS).json()["data"]
    assert record == {
        "area": "k",
        "code": "1",
        "size": 1,
        "price": "10.50",
        "weight": 0.1,
        "sold": True,
        "day": "2013-01-31",
        "seen": "2013-01-31T08:15:00+00:00",
        "serial": "9223372036854775807",
        "limit": 5,
        "extra": {"a": [1]},
    }


OPERATIONS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "gt": lambda a, b: a > b,
    "gte": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "lte": lambda a, b: a <= b,
}


@pytest.mark.alone
@settings(max_examples=examples(60, 8), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    filters=st.lists(
        st.tuples(st.sampled_from(["size", "weight"]), st.sampled_from(list(OPERATIONS)), st.integers(-6, 4)),
        max_size=3,
        unique_by=lambda f: f[:2],
    ),
    sort=st.lists(
        st.tuples(st.sampled_from(["size", "weight", "sold", "day", "code"]), st.booleans()),
        max_size=3,
        unique_by=lambda s: s[0],
    ),
    limit=st.integers(1, 120),
    at=st.sampled_from([None, 1, 2, 3]),
)
def test_filters_and_sorts_are_those_of_a_list_in_python(
    aged: httpx.Client, filters: list[tuple[str, str, int]], sort: list[tuple[str, bool]], limit: int, at: int | None
) -> None:
    expected = walk(aged, f"{RECORDS}?limit=1000" + (f"&at={at}" if at else ""))
    for name, operator, value in filters:
        expected = [r for r in expected if r[name] is not None and OPERATIONS[operator](r[name], value)]
    for name, descending in reversed(sort):
        # `reverse` keeps ties in their order: the key is the last tiebreaker and always ascends.
        present = sorted((r for r in expected if r[name] is not None), key=itemgetter(name), reverse=descending)
        expected = present + [r for r in expected if r[name] is None]
    query = [f"{name}[{operator}]={value}" for name, operator, value in filters] + [f"limit={limit}"]
    if sort:
        query.append("sort=" + ",".join(("-" if descending else "") + name for name, descending in sort))
    if at:
        query.append(f"at={at}")
    assert walk(aged, f"{RECORDS}?{'&'.join(query)}") == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("size[in]=1,2", lambda r: r["size"] in (1, 2)),
        ("size[null]=true", lambda r: r["size"] is None),
        ("size[null]=false", lambda r: r["size"] is not None),
        ("code[like]=a*", lambda r: r["code"].startswith("a")),
        ("code[like]=100%25*", lambda r: r["code"].startswith("100%")),
        ("code[like]=_*", lambda r: r["code"].startswith("_")),
        ("code[ilike]=Z'1*", lambda r: r["code"].startswith("z'1")),
        ("area=b%2Cc", lambda r: r["area"] == "b,c"),
        ("area=%2B", lambda r: r["area"] == "+"),
        ("area=f+g", lambda r: r["area"] == "f g"),
        ("area=%C3%A9", lambda r: r["area"] == "é"),
        ("sold=true", lambda r: r["sold"] is True),
        ("day=2013-03-10", lambda r: r["day"] == "2013-03-10"),
        ("weight[gte]=1e22", lambda r: (r["weight"] or 0) >= 1e22),
    ],
)
def test_each_operator_finds_what_it_says(client: httpx.Client, query: str, expected: Callable[[Any], bool]) -> None:
    everything = walk(client, f"{RECORDS}?limit=1000")
    assert walk(client, f"{RECORDS}?{query}&limit=50") == [r for r in everything if expected(r)]


def test_properties_choose_in_the_order_of_the_contract(client: httpx.Client) -> None:
    records = walk(client, f"{RECORDS}?properties=size,area&sort=-weight&limit=90")
    assert all(list(record) == ["area", "size"] for record in records)
    assert len(records) == 300


def test_a_property_named_like_a_parameter_is_filtered_by_its_operators(client: httpx.Client) -> None:
    assert client.get(f"{RECORDS}?limit[eq]=5&limit=3").json()["data"] == []


@pytest.mark.parametrize(
    ("query", "code", "hint"),
    [
        ("aera=x", "unknown_parameter", "area"),
        ("size[like]=1", "unknown_parameter", "size[lte]"),
        ("id;drop table=1", "unknown_parameter", None),
        ("secret=x", "unknown_parameter", None),
        ("sort=secret", "unknown_parameter", None),
        ("properties=secret", "unknown_parameter", None),
        ("sort=siz", "unknown_parameter", "size"),
        ("sort=extra", "invalid_value", None),
        ("properties=", "unknown_parameter", None),
        ("size=1&size=2", "duplicate_parameter", None),
        ("sort=size,-size", "duplicate_parameter", None),
        ("size=1.5", "invalid_value", None),
        ("size=9223372036854775808", "invalid_value", None),
        ("weight=nan", "invalid_value", None),
        ("weight=1e400", "invalid_value", None),
        ("price=1e999999999", "invalid_value", None),
        ("day=2013-02-30", "invalid_value", None),
        ("day=infinity", "invalid_value", None),
        ("day=10000-01-01", "invalid_value", None),
        ("seen=2013-01-01T00:00:00+25:00", "invalid_value", None),
        ("sold=maybe", "invalid_value", None),
        ("limit=0", "limit_out_of_range", None),
        ("limit=1001", "limit_out_of_range", None),
        ("limit=1e2", "limit_out_of_range", None),
        ("limit=%D9%A1", "limit_out_of_range", None),
        ("area=%00", "invalid_text", None),
        ("area=%ED%A0%80", "invalid_text", None),
        ("area=%FF", "invalid_text", None),
        ("code[like]=" + "x" * 129, "query_too_complex", None),
        ("size[in]=" + ",".join(["1"] * 201), "query_too_complex", None),
        ("cursor=abc", "invalid_cursor", None),
        ("cursor=" + "A" * 5000, "invalid_cursor", None),
    ],
)
def test_bad_queries_get_the_documented_problem(
    client: httpx.Client, query: str, code: str, hint: str | None
) -> None:
    body = problem(client, f"{RECORDS}?{query}", 422, code)
    if hint:
        assert hint in body["errors"][0]["allowed"]
    assert "secret" not in str(body.get("errors", [{}])[0].get("allowed", ""))


def test_over_twenty_filters_are_too_many(client: httpx.Client) -> None:
    names = ["area", "code", "size", "weight", "day"]
    query = "&".join(f"{name}[{op}]=1" for name in names for op in ("eq", "ne", "gt", "gte", "lt") if name != "day")
    query += "&" + "&".join(f"size[{op}]=1" for op in ("lte", "in"))
    assert query.count("=") == 22
    problem(client, f"{RECORDS}?{query}", 422, "query_too_complex")


def test_a_cursor_is_refused_when_it_is_changed_cut_off_or_used_for_another_query(client: httpx.Client) -> None:
    following = client.get(f"{RECORDS}?limit=5&sort=size").json()["next"]
    cursor = following.partition("cursor=")[2]
    assert client.get(f"{RECORDS}?sort=size&limit=9&cursor={cursor}").status_code == 200
    flipped = ("B" if cursor[0] == "A" else "A") + cursor[1:]
    for bad in (flipped, cursor[:-4], cursor + "AAAA"):
        problem(client, f"{RECORDS}?limit=5&sort=size&cursor={bad}", 422, "invalid_cursor")
    for other in ("sort=-size", "sort=size&size=1", "sort=size&properties=area", ""):
        problem(client, f"{RECORDS}?{other}&cursor={cursor}", 422, "invalid_cursor")


def test_every_get_has_its_head_and_other_methods_are_refused(client: httpx.Client) -> None:
    for path in (RECORDS, "/data", "/data/shop/v1", "/data/shop/v1/things", "/livez"):
        got, head = client.get(path), client.head(path)
        assert head.status_code == 200
        assert head.content == b""
        assert head.headers["content-length"] == got.headers["content-length"]
    answer = client.post(RECORDS)
    assert answer.status_code == 405
    assert "GET" in answer.headers["allow"]
    assert answer.json()["code"] == "method_not_allowed"


def test_the_catalogue_leads_to_every_record(client: httpx.Client) -> None:
    (product,) = client.get("/data").json()["data"]
    (dataset,) = product["datasets"]
    assert (dataset["revision"], dataset["record_count"]) == (1, 300)
    described = client.get(dataset["url"]).json()["data"]
    assert described["key"] == ["area", "code"]
    assert "secret" not in [p["name"] for p in described["properties"]]
    assert client.get(dataset["records_url"]).status_code == 200
    problem(client, "/data?x=1", 422, "unknown_parameter")


def test_an_absent_dataset_is_not_found_where_its_product_is_open(client: httpx.Client) -> None:
    problem(client, "/data/shop/v1/nothing/records", 404, "not_found")


def test_a_dataset_that_was_never_loaded_is_empty(make_lab: Callable[..., Lab]) -> None:
    with make_lab(THINGS).serve() as client:
        assert client.get(RECORDS).json() == {"data": [], "revision": 0, "next": None}


@pytest.mark.slow
@pytest.mark.alone
def test_a_query_that_takes_too_long_is_ended(make_lab: Callable[..., Lab], shop: Lab) -> None:
    slow = shop.settings.model_copy(update={"query_timeout_ms": 1})
    lab = Lab(slow, shop.urls)
    big = make_rows(20_000)
    lab.ingest("shop.things", as_csv(big), "things.csv")
    with lab.serve() as client:
        answers = {client.get(f"{RECORDS}?sort=-weight&limit=1000").status_code for _ in range(5)}
    assert answers <= {200, 504}
    assert 504 in answers


@pytest.mark.alone
def test_when_the_database_is_gone_requests_say_so_and_recover(shop: Lab, databases: Any) -> None:
    name = shop.urls.owner.rpartition("/")[2].partition("?")[0]
    with shop.serve() as client:
        assert client.get(RECORDS).status_code == 200
        databases.run(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        databases.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        answer = client.get(f"{RECORDS}?limit=7")
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
        assert client.get("/livez").status_code == 200
        assert client.get("/readyz").status_code == 503
        databases.run(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        for _ in range(2000):
            if client.get(RECORDS).status_code == 200:
                break
        assert client.get(RECORDS).status_code == 200
        assert client.get("/readyz").status_code == 200


@pytest.mark.slow
def test_an_estimate_is_the_same_for_one_revision_and_exact_for_an_older_one(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(cache_bytes=0)
    lab.ingest("people.people", "id,name,age,born\n0,Ann,30,\n")
    lab.rows(
        "INSERT INTO people_v1.people (id, name, age, _revision)"
        " SELECT n, md5(n::text), n * 31 % 97, 1 FROM generate_series(1, 80000) AS n RETURNING NULL"
    )
    lab.rows("UPDATE decant.datasets SET record_count = 80001 RETURNING NULL")
    url = "/data/people/v1/people/records?limit=1&age[lt]=50&count=estimated"
    with lab.serve() as client:
        answers = [client.get(url) for _ in range(5)]
        assert len({answer.headers["etag"] for answer in answers}) == 1
        assert len({answer.content for answer in answers}) == 1
        assert answers[0].json()["count"]["exact"] is False
        older = "id,name,age,born\n0,Ann,31,\n"
        assert lab.ingest("people.people", older).status == "published"
        matching = lab.rows("SELECT count(*) FROM people_v1.people_history WHERE age < 50")
        counted = client.get(f"{url}&at=1").json()["count"]
        assert (counted["value"], counted["exact"]) == (matching[0][0], True)


@pytest.mark.slow
@pytest.mark.alone
def test_an_exact_number_is_looked_for_as_it_is_in_a_list(client: httpx.Client, shop: Lab) -> None:
    report = shop.ingest("shop.things", as_csv([row | {"price": "10.50"} for row in make_rows(300)]), "things.csv")
    assert report.outcome
    latest = {"Decant-Min-Revision": str(report.outcome.revision)}
    for prices, number in (("10.50,1", 100), ("10.5", 100), ("10.51", 0)):
        answer = client.get(f"{RECORDS}?price[in]={prices}", headers=latest)
        assert (answer.status_code, len(answer.json()["data"])) == (200, number), prices


def test_a_dataset_may_be_called_records(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(PEOPLE.replace("- name: people", "- name: records"))
    assert lab.ingest("people.records", "id,name,age,born\n1,Ann,30,\n").status == "published"
    with lab.serve() as client:
        assert client.get("/data/people/v1/records/records/1").json()["data"]["name"] == "Ann"


def test_who_asks_whether_it_is_ready_learns_of_no_dataset(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab()
    lab.rows("UPDATE decant.datasets SET dataset = 'other' RETURNING NULL")
    with lab.serve() as client:
        answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "decant migrate" in answer.json()["reason"]
    assert "people" not in answer.text
