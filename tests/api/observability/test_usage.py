"""Usage: what callers asked for is summed, and nothing of it is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from api.observability.usage import ROWS_MAXIMUM, UsageLog
from runtime.postgres.pools import make_write_pool
from runtime.settings.settings import load_settings
from tests.support.keys import make_key
from tests.support.lab import PEOPLE, Lab

PLACE = ("key1", "people", 1, "people", "records")
SUMS = "SELECT principal, product, dataset, operation, requests::int, refused::int, bytes::int FROM decant.key_usage"


def test_requests_are_summed_by_principal_dataset_and_operation(lab: Lab) -> None:
    lab.ingest("people.people", "id,name,age,born\n1,Ann,30,1990-01-31\n")
    key = make_key(lab, "people:read")
    with lab.serve() as client:
        size = 0
        for _ in range(3):
            size += len(client.get("/data/people/v1/people/records", headers={"X-API-Key": key}).content)
        wrong = client.get("/data/people/v1/people/records?x=1", headers={"X-API-Key": key})
        size += len(wrong.content)
        client.get("/data/people/v1/invented/records")
        client.get("/livez")
    # The service has ended, and written what it knew.
    used = {row[:4]: row[4:] for row in lab.rows(SUMS)}
    assert used == {
        (key.split("_")[1], "people", "people", "records"): (4, 1, size),
        ("anonymous", "people", "", "records"): (1, 1, pytest.approx(260, abs=40)),
    }
    ((seen,),) = lab.rows("SELECT last_used_at IS NOT NULL FROM decant.api_keys")
    assert seen


def run(lab: Lab, use: Any, url: str | None = None) -> None:
    """Runs `use` with two logs on pools of their own."""

    async def main() -> None:
        settings = lab.settings if url is None else load_settings(pool_timeout_ms=50)
        pools = [make_write_pool(url or lab.urls.write, settings) for _ in range(2)]
        try:
            for pool in pools:
                await pool.open(wait=False)
            await use(*(UsageLog(pool) for pool in pools))
        finally:
            for pool in pools:
                await pool.close()

    asyncio.run(main())


def test_several_processes_add_up(lab: Lab) -> None:
    async def use(one: UsageLog, other: UsageLog) -> None:
        for log in (one, other, one):
            log.note(PLACE, 200, 10)
            log.note(PLACE, 404, 1, "not_found")
            log.note(PLACE, 429, 0, "rate_limited")
        await asyncio.gather(one.flush(), other.flush())
        one.note(PLACE, 200, 10)
        await one.flush()
        await one.flush()

    run(lab, use)
    assert lab.rows(SUMS) == [("key1", "people", "people", "records", 10, 6, 43)]
    assert lab.rows("SELECT code, requests::int FROM decant.key_refusals ORDER BY 1") == [
        ("not_found", 3),
        ("rate_limited", 3),
    ]


def test_what_could_not_be_written_is_kept(lab: Lab) -> None:
    async def use(one: UsageLog, _: UsageLog) -> None:
        one.note(PLACE, 200, 10)
        await one.flush()
        one.note(PLACE, 500, 5, "internal_error")
        kept = one.sums[PLACE]
        assert (kept.requests, kept.refused, kept.bytes, kept.refusals) == (2, 1, 15, {"internal_error": 1})

    run(lab, use, "postgresql://nobody@127.0.0.1:1/none")


def test_a_flood_of_names_is_bounded(lab: Lab) -> None:
    async def use(one: UsageLog, _: UsageLog) -> None:
        for number in range(ROWS_MAXIMUM + 50):
            one.note(("key1", "people", 1, f"d{number}", "records"), 404, 1, "not_found")
        assert len(one.sums) == ROWS_MAXIMUM + 1
        rest = one.sums["key1", "", 0, "", ""]
        assert (rest.requests, rest.refusals) == (50, {"not_found": 50})

    run(lab, use)


def test_usage_says_which_problems_refused_requests_got(
    make_lab: Callable[..., Lab],
) -> None:
    lab = make_lab(PEOPLE, rate_limit_default="20/hour")
    lab.ingest("people.people", "id,name,age,born\n1,Ann,30,1990-01-31\n")
    key, operator = make_key(lab, "people:read"), make_key(lab, "ops:read", name="ops")
    records = "/data/people/v1/people/records"
    with lab.serve() as client:
        for path in (records, f"{records}?x=1", f"{records}?y=1", f"{records}?limit=0", f"{records}/9", "/keys"):
            client.get(path, headers={"X-API-Key": key})
        # Pages say what is wrong in forms of their own: a page of its own, or beside the form.
        for path in ("/browse/people/v1/nothing", "/browse/people/v1/people/explore?x=1"):
            assert client.get(path, headers={"X-API-Key": key}).status_code in {404, 422}
        # A grant that ends unused, as a slot of the window does, leaves a caller one request less.
        statuses = [client.get(records, headers={"X-API-Key": key}).status_code for _ in range(14)]
        assert statuses == sorted(statuses)
        assert set(statuses) == {200, 429}
        assert client.get(records, headers={"X-API-Key": "x"}).status_code == 401
        client.get("/keys", headers={"X-API-Key": operator})
    # The service has ended, and written what it knew; another one reads it.
    with lab.serve() as client:
        rows = client.get("/operations/usage", headers={"X-API-Key": operator}).json()["data"]
        (own,) = client.get("/keys/self/usage", headers={"X-API-Key": operator}).json()["data"]
    assert own["refusals"] == {"insufficient_scope": 1}
    assert all(sum(row["refusals"].values()) == row["refused"] for row in rows)
    found = {(row["principal"], row["operation"]): row["refusals"] for row in rows}
    name = key.split("_")[1]
    assert found[name, "records"] == {
        "rate_limited": statuses.count(429),
        "unknown_parameter": 2,
        "limit_out_of_range": 1,
    }
    assert found[name, "record"] == {"record_not_found": 1}
    assert found[name, "get_keys"] == {"insufficient_scope": 1}
    assert found[name, "portal dataset"] == {"not_found": 1}
    assert found[name, "portal explore"] == {"unknown_parameter": 1}
    assert found["anonymous", "records"] == {"unauthorized": 1}
