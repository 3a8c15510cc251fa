"""What every read promises: tags, 304, caching, forms, codings, totals, related records; on a real service."""

from __future__ import annotations

import csv
import gzip
import io
import json
import threading
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import psycopg
import pytest
import zstandard

from tests.support.keys import key_of
from tests.support.lab import Lab, walk
from tests.support.shops import make_shop

SHOP = make_shop(
    """
  - name: makers
    customProperties:
      - {property: input, value: {server: here, path: makers.csv, mode: snapshot, nullValues: [""]}}
      - {property: maxDeleted, value: 100}
    properties:
      - {name: code, logicalType: string, primaryKey: true}
      - {name: name, logicalType: string}
      - {name: margin, logicalType: number, classification: restricted}
  - name: things
    customProperties:
      - {property: input, value: {server: here, path: things.csv, mode: snapshot, nullValues: [""]}}
      - {property: maxDeleted, value: 100}
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: label, logicalType: string}
      - {name: maker, logicalType: string, relationships: [{type: foreignKey, to: makers.code,
         customProperties: [{property: enforced, value: false}]}]}
"""
)
RECORDS = "/data/shop/v1/things/records"
WAIT_SECONDS = 10.0
LABELS = ["plain", 'say "hi"', "a,b", "two\nlines", "=1+1", "", "ünï"]


