"""Freshness: the command line, the API and metrics say the same of every dataset, whatever its contract names."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from catalog.status.dataset_status import read_status
from catalog.storage.dataset_tables import build_tables
from runtime.postgres.database import make_engine
from tests.support.lab import PEOPLE, Lab

PROMISE = "slaProperties:\n  - {property: latency, value: 2, unit: d%s}\nschema:"
LINE = "id,name,age,born\n1,Ann,30,%s\n"
GAUGE = re.compile(r'^decant_dataset_(\w+)\{dataset="people",major="1",product="people"\} (\S+)$', re.M)


def compare(lab: Lab) -> tuple[bool | None, datetime | None]:
    """Whether the dataset is fresh and since when it is current, as all three say it."""
    tables = build_tables(lab.catalog.products.values())
    now = datetime.now(UTC)
    (row,) = read_status(make_engine(lab.urls.read), lab.catalog, tables, lab.catalog.find(None), now)
    since = row["newest"] or row["current_at"]
    with lab.serve() as client:
        said: dict[str, Any] = client.get("/data/people/v1/people").json()["data"]["freshness"]
        scraped = dict(GAUGE.findall(client.get("/metrics").text))
    assert said["fresh"] == row["fresh"]
    assert said["latency_seconds"] == row["latency_seconds"]
    told = said["newest_at"] or said["current_at"]
    assert (datetime.fromisoformat(told) if told else None) == since
    assert scraped.get("fresh") == (None if row["fresh"] is None else str(float(row["fresh"])))
    assert float(scraped.get("freshness_limit_seconds", "nan")) == pytest.approx(172_800) or row["fresh"] is None
    assert ("current_timestamp_seconds" in scraped) == (since is not None)
    if since is not None:
        assert float(scraped["current_timestamp_seconds"]) == pytest.approx(since.timestamp(), abs=0.001)
    return row["fresh"], since


def test_a_dataset_is_as_fresh_as_its_newest_timestamp_says_and_not_as_its_last_load(
    make_lab: Callable[..., Lab],
) -> None:
    lab = make_lab(PEOPLE.replace("schema:", PROMISE % ", element: people.born"), metrics_open=True)
    today = datetime.now(UTC).date()
    lab.ingest("people.people", LINE % (today - timedelta(days=9)))
    fresh, since = compare(lab)
    assert fresh is False, "loaded just now, and nine days behind"
    assert since is not None
    assert since.date() == today - timedelta(days=9)
    lab.ingest("people.people", LINE % today)
    assert compare(lab)[0] is True


@pytest.mark.slow
def test_a_dataset_that_is_looked_at_is_fresh_however_old_its_last_change_is(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(PEOPLE.replace("schema:", PROMISE % ""), metrics_open=True)
    assert compare(lab) == (False, None), "never loaded"
    lab.ingest("people.people", LINE % "2001-01-01")
    lab.rows("UPDATE decant.datasets SET published_at = now() - interval '30 days' RETURNING 1")
    lab.rows("UPDATE decant.input_states SET last_success = now() - interval '30 days' RETURNING 1")
    assert compare(lab)[0] is False
    assert lab.ingest("people.people").status == "unchanged"
    assert compare(lab)[0] is True


@pytest.mark.slow
@pytest.mark.parametrize(("newest", "is_fresh"), [("2013-12-31", True), ("2013-12-29", False)])
def test_a_dataset_whose_data_has_ended_is_late_only_where_its_end_is_missing(
    make_lab: Callable[..., Lab], newest: str, is_fresh: bool
) -> None:
    promise = PROMISE.replace("schema:", "  - {property: endOfData, value: 2014-01-01}\nschema:")
    lab = make_lab(PEOPLE.replace("schema:", promise % ", element: people.born"), metrics_open=True)
    lab.ingest("people.people", LINE % newest)
    assert compare(lab)[0] is is_fresh
    with lab.serve() as client:
        said = client.get("/data/people/v1/people").json()["data"]["freshness"]
        assert said["end_of_data"] == "2014-01-01T00:00:00Z"
        page = client.get("/browse/people/v1/people").text
        assert ("no records are expected after" in page) is is_fresh
        assert client.get("/data?fresh=true").json()["facets"]["fresh"] == [{"value": is_fresh, "count": 1}]
