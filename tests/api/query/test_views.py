"""Views: records that roles are limited to, masked properties, and that nothing tells of what is not seen."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pyarrow.parquet as pq
import pytest

from ingest.inspection.column_statistics import refresh_profiles
from runtime.errors import MigrationError
from runtime.postgres.database import make_engine
from tests.support.keys import key_of
from tests.support.lab import Lab, walk
from tests.support.shops import make_shop

WAIT_MS = 20_000  # a read waits for its connection however busy the machine is
DATASETS = """
  - name: kinds
    customProperties:
      - {property: input, value: {server: here, path: kinds.csv, mode: snapshot}}
    properties:
      - {name: kind, logicalType: string, primaryKey: true}
      - {name: title, logicalType: string}
  - name: items
    customProperties:
      - {property: input, value: {server: here, path: items.csv, mode: snapshot}}
      - {property: maxDeleted, value: 100}
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: kind, logicalType: string, relationships: [{type: foreignKey, to: kinds.kind}]}
      - {name: note, logicalType: string, customProperties: [{property: searchable, value: true}]}
      - name: price
        logicalType: number
        physicalType: "numeric(9,2)"
        classification: confidential
        customProperties: [{property: masking, value: "null"}]
      - {name: supplier, logicalType: string, classification: restricted}
    quality:
      - name: known
        type: sql
        query: "select count(*) from {object} where supplier is null"
        mustBe: 0
        severity: warning
      - {name: priced, type: sql, query: "select count(*) from {object} where price is null", mustBeLessThan: 1000}
  - name: secrets
    customProperties:
      - {property: input, value: {server: here, path: secrets.csv, mode: snapshot}}
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: word, logicalType: string}
"""
ROLES = """
  - role: partner_a
    access: read
    customProperties:
      - {property: rows, value: {items: "kind = 'a'", kinds: "kind = 'a'"}}
  - role: partner_b
    access: read
    customProperties:
      - {property: rows, value: {items: "kind = 'b' and note not like '%x%'", kinds: true}}
  - {role: everything, access: read}
"""
CONTRACT = make_shop(DATASETS, roles=ROLES)
ITEMS = "/data/shop/v1/items"


def items(kinds: dict[int, str]) -> str:
    """The items' file: prices and suppliers follow from the ids."""
    lines = [f"{n},{kind},note {'x' if n % 10 == 0 else 'y'}{n},{n}.50,s{n}" for n, kind in kinds.items()]
    return "id,kind,note,price,supplier\n" + "\n".join(lines) + "\n"


def load_shop(make_lab: Callable[..., Lab]) -> Lab:
    lab = make_lab(CONTRACT, pool_timeout_ms=WAIT_MS)
    assert (
        lab.ingest("shop.kinds", "kind,title\na,Apples\nb,Berries\nc,Cherries\n", "kinds.csv").status == "published"
    )
    assert lab.ingest("shop.secrets", "id,word\n1,hush\n", "secrets.csv").status == "published"
    kinds = {n: "abc"[n % 3] for n in range(1, 61)}
    assert lab.ingest("shop.items", items(kinds), "items.csv").status == "published"
    refresh_profiles(make_engine(lab.urls.ingest), lab.loader().tables, lab.catalog.datasets())
    return lab


@pytest.fixture
def a(shop: Lab) -> dict[str, str]:
    return key_of(shop, "shop:role:partner_a")


def ids(client: httpx.Client, path: str, headers: dict[str, str]) -> list[int]:
    """The ids of a page of records."""
    answer = client.get(path, headers=headers)
    assert answer.status_code == 200, answer.text
    return [record["id"] for record in answer.json()["data"]]


