"""Exports, read with the libraries that people read them with, against what the records say."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import httpx
import openpyxl
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from tests.support.lab import Lab, walk

THINGS = """
apiVersion: v3.1.0
kind: DataContract
id: things
name: Things
version: 1.0.0
status: active
servers:
  - {server: here, type: local, path: "${DECANT_DATA}", format: ndjson}
schema:
  - name: things
    customProperties:
      - property: input
        value: {server: here, path: things.ndjson, mode: snapshot}
      - {property: maxDeleted, value: 100}
      - {property: maxRejected, value: 100}
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: label, logicalType: string, description: What it is called.}
      - {name: price, logicalType: number, physicalType: "numeric(12,3)"}
      - {name: huge, logicalType: integer, physicalType: bigint}
      - {name: small, logicalType: integer, physicalType: smallint}
      - {name: ratio, logicalType: number}
      - {name: good, logicalType: boolean}
      - {name: day, logicalType: date}
      - {name: clock, logicalType: time}
      - {name: seen, logicalType: timestamp}
      - {name: local, logicalType: timestamp, physicalType: timestamp}
      - {name: uid, logicalType: string, physicalType: uuid}
      - {name: facts, logicalType: object}
      - {name: tags, logicalType: array, physicalType: "text[]", items: {logicalType: string}}
      - {name: prices, logicalType: array, physicalType: "numeric(8,2)[]", items: {logicalType: number}}
      - {name: secret, logicalType: string, classification: confidential}
roles:
  - {role: "things:read", access: read, customProperties: [{property: anonymous, value: true}]}
"""
LABELS = [
    'say "hi", twice',
    "two\r\nlines",
    "one\nline",
    "=1+1",
    "+49 30",
    "-5",
    "@home",
    "\tindented",
    "ünïcødé 😀 漢字",
    "back\\slash 'quote' $1 %s :x",
    None,
    "plain",
]
BASE = "/data/things/v1/things"


def thing(number: int) -> dict[str, Any]:
    """A raw record."""
    odd = number % 2
    return {
        "id": number,
        "label": LABELS[number % len(LABELS)],
        "price": f"{number}.125" if odd else None,
        "huge": 9_007_199_254_740_993 + number if odd else -number,
        "small": number % 100,
        "ratio": number / 8 if odd else None,
        "good": bool(odd),
        "day": "0099-03-01" if number == 3 else "2013-01-31",
        "clock": "17:30:00.25",
        "seen": "2013-01-31T17:30:00.123456+02:00" if odd else None,
        "local": "2013-01-31T17:30:00",
        "uid": f"00000000-0000-4000-8000-{number:012d}",
        "facts": {"a": [1, None], "b": 'x"y'} if odd else None,
        "tags": ["a,b", 'c"d', "e"] if odd else [],
        "prices": ["1.50", "2.25"] if odd else None,
        "secret": "hush",
    }


def write(numbers: range) -> str:
    """The raw batch of these records."""
    return "".join(json.dumps(thing(number)) + "\n" for number in numbers)


def load_things(make_lab: Callable[..., Lab]) -> Lab:
    """Some dirty records in two revisions."""
    lab = make_lab(THINGS)
    assert lab.ingest("things.things", write(range(1, 41)), "things.ndjson").status == "published"
    changed = write(range(5, 61)).replace('"plain"', '"changed"')
    assert lab.ingest("things.things", changed, "things.ndjson").status == "published"
    return lab


@pytest.fixture
def things(product: Callable[..., Lab]) -> Lab:
    return product(load_things)


@pytest.fixture
def client(things: Lab) -> Iterator[httpx.Client]:
    """A client that follows redirects."""
    with things.serve() as client:
        client.follow_redirects = True
        yield client


def export(client: httpx.Client, query: str, **headers: str) -> httpx.Response:
    """A whole export."""
    answer = client.get(f"{BASE}/export?{query}", headers=headers)
    assert answer.status_code == 200, answer.text
    return answer


def test_csv_is_what_rfc_4180_and_spreadsheets_want(client: httpx.Client) -> None:
    text = export(client, "format=csv&properties=id,label,price,good,ratio&id[lte]=22").content.decode()
    lines = text.split("\r\n")
    assert lines[0] == "id,label,price,ratio,good"
    assert '12,"say ""hi"", twice",,,false' in lines
    assert "15,'=1+1,15.125,1.875,true" in lines
    assert "17,'-5,17.125,2.125,true" in lines
    assert "22,,,,false" in lines
    assert text.endswith("\r\n")


def test_csv_reads_in_pandas_as_the_records_say(client: httpx.Client) -> None:
    body = export(client, "format=csv").content
    frame = pd.read_csv(io.BytesIO(body), dtype=str, keep_default_na=False)
    records = walk(client, f"{BASE}/records")
    assert list(frame["id"].astype(int)) == [record["id"] for record in records]
    for row, record in zip(frame.to_dict("records"), records, strict=True):
        label = record["label"] or ""
        # pandas reads a line end within quotes as it stands.
        assert row["label"] == ("'" + label if label[:1] and label[0] in "=+-@\t\r" else label)
        assert row["price"] == (record["price"] or "")
        assert row["huge"] == record["huge"]
        assert row["seen"] == (record["seen"] or "")
        assert "secret" not in row


def test_csv_of_a_page_is_that_of_an_export(client: httpx.Client) -> None:
    page = client.get(f"{BASE}/records?limit=1000", headers={"Accept": "text/csv"})
    assert page.text.splitlines() == export(client, "format=csv").text.splitlines()


def test_a_stream_says_since_when_it_is_so(client: httpx.Client) -> None:
    for url in (f"{BASE}/export?format=csv&at=2", f"{BASE}/export?format=ndjson&id=7"):
        streamed = client.get(url)
        modified = streamed.headers["last-modified"]
        assert modified == client.get(f"{BASE}/records").headers["last-modified"]
        again = client.get(url, headers={"If-Modified-Since": modified})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == streamed.headers["etag"]
        assert client.get(url, headers={"If-Modified-Since": "Thu, 01 Jan 2026 00:00:00 GMT"}).content
        wins = client.get(url, headers={"If-Modified-Since": modified, "If-None-Match": '"other"'})
        assert wins.status_code == 200
    # When an older revision was published, its export does not know.
    assert "last-modified" not in client.get(f"{BASE}/export?format=csv&at=1").headers


def test_ndjson_is_the_records_word_for_word(client: httpx.Client) -> None:
    answer = export(client, "format=ndjson")
    assert [json.loads(line) for line in answer.content.splitlines()] == walk(client, f"{BASE}/records")
    assert answer.headers["content-type"] == "application/x-ndjson"


def plain(value: Any) -> Any:
    """A value of Python's as the JSON has it."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Decimal) else value


