"""Pushed events on their way into a dataset: each in exactly one batch, whatever happens to the load."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import httpx
import pytest

from catalog.model.load_request import PublishWithheld
from ingest.errors import SourceUnavailableError
from ingest.inputs import events as module
from ingest.ledger.loads import open_load
from ingest.loading.prune_datasets import prune_datasets
from tests.support.killed import run_killed
from tests.support.lab import Lab
from tests.support.load_steps import caller_of
from tests.support.pushing import READINGS, SENSORS, TABLE, make_key, outcomes, push


@pytest.fixture
def sensors(make_lab: Callable[..., Lab]) -> Lab:
    return make_lab(SENSORS)


@pytest.fixture
def headers(sensors: Lab) -> dict[str, str]:
    return make_key(sensors, "sensors:write", "sensors:read")


@pytest.fixture
def client(sensors: Lab) -> Iterator[httpx.Client]:
    with sensors.serve() as served:
        yield served


def current(lab: Lab) -> list[tuple[Any, ...]]:
    return lab.rows(f"SELECT id, value::text, note FROM {TABLE} ORDER BY id")


def account(lab: Lab) -> tuple[int, int]:
    """How many events lie in loads that ended well or withheld, and how many wait."""
    rows = lab.rows(
        "SELECT coalesce(l.status, 'waiting'), count(*) FROM decant.events e"
        " LEFT JOIN decant.loads l ON l.id = e.load_id GROUP BY 1"
    )
    counts = dict(rows)
    assert not counts.keys() & {"failed"}
    return sum(counts.get(s, 0) for s in ("published", "unchanged", "withheld")), counts.get("waiting", 0)


def test_pushed_records_are_published_and_the_receipt_says_so(
    sensors: Lab, client: httpx.Client, headers: dict[str, str]
) -> None:
    receipt = push(client, headers, [{"id": 1, "value": 1.5}, {"id": 2, "note": "two"}])
    assert outcomes(client, headers, receipt) == ["waiting", "waiting"]
    assert sensors.ingest(READINGS).status == "published"
    answer = client.get(receipt["status_url"], headers=headers).json()["data"]
    assert (answer["outcomes"], answer["finished"], answer["events"][0]["revision"]) == ({"published": 2}, True, 1)
    assert current(sensors) == [(1, "1.5000000000", None), (2, None, "two")]


def test_numbers_keep_every_digit_on_the_whole_way(
    sensors: Lab, client: httpx.Client, headers: dict[str, str]
) -> None:
    body = '{"id": 1, "value": 12345678901234567890.0123456789}'
    client.post(
        "/data/sensors/v1/readings/events", content=body, headers=headers | {"Content-Type": "application/json"}
    )
    sensors.ingest(READINGS)
    assert current(sensors)[0][1] == "12345678901234567890.0123456789"


def test_a_bad_record_is_rejected_alone_with_its_reasons(
    sensors: Lab, client: httpx.Client, headers: dict[str, str]
) -> None:
    receipt = push(client, headers, [{"id": 1}, {"id": "x"}, {"id": 3, "note": "n" * 30}])
    report = sensors.ingest(READINGS)
    assert report.outcome
    assert (report.outcome.raw, report.outcome.accepted, report.outcome.rejected) == (3, 1, 2)
    assert outcomes(client, headers, receipt) == ["published", "rejected", "rejected"]
    events = client.get(receipt["status_url"], headers=headers).json()["data"]["events"]
    assert events[1]["reasons"][0]["rule"] == "type"
    assert events[2]["reasons"][0]["rule"] == "maxLength"
    assert events[2]["state"] == "open"


def test_a_bad_record_that_comes_again_is_rejected_again_for_its_new_sender(
    sensors: Lab, client: httpx.Client, headers: dict[str, str]
) -> None:
    push(client, headers, {"id": "x"})
    sensors.ingest(READINGS)
    again = push(client, headers, {"id": "x"})
    report = sensors.ingest(READINGS)
    assert report.outcome
    assert (report.outcome.raw, report.outcome.rejected) == (1, 1)
    assert outcomes(client, headers, again) == ["rejected"]


@pytest.mark.slow
def test_of_two_records_with_one_key_the_newer_counts_across_pushes_and_within(
    sensors: Lab, client: httpx.Client, headers: dict[str, str]
) -> None:
    first = push(client, headers, [{"id": 1, "note": "a"}, {"id": 1, "note": "b"}])
    second = push(client, headers, {"id": 1, "note": "c"})
    sensors.ingest(READINGS)
    assert current(sensors) == [(1, None, "c")]
    assert outcomes(client, headers, first) == ["duplicate", "duplicate"]
    assert outcomes(client, headers, second) == ["published"]
    same = push(client, headers, {"id": 1, "note": "c"})
    assert sensors.ingest(READINGS).status == "unchanged"
    assert outcomes(client, headers, same) == ["unchanged"]
    push(client, headers, {"id": 1, "note": "d"})
    sensors.ingest(READINGS)
    assert outcomes(client, headers, second) == ["published"], "what was replaced later was published all the same"


@pytest.mark.slow
def test_in_append_mode_a_key_s_first_record_stays(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(SENSORS.replace("mode: upsert", "mode: append"))
    headers = make_key(lab)
    with lab.serve() as client:
        push(client, headers, {"id": 1, "note": "a"})
        lab.ingest(READINGS)
        later = push(client, headers, {"id": 1, "note": "b"})
        lab.ingest(READINGS)
        assert outcomes(client, headers, later) == ["unchanged"]
    assert current(lab) == [(1, None, "a")]


def test_a_withheld_load_says_so_and_its_owner_can_publish_it_anyway(make_lab: Callable[..., Lab]) -> None:
    strict = SENSORS.replace("    properties:\n", "      - {property: maxRejected, value: 0}\n    properties:\n", 1)
    lab = make_lab(strict)
    headers = make_key(lab)
    with lab.serve() as client:
        receipt = push(client, headers, [{"id": 1}, {"id": "x"}])
        report = lab.ingest(READINGS)
        assert report.status == "withheld"
        assert outcomes(client, headers, receipt) == ["withheld", "rejected"]
        lab.loader().run(lab.dataset(READINGS), request=PublishWithheld(report.load_id))
        assert outcomes(client, headers, receipt) == ["published", "rejected"]
    assert [row[0] for row in current(lab)] == [1]


def test_a_load_without_new_data_is_unchanged_and_takes_nothing(sensors: Lab) -> None:
    assert sensors.ingest(READINGS).status == "unchanged"


def test_a_load_takes_so_many_events_and_says_that_more_wait(
    sensors: Lab, client: httpx.Client, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH_RECORDS", 2)
    push(client, headers, [{"id": n} for n in range(5)])
    reports = [sensors.ingest(READINGS) for _ in range(3)]
    assert [report.more for report in reports] == [True, True, False]
    assert [row[0] for row in current(sensors)] == [0, 1, 2, 3, 4]
    assert account(sensors) == (5, 0)


def test_large_events_are_taken_a_few_at_a_time_but_always_one(
    sensors: Lab, client: httpx.Client, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH_BYTES", 1)
    push(client, headers, [{"id": 1}, {"id": 2}])
    assert [sensors.ingest(READINGS).more for _ in range(2)] == [True, False]
    assert account(sensors) == (2, 0)


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("place", "step"),
    [
        (module, "take_over"),
        (module, "read_payloads"),
        *((caller_of(step), step) for step in ("land", "note_landed", "clean_batch", "publish_or_withhold")),
    ],
)
def test_a_load_that_was_killed_loses_no_event_and_brings_none_twice(
    sensors: Lab, client: httpx.Client, headers: dict[str, str], place: ModuleType, step: str
) -> None:
    first = push(client, headers, [{"id": 1, "note": "a"}, {"id": "x"}, {"id": 2}])
    run_killed(sensors, READINGS, place, step, before=step == "read_payloads")
    second = push(client, headers, {"id": 1, "note": "b"})
    while sensors.ingest(READINGS).more:
        pass
    while sensors.rows("SELECT 1 FROM decant.events WHERE load_id IS NULL"):
        sensors.ingest(READINGS)
    assert account(sensors) == (4, 0)
    assert current(sensors) == [(1, None, "b"), (2, None, None)]
    assert len(sensors.rows("SELECT 1 FROM decant.rejected_records")) == 1
    lines = sensors.rows("SELECT load_id, count(*), count(DISTINCT line), max(line) FROM decant.events GROUP BY 1")
    assert all(count == distinct == last for _, count, distinct, last in lines)
    assert outcomes(client, headers, first)[1] == "rejected"
    assert outcomes(client, headers, second) == ["published"]
    ended = sensors.rows("SELECT raw, accepted + rejected + duplicates FROM decant.loads WHERE raw IS NOT NULL")
    assert sum(raw for raw, _ in ended) == 4
    assert all(raw == counted for raw, counted in ended)


def test_a_load_that_failed_for_good_gives_its_events_back(
    sensors: Lab, client: httpx.Client, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    receipt = push(client, headers, {"id": 1})
    settings = sensors.settings.model_copy(update={"source_limit_bytes": 1})
    report = Lab(settings, sensors.urls).ingest(READINGS)
    assert (report.status, report.error_code) == ("failed", "source_too_large")
    assert account(sensors) == (0, 1)
    assert outcomes(client, headers, receipt) == ["waiting"]
    assert sensors.ingest(READINGS).status == "published"
    assert outcomes(client, headers, receipt) == ["published"]


def test_events_of_a_load_that_waits_for_its_next_attempt_are_taken_by_the_one_that_comes_first(
    sensors: Lab, client: httpx.Client, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = push(client, headers, {"id": 1, "note": "old"})
    ((load_id,),) = sensors.rows(
        "INSERT INTO decant.loads (dataset_id, kind, status, attempt)"
        " SELECT id, 'ingest', 'queued', 0 FROM decant.datasets WHERE dataset = 'readings' RETURNING id"
    )
    original = open_load

    def cut_off(*args: Any, **kwargs: Any) -> Any:
        raise SourceUnavailableError()

    with monkeypatch.context() as patched:
        patched.setattr(caller_of("parse_landed"), "parse_landed", cut_off)
        sensors.loader().run(sensors.dataset(READINGS), load_id=load_id)
    assert original is open_load
    assert outcomes(client, headers, first) == ["retrying"]
    push(client, headers, {"id": 1, "note": "new"})
    assert sensors.ingest(READINGS).status == "published"
    # The first one has nothing left, and must not bring the old record over the new one.
    assert sensors.loader().run(sensors.dataset(READINGS), load_id=load_id).status == "unchanged"
    assert current(sensors) == [(1, None, "new")]
    assert account(sensors) == (2, 0)


def test_idempotency_keys_are_forgotten_after_a_day(
    sensors: Lab, client: httpx.Client, headers: dict[str, str]
) -> None:
    push(client, headers, {"id": 1}, **{"Idempotency-Key": '"old"'})
    sensors.rows("UPDATE decant.idempotency_keys SET created_at = now() - interval '25 hours' RETURNING 1")
    push(client, headers, {"id": 2}, **{"Idempotency-Key": '"new"'})
    prune_datasets(sensors.loader(), [sensors.dataset(READINGS)])
    assert sensors.rows("SELECT key FROM decant.idempotency_keys") == [("new",)]


def test_what_is_pushed_is_kept_as_one_line(sensors: Lab, client: httpx.Client, headers: dict[str, str]) -> None:
    body = json.dumps([{"id": 1, "note": "a\nb"}], indent=2)
    client.post(
        "/data/sensors/v1/readings/events", content=body, headers=headers | {"Content-Type": "application/json"}
    )
    sensors.ingest(READINGS)
    assert current(sensors) == [(1, None, "a\nb")]