def test_a_role_sees_its_records_in_every_kind_of_answer(client: httpx.Client, a: dict[str, str]) -> None:
    mine = [n for n in range(1, 61) if n % 3 == 0]
    assert ids(client, f"{ITEMS}/records", a) == mine
    assert ids(client, f"{ITEMS}/records?at=1", a) == mine
    assert ids(client, f"{ITEMS}/records?kind=b", a) == []
    assert ids(client, f"{ITEMS}/records?q=y3", a) == [3]
    assert ids(client, f"{ITEMS}/records?q=y4", a) == []
    assert client.get(f"{ITEMS}/records/3", headers=a).status_code == 200
    for query in ("", "?at=1"):
        missing = client.get(f"{ITEMS}/records/4{query}", headers=a)
        never = client.get(f"{ITEMS}/records/4000{query}", headers=a)
        assert missing.status_code == never.status_code == 404
        assert missing.json()["detail"] == never.json()["detail"]
    (group,) = client.get(f"{ITEMS}/aggregate?group_by=kind&measure=count,max:id", headers=a).json()["data"]
    assert group == {"kind": "a", "count": 20, "max_id": 60}
    assert client.get(f"{ITEMS}/aggregate", headers=a).json()["data"] == [{"count": 20}]
    changes = client.get(f"{ITEMS}/changes?since=0", headers=a).json()["data"]
    assert [change["key"]["id"] for change in changes] == mine
    for count in ("exact", "estimated"):
        body = client.get(f"{ITEMS}/records?count={count}&limit=1", headers=a).json()
        assert body["count"] == {"value": 20, "exact": True}
    csv = client.get(f"{ITEMS}/records", headers=a | {"Accept": "text/csv"}).text.splitlines()
    assert [int(line.split(",")[0]) for line in csv[1:]] == mine


@pytest.mark.parametrize("form", ["csv", "ndjson", "parquet"])
def test_an_export_holds_a_role_s_records_alone(client: httpx.Client, a: dict[str, str], form: str) -> None:
    answer = client.get(f"{ITEMS}/export?format={form}", headers=a, follow_redirects=True)
    assert answer.status_code == 200
    if form == "csv":
        found = [int(line.split(",")[0]) for line in answer.text.splitlines()[1:]]
    elif form == "ndjson":
        found = [json.loads(line)["id"] for line in answer.text.splitlines()]
    else:
        table = pq.read_table(io.BytesIO(answer.content))  # type: ignore[no-untyped-call]
        found = table["id"].to_pylist()
        assert table["price"].null_count == len(table)
        assert "supplier" not in table.column_names
    assert found == list(range(3, 61, 3))
    assert b"s3" not in answer.content


def test_a_walk_of_a_limited_view_sees_each_of_its_records_once(client: httpx.Client, a: dict[str, str]) -> None:
    client.headers.update(a)
    assert [record["id"] for record in walk(client, f"{ITEMS}/records?limit=7")] == list(range(3, 61, 3))


def test_a_predicate_that_postgres_does_not_take_stops_the_migration(make_lab: Callable[..., Lab]) -> None:
    with pytest.raises(MigrationError, match=r"shop@1\.items: the role shop:role:partner_a cannot be limited"):
        make_lab(CONTRACT.replace("items: \"kind = 'a'\"", 'items: "kind = 5"'))


def test_roles_held_together_see_what_either_sees(client: httpx.Client, shop: Lab) -> None:
    both = key_of(shop, "shop:role:partner_a", "shop:role:partner_b")
    expected = [n for n in range(1, 61) if n % 3 == 0 or (n % 3 == 1 and n % 10)]
    assert ids(client, f"{ITEMS}/records?limit=100", both) == expected
    everything = key_of(shop, "shop:role:partner_a", "shop:role:everything")
    assert len(ids(client, f"{ITEMS}/records?limit=100", everything)) == 60


def test_expand_shows_only_what_the_role_sees_of_the_other_dataset(client: httpx.Client, shop: Lab) -> None:
    both = key_of(shop, "shop:role:partner_a", "shop:role:partner_b")
    only_a = key_of(shop, "shop:role:partner_a")
    records = client.get(f"{ITEMS}/records?expand=kind&limit=5", headers=both).json()["data"]
    assert {record["expanded"]["kind"]["title"] for record in records} == {"Apples", "Berries"}
    records = client.get(f"{ITEMS}/records?expand=kind", headers=only_a).json()["data"]
    assert {record["expanded"]["kind"]["title"] for record in records} == {"Apples"}


def test_what_a_role_does_not_name_does_not_exist(client: httpx.Client, a: dict[str, str]) -> None:
    for path in ("/data/shop/v1/secrets", "/data/shop/v1/secrets/records", "/data/shop/v1/nothing/records"):
        answer = client.get(path, headers=a)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    for path in ("/data", "/data/shop/v1", "/data/shop/v1/contract"):
        answer = client.get(path, headers=a | {"Accept": "application/json"})
        assert answer.status_code == 200
        assert "secrets" not in answer.text
        assert "hush" not in answer.text


def test_nothing_that_counts_all_records_is_told_to_a_limited_view(client: httpx.Client, a: dict[str, str]) -> None:
    for name in ("profile", "quality", "loads"):
        assert client.get(f"{ITEMS}/{name}", headers=a).status_code == 404
    (publication,) = client.get(f"{ITEMS}/revisions", headers=a).json()["data"]
    assert set(publication) == {"revision", "published_at"}
    for path in ("/data", "/data/shop/v1", ITEMS):
        text = client.get(path, headers=a).text
        assert not any(word in text for word in ("record_count", "quality", "rejected", '"raw"'))