@pytest.mark.parametrize("form", ["parquet", "arrow"])
@pytest.mark.parametrize("query", ["", "&id[gt]=0", "&at=1", "&sort=-small"])
def test_typed_forms_hold_what_the_records_say(client: httpx.Client, form: str, query: str) -> None:
    body = export(client, f"format={form}{query}").content
    table = pq.read_table(io.BytesIO(body)) if form == "parquet" else pa.ipc.open_stream(body).read_all()
    records = walk(client, f"{BASE}/records?limit=1000{query}")
    assert table.schema.field("price").type == pa.decimal128(12, 3)
    assert table.schema.field("seen").type == pa.timestamp("us", "UTC")
    assert table.schema.field("day").type == pa.date32()
    assert table.schema.field("prices").type == pa.list_(pa.decimal128(8, 2))
    rows = table.to_pylist()
    assert len(rows) == len(records) > 30
    for row, record in zip(rows, records, strict=True):
        for name in ("id", "label", "small", "ratio", "good", "tags", "uid"):
            assert row[name] == record[name], name
        for name in ("price", "prices"):
            assert plain(row[name]) == record[name], name
        assert str(row["huge"]) == record["huge"]
        assert row["day"] == date.fromisoformat(record["day"])
        assert row["clock"].isoformat() == "17:30:00.250000"
        assert row["seen"] == (datetime.fromisoformat(record["seen"]) if record["seen"] else None)
        assert (json.loads(row["facts"]) if row["facts"] else None) == record["facts"]


