"""Walks: whatever the records hold, each `next` is short, is taken back, and leads to every record once."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from api.query.cursor import Cursor, encode_cursor, longest_cursor, open_key, shorten_key, truncate_key_text
from tests.support.lab import Lab, walk

NOTES = """
apiVersion: v3.1.0
kind: DataContract
id: notes
name: Notes
version: 1.0.0
status: active
servers:
  - {server: here, type: local, path: "${DECANT_DATA}", format: json}
schema:
  - name: notes
    customProperties:
      - {property: input, value: {server: here, path: notes.json, mode: snapshot, nullValues: []}}
      - {property: maxDeleted, value: 100}
    properties:
      - {name: area, logicalType: string, primaryKey: true, primaryKeyPosition: 1}
      - {name: code, logicalType: integer, physicalType: bigint, primaryKey: true, primaryKeyPosition: 2}
      - {name: note, logicalType: string}
      - {name: size, logicalType: number, customProperties: [{property: indexed, value: true}]}
      - {name: seen, logicalType: timestamp}
      - {name: secret, logicalType: string, classification: restricted}
roles:
  - {role: "notes:read", access: read, customProperties: [{property: anonymous, value: true}]}
"""
URL = "/data/notes/v1/notes"
LONG = "0123456789" * 500  # compressible, so that an index takes it


def make_notes() -> list[dict[str, Any]]:
    """Keys and notes of all lengths, many alike in their first thousands of characters."""
    source = random.Random(5)
    areas = ["a", "é" * 200, LONG + "x", LONG + "y", "\\\"'" * 100, LONG, "", "%2C,+&=", "\U0001f600" * 61, "z" * 241]
    return [
        {
            "area": areas[index % len(areas)],
            "code": str(2**53 + index),
            "note": source.choice([None, "", "x" * 9000 + str(index % 3), "日本" * 3000, "short"]),
            "size": source.choice([None, 0.1, 1e22, -2.5, float(index)]),
            "seen": source.choice([None, "2020-01-01T00:00:00Z", "2020-01-01T00:00:00.000001Z"]),
            "secret": str(index),
        }
        for index in range(60)
    ]


@pytest.fixture
def lab(make_lab: Callable[..., Lab]) -> Lab:
    lab = make_lab(NOTES)
    assert lab.ingest("notes.notes", json.dumps(make_notes()), "notes.json").status == "published"
    return lab


@pytest.fixture
def client(lab: Lab) -> Iterator[httpx.Client]:
    with lab.serve() as client:
        yield client


WALKS = [
    "records?limit=7",
    "records?limit=7&sort=note",
    "records?limit=7&sort=-note,size",
    "records?limit=5&sort=size",
    "records?limit=5&sort=-size",
    "records?limit=7&sort=-size,-note,seen",
    "records?limit=7&sort=-seen,note&size[gte]=0",
    "records?limit=7&sort=-area,note",
    "records?limit=7&sort=-code",
    "changes?limit=7&since=0",
    "aggregate?limit=7&group_by=area,code&measure=max:note,count&sort=-max_note",
    "aggregate?limit=7&group_by=note,size&measure=count",
]


def test_walks_see_their_revision_once_while_others_are_published(lab: Lab, client: httpx.Client) -> None:
    notes = make_notes()
    whole = [
        client.get(f"{URL}/{address.replace('limit=5', 'limit=1000').replace('limit=7', 'limit=1000')}").json()[
            "data"
        ]
        for address in WALKS
    ]
    assert all(len(records) > 5 for records in whole)
    seen: list[list[Any]] = [[] for _ in WALKS]
    following: list[str | None] = [f"{URL}/{address}" for address in WALKS]
    for turn in range(30):
        for index, url in enumerate(following):
            if url is None:
                continue
            answer = client.get(url)
            assert answer.status_code == 200, answer.text
            seen[index] += answer.json()["data"]
            following[index] = answer.json()["next"]
            # However long the texts, the address of the next page is not.
            assert len(following[index] or "") < 700
        if not any(following):
            break
        if turn in {0, 1, 3}:
            # The revision of the walks is then one publication old, then two, then three; their places are gone.
            for note in notes[turn::3]:
                note["note"] = f"turn {turn}"
                note["size"] = turn
            assert lab.ingest("notes.notes", json.dumps(notes[turn + 3 :]), "notes.json").status == "published"
    assert seen == whole


def test_a_cursor_tells_nothing_but_the_key_and_is_of_one_query_and_one_view(client: httpx.Client) -> None:
    following = client.get(f"{URL}/records?limit=7&sort=note").json()["next"]
    cursor = following.partition("cursor=")[2]
    for other in ("sort=-note", "sort=size", "sort=note&properties=note", "sort=note&size[gte]=0"):
        answer = client.get(f"{URL}/records?{other}&cursor={cursor}")
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_cursor")
    # The name of the parameter may be encoded too: it still stands once in `next`.
    again = client.get(f"{URL}/records?limit=7&sort=note&%63ursor={cursor}").json()["next"]
    assert client.get(again).status_code == 200


def test_a_place_that_is_no_longer_there_is_gone_and_no_end_of_the_walk(lab: Lab, client: httpx.Client) -> None:
    following = client.get(f"{URL}/records?limit=7&sort=note").json()["next"]
    lab.rows("DELETE FROM notes_v1.notes RETURNING NULL")
    answer = client.get(following)
    assert (answer.status_code, answer.json()["code"]) == (410, "revision_gone")


@pytest.mark.slow
def test_long_addresses_are_refused_at_once_or_walked_to_their_end(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(NOTES, url_limit_bytes=900)
    assert lab.ingest("notes.notes", json.dumps(make_notes()), "notes.json").status == "published"
    outcomes = []
    with lab.serve() as client:
        for length in (100, 250, 300, 310, 320, 330, 340, 350, 360, 400, 600, 840, 900):
            for kind in (
                "records?limit=25&sort=size,note",
                "changes?since=0&limit=25",
                "aggregate?group_by=code&limit=25",
            ):
                parameter = "properties" if kind.startswith("changes") else "area[ne]"
                value = "note" + ",note" * (length // 5) if kind.startswith("changes") else "q" * length
                url = f"{URL}/{kind}&{parameter}={value}"
                answer = client.get(url)
                if answer.status_code == 414:
                    assert answer.json()["code"] == "uri_too_long"
                    outcomes.append("refused")
                    continue
                assert len(walk(client, url)) == 60
                outcomes.append("walked")
    assert {"refused", "walked"} == set(outcomes)


@pytest.mark.slow
def test_a_link_is_given_only_where_proxies_take_it(client: httpx.Client) -> None:
    for length in (100, 2000, 2900, 5000):
        url = f"{URL}/records?limit=7&area[ne]={'q' * length}"
        answer = client.get(url)
        following = answer.json()["next"]
        assert len(walk(client, url)) == 60
        header = answer.headers.get("link")
        assert header == (f'<{following}>; rel="next"' if len(following) <= 3000 else None)
        for form in ("text/csv", "application/x-ndjson"):
            lines = client.get(url, headers={"Accept": form})
            # Without a place for `next`, a walk would end unnoticed: it is not begun.
            assert lines.status_code == (414 if length >= 2900 else 200)
            assert lines.status_code == 414 or "link" in lines.headers


def test_an_export_leads_to_no_address_that_is_too_long(client: httpx.Client) -> None:
    for times, status in ((1, 307), (500, 307), (610, 200), (1600, 200)):
        answer = client.get(f"{URL}/export?format=csv&properties=code{',code' * times}")
        assert answer.status_code == status
        assert status == 200 or client.get(answer.headers["location"]).status_code == 200
    epoch = client.get(f"{URL}/records?limit=1").headers["decant-epoch"]
    again = client.get(f"{URL}/export?format=csv&epoch={epoch}", follow_redirects=True)
    assert (again.status_code, len(again.history)) == (200, 1)


@pytest.mark.parametrize("texts", [1, 2, 7, 30])
def test_no_cursor_is_longer_than_is_said(texts: int) -> None:
    worst = ["\x01" * 5000, "\U0001f600" * 300, '"\\' * 900, "a" * 241, "日" * 81]
    for value in worst:
        key = shorten_key([value] * texts + ["9" * 38], [True] * texts + [False])
        cursor = Cursor("e" * 8, (10**18,) * 3, "f" * 16, (2**40 - 1, *key))
        assert len(encode_cursor(cursor, b"secret")) <= longest_cursor(3, 40, [True] * texts + [False])
        for part in open_key(key[:texts]):
            assert value.startswith(part.text)
            assert part.digest is not None
    assert truncate_key_text("é" * 120, 240) == "é" * 120
