"""HTTP APIs over a real server: how they hand out pages, and all that goes wrong on the way."""

from __future__ import annotations

import gzip
import json
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ingest.http_client import client as http_client
from ingest.loading.load_report import LoadReport
from runtime import public_addresses as addresses
from tests.support.lab import Lab
from tests.support.quakes import PAGED_QUAKES
from tests.support.remote_api import Asked, RemoteApi, Reply, run_remote_api

CANARY = "s3cret-canary-7f"
PEOPLE = [{"id": number, "place": f"place {number}"} for number in range(1, 8)]


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> Iterator[RemoteApi]:
    """A server, and no patience with it."""
    monkeypatch.setattr(http_client, "FIRST_WAIT", 0.01)
    with run_remote_api() as api:
        monkeypatch.setenv("API_URL", api.url)
        yield api


@pytest.fixture
def quakes(make_lab: Callable[..., Lab]) -> Callable[[str], Lab]:
    """The product with an input of these words."""
    return lambda words: make_lab(PAGED_QUAKES.format(input=f"retries: 2, {words}"))


def load(lab: Lab) -> LoadReport:
    return lab.loader().run(lab.dataset("quakes.quakes"))


def ids(lab: Lab) -> list[int]:
    return [row[0] for row in lab.rows("SELECT id FROM quakes_v1.quakes ORDER BY id")]


def position(lab: Lab) -> Any:
    rows = lab.rows("SELECT position FROM decant.input_states")
    return rows[0][0] if rows else None


def give_pages(api: RemoteApi, kind: str, size: int = 3) -> None:
    """Hands out PEOPLE page by page, in one of the four ways."""

    def answer(asked: Asked) -> Reply:
        given = int(asked.params.get(kind, {"page": "1"}.get(kind, "0")))
        start = (given - 1) * size if kind == "page" else given
        page = PEOPLE[start : start + size]
        following = start + size if start + size < len(PEOPLE) else None
        if kind == "link":
            link = f'</v1/quakes?link={following}&key=k>; rel="next", </v1/quakes>; rel="first"'
            return Reply(page, headers={"Link": link} if following else {})
        return Reply({"data": page, "meta": {"next": following}})

    api.answer = answer


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("kind", "words", "requests"),
    [
        ("link", "pagination: {type: link}", 3),
        ("cursor", 'records: "$.data[*]", pagination: {type: cursor, cursor: $.meta.next}', 3),
        ("page", 'records: "$.data[*]", pagination: {type: page}', 4),
        ("page", 'records: "$.data[*]", pagination: {type: page, size: 3, sizeParam: limit, until: short}', 3),
        ("offset", 'records: "$.data[*]", pagination: {type: offset}', 4),
    ],
)
def test_all_pages_are_one_batch(
    remote: RemoteApi, quakes: Callable[[str], Lab], kind: str, words: str, requests: int
) -> None:
    give_pages(remote, kind)
    lab = quakes(words)
    report = load(lab)
    assert report.status == "published", report
    assert ids(lab) == [1, 2, 3, 4, 5, 6, 7]
    assert len(remote.asked) == requests
    parts = lab.rows("SELECT jsonb_path_query(landed, '$.parts[*].name') #>> '{}' FROM decant.loads")
    assert parts == [("page 1",), ("page 2",), ("page 3",)]
    assert load(lab).status == "unchanged"


def test_the_next_page_may_be_an_address_in_the_body(remote: RemoteApi, quakes: Callable[[str], Lab]) -> None:
    def answer(asked: Asked) -> Reply:
        start = int(asked.params.get("from", 0))
        following = f"?from={start + 3}" if start + 3 < len(PEOPLE) else None
        return Reply({"data": PEOPLE[start : start + 3], "links": {"next": following}})

    remote.answer = answer
    lab = quakes('records: "$.data[*]", pagination: {type: link, next: $.links.next}')
    assert load(lab).status == "published"
    assert len(ids(lab)) == 7


