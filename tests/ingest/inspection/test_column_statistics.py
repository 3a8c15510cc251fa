"""Profiles, held against the records that they are of."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from catalog.model.load_request import Erase
from ingest.inspection.column_statistics import (
    FAILURES,
    PAST_PROFILES,
    Behind,
    Failures,
    keep_profile,
    refresh_profiles,
)
from ingest.loading.load_report import LoadReport
from runtime.postgres.database import make_engine
from tests.support.lab import PEOPLE, Lab

MIXED = """
apiVersion: v3.1.0
kind: DataContract
id: mixed
name: Mixed
version: 1.0.0
status: active
servers:
  - {server: here, type: local, path: "${DECANT_DATA}", format: ndjson}
schema:
  - name: things
    customProperties:
      - {property: input, value: {server: here, path: things.ndjson, format: ndjson, mode: snapshot}}
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: price, logicalType: number, physicalType: "numeric(12,2)"}
      - {name: ratio, logicalType: number}
      - {name: on, logicalType: boolean}
      - {name: day, logicalType: date}
      - {name: seen, logicalType: timestamp}
      - {name: code, logicalType: string, physicalType: uuid}
      - {name: tags, logicalType: array, physicalType: "text[]"}
      - {name: more, logicalType: object}
      - {name: text, logicalType: string}