def test_a_whole_view_has_profile_quality_and_loads(client: httpx.Client, shop: Lab) -> None:
    whole = key_of(shop, "shop:read")
    profile = client.get(f"{ITEMS}/profile", headers=whole)
    assert [member["property"] for member in profile.json()["data"]] == ["id", "kind", "note"]
    assert profile.headers["decant-revision"] == "1"
    again = client.get(f"{ITEMS}/profile", headers=whole | {"If-None-Match": profile.headers["etag"]})
    assert again.status_code == 304
    rules = client.get(f"{ITEMS}/quality", headers=whole).json()["data"][0]["rules"]
    assert not any(rule["rule"] in {"known", "priced"} for rule in rules)
    (load,) = client.get(f"{ITEMS}/loads", headers=whole).json()["data"]
    assert (load["status"], load["raw"]) == ("published", 60)
    all_seeing = key_of(shop, "shop:read", "shop:read:confidential", "shop:read:restricted")
    profile = client.get(f"{ITEMS}/profile", headers=all_seeing)
    assert [member["property"] for member in profile.json()["data"]] == ["id", "kind", "note", "price", "supplier"]
    rules = client.get(f"{ITEMS}/quality", headers=all_seeing).json()["data"][0]["rules"]
    assert {"known", "priced"} <= {rule["rule"] for rule in rules}


@pytest.mark.parametrize("name", ["price", "supplier"])
@pytest.mark.parametrize(
    "query",
    [
        "records?{name}=1",
        "records?{name}[eq]=1",
        "records?{name}[null]=true",
        "records?sort={name}",
        "aggregate?group_by={name}",
        "aggregate?measure=count:{name}",
        "aggregate?{name}[null]=true",
        "export?format=csv&{name}[null]=true",
        "export?format=csv&sort=-{name}",
    ],
)
def test_what_is_classified_cannot_be_asked_about(client: httpx.Client, shop: Lab, query: str, name: str) -> None:
    whole = key_of(shop, "shop:read")
    answer = client.get(f"{ITEMS}/{query.format(name=name)}", headers=whole)
    other = client.get(f"{ITEMS}/{query.format(name='qqqqqq')}", headers=whole)
    assert answer.status_code == other.status_code == 422
    assert answer.json()["code"] == other.json()["code"]
    assert name not in json.dumps([error.get("allowed") for error in other.json()["errors"]])


def test_a_masked_property_is_null_and_a_hidden_one_is_not_there(client: httpx.Client, shop: Lab) -> None:
    whole, sees = key_of(shop, "shop:read"), key_of(shop, "shop:read", "shop:read:confidential")
    record = client.get(f"{ITEMS}/records/3", headers=whole).json()["data"]
    assert record == {"id": 3, "kind": "a", "note": "note y3", "price": None}
    assert client.get(f"{ITEMS}/records/3", headers=sees).json()["data"]["price"] == "3.50"
    chosen = client.get(f"{ITEMS}/records?properties=id,price&limit=1", headers=whole).json()["data"]
    assert chosen == [{"id": 1, "price": None}]
    csv = client.get(f"{ITEMS}/records?properties=id,price&limit=1", headers=whole | {"Accept": "text/csv"}).text
    assert csv == "id,price\r\n1,\r\n"
    (change, *_) = client.get(f"{ITEMS}/changes?since=0", headers=whole).json()["data"]
    assert change["record"]["price"] is None
    assert "supplier" not in change["record"]


def test_callers_who_see_different_things_share_no_tag_cursor_or_cached_page(client: httpx.Client, shop: Lab) -> None:
    views = [
        key_of(shop, scope, *more)
        for scope in ("shop:read", "shop:role:partner_a", "shop:role:partner_b")
        for more in ((), ("shop:read:confidential",), ("shop:read:restricted",))
    ]
    answers = [client.get(f"{ITEMS}/records?limit=5", headers=view) for view in views for _ in range(2)]
    for place in range(0, len(answers), 2):
        assert answers[place].content == answers[place + 1].content
    assert len({answer.headers["etag"] for answer in answers}) == len(views)
    assert len({answer.content for answer in answers}) == len(views)
    for view, answer in zip(views, answers[::2], strict=True):
        for other in views:
            seen = client.get(f"{ITEMS}/records?limit=5", headers=other | {"If-None-Match": answer.headers["etag"]})
            assert seen.status_code == (304 if other is view else 200)
            following = client.get(answer.json()["next"], headers=other)
            assert following.status_code == (200 if other is view else 422)