def test_pages_can_be_asked_for_in_the_body_of_a_post(remote: RemoteApi, quakes: Callable[[str], Lab]) -> None:
    def answer(asked: Asked) -> Reply:
        wanted = json.loads(asked.body)
        return Reply({"hits": PEOPLE[wanted["from"] : wanted["from"] + wanted["size"]]})

    remote.answer = answer
    lab = quakes(
        "method: POST, body: {kind: quake}, records: $.hits,"
        " pagination: {type: offset, param: from, size: 4, sizeParam: size, in: body}"
    )
    assert load(lab).status == "published"
    assert len(ids(lab)) == 7
    bodies = [json.loads(asked.body) for asked in remote.asked]
    assert bodies == [{"kind": "quake", "size": 4, "from": start} for start in (0, 4, 7)]
    assert {asked.headers["content-type"] for asked in remote.asked} == {"application/json"}


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("words", "body", "headers"),
    [
        ("format: ndjson", b'{"id": 1, "place": "Z\xc3\xbcrich"}\n{"id": 2}\n', {}),
        ("format: csv", b"id,place,updated\n1,Z\xfcrich,\n2,,\n", {"Content-Type": "text/csv; charset=ISO-8859-1"}),
        ("format: csv, encoding: latin-1", b"id,place,updated\n1,Z\xfcrich,\n2,,\n", {"Content-Type": "text/csv"}),
        ("format: csv", "id,place,updated\n1,Zürich,\n2,,\n".encode(), {"Content-Type": "text/csv; charset=UTF-8"}),
    ],
)
def test_pages_can_be_lines_in_the_encoding_that_the_answer_names(
    remote: RemoteApi, quakes: Callable[[str], Lab], words: str, body: bytes, headers: dict[str, str]
) -> None:
    remote.play(Reply(body, headers=headers))
    lab = quakes(words)
    assert load(lab).status == "published"
    assert lab.rows("SELECT id, place FROM quakes_v1.quakes ORDER BY id") == [(1, "Zürich"), (2, None)]


def test_pages_of_csv_each_have_their_header(remote: RemoteApi, quakes: Callable[[str], Lab]) -> None:
    head = b"id,place,updated\n"
    pages = {"0": head + b'1,"a\nb",\n2,,\n', "2": head + b"3,,\n", "3": head}
    remote.answer = lambda asked: Reply(pages[asked.params["offset"]])
    lab = quakes("format: csv, pagination: {type: offset}")
    assert load(lab).status == "published"
    assert ids(lab) == [1, 2, 3]


def test_a_record_that_slips_onto_the_next_page_is_counted_as_a_duplicate(
    remote: RemoteApi, quakes: Callable[[str], Lab]
) -> None:
    pages = {
        "0": [{"id": 1}, {"id": 2, "place": "older"}],
        "2": [{"id": 2, "place": "newer"}, {"id": 3}],
        "4": [{"id": "x"}],
        "5": [],
    }
    remote.answer = lambda asked: Reply(pages[asked.params["offset"]])
    lab = quakes("pagination: {type: offset}")
    outcome = load(lab).outcome
    assert outcome
    assert (outcome.raw, outcome.accepted, outcome.duplicates, outcome.rejected) == (5, 3, 1, 1)
    assert lab.rows("SELECT file, line FROM decant.rejected_records") == [("page 3", 1)]
    assert lab.rows("SELECT place FROM quakes_v1.quakes WHERE id = 2") == [("newer",)]