"""

PETS = PEOPLE.replace("people", "pets")


def profile_of(lab: Lab, name: str) -> dict[str, Any] | None:
    """The profile of a dataset as the ledger keeps it."""
    with psycopg.connect(lab.urls.owner) as connection:
        row = connection.execute(
            "SELECT p.revision, p.record_count, p.properties FROM decant.profiles p JOIN decant.datasets d"
            " ON d.id = p.dataset_id WHERE d.dataset = %s",
            (name,),
        ).fetchone()
    if row is None:
        return None
    return {"revision": row[0], "record_count": row[1], **{member["property"]: member for member in row[2]}}


def load(lab: Lab) -> LoadReport:
    """What became of loading the only dataset."""
    return lab.loader().run(lab.catalog.datasets()[0])


def refresh(lab: Lab, **options: Any) -> list[str]:
    """What got a new profile."""
    return refresh_profiles(make_engine(lab.urls.ingest), lab.loader().tables, lab.catalog.datasets(), **options)


def test_a_profile_holds_the_figures_that_the_records_have(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(PEOPLE)
    ages = [None if n % 7 == 0 else (n * n) % 90 for n in range(500)]
    rows = [f"{n},name {n % 5},{'' if age is None else age},19{n % 90:02}-01-02" for n, age in enumerate(ages)]
    lab.write("people.csv", "id,name,age,born\n" + "\n".join(rows) + "\n")
    assert load(lab).status == "published"
    assert refresh(lab) == ["people@1.people"]
    assert refresh(lab) == []
    profile = profile_of(lab, "people")
    assert profile is not None
    known = [age for age in ages if age is not None]
    assert (profile["revision"], profile["record_count"]) == (1, 500)
    age = profile["age"]
    assert age["nulls"] == ages.count(None)
    assert (age["distinct"], age["minimum"], age["maximum"]) == (len(set(known)), min(known), max(known))
    counted = sorted(Counter(known).items(), key=lambda pair: (-pair[1], pair[0]))[:10]
    assert [(entry["value"], entry["records"]) for entry in age["most_frequent"]] == counted
    width = (max(known) - min(known)) / 20
    expected = Counter(min(math.floor((value - min(known)) / width), 19) for value in known)
    assert [bucket["records"] for bucket in age["histogram"]] == [expected[place] for place in range(20)]
    assert age["histogram"][0]["from"] == min(known)
    assert age["histogram"][-1]["to"] == max(known)
    assert profile["id"]["most_frequent"] == []
    assert profile["name"]["most_frequent"][0] == {"value": "name 0", "records": 100}
    assert "histogram" not in profile["name"]
    assert sum(bucket["records"] for bucket in profile["born"]["histogram"]) == 500
    assert (profile["born"]["minimum"], profile["born"]["maximum"]) == ("1900-01-02", "1989-01-02")


@pytest.mark.slow
def test_every_type_has_a_profile(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(MIXED)
    first = (
        '{"id": 1, "price": "9007199254740993.25", "ratio": 0.5, "on": true, "day": "2024-01-01",'
        ' "seen": "2024-01-01T10:00:00Z", "code": "8b6f3c1e-0c4b-4a53-9d8a-1f1f6f0f3a10", "tags": ["a"],'
        f' "more": {{"a": 1}}, "text": "{"x" * 201}"}}'
    )
    lab.write("things.ndjson", first.replace("9007199254740993", "9999999999") + '\n{"id": 2}\n')
    assert load(lab).status == "published"
    refresh(lab)
    profile = profile_of(lab, "things")
    assert profile is not None
    for name in ("price", "ratio", "on", "day", "seen", "code", "tags", "more", "text"):
        assert (profile[name]["nulls"], profile[name]["distinct"]) == (1, 1), name
    assert profile["price"]["maximum"] == "9999999999.25"
    assert profile["price"]["histogram"] is None
    assert profile["text"]["minimum"] is None
    assert profile["text"]["most_frequent"] is None
    assert "minimum" not in profile["code"]


def test_a_profile_of_an_ended_revision_is_not_kept(lab: Lab) -> None:
    lab.write("people.csv", "id,name,age,born\n1,a,1,2000-01-01\n")
    load(lab)
    engine = make_engine(lab.urls.ingest)
    with psycopg.connect(lab.urls.owner, autocommit=True) as connection:
        found = connection.execute("UPDATE decant.datasets SET oldest_revision = 2 RETURNING id").fetchone()
    assert found is not None
    facts = {"revision": 1, "record_count": 1, "properties": [], "seconds": 0.1}
    assert keep_profile(engine, found[0], facts) is False
    assert keep_profile(engine, found[0], facts | {"revision": 2}) is True


def test_an_older_profile_never_takes_the_place_of_a_newer_one(lab: Lab) -> None:
    lab.write("people.csv", "id,name,age,born\n1,a,1,2000-01-01\n")
    load(lab)
    engine = make_engine(lab.urls.ingest)
    facts = {"revision": 5, "record_count": 1, "properties": [], "seconds": 0.1}
    assert keep_profile(engine, 1, facts) is True
    assert keep_profile(engine, 1, facts | {"revision": 4}) is False


def test_an_erasure_takes_the_profile_along(lab: Lab) -> None:
    lab.write("people.csv", "id,name,age,born\n1,a,99,2000-01-01\n2,b,5,2001-01-01\n")
    load(lab)
    refresh(lab)
    loader = lab.loader()
    assert loader.run(lab.catalog.datasets()[0], request=Erase(("1",))).status == "published"
    assert profile_of(lab, "people") is None
    refresh(lab)
    profile = profile_of(lab, "people")
    assert profile is not None
    assert profile["age"]["maximum"] == 5


@pytest.mark.sampled
@pytest.mark.parametrize(("seconds", "made"), [(0.0, 1), (1000.0, 0)])
def test_a_costly_profile_is_made_anew_later(lab: Lab, seconds: float, made: int) -> None:
    lab.write("people.csv", "id,name,age,born\n1,a,99,2000-01-01\n")
    load(lab)
    refresh(lab)
    with psycopg.connect(lab.urls.owner, autocommit=True) as connection:
        connection.execute("UPDATE decant.profiles SET seconds = %s", (seconds,))
    lab.write("people.csv", "id,name,age,born\n1,a,98,2000-01-01\n")
    load(lab)
    assert len(refresh(lab, thrifty=True)) == made


@pytest.mark.slow
def test_a_profile_that_always_fails_is_tried_again_later_and_later_and_told_once_a_revision(
    make_lab: Callable[..., Lab], caplog: pytest.LogCaptureFixture
) -> None:
    lab = make_lab(PEOPLE, PETS)
    for name in ("people", "pets"):
        assert lab.ingest(f"{name}.{name}", "id,name,age,born\n1,Ann,30,\n", f"{name}.csv").status == "published"
    engine, now, tried = make_engine(lab.urls.ingest), 0.0, []

    @sa.event.listens_for(engine, "before_cursor_execute")
    def note(connection: Any, cursor: Any, statement: str, *more: Any) -> None:
        if "people_v1" in statement and "jsonb_build_object" in statement:
            tried.append(now)

    def look(**options: Any) -> list[str]:
        return refresh_profiles(engine, lab.loader().tables, lab.catalog.datasets(), clock=lambda: now, **options)

    with psycopg.connect(lab.urls.owner, autocommit=True) as connection:
        connection.execute("REVOKE SELECT ON people_v1.people FROM decant_ingest")
    with caplog.at_level("WARNING", "decant.profiles"):
        for second in range(0, 400, 2):  # as often as a worker looks
            now = float(second)
            look(thrifty=True)
    assert tried == [0, 10, 30, 70, 150, 310]
    assert profile_of(lab, "pets")
    (record,) = caplog.records
    assert "profile_failed" in record.getMessage()
    # Another revision is told of anew; the pause stays as long as it has become.
    with psycopg.connect(lab.urls.owner, autocommit=True) as connection:
        connection.execute("UPDATE decant.datasets SET revision = 2 WHERE dataset = 'people'")
    with caplog.at_level("WARNING", "decant.profiles"):
        now = 500.0
        assert look(thrifty=True) == []
        assert tried[-1] == 310
        now = 630.0
        look(thrifty=True)
    assert (tried[-1], len(caplog.records)) == (630, 2)
    # Whoever asks for it by name waits for nothing, and what is mended is done with.
    with psycopg.connect(lab.urls.owner, autocommit=True) as connection:
        connection.execute("GRANT SELECT ON people_v1.people TO decant_ingest")
    assert look() == ["people@1.people"]
    assert engine in FAILURES
    assert FAILURES[engine] == {}


@pytest.mark.parametrize(
    ("times", "seconds", "pause"), [(0, 0.1, 10), (3, 0.1, 80), (30, 0.1, 3600), (9999, 0.1, 3600), (0, 600, 12000)]
)
def test_pauses_grow_to_an_hour_and_with_what_a_failure_costs(times: int, seconds: float, pause: float) -> None:
    failed = Failures(times)
    failed.note(Behind(1, SimpleNamespace(address="a@1.a"), 1), ValueError(), seconds, 100.0)  # type: ignore[arg-type]
    assert (failed.times, failed.due) == (times + 1, 100 + pause)


def past_of(lab: Lab) -> list[tuple[Any, ...]]:
    """(revision, record count, figures of `age`) of each kept revision, newest first."""
    rows = lab.rows("SELECT revision, record_count, properties FROM decant.profile_history ORDER BY 1 DESC")
    return [(row[0], row[1], next(each for each in row[2] if each["property"] == "age")) for row in rows]


@pytest.mark.slow
def test_few_figures_of_each_revision_are_kept_beside_the_profile(lab: Lab) -> None:
    for ages in ((1, 2), (1, 2, 6), ("", 7)):
        rows = "".join(f"{n},a,{age},\n" for n, age in enumerate(ages))
        lab.ingest("people.people", "id,name,age,born\n" + rows)
        refresh(lab)
    figures = {"property": "age", "nulls": 0, "distinct": 2, "minimum": 1, "maximum": 2, "mean": 1.5}
    assert past_of(lab) == [
        (3, 2, figures | {"nulls": 1, "distinct": 1, "minimum": 7, "maximum": 7, "mean": 7}),
        (2, 3, figures | {"distinct": 3, "maximum": 6, "mean": 3}),
        (1, 2, figures),
    ]
    assert refresh(lab) == []
    assert len(past_of(lab)) == 3
    # What history no longer reaches goes with the next profile, and an erasure takes all of them along.
    lab.rows("UPDATE decant.datasets SET oldest_revision = 3 RETURNING 1")
    lab.ingest("people.people", "id,name,age,born\n1,a,8,\n2,b,9,\n")
    refresh(lab)
    assert [row[0] for row in past_of(lab)] == [4, 3]
    assert lab.loader().run(lab.catalog.datasets()[0], request=Erase(("1",))).status == "published"
    assert past_of(lab) == []
    refresh(lab)
    assert [(row[0], row[2]["maximum"]) for row in past_of(lab)] == [(5, 9)]


@pytest.mark.slow
def test_the_figures_of_fifty_revisions_are_kept(lab: Lab) -> None:
    lab.ingest("people.people", "id,name,age,born\n1,a,1,2000-01-01\n")
    engine = make_engine(lab.urls.ingest)
    facts = {"record_count": 1, "properties": [{"property": "age", "nulls": 0}], "seconds": 0.1}
    for revision in range(1, PAST_PROFILES + 4):
        assert keep_profile(engine, 1, facts | {"revision": revision}) is True
    assert [row[0] for row in past_of(lab)] == list(range(PAST_PROFILES + 3, 3, -1))
    assert keep_profile(engine, 1, facts | {"revision": 9}) is False, "a newer one is there"
    assert len(past_of(lab)) == PAST_PROFILES


@pytest.mark.slow
def test_floats_have_a_mean_and_a_histogram_however_large_they_are(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(MIXED)
    lab.write("things.ndjson", '{"id": 1, "ratio": 1.5e308, "price": 0.1}\n{"id": 2, "ratio": 1.7e308}\n{"id": 3}\n')
    assert load(lab).status == "published"
    refresh(lab)
    profile = profile_of(lab, "things")
    assert profile is not None
    assert [float(profile[name]["mean"]) for name in ("id", "price", "ratio")] == [2, 0.1, 1.6e308]
    assert {"mean" in profile[name] for name in ("on", "day", "seen", "text", "tags")} == {False}
    assert [bucket["records"] for bucket in profile["ratio"]["histogram"]] == [1, *[0] * 18, 1]
    lab.write("things.ndjson", '{"id": 1, "ratio": -1.5e308}\n{"id": 2, "ratio": 1.7e308}\n')
    assert load(lab).status == "published"
    refresh(lab)
    profile = profile_of(lab, "things")
    assert profile is not None
    ratio = profile["ratio"]
    assert (float(ratio["mean"]), ratio["histogram"]) == (1e307, None), "too far apart for a width"