@pytest.mark.slow
@pytest.mark.alone
def test_a_walk_of_a_limited_view_goes_on_where_its_place_has_left_the_view(
    client: httpx.Client, shop: Lab, a: dict[str, str]
) -> None:
    mine = sorted((n for n in range(1, 61) if n % 3 == 0), key=lambda n: f"note {'x' if n % 10 == 0 else 'y'}{n}")
    page = client.get(f"{ITEMS}/records?sort=note&limit=4&count=exact", headers=a).json()
    seen = [record["id"] for record in page["data"]]
    # From now on the record of the cursor is none of this caller's; in the revision of the walk it still is.
    kinds = {n: "b" if n == seen[-1] else "abc"[n % 3] for n in range(1, 61)}
    assert shop.ingest("shop.items", items(kinds), "items.csv").status == "published"
    anybody = client.get(page["next"], headers=key_of(shop, "shop:role:partner_b"))
    assert (anybody.status_code, anybody.json()["code"]) == (422, "invalid_cursor")
    while page["next"]:
        page = client.get(page["next"], headers=a).json()
        assert page["count"] == {"value": len(mine), "exact": True}
        seen += [record["id"] for record in page["data"]]
    assert seen == mine


@pytest.mark.slow
def test_callers_of_two_views_at_once_never_get_each_other_s_bytes(client: httpx.Client, shop: Lab) -> None:
    views = {kind: key_of(shop, f"shop:role:partner_{kind}") for kind in "ab"}
    paths = [f"{ITEMS}/records?limit={limit}&properties=kind" for limit in (3, 7, 1000)]
    paths += [f"{ITEMS}/aggregate?group_by=kind", f"{ITEMS}/export?format=csv&at=1&properties=kind"]
    tags: dict[tuple[str, str], str] = {}

    def ask(number: int) -> bool:
        kind, path = "ab"[number % 2], paths[number // 2 % len(paths)]
        sent = {"If-None-Match": tags.get((kind, path), '"none"')} if number % 3 else {}
        answer = client.get(path, headers=views[kind] | sent)
        tags[kind, path] = answer.headers["etag"]
        if answer.status_code == 304:
            return answer.headers["etag"] == sent["If-None-Match"]
        letters = {"a", "b", "c"} & set(answer.text.replace('"', ",").replace("\r\n", ",").split(","))
        return answer.status_code == 200 and letters == {kind}

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(ask, range(600)))
    assert not {tags["a", path] for path in paths} & {tags["b", path] for path in paths}


@pytest.mark.alone
def test_a_record_that_leaves_what_a_role_sees_is_deleted_for_it(
    client: httpx.Client, shop: Lab, a: dict[str, str]
) -> None:
    kinds = {n: "abc"[n % 3] for n in range(1, 61)}
    kinds |= {3: "c", 4: "a", 5: "b"}  # leaves, comes, was never seen
    assert shop.ingest("shop.items", items(kinds), "items.csv").status == "published"
    found = client.get(f"{ITEMS}/changes?since=1", headers=a | {"Decant-Min-Revision": "2"}).json()["data"]
    assert [(change["change"], change["key"]["id"]) for change in found] == [("deleted", 3), ("inserted", 4)]
    assert found[0]["record"] is None
    assert 5 not in [change["key"]["id"] for change in found]
    assert ids(client, f"{ITEMS}/records?at=1&limit=2", a) == [3, 6]
    assert ids(client, f"{ITEMS}/records?at=2&limit=2", a) == [4, 6]


def test_a_contract_is_shown_without_what_the_caller_may_not_know_of(client: httpx.Client, shop: Lab) -> None:
    whole = key_of(shop, "shop:read")
    answer = client.get("/data/shop/v1/contract", headers=whole)
    assert answer.headers["content-type"].startswith("application/yaml")
    assert "supplier" not in answer.text
    assert "items.csv" not in answer.text
    assert "kind = 'a'" not in answer.text
    as_json = client.get("/data/shop/v1/contract", headers=whole | {"Accept": "application/json"}).json()
    assert as_json["id"] == "shop"
    operator = key_of(shop, "shop:read", "shop:read:confidential", "shop:read:restricted", "ops:read")
    text = client.get("/data/shop/v1/contract", headers=operator).text
    assert all(word in text for word in ("supplier", "items.csv", "kind = 'a'"))


