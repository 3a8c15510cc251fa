"""How long a server asks to be left alone: read from its headers, kept by the ledger, told to a person."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from ingest.http_client import client as http_client
from ingest.http_client import waits as http_waits
from ingest.http_client.waits import describe_wait, read_wait
from ingest.loading.run_queued import run_queued
from ingest.worker.dispatch import Dispatcher
from runtime.postgres.database import make_engine
from tests.support.lab import Lab
from tests.support.quakes import QUAKES
from tests.support.queued_loads import queue_load
from tests.support.remote_api import RemoteApi, Reply, run_remote_api

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> Iterator[RemoteApi]:
    monkeypatch.setattr(http_client, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(http_waits, "now", lambda: NOW)
    with run_remote_api() as api:
        monkeypatch.setenv("API_URL", api.url)
        yield api


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "3600"}, 3600),
        ({"Retry-After": " 0 "}, 0),
        ({"Retry-After": "Sun, 01 Mar 2026 13:00:00 GMT"}, 3600),
        ({"Retry-After": "Sun, 01 Mar 2026 11:00:00 GMT"}, 0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "٣"}, None),
        ({"Retry-After": "9" * 40}, None),
        ({"Retry-After": "60", "RateLimit-Remaining": "0", "RateLimit-Reset": "7200"}, 60),
        ({"RateLimit-Remaining": "0", "RateLimit-Reset": "1800"}, 1800),
        ({"RateLimit-Remaining": "1", "RateLimit-Reset": "1800"}, None),
        ({"RateLimit-Remaining": "0"}, None),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(NOW.timestamp()) + 900)}, 900),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(NOW.timestamp() + 900) * 1000)}, 900),
        ({"X-Rate-Limit-Remaining": "0", "X-Rate-Limit-Reset": str(int(NOW.timestamp()) - 5)}, 0),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "Sun, 01 Mar 2026 12:10:00 GMT"}, 600),
        ({"RateLimit": '"burst";r=0;t=5, "day"; r=0; t=4000, "year";r=9;t=90000'}, 4000),
        ({"RateLimit": '"default";r=3;t=5'}, None),
        ({"RateLimit": '"default";r=0'}, None),
    ],
)
def test_headers_say_how_long_to_wait(
    headers: dict[str, str], seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_waits, "now", lambda: NOW)
    encoded = [(name, text.encode()) for name, text in headers.items()]
    assert read_wait(httpx.Headers(encoded)) == seconds


def test_a_person_reads_from_when_on_to_ask_and_never_later_than_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_waits, "now", lambda: NOW)
    assert describe_wait(3600) == (
        "asks for a pause of 3,600 seconds: requests are allowed again from 2026-03-01 13:00:00 UTC"
    )
    assert describe_wait(1e12).endswith("from 2026-03-02 12:00:00 UTC")


def seconds_left(lab: Lab) -> float:
    """How long the one queued load waits, counted from when its attempt began: never less than it has to."""
    ((seconds,),) = lab.rows(
        "SELECT extract(epoch FROM retry_at - started_at) FROM decant.loads WHERE status = 'queued'"
    )
    return float(seconds)


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("reply", "least", "words"),
    [
        (Reply(status=429, headers={"Retry-After": "3600"}), 3600, "429 Too Many Requests, and asks for a pause"),
        (Reply(status=503, headers={"Retry-After": "Sun, 01 Mar 2026 14:00:00 GMT"}), 7200, "from 2026-03-01 14:00"),
        (Reply(status=403, headers={"Retry-After": "1800"}), 1800, "answered 403 Forbidden, and asks for a pause"),
        (
            Reply(status=403, headers={"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1772369999"}),
            3599,
            "from 2026-03-01 12:59:59 UTC",
        ),
        (Reply(status=429, headers={"Retry-After": "99999999"}), 86_400, "from 2026-03-02 12:00:00 UTC"),
    ],
)
def test_a_load_is_queued_again_for_when_the_server_may_be_asked_and_run_then(
    remote: RemoteApi, make_lab: Callable[..., Lab], reply: Reply, least: int, words: str
) -> None:
    lab = make_lab(QUAKES)
    remote.play(reply, Reply([{"id": 1}]))
    load_id = queue_load(make_engine(lab.urls.ingest), lab.dataset("quakes.quakes"), "ingest")
    sweeper = Dispatcher(make_engine(lab.urls.ingest), lab.catalog)
    assert run_queued(lab.loader(), load_id) == "retry"
    assert len(remote.asked) == 1  # nobody sits through it, and nobody asks again meanwhile
    assert least <= seconds_left(lab) < least + 600
    ((code, error),) = lab.rows("SELECT error_code, error FROM decant.loads")
    assert code == "source_unavailable"
    assert words in error
    assert sweeper.sweep().deferred == []
    soon = datetime.now(UTC) + timedelta(seconds=least - 60)
    assert sweeper.sweep(now=soon).deferred == []
    assert sweeper.sweep(now=soon + timedelta(seconds=700)).deferred == [load_id]
    assert run_queued(lab.loader(), load_id) == "published"
    assert lab.rows("SELECT id FROM quakes_v1.quakes") == [(1,)]


def test_short_waits_stay_in_the_load_and_plain_refusals_fail_at_once(
    remote: RemoteApi, make_lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", waited.append)
    lab = make_lab(QUAKES)
    dataset = lab.dataset("quakes.quakes")

    remote.play(Reply(status=403, headers={"Retry-After": "20"}), Reply([{"id": 1}]))
    assert lab.loader().run(dataset).status == "published"
    assert [seconds for seconds in waited if seconds > 1] == [20]

    # Every try inside the load is told to wait: the ledger keeps that wait too.
    remote.play(Reply(status=429, headers={"Retry-After": "250"}))
    load_id = queue_load(make_engine(lab.urls.ingest), dataset, "ingest")
    assert run_queued(lab.loader(), load_id) == "retry"
    assert 250 <= seconds_left(lab) < 850

    asked = len(remote.asked)
    for headers in ({}, {"X-RateLimit-Remaining": "12", "X-RateLimit-Reset": "1772369999"}):
        remote.play(Reply(status=403, headers=headers))
        report = lab.loader().run(dataset)
        assert (report.status, report.error_code) == ("failed", "source_unreadable")
    assert len(remote.asked) == asked + 2


def test_no_answer_makes_a_load_wait_less_than_its_own_growing_delay(
    remote: RemoteApi, make_lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda seconds: None)
    lab = make_lab(QUAKES)
    remote.play(Reply(status=429, headers={"Retry-After": "1"}))
    load_id = queue_load(make_engine(lab.urls.ingest), lab.dataset("quakes.quakes"), "ingest")
    lab.rows("UPDATE decant.loads SET attempt = 3, retry_at = now() RETURNING 1")
    assert run_queued(lab.loader(), load_id) == "retry"
    assert seconds_left(lab) >= 240  # the fourth delay is 320 seconds, within a quarter


def test_who_loads_by_hand_is_told_when_to_ask_again(remote: RemoteApi, make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(QUAKES)
    remote.play(Reply(status=429, headers={"Retry-After": "3600"}))
    report = lab.loader().run(lab.dataset("quakes.quakes"))
    assert (report.status, report.error_code) == ("failed", "source_unavailable")
    assert report.error is not None
    assert report.error.endswith("requests are allowed again from 2026-03-01 13:00:00 UTC.")