def test_what_has_not_changed_is_not_sent_again(remote: RemoteApi, quakes: Callable[[str], Lab]) -> None:
    timestamp = "Mon, 02 Mar 2026 10:00:00 GMT"

    def answer(asked: Asked) -> Reply:
        if asked.headers.get("if-none-match") == '"v1"' and asked.headers.get("if-modified-since") == timestamp:
            return Reply(status=304)
        return Reply([{"id": 1}], headers={"ETag": '"v1"', "Last-Modified": timestamp})

    remote.answer = answer
    lab = quakes("mode: snapshot")
    assert load(lab).status == "published"
    kept = position(lab)
    assert (kept["etag"], kept["lastModified"]) == ('"v1"', timestamp)
    for _ in range(2):
        assert load(lab).status == "unchanged"
        assert position(lab) == kept
    assert ids(lab) == [1]
    assert lab.rows("SELECT count(*) FROM decant.loads WHERE landed -> 'parts' = '[]'") == [(2,)]


@pytest.mark.slow
def test_what_has_not_changed_is_sent_again_where_the_contract_makes_something_else_of_it(
    remote: RemoteApi, make_lab: Callable[..., Lab]
) -> None:
    remote.answer = lambda asked: (
        Reply(status=304)
        if "if-none-match" in asked.headers
        else Reply([{"id": 1, "place": "a"}], headers={"ETag": '"v1"'})
    )
    text = PAGED_QUAKES.format(input="mode: snapshot")
    lab = make_lab(text)
    assert load(lab).status == "published"
    changed = text.replace(
        "name: place, logicalType: string", "name: place, logicalType: string, transformLogic: upper(place)"
    )
    (lab.settings.contracts / "contract0.odcs.yaml").write_text(changed)
    again = Lab(lab.settings, lab.urls)
    assert load(again).status == "published"
    assert lab.rows("SELECT place FROM quakes_v1.quakes") == [("A",)]


def test_a_304_that_nobody_asked_for_is_no_answer(remote: RemoteApi, quakes: Callable[[str], Lab]) -> None:
    remote.play(Reply(status=304))
    assert fails(load(quakes("mode: snapshot")), "answered 304 Not Modified")


@pytest.mark.slow
def test_only_new_data_are_asked_for_from_the_highest_published_value_on(
    remote: RemoteApi, quakes: Callable[[str], Lab]
) -> None:
    remote.play(
        Reply([{"id": 1, "updated": "2026-03-01T10:00:00Z"}, {"id": 2, "updated": "2026-03-01T12:30:00.5+02:00"}]),
        Reply([{"id": 3, "updated": "2026-03-02T00:00:00Z"}, {"id": 4, "updated": "2999-01-01T00:00:00Z"}]),
        Reply([]),
        Reply({"gone": "wrong"}, status=400),
        Reply([{"id": 3, "updated": "2026-03-02T00:00:00Z", "place": "better known"}]),
    )
    lab = quakes("mode: upsert, incremental: {param: since, property: updated, lag: 1h, start: '2020-01-01'}")
    statuses = [load(lab).status for _ in range(5)]
    assert statuses == ["published", "published", "unchanged", "failed", "published"]
    # A record of a far future does not hide all that comes before it.
    assert [asked.params["since"] for asked in remote.asked] == [
        "2020-01-01",
        "2026-03-01T11:30:00.5+02:00",
        "2026-03-01T23:00:00Z",
        "2026-03-01T23:00:00Z",
        "2026-03-01T23:00:00Z",
    ]
    assert ids(lab) == [1, 2, 3, 4]
    kept = position(lab)
    assert (kept["property"], kept["mark"]) == ("updated", "2026-03-02T00:00:00Z")
    assert kept["marks"][0]["raw"] == "2026-03-02T00:00:00Z"


@pytest.mark.slow
def test_what_was_withheld_or_rejected_is_asked_for_again(remote: RemoteApi, quakes: Callable[[str], Lab]) -> None:
    remote.play(
        Reply([{"id": 1, "updated": "2026-03-01T00:00:00Z"}]),
        Reply([{"id": "bad", "updated": "2026-04-01T00:00:00Z"}, {"id": 2, "updated": "2026-03-02T00:00:00Z"}]),
        Reply([]),
    )
    lab = quakes("mode: upsert, incremental: {param: since, property: updated, format: epochMillis}")
    for _ in range(3):
        load(lab)
    assert [asked.params.get("since") for asked in remote.asked] == [None, "1772323200000", "1772409600000"]