def load(shop: Lab, number: int, mark: str = "") -> None:
    """Publishes so many things, and their makers."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["id", "label", "maker"])
    for index in range(number):
        writer.writerow([index, LABELS[index % len(LABELS)] + mark, ["a", "b", "", "nobody"][index % 4]])
    shop.ingest("shop.makers", f"code,name,margin\na,Ann{mark},1\nb,Ben,2\n", "makers.csv")
    shop.ingest("shop.things", out.getvalue(), "things.csv")


def load_shop(make_lab: Callable[..., Lab]) -> Lab:
    lab = make_lab(SHOP)
    load(lab, 60)
    return lab


@pytest.mark.alone
def test_a_known_tag_gets_304_until_something_is_published(client: httpx.Client, shop: Lab) -> None:
    first = client.get(RECORDS)
    tag = first.headers["etag"]
    assert tag.partition("-")[2].startswith("1-")
    for sent in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = client.get(
            RECORDS, headers={"If-None-Match": sent, "If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}
        )
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tag
        assert again.headers["cache-control"] == first.headers["cache-control"]
        assert again.headers["vary"] == first.headers["vary"]
        assert "content-type" not in again.headers
    load(shop, 61)
    client.headers["Decant-Min-Revision"] = "2"
    newer = client.get(RECORDS, headers={"If-None-Match": tag})
    assert (newer.status_code, newer.headers["decant-revision"]) == (200, "2")


@pytest.mark.alone
def test_a_304_asks_nothing_of_the_database(client: httpx.Client, shop: Lab) -> None:
    tag = client.get(RECORDS).headers["etag"]
    with psycopg.connect(shop.urls.owner, autocommit=True) as owner, owner.transaction():
        # Whoever read the table now would wait for this.
        owner.execute("LOCK TABLE shop_v1.things IN ACCESS EXCLUSIVE MODE")
        for _ in range(20):
            assert client.get(RECORDS, headers={"If-None-Match": tag}).status_code == 304
            assert client.get(RECORDS).status_code == 200


def test_any_tag_is_none_where_there_is_nothing(client: httpx.Client) -> None:
    anything = {"If-None-Match": "*"}
    assert client.get(f"{RECORDS}/1", headers=anything).status_code == 304
    assert client.get(f"{RECORDS}/999999", headers=anything).status_code == 404
    assert client.get("/data/shop/v1/things/changes?since=99", headers=anything).status_code == 422


def test_a_header_in_several_lines_is_one(client: httpx.Client) -> None:
    tag = client.get(RECORDS).headers["etag"]
    for lines in (
        [("If-None-Match", '"other"'), ("If-None-Match", tag)],
        [("Accept", "text/html"), ("Accept", "application/json"), ("If-None-Match", tag)],
    ):
        assert client.get(RECORDS, headers=lines).status_code == 304


@pytest.mark.parametrize("path", ["/data/shop/v1/", "/data/other/v1/", "/keys/", "/livez/", f"{RECORDS}/"])
def test_an_address_with_a_slash_too_many_leads_nowhere(client: httpx.Client, path: str) -> None:
    answer = client.get(path, headers={"Host": "evil.example"})
    assert answer.status_code in {401, 404}
    assert answer.headers["content-type"] == "application/problem+json"


def test_what_was_published_last_answers_if_modified_since(client: httpx.Client) -> None:
    first = client.get(RECORDS)
    modified = first.headers["last-modified"]
    assert parsedate_to_datetime(modified).tzinfo is not None
    assert client.get(RECORDS, headers={"If-Modified-Since": modified}).status_code == 304
    early = client.get(RECORDS, headers={"If-Modified-Since": "Thu, 01 Jan 2026 00:00:00 GMT"})
    assert early.status_code == 200
    assert client.get(RECORDS, headers={"If-Modified-Since": "yesterday"}).status_code == 200
    # If-None-Match wins.
    both = {"If-Modified-Since": modified, "If-None-Match": '"other"'}
    assert client.get(RECORDS, headers=both).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        RECORDS,
        f"{RECORDS}/1",
        "/data/shop/v1/things/aggregate",
        "/data/shop/v1/things/changes?since=0",
        f"{RECORDS}?at=1",
    ],
)
def test_head_says_what_get_says(client: httpx.Client, path: str) -> None:
    client.headers["Accept-Encoding"] = "identity"
    get, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    changing = {"date", "server-timing", "traceresponse"}
    assert {k: v for k, v in head.headers.items() if k not in changing} == {
        k: v for k, v in get.headers.items() if k not in changing
    }
    assert int(head.headers["content-length"]) == len(get.content)
    assert client.head(path, headers={"If-None-Match": get.headers["etag"]}).status_code == 304


@pytest.mark.alone
def test_an_answer_for_one_caller_has_its_timings_and_its_trace(client: httpx.Client, shop: Lab) -> None:
    held = key_of(shop, "shop:read")
    answer = client.get(RECORDS, headers=held)
    phases = [part.partition(";")[0] for part in answer.headers["server-timing"].split(", ")]
    assert phases == ["auth", "parse", "cache", "database"]
    version, trace, span, flags = answer.headers["traceresponse"].split("-")
    assert (version, len(trace), len(span), flags) == ("00", 32, 16, "00")
    again = client.get(RECORDS, headers=held)
    assert "database" not in again.headers["server-timing"]
    assert again.headers["traceresponse"] != answer.headers["traceresponse"]


@pytest.mark.parametrize(
    ("path", "status", "phases"),
    [
        ("/data", 200, ["total"]),
        ("/data/shop/v1/things/quality", 200, ["total"]),
        ("/livez", 200, ["total"]),
        (f"{RECORDS}?colour=red", 422, ["auth"]),
        ("/data/nothing/v1/things/records", 401, ["auth"]),
        ("/nowhere", 404, ["total"]),
        ("/data/shop/v1/things/export?format=csv&at=1", 200, ["auth", "parse", "cache", "database"]),
        ("/data/shop/v1/things/export?format=parquet&at=1", 200, ["auth", "parse", "cache", "file"]),
    ],
)
def test_whatever_is_answered_to_one_caller_says_what_it_took(
    client: httpx.Client, shop: Lab, path: str, status: int, phases: list[str]
) -> None:
    held = key_of(shop, "shop:read") if status != 401 else {}
    answer = client.get(path, headers=held)
    assert answer.status_code == status, answer.text
    told = answer.headers.get_list("server-timing")
    assert len(told) == len(answer.headers.get_list("traceresponse")) == 1
    assert [part.partition(";")[0] for part in told[0].split(", ")] == phases


@pytest.mark.parametrize(
    "path",
    [
        RECORDS,
        f"{RECORDS}?at=1",
        f"{RECORDS}/1",
        "/data/shop/v1/things/export?format=csv&at=1",
        "/static/swagger-ui.css",
    ],
)
def test_what_shared_caches_may_keep_is_told_of_no_single_request(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["cache-control"].startswith("public")
    assert not {"server-timing", "traceresponse"} & set(answer.headers)
    known = client.get(path, headers={"If-None-Match": answer.headers["etag"]})
    assert known.status_code in {200, 304}
    assert not {"server-timing", "traceresponse"} & set(known.headers)


def test_only_what_is_open_and_asked_for_openly_may_be_kept_by_all(client: httpx.Client, shop: Lab) -> None:
    held = key_of(shop, "shop:read")
    assert client.get(RECORDS).headers["cache-control"] == "public, max-age=60"
    assert client.get(f"{RECORDS}?at=1").headers["cache-control"] == "public, max-age=300"
    following = client.get(f"{RECORDS}?limit=5").json()["next"]
    assert client.get(following).headers["cache-control"] == "public, max-age=300"
    for path in (RECORDS, f"{RECORDS}?at=1", following):
        answer = client.get(path, headers=held)
        assert answer.headers["cache-control"] == "private, no-cache"
        assert answer.headers["vary"] == "Authorization, X-API-Key, Accept, Accept-Encoding, Decant-Min-Revision"


def test_views_never_share_answers(client: httpx.Client, shop: Lab) -> None:
    makers = "/data/shop/v1/makers/records"
    held = key_of(shop, "shop:read", "shop:read:restricted")
    failures = []

    def ask(headers: dict[str, str], sees: bool) -> None:
        for _ in range(30):
            answer = client.get(makers, headers=headers)
            if ("margin" in answer.text) is not sees or answer.status_code != 200:
                failures.append(answer.text)

    threads = [threading.Thread(target=ask, args=pair) for pair in ((held, True), ({}, False)) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    open_tag, held_tag = client.get(makers).headers["etag"], client.get(makers, headers=held).headers["etag"]
    assert open_tag != held_tag
    assert client.get(makers, headers={"If-None-Match": held_tag}).status_code == 200
    expanded = f"{RECORDS}?expand=maker&limit=1"
    assert "margin" in client.get(expanded, headers=held).text
    assert "margin" not in client.get(expanded).text


@pytest.mark.slow
@pytest.mark.alone
def test_text_that_a_spreadsheet_would_run_is_told_apart_in_pages_and_exports(
    client: httpx.Client, shop: Lab
) -> None:
    marks = ["=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "x", "\uff1a"]
    lines = "".join(f"{number},{mark}SUM(1)\u3000,a\n" for number, mark in enumerate(marks))
    assert shop.ingest("shop.things", f"id,label,maker\n{lines}", "things.csv").status == "published"
    expected = [("" if mark in {"x", "\uff1a"} else "'") + f"{mark}SUM(1)" for mark in marks]
    newest = {"Decant-Min-Revision": "2"}
    for answer in (
        client.get(f"{RECORDS}?properties=label", headers={"Accept": "text/csv"} | newest),
        client.get("/data/shop/v1/things/export?format=csv&properties=label&at=2", headers=newest),
    ):
        assert answer.status_code == 200
        found = [line.rpartition(",")[2].rstrip("\u3000") for line in answer.text.split("\r\n")[1:-1]]
        assert found == expected


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_pages_are_compressed_where_asked_and_long_enough(client: httpx.Client, coding: str) -> None:
    plain = client.get(RECORDS, headers={"Accept-Encoding": "identity"})
    with client.stream("GET", RECORDS, headers={"Accept-Encoding": f"br, {coding}"}) as answer:
        raw = b"".join(answer.iter_raw())
    assert answer.headers["content-encoding"] == coding
    assert int(answer.headers["content-length"]) == len(raw) < len(plain.content)
    opened = gzip.decompress(raw) if coding == "gzip" else zstandard.ZstdDecompressor().decompress(raw)
    assert opened == plain.content
    assert answer.headers["etag"] != plain.headers["etag"]
    short = client.get(f"{RECORDS}/1", headers={"Accept-Encoding": coding})
    assert "content-encoding" not in short.headers
    refused = client.get(RECORDS, headers={"Accept-Encoding": "gzip;q=0, zstd;q=0"})
    assert "content-encoding" not in refused.headers


def test_a_page_is_the_same_in_every_form(client: httpx.Client) -> None:
    expected = walk(client, f"{RECORDS}?limit=7")
    lines, rows = [], []
    for accept, found in (("application/x-ndjson", lines), ("text/csv", rows)):
        url: str | None = f"{RECORDS}?limit=7"
        while url:
            answer = client.get(url, headers={"Accept": accept})
            assert answer.headers["content-type"].startswith(accept)
            if accept == "text/csv":
                found += csv.DictReader(io.StringIO(answer.text, newline=""))
            else:
                found += [json.loads(line) for line in answer.text.splitlines()]
            url = answer.links.get("next", {}).get("url")
    assert lines == expected
    for row, record in zip(rows, expected, strict=True):
        label = record["label"] or ""
        assert row["label"] == (f"'{label}" if label.startswith("=") else label)
        assert (row["id"], row["maker"]) == (str(record["id"]), record["maker"] or "")


def test_a_form_that_is_not_offered_is_refused_with_those_that_are(client: httpx.Client) -> None:
    for accept in ("image/png", "application/json;q=0", "text/html, application/xhtml+xml"):
        answer = client.get(RECORDS, headers={"Accept": accept})
        assert (answer.status_code, answer.json()["code"]) == (406, "not_acceptable")
        assert "text/csv" in answer.json()["detail"]
    for accept in ("*/*", "text/html, */*;q=0.1", "application/*", "", "application/json;q=0.3, image/png"):
        assert client.get(RECORDS, headers={"Accept": accept}).headers["content-type"] == "application/json"
    mixed = "application/json;q=0.5, text/csv"
    assert client.get(RECORDS, headers={"Accept": mixed}).headers["content-type"].startswith("text/csv")


def test_related_records_are_those_that_the_keys_lead_to(client: httpx.Client, shop: Lab) -> None:
    records = walk(client, f"{RECORDS}?expand=maker&limit=7")
    assert len(records) == 60
    for record in records:
        related = record["expanded"]["maker"]
        known = record["maker"] in {"a", "b"}
        assert related == (
            {"code": record["maker"], "name": {"a": "Ann", "b": "Ben"}[record["maker"]]} if known else None
        )
    one = client.get(f"{RECORDS}/1?expand=maker").json()["data"]
    assert one["expanded"]["maker"]["name"] == "Ben"


@pytest.mark.slow
@pytest.mark.alone
def test_a_walk_with_related_records_stays_in_the_revisions_of_both(client: httpx.Client, shop: Lab) -> None:
    first = client.get(f"{RECORDS}?expand=maker&limit=7").json()
    load(shop, 30, "!")
    rest = walk(client, first["next"])
    names = {r["expanded"]["maker"]["name"] for r in first["data"] + rest if r["expanded"]["maker"]}
    assert names == {"Ann", "Ben"}
    assert len(first["data"] + rest) == 60
    client.headers["Decant-Min-Revision"] = "2"
    newer = walk(client, f"{RECORDS}?expand=maker")
    assert {r["expanded"]["maker"]["name"] for r in newer if r["expanded"]["maker"]} == {"Ann!", "Ben"}


@pytest.mark.parametrize(
    ("query", "value"), [("", 60), ("&label[ilike]=*a*", None), ("&maker=a", 15), ("&maker=zz", 0), ("&at=1", 60)]
)
@pytest.mark.parametrize("count", ["exact", "estimated"])
def test_totals_are_right(client: httpx.Client, query: str, value: int | None, count: str) -> None:
    page = client.get(f"{RECORDS}?count={count}&limit=2{query}").json()
    expected = len(walk(client, f"{RECORDS}?limit=1000{query}")) if value is None else value
    assert page["count"] == {"value": expected, "exact": True}


def test_what_makes_no_sense_is_refused(client: httpx.Client) -> None:
    for query, code in (
        ("count=all", "invalid_value"),
        ("expand=label", "invalid_value"),
        ("expand=maker,maker2", "invalid_value"),
        ("q=x", "unknown_parameter"),
    ):
        answer = client.get(f"{RECORDS}?{query}")
        assert (answer.status_code, answer.json()["code"]) == (422, code)
    refused = client.get(f"{RECORDS}?expand=maker", headers={"Accept": "text/csv"})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_value")
    assert client.get("/data/shop/v1/makers/records?expand=code").json()["code"] == "unknown_parameter"


@pytest.mark.slow
@pytest.mark.alone
def test_nobody_gets_an_older_revision_than_named(client: httpx.Client, shop: Lab) -> None:
    for revision in range(2, 12):
        load(shop, 60 + revision)
        answer = client.get(RECORDS, headers={"Decant-Min-Revision": str(revision)})
        assert (answer.status_code, answer.headers["decant-revision"]) == (200, str(revision))
    ahead = client.get(RECORDS, headers={"Decant-Min-Revision": "99"})
    assert (ahead.status_code, ahead.json()["code"]) == (503, "unavailable")
    assert int(ahead.headers["retry-after"]) >= 1
    assert client.get(RECORDS, headers={"Decant-Min-Revision": "soon"}).status_code == 422


@pytest.mark.alone
def test_equal_requests_at_once_make_one_statement(shop: Lab) -> None:
    name = "shop_v1.things"
    with shop.serve() as client, psycopg.connect(shop.urls.owner, autocommit=True) as owner:
        client.get(f"{RECORDS}?limit=3")
        with owner.transaction():
            owner.execute(f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE".encode())
            answers: list[httpx.Response] = []
            threads = [
                threading.Thread(target=lambda: answers.append(client.get(f"{RECORDS}?limit=4"))) for _ in range(30)
            ]
            for thread in threads:
                thread.start()
            waiting: Any = None
            deadline = time.monotonic() + WAIT_SECONDS
            while waiting != (1,) and time.monotonic() < deadline:
                waiting = owner.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                    " AND application_name = 'decant-read' AND datname = current_database()"
                ).fetchone()
            assert waiting == (1,)
        for thread in threads:
            thread.join()
    assert {answer.status_code for answer in answers} <= {200}
    assert len({answer.content for answer in answers}) == 1


def test_a_deprecated_product_says_until_when_and_where_to_go(make_lab: Callable[..., Lab]) -> None:
    old = SHOP.replace("status: active", "status: deprecated") + (
        "slaProperties:\n"
        "  - {property: endOfSupport, value: '2026-01-31T00:00:00Z'}\n"
        "  - {property: endOfLife, value: '2027-06-30T12:00:00Z'}\n"
    )
    lab = make_lab(old, SHOP.replace("version: 1.0.0", "version: 2.0.0"))
    with lab.serve() as client:
        answer = client.get(RECORDS)
        assert answer.headers["deprecation"] == "@1769817600"
        assert answer.headers["sunset"] == "Wed, 30 Jun 2027 12:00:00 GMT"
        links = answer.headers.get_list("link")
        assert '</data/shop/v1>; rel="deprecation"' in links
        assert '</data/shop/v2>; rel="successor-version"' in links
        assert "deprecation" not in client.get("/data/shop/v2/things/records").headers