@pytest.mark.slow
def test_freshness_tells_nothing_of_a_property_that_is_hidden(make_lab: Callable[..., Lab]) -> None:
    timed = CONTRACT.replace(
        "- {name: supplier, logicalType: string, classification: restricted}",
        "- {name: supplier, logicalType: string, classification: restricted}\n"
        "      - {name: sold, logicalType: timestamp, classification: restricted}",
    )
    lab = make_lab(timed + "slaProperties: [{property: latency, value: 2, unit: d, element: items.sold}]\n")
    lab.ingest("shop.kinds", "kind,title\na,A\n", "kinds.csv")
    lab.ingest("shop.items", "id,kind,note,price,supplier,sold\n1,a,n,1,s,2025-06-28T12:34:56Z\n", "items.csv")
    refresh_profiles(make_engine(lab.urls.ingest), lab.loader().tables, lab.catalog.datasets())
    blind, seeing = key_of(lab, "shop:read"), key_of(lab, "shop:read", "shop:read:restricted")
    with lab.serve() as client:
        for address in ("/data", "/data/shop/v1", ITEMS, "/data/shop/v1/contract"):
            told = client.get(address, headers=blind).text
            assert "2025-06-28" not in told
            assert "items.sold" not in told
        assert client.get(ITEMS, headers=seeing).json()["data"]["freshness"]["newest_at"] == "2025-06-28T12:34:56Z"
        assert "items.sold" in client.get("/data/shop/v1", headers=seeing).text


def test_rules_and_origins_that_name_a_hidden_dataset_are_left_out_of_contracts(
    make_lab: Callable[..., Lab],
) -> None:
    rule = '{name: r, type: sql, query: "select count(*) from shop_v1.secrets", mustBeLessThan: 9, severity: warning}'
    text = CONTRACT.replace("    quality:\n", f"    quality:\n      - {rule}\n").replace(
        "- {name: title, logicalType: string}",
        "- {name: title, logicalType: string, transformSourceObjects: [secrets.word]}",
    )
    lab = make_lab(text)
    with lab.serve() as client:
        seen = client.get("/data/shop/v1/contract", headers=key_of(lab, "shop:role:partner_a")).text
        whole = client.get("/data/shop/v1/contract", headers=key_of(lab, "shop:read")).text
    assert "secrets" not in seen
    assert "shop_v1.secrets" in whole
    assert "secrets.word" in whole


def test_promises_and_links_to_what_is_hidden_are_left_out_of_a_contract(make_lab: Callable[..., Lab]) -> None:
    link = "{type: foreignKey, to: secrets.id, customProperties: [{property: enforced, value: false}]}"
    linked = CONTRACT.replace(
        "{name: title, logicalType: string}",
        "{name: title, logicalType: string}\n"
        f"      - {{name: origin, logicalType: integer, relationships: [{link}]}}",
    ).replace("{name: word, logicalType: string}", "{name: seen, logicalType: timestamp}")
    promised = (
        "slaProperties:\n  - {property: latency, value: 2, unit: d, element: secrets.seen}\n"
        "  - {property: retention, value: 9, unit: d}\n"
    )
    lab = make_lab(linked + promised)
    lab.migrate()
    with lab.serve() as client:
        seen = client.get("/data/shop/v1/contract", headers=key_of(lab, "shop:role:partner_a")).text
        whole = client.get("/data/shop/v1/contract", headers=key_of(lab, "shop:read")).text
    assert "retention" in seen
    assert "secrets" not in seen
    assert "latency" not in seen
    assert "secrets.seen" in whole
    assert "secrets.id" in whole


@pytest.mark.slow
def test_where_a_record_came_from_is_told_to_operators(client: httpx.Client, shop: Lab, a: dict[str, str]) -> None:
    assert client.get(f"{ITEMS}/records/3/provenance", headers=a).status_code == 403
    operator = key_of(shop, "shop:read", "ops:read")
    found = client.get(f"{ITEMS}/records/3/provenance", headers=operator).json()["data"]
    assert (found["file"], found["line"], found["revision"]) == ("items.csv", 4, 1)
    assert found["load"]["kind"] == "ingest"
    assert client.get(f"{ITEMS}/records/999/provenance", headers=operator).status_code == 404
    limited = key_of(shop, "shop:role:partner_a", "ops:read")
    assert client.get(f"{ITEMS}/records/4/provenance", headers=limited).status_code == 404
    assert client.get(f"{ITEMS}/records/3%2Fprovenance", headers=operator).json()["code"] == "record_not_found"