def test_a_mark_outlives_the_records_that_it_came_from(remote: RemoteApi, quakes: Callable[[str], Lab]) -> None:
    remote.play(Reply([{"id": 1, "updated": "2026-03-01T00:00:00Z"}]), Reply([]))
    lab = quakes("mode: append, incremental: {param: since, property: updated, format: date}")
    load(lab)
    load(lab)
    lab.rows("DELETE FROM quakes_v1.quakes RETURNING id")
    load(lab)
    assert [asked.params.get("since") for asked in remote.asked] == [None, "2026-02-28", "2026-02-28"]


def fails(report: LoadReport, *words: str) -> bool:
    """Whether the load failed with these words, and none that tell too much."""
    assert report.status == "failed", report
    assert report.error
    assert CANARY not in report.error
    assert all(word in report.error for word in words), report.error
    return True


@pytest.mark.sampled
@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(remote: RemoteApi, quakes: Callable[[str], Lab], status: int) -> None:
    remote.play(Reply(status=status), Reply(status=status), Reply([{"id": 1}]))
    lab = quakes("mode: snapshot")
    assert load(lab).status == "published"
    assert len(remote.asked) == 3


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(b"trouble " + CANARY.encode(), status=503), "answered 503 Service Unavailable. (3 times)"),
        (Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[{"), "was interrupted, or is not valid HTTP"),
        (
            Reply(raw=b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[{"id'),
            "was interrupted, or is not valid HTTP",
        ),
        (Reply(raw=b"SSH-2.0-OpenSSH_9\r\n"), "was interrupted, or is not valid HTTP"),
        (Reply(raw=b""), "was interrupted, or is not valid HTTP"),
        (Reply(b'[{"id": 1}, {"id": 2}'), "returned incomplete JSON"),
        (Reply(b'[{"id": 1}, {"id'), "returned incomplete JSON"),
        (Reply(b"[" + b'{"id": 1},' * 1000), "returned incomplete JSON"),
        (
            Reply(gzip.compress(b"[]")[:-9], headers={"Content-Encoding": "gzip"}),
            "was interrupted, or is not valid HTTP",
        ),
        (Reply(b"no gzip", headers={"Content-Encoding": "gzip"}), "was interrupted, or is not valid HTTP"),
    ],
)
def test_what_does_not_pass_in_time_fails_the_load_for_now(
    remote: RemoteApi, quakes: Callable[[str], Lab], reply: Reply, words: str
) -> None:
    remote.play(reply)
    lab = quakes("mode: snapshot")
    report = load(lab)
    assert fails(report, words)
    assert report.error_code == "source_unavailable"
    assert len(remote.asked) == 3
    assert position(lab) is None


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("reply", "code", "words"),
    [
        (Reply(status=400), "source_unreadable", "answered 400 Bad Request"),
        (Reply(status=401), "source_unreadable", "a credential with access"),
        (Reply(status=403), "source_unreadable", "a credential with access"),
        (Reply(status=404), "source_missing", "answered 404 Not Found"),
        (Reply(status=202), "source_unreadable", "answered 202 Accepted"),
        (Reply(status=299), "source_unreadable", "answered 299"),
        (Reply(b"<!DOCTYPE html><p>Log in"), "source_unreadable", "a web page instead of json"),
        (Reply(b"..", headers={"Content-Encoding": "br"}), "source_unreadable", "encoding 'br'"),
    ],
)
def test_what_will_not_pass_is_not_tried_again(
    remote: RemoteApi, quakes: Callable[[str], Lab], reply: Reply, code: str, words: str
) -> None:
    remote.play(reply)
    report = load(quakes("mode: snapshot"))
    assert fails(report, words)
    assert report.error_code == code
    assert len(remote.asked) == 1


@pytest.mark.parametrize("after", ["7", "date", "0"])
def test_a_server_says_how_long_it_wants_to_be_left_alone(
    remote: RemoteApi, quakes: Callable[[str], Lab], monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    if after == "date":
        after = format_datetime(datetime.now(UTC) + timedelta(seconds=9), usegmt=True)
    waited: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", waited.append)
    remote.play(Reply(status=429, headers={"Retry-After": after}), Reply([{"id": 1}]))
    assert load(quakes("mode: snapshot")).status == "published"
    waits = [seconds for seconds in waited if seconds > 0]
    if after == "0":
        assert sum(waits) < 1
    else:
        assert any(6 <= seconds <= 9.5 for seconds in waits)


def test_who_wants_to_be_left_alone_for_too_long_is_left_to_the_next_load(
    remote: RemoteApi, quakes: Callable[[str], Lab]
) -> None:
    remote.play(Reply(status=503, headers={"Retry-After": "86400"}))
    report = load(quakes("mode: snapshot"))
    assert fails(report, "asks for a pause of 86,400 seconds")
    assert report.error_code == "source_unavailable"
    assert len(remote.asked) == 1


def test_requests_keep_the_pace_of_the_contract(
    remote: RemoteApi, quakes: Callable[[str], Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    clock = [1000.0]

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr(http_client.time, "sleep", sleep)
    monkeypatch.setattr(http_client.time, "monotonic", lambda: clock[0])
    give_pages(remote, "link")
    assert load(quakes("rateLimit: 2/second, pagination: {type: link}")).status == "published"
    assert [seconds for seconds in waited if seconds] == [0.5, 0.5]


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("pages", "words", "says"),
    [
        # The next page is the one before, under the same name.
        (lambda asked: {"data": [{"id": 1}], "next": "a"}, "pagination: {type: cursor, cursor: $.next}", "in a loop"),
        (
            lambda asked: {
                "data": [{"id": int(asked.params.get("cursor", 1))}],
                "next": 1 - int(asked.params.get("cursor", 1)),
            },
            "pagination: {type: cursor, cursor: $.next}",
            "in a loop",
        ),
        # The parameter is ignored: all pages are the first one.
        (
            lambda asked: {"data": [{"id": 1}]},
            "pagination: {type: page}",
            "is identical to an earlier page: pagination is in a loop",
        ),
        (
            lambda asked: {"data": [{"id": 1}]},
            "pagination: {type: offset}",
            "is identical to an earlier page: pagination is in a loop",
        ),
        # There is always one more.
        (
            lambda asked: {"data": [{"id": int(asked.params["page"])}]},
            "pagination: {type: page, maxPages: 5}",
            "has more than 5 pages",
        ),
        # The shape is another one.
        (lambda asked: {"items": [], "errors": []}, "pagination: {type: page}", "keys there are: items, errors"),
        (lambda asked: {"items": [], "errors": []}, "mode: snapshot", "keys there are: items, errors"),
        (
            lambda asked: {"data": [{"id": 1}]} if asked.params["page"] == "1" else {"error": "slow down"},
            "pagination: {type: page}",
            "page 2, has another structure: no 'data' at $; its keys there are: error",
        ),
        (
            lambda asked: {"data": [], "next": {}},
            "pagination: {type: cursor, cursor: $.next}",
            "is not a text, at $.next",
        ),
    ],
)
def test_pages_that_lead_nowhere_fail_the_load_and_nothing_moves(
    remote: RemoteApi, quakes: Callable[[str], Lab], pages: Callable[[Asked], Any], words: str, says: str
) -> None:
    remote.answer = lambda asked: Reply(pages(asked))
    lab = quakes(f'records: "$.data[*]", {words}')
    assert fails(load(lab), says)
    assert len(remote.asked) < 8
    assert position(lab) is None
    assert ids(lab) == []


@pytest.mark.sampled
@pytest.mark.parametrize(
    "link",
    [
        "http://127.0.0.1:1/v1/quakes?page=2",
        "http://localhost:{port}/v1/quakes?page=2",
        "https://example.org/v1/quakes",
        "//169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "http://user@127.0.0.1:{port}/v1",
        "http://[::1",
    ],
)
def test_the_next_page_is_never_on_another_server(remote: RemoteApi, quakes: Callable[[str], Lab], link: str) -> None:
    address = link.format(port=remote.port)
    remote.play(Reply([{"id": 1}], headers={"Link": f'<{address}>; rel="next"'}))
    assert fails(
        load(quakes("pagination: {type: link}")),
        "pages are only read from the contract's own server, with its encryption",
    )
    assert len(remote.asked) == 1


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1:1/",
        "http://127.1:1/",
        "http://2130706433:1/",
        "http://0x7f000001:1/",
        "http://0:1/",
        "http://localhost:1/",
        "http://[::1]:1/",
        "http://[::ffff:127.0.0.1]:1/",
        "http://10.0.0.1/",
        "http://192.168.1.1/",
        "http://172.16.0.1/",
        "http://100.64.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[fe80::1]/",
        "http://[fc00::1]/",
        "http://[64:ff9b::a00:1]/",
        "http://localhost:{port}/v1/quakes",  # the same machine, but not the name that the contract trusts
    ],
)
def test_redirects_to_private_addresses_are_not_followed(
    remote: RemoteApi, quakes: Callable[[str], Lab], target: str
) -> None:
    remote.play(Reply(status=302, headers={"Location": target.format(port=remote.port)}))
    report = load(quakes("mode: snapshot"))
    assert fails(report, "only the contract's own server may have such an address")
    assert report.error_code == "address_refused"
    assert len(remote.asked) == 1


def test_a_name_is_checked_by_the_address_that_is_connected_to(
    remote: RemoteApi, quakes: Callable[[str], Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo
    asked: list[str] = []

    def resolve(host: str, *args: Any, **more: Any) -> Any:
        asked.append(host)
        return real("10.0.0.1" if host == "rebound.example" else host, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    remote.play(Reply(status=307, headers={"Location": "http://rebound.example/"}))
    assert fails(load(quakes("mode: snapshot")), "rebound.example:80, which is a non-public address")
    assert asked.count("rebound.example") == 1


@pytest.mark.sampled
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_on_the_same_server_are_followed(
    remote: RemoteApi, quakes: Callable[[str], Lab], monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setenv("TOKEN", CANARY)
    remote.answer = lambda asked: (
        Reply([{"id": 1}]) if asked.path == "/v2/q" else Reply(status=status, headers={"Location": "/v2/q"})
    )
    lab = quakes("mode: snapshot, headers: {Authorization: 'Bearer ${TOKEN}'}")
    assert load(lab).status == "published"
    assert [asked.headers["authorization"] for asked in remote.asked] == [f"Bearer {CANARY}"] * 2


def test_redirects_elsewhere_take_no_credentials_along(
    remote: RemoteApi, quakes: Callable[[str], Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", CANARY)
    monkeypatch.setattr(addresses, "is_public", lambda address: True)  # as if the other server were on the net
    with run_remote_api() as other:
        other.play(Reply([{"id": 1}]))
        remote.play(Reply(status=302, headers={"Location": f"{other.url}/copy"}))
        words = (
            "mode: snapshot, headers: {Authorization: 'Bearer ${TOKEN}', X-Team: a}, params: {api_key: '${TOKEN}'}"
        )
        assert load(quakes(words)).status == "published"
        (asked,) = other.asked
        assert set(asked.headers) == {"host", "accept", "accept-encoding", "user-agent"}
        assert asked.params == {}
        remote.play(Reply(status=307, headers={"Location": f"{other.url}/copy"}))
        assert fails(
            load(quakes("method: POST, body: {a: 1}")), "redirects to another server, which must not receive the body"
        )
        assert len(other.asked) == 1


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("/v1/quakes", "redirects more than 5 times"),
        ("ftp://example.org/", "redirects to an address that is not plain http or https"),
        ("file:///etc/passwd", "redirects to an address that is not plain http or https"),
        ("http://a:b@example.org/", "redirects to an address that is not plain http or https"),
        ("http://[::1", "an invalid address"),
    ],
)
def test_redirects_that_lead_nowhere_fail(
    remote: RemoteApi, quakes: Callable[[str], Lab], target: str, words: str
) -> None:
    remote.play(Reply(status=302, headers={"Location": target}))
    assert fails(load(quakes("mode: snapshot")), words)
    assert len(remote.asked) <= 6


@pytest.mark.parametrize("packed", [True, False])
def test_an_answer_that_is_too_large_is_not_taken(
    remote: RemoteApi, make_lab: Callable[..., Lab], packed: bool
) -> None:
    lab = make_lab(PAGED_QUAKES.format(input="mode: snapshot"), source_limit_bytes=1_000_000)
    body = b"[" + b" " * 30_000_000 + b"]"
    headers = {"Content-Encoding": "gzip"} if packed else {}
    remote.play(Reply(gzip.compress(body) if packed else body, headers=headers))
    assert load(lab).error_code == "source_too_large"
    assert list(lab.settings.work_folder.iterdir()) == []


@pytest.mark.slow
def test_a_bomb_is_not_unpacked(remote: RemoteApi, quakes: Callable[[str], Lab]) -> None:
    bomb = gzip.compress(b"[" + b" " * 200_000_000 + b"]")
    remote.play(Reply(bomb, headers={"Content-Encoding": "gzip"}))
    assert load(quakes("mode: snapshot")).error_code == "source_too_large"


def test_all_pages_together_are_held_to_the_limit(remote: RemoteApi, make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(PAGED_QUAKES.format(input="pagination: {type: page}"), source_limit_bytes=100_000)
    remote.answer = lambda asked: Reply([{"id": int(asked.params["page"]), "place": "x" * 30_000}])
    assert load(lab).error_code == "source_too_large"
    assert len(remote.asked) == 4


@contextmanager
def serve_drops(head: bytes, drop: bytes) -> Iterator[str]:
    """The address of a server that begins an answer and never ends it."""
    stop = threading.Event()

    def drip() -> None:
        with suppress(OSError), listener.accept()[0] as connection:
            connection.recv(10_000)
            connection.sendall(head)
            while not stop.wait(0.05):
                connection.sendall(drop)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        stop.set()
        thread.join(10)


@pytest.mark.parametrize(
    ("head", "drop"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b" "),
        (b"", b""),
    ],
)
def test_who_answers_drop_by_drop_is_not_waited_for(
    make_lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch, head: bytes, drop: bytes
) -> None:
    with serve_drops(head, drop) as url:
        monkeypatch.setenv("API_URL", url)
        loader = make_lab(PAGED_QUAKES.format(input="retries: 0, timeout: 1")).loader()
        started = time.monotonic()
        report = loader.run(loader.catalog.find("quakes.quakes")[0])
        assert fails(report, "timed out")
        assert 0.9 < time.monotonic() - started < 20


def test_secrets_are_sent_and_never_said(
    remote: RemoteApi,
    quakes: Callable[[str], Lab],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("TOKEN", CANARY)
    lab = quakes(
        "headers: {Authorization: 'Bearer ${TOKEN}'}, params: {api_key: '${TOKEN}'}, records: $.data,"
        " pagination: {type: page}"
    )
    remote.answer = lambda asked: (
        Reply({"data": [{"id": 1}]}) if asked.params["page"] == "1" else Reply({f"no {CANARY}": 1})
    )
    report = load(lab)
    assert fails(report, "page 2", "no ***")
    assert remote.asked[0].headers["authorization"] == f"Bearer {CANARY}"
    assert remote.asked[0].params["api_key"] == CANARY
    remote.answer = lambda asked: Reply(status=302, headers={"Location": f"http://10.0.0.1/{CANARY}"})
    assert fails(load(lab))
    remote.answer = lambda asked: Reply({"data": []} if asked.params["page"] == "2" else {"data": [{"id": 1}]})
    assert load(lab).status == "published"
    tables = [row[0] for row in lab.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'decant'")]
    for table in tables:
        assert CANARY not in str(lab.rows(f'SELECT * FROM decant."{table}"'))
    assert CANARY not in caplog.text


def test_a_variable_that_is_not_set_is_named(
    remote: RemoteApi, quakes: Callable[[str], Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = quakes("headers: {Authorization: 'Bearer ${NO_TOKEN}'}")
    assert fails(load(lab), "The environment variable NO_TOKEN is not set.")
    monkeypatch.setenv("NO_TOKEN", f"{CANARY}\nX-Other: 1")
    assert fails(load(lab), "The header Authorization contains line breaks")
    assert remote.asked == []


def test_a_variable_in_the_path_does_not_lead_out_of_it(
    remote: RemoteApi, make_lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = make_lab(PAGED_QUAKES.format(input="mode: snapshot").replace("path: quakes", "path: 'of/${WHERE}/quakes'"))
    remote.play(Reply([{"id": 1}]))
    monkeypatch.setenv("WHERE", "a/b?c#d")
    assert load(lab).status == "published"
    assert remote.asked[0].path == "/v1/of/a%2Fb%3Fc%23d/quakes"
    monkeypatch.setenv("WHERE", "..")
    assert fails(load(lab), "is above the server's address")


def test_a_server_that_is_not_there_is_unavailable(
    quakes: Callable[[str], Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_client, "FIRST_WAIT", 0.01)
    for url in ("http://127.0.0.1:1", "http://no-such-host.invalid"):
        monkeypatch.setenv("API_URL", url)
        report = load(quakes("mode: snapshot"))
        assert fails(report, "cannot be reached")
        assert report.error_code == "source_unavailable"


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for `localhost` that nobody else vouches for, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    path = tmp_path / "certificate.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(serialization.Encoding.PEM, form, plain)
    )
    return path


def test_over_tls_the_name_must_be_the_certificates_own(
    quakes: Callable[[str], Lab], monkeypatch: pytest.MonkeyPatch, certificate: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with run_remote_api(secured=context) as secure:
        monkeypatch.setenv("API_URL", secure.url)
        lab = quakes("mode: snapshot")
        secure.play(Reply([{"id": 1}]))
        assert fails(load(lab), "has an invalid certificate")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert load(lab).status == "published"
        monkeypatch.setenv("API_URL", secure.url.replace("localhost", "127.0.0.1"))
        assert fails(load(lab), "has an invalid certificate")
        monkeypatch.setenv("API_URL", secure.url)
        secure.play(Reply(status=302, headers={"Location": "http://example.org/"}))
        assert fails(load(lab), "from https to http")
        assert {asked.path for asked in secure.asked} == {"/v1/quakes"}
        assert len(secure.asked) == 2


def test_a_server_may_have_an_address_of_ipv6(quakes: Callable[[str], Lab], monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    with run_remote_api("::1") as remote:
        monkeypatch.setenv("API_URL", f"http://[::1]:{remote.port}")
        give_pages(remote, "link")
        assert load(quakes("pagination: {type: link}")).status == "published"


def test_nothing_is_left_behind(remote: RemoteApi, quakes: Callable[[str], Lab]) -> None:
    give_pages(remote, "link")
    lab = quakes("pagination: {type: link}")
    load(lab)
    assert list(lab.settings.work_folder.iterdir()) == []
