"""Profiles of earlier revisions over HTTP: paged, and as far as the caller sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest

from ingest.inspection.column_statistics import refresh_profiles
from runtime.postgres.database import make_engine
from tests.support.lab import PEOPLE, Lab

HISTORY = "/data/people/v1/people/profile/history"
BORN = "{name: born, logicalType: date"
MASKED = PEOPLE.replace(BORN, f"{BORN}, classification: restricted")


def load_three(make_lab: Callable[..., Lab]) -> Lab:
    """Three revisions, the second without a profile; dates of birth are not for everybody."""
    assert MASKED != PEOPLE
    lab = make_lab(MASKED)
    for ages, profiled in (((1, 2), True), ((5, 5), False), (("", 7), True)):
        rows = "".join(f"{n},a,{age},1990-01-0{n + 1}\n" for n, age in enumerate(ages))
        lab.ingest("people.people", "id,name,age,born\n" + rows)
        if profiled:
            refresh_profiles(make_engine(lab.urls.ingest), lab.loader().tables, lab.catalog.datasets())
    return lab


@pytest.fixture
def client(product: Callable[..., Lab]) -> Iterator[httpx.Client]:
    with product(load_three).serve() as client:
        yield client


@pytest.mark.slow
def test_the_revisions_that_were_profiled_are_listed_newest_first(client: httpx.Client) -> None:
    answer = client.get(HISTORY)
    body = answer.json()
    assert (answer.status_code, body["next"]) == (200, None)
    assert [(each["revision"], each["record_count"]) for each in body["data"]] == [(3, 2), (1, 2)]
    newest, oldest = ({each["property"]: each for each in entry["properties"]} for entry in body["data"])
    age = {"property": "age", "nulls": 1, "distinct": 1, "minimum": 7, "maximum": 7, "mean": 7}
    assert newest["age"] == age
    assert oldest["age"] == age | {"nulls": 0, "distinct": 2, "minimum": 1, "maximum": 2, "mean": 1.5}
    assert client.get(HISTORY, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304


@pytest.mark.slow
def test_what_the_caller_does_not_see_has_no_figures(client: httpx.Client) -> None:
    for entry in client.get(HISTORY).json()["data"]:
        assert [each["property"] for each in entry["properties"]] == ["id", "name", "age"]


@pytest.mark.slow
def test_a_page_leads_to_the_next(client: httpx.Client) -> None:
    first = client.get(HISTORY, params={"limit": 1}).json()
    assert [each["revision"] for each in first["data"]] == [3]
    second = client.get(first["next"]).json()
    assert ([each["revision"] for each in second["data"]], second["next"]) == ([1], None)
    assert client.get(HISTORY, params={"before": 1}).json() == {"data": [], "next": None}


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("limit=0", "limit_out_of_range"),
        ("limit=1001", "limit_out_of_range"),
        ("before=x", "invalid_value"),
        ("before=-1", "invalid_value"),
        ("before=1&before=2", "duplicate_parameter"),
        ("at=1", "unknown_parameter"),
    ],
)
def test_a_question_that_is_none_is_refused(client: httpx.Client, query: str, code: str) -> None:
    answer = client.get(f"{HISTORY}?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, code)


def test_a_dataset_that_is_not_there_has_none(client: httpx.Client) -> None:
    assert client.get(HISTORY.replace("people/profile", "pets/profile")).status_code == 404


@pytest.mark.slow
@pytest.mark.alone
def test_revisions_that_history_no_longer_reaches_are_not_shown(product: Callable[..., Lab]) -> None:
    lab = product(load_three)
    lab.rows("UPDATE decant.datasets SET oldest_revision = 2 RETURNING 1")
    with lab.serve() as client:
        assert [each["revision"] for each in client.get(HISTORY).json()["data"]] == [3]
