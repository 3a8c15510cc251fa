"""Sizes of exports: exact for files that are kept, estimates that come near for the others."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from tests.support.keys import key_of
from tests.support.lab import PEOPLE, Lab

DATASET = "/data/people/v1/people"
PEOPLE_MANY = "id,name,age,born\n" + "".join(
    f"{n},Person {n},{n % 90},1990-01-{n % 28 + 1:02d}\n" for n in range(1, 1501)
)
YOUNG = PEOPLE.replace(
    "roles:\n",
    'roles:\n  - {role: young, access: read, customProperties: [{property: rows, value: "age < 40"}]}\n',
)
STREAMED, FILED = ("csv", "ndjson", "arrow"), ("parquet", "xlsx")


def sizes(client: httpx.Client) -> dict[str, tuple[int | None, bool]]:
    """The sizes by format."""
    answer = client.get(f"{DATASET}/sizes")
    assert answer.status_code == 200, answer.text
    return {each["format"]: (each["bytes"], each["exact"]) for each in answer.json()["data"]}


@pytest.mark.slow
def test_a_kept_file_has_its_exact_size_and_nothing_is_made_to_know_the_others(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab()
    with lab.serve() as client:
        assert set(sizes(client).values()) == {(None, False)}
        lab.ingest("people.people", PEOPLE_MANY)
        first = client.get(f"{DATASET}/sizes", headers={"Decant-Min-Revision": "1"})
        tag = first.headers["etag"]
        assert first.headers["decant-revision"] == "1"
        assert not any(exact for _, exact in sizes(client).values())
        files = lab.settings.exports_folder
        assert not [path for path in files.rglob("*") if path.is_file()] if files.exists() else True
        assert client.get(f"{DATASET}/sizes", headers={"If-None-Match": tag}).status_code == 304
        exported = {
            name: client.get(f"{DATASET}/export?format={name}", follow_redirects=True).content
            for name in (*STREAMED, *FILED)
        }
        found = sizes(client)
        for name in FILED:
            assert found[name] == (len(exported[name]), True)
        # What was told before is no longer so.
        assert client.get(f"{DATASET}/sizes", headers={"If-None-Match": tag}).status_code == 200
        for name in ("csv", "ndjson"):
            size, exact = found[name]
            assert not exact
            assert size == pytest.approx(len(exported[name]), rel=0.1)
        # The next revision has files of its own.
        lab.ingest("people.people", PEOPLE_MANY + "1501,Last,1,\n")
        after = client.get(f"{DATASET}/sizes", headers={"Decant-Min-Revision": "2"}).json()
        assert (after["revision"], {each["exact"] for each in after["data"]}) == (2, {False})


@pytest.mark.slow
@pytest.mark.parametrize("count", [3, 1500])
def test_estimates_come_near_for_few_records_too(make_lab: Callable[..., Lab], count: int) -> None:
    described = PEOPLE.replace("{name: name, ", "{name: name, description: What somebody is called in the register, ")
    assert described != PEOPLE
    lab = make_lab(described)
    lab.ingest("people.people", "".join(PEOPLE_MANY.splitlines(keepends=True)[: count + 1]))
    with lab.serve() as client:
        estimates = sizes(client)
        for name, (size, exact) in estimates.items():
            content = client.get(f"{DATASET}/export?format={name}", follow_redirects=True).content
            assert (name, exact) == (name, False)
            assert (name, size) == (name, pytest.approx(len(content), rel=0.5))


def test_who_sees_some_records_is_not_told_how_many_there_are(make_lab: Callable[..., Lab]) -> None:
    closed = YOUNG.replace('  - {role: "people:read"', '  - {role: "people:all"').replace(
        "access: read, customProperties: [{property: anonymous, value: true}]", "access: read"
    )
    lab = make_lab(closed)
    lab.ingest("people.people", PEOPLE_MANY)
    with lab.serve() as client:
        client.headers.update(key_of(lab, "people:role:young"))
        assert set(sizes(client).values()) == {(None, False)}
        mine = client.get(f"{DATASET}/export?format=parquet", follow_redirects=True).content
        assert sizes(client)["parquet"] == (len(mine), True)
        client.headers.update(key_of(lab, "people:read"))
        whole = sizes(client)["parquet"]
        assert whole[1] is False
        assert whole[0]


def test_what_sizes_do_not_take_is_refused(make_lab: Callable[..., Lab]) -> None:
    with make_lab().serve() as client:
        for query in ("at=1", "format=csv", "age=3"):
            answer = client.get(f"{DATASET}/sizes?{query}")
            assert (answer.status_code, answer.json()["code"]) == (422, "unknown_parameter")
        assert client.get(f"{DATASET}/sizes", headers={"Accept": "text/csv"}).status_code == 406
        assert client.get("/data/people/v1/nothing/sizes").status_code == 404