def test_duckdb_and_polars_read_parquet_as_csv_says(client: httpx.Client, tmp_path: Path) -> None:
    path = tmp_path / "things.parquet"
    path.write_bytes(export(client, "format=parquet").content)
    total = sum(Decimal(record["price"]) for record in walk(client, f"{BASE}/records") if record["price"])
    found = duckdb.sql(f"SELECT sum(price), count(*) FROM read_parquet('{path}')").fetchone()
    assert found == (total, 56)
    assert pl.read_parquet(path)["price"].sum() == total
    frame = pl.read_csv(io.BytesIO(export(client, "format=csv&properties=id,label").content))
    assert frame["id"].to_list() == list(range(5, 61))


def test_polars_scans_parquet_by_its_address(client: httpx.Client) -> None:
    url = f"{client.base_url}{BASE}/export?format=parquet&at=2".replace("//data", "/data")
    frame = pl.scan_parquet(url).select(pl.col("id").max(), pl.col("small").sum()).collect()
    assert frame.row(0) == (60, sum(number % 100 for number in range(5, 61)))


def test_xlsx_has_typed_cells_and_no_formula(client: httpx.Client) -> None:
    body = export(client, "format=xlsx&at=1").content
    sheet = openpyxl.load_workbook(io.BytesIO(body)).active
    assert sheet is not None
    header, *rows = sheet.iter_rows(values_only=True)
    cells = {row[0]: dict(zip(header, row, strict=True)) for row in rows}
    assert len(cells) == 40
    assert cells[15]["label"] == "=1+1"
    assert sheet.cell(16, 2).data_type == "s"
    assert cells[15]["price"] == 15.125
    assert cells[15]["huge"] == "9007199254741008"
    assert cells[2]["huge"] == -2
    assert cells[3]["day"] == "0099-03-01"
    assert cells[4]["day"] == datetime.fromisoformat("2013-01-31")
    assert cells[15]["seen"] == datetime.fromisoformat("2013-01-31T15:30:00.123")
    assert cells[15]["good"] is True
    assert cells[8]["label"] == LABELS[8]
    assert "secret" not in header
    assert export(client, "format=xlsx&at=1").content == body


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("form", ["csv", "ndjson", "arrow", "parquet"])
def test_the_same_revision_is_the_same_bytes(things: Lab, client: httpx.Client, form: str) -> None:
    before = export(client, f"format={form}&at=2&id[gte]=1").content
    assert things.ingest("things.things", write(range(1, 9)), "things.ndjson").status == "published"
    after = export(client, f"format={form}&at=2&id[gte]=1")
    assert after.content == before
    assert after.headers["decant-revision"] == "2"


@pytest.mark.parametrize("label", LABELS)
def test_what_callers_filter_by_stays_a_value(client: httpx.Client, label: str | None) -> None:
    query = {"label[null]": "true"} if label is None else {"label": label}
    page = client.get(f"{BASE}/records", params=query).json()["data"]
    body = client.get(f"{BASE}/export", params={**query, "format": "ndjson"}).text
    assert [json.loads(line) for line in body.split("\n") if line] == page
    hostile = client.get(f"{BASE}/export", params={"label": f"{label}'; DROP TABLE x; --\\'", "format": "ndjson"})
    assert (hostile.status_code, hostile.text) == (200, "")


def test_every_kind_of_filter_works_in_exports(client: httpx.Client) -> None:
    for query in (
        "id[in]=7,9",
        "tags[has]=e",
        "prices[has]=1.50",
        "price[gt]=11.1",
        "ratio[lt]=2.5",
        "good=true",
        "day[lte]=2013-01-31",
        "clock[gte]=17:00",
        "seen[gt]=2013-01-31T15:00:00Z",
        "local[ne]=2013-01-31T17:30:00.5",
        "uid[in]=00000000-0000-4000-8000-000000000009",
        "label[like]=*lines",
        "huge[gt]=-20",
        "facts[null]=false",
    ):
        lines = export(client, f"format=ndjson&{query}").text.split("\n")
        assert [json.loads(line) for line in lines if line] == walk(client, f"{BASE}/records?limit=1000&{query}"), (
            query
        )


def test_a_whole_export_is_sent_on_to_the_address_of_its_revision(client: httpx.Client) -> None:
    client.follow_redirects = False
    answer = client.get(f"{BASE}/export?format=csv&properties=id")
    assert answer.status_code == 307
    epoch = answer.headers["location"].rpartition("=")[2]
    assert answer.headers["location"] == f"{BASE}/export?format=csv&properties=id&at=2&epoch={epoch}"
    assert answer.headers["cache-control"].startswith("public, max-age=")
    pinned = client.get(answer.headers["location"])
    assert pinned.headers["cache-control"] == "public, max-age=300"
    assert pinned.headers["content-disposition"] == 'attachment; filename="things-v1-things-r2.csv"'
    assert (pinned.headers["decant-revision"], pinned.headers["decant-epoch"]) == ("2", epoch)
    assert client.get(f"{BASE}/export?format=csv&id=7").status_code == 200


def test_a_known_tag_is_answered_without_a_body(client: httpx.Client) -> None:
    first = export(client, "format=csv&at=2")
    again = client.get(f"{BASE}/export?format=csv&at=2", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    other = export(client, "format=csv&at=2", **{"Accept-Encoding": "identity"})
    assert other.headers["etag"] != first.headers["etag"]
    assert other.content == first.content


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_streams_are_compressed_where_asked(client: httpx.Client, coding: str) -> None:
    wanted = export(client, "format=csv&at=2", **{"Accept-Encoding": "identity"}).content
    with client.stream("GET", f"{BASE}/export?format=csv&at=2", headers={"Accept-Encoding": coding}) as answer:
        raw = b"".join(answer.iter_raw())
        assert answer.headers["content-encoding"] == coding
    if coding == "zstd":
        assert zstandard.ZstdDecompressor().stream_reader(raw).read() == wanted
    else:
        import gzip

        assert gzip.decompress(raw) == wanted


def test_accept_chooses_where_the_address_does_not(client: httpx.Client) -> None:
    answer = export(client, "id=7", Accept="application/vnd.apache.arrow.stream")
    assert pa.ipc.open_stream(answer.content).read_all().num_rows == 1
    assert (
        export(client, "id=7&format=csv", Accept="application/x-ndjson")
        .headers["content-type"]
        .startswith("text/csv")
    )
    refused = client.get(f"{BASE}/export?id=7", headers={"Accept": "image/png"})
    assert refused.status_code == 406
    assert "parquet" in refused.json()["detail"]


@pytest.mark.parametrize(
    ("query", "code", "word"),
    [
        ("format=pdf", "invalid_value", "parquet"),
        ("format=csv&format=csv", "duplicate_parameter", "format"),
        ("format=csv&limit=5", "unknown_parameter", "limit"),
        ("format=csv&cursor=x", "unknown_parameter", "cursor"),
        ("formt=csv", "unknown_parameter", "format"),
        ("format=csv&secret=hush", "unknown_parameter", "secret"),
        ("format=csv&sort=secret", "unknown_parameter", "secret"),
        ("format=csv&properties=secret", "unknown_parameter", "secret"),
        ("format=csv&id=x", "invalid_value", "id"),
        ("format=csv&at=99", "invalid_value", "at"),
        ("format=csv&label=%ff", "invalid_text", "UTF-8"),
        ("format=csv&label=%00", "invalid_text", "NUL"),
    ],
)
def test_what_is_wrong_is_named(client: httpx.Client, query: str, code: str, word: str) -> None:
    answer = client.get(f"{BASE}/export?{query}")
    assert answer.status_code == 422
    assert answer.json()["code"] == code
    assert word in answer.text


def test_a_dataset_without_records_gives_an_empty_file(make_lab: Callable[..., Lab]) -> None:
    with make_lab(THINGS).serve() as client:
        assert client.get(f"{BASE}/export?format=csv&properties=id,label").text == "id,label\r\n"
        assert client.get(f"{BASE}/export?format=ndjson").text == ""
        body = client.get(f"{BASE}/export?format=parquet").content
        assert pq.read_table(io.BytesIO(body)).num_rows == 0


@pytest.mark.slow
@pytest.mark.alone
def test_exports_at_once_and_after_a_lost_connection_are_whole(things: Lab, client: httpx.Client) -> None:
    wanted = export(client, "format=csv&at=2").content
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: export(client, "format=csv&at=2").content, range(12)))
    assert found == [wanted] * 12
    things.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'decant_read'")
    assert export(client, "format=csv&at=2").content == wanted
