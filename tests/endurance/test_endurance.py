"""A small share of what `python -m tests.endurance` does at length."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.postgres.embedded_postgres import EmbeddedPostgres
from tests.endurance import news, outages
from tests.endurance.crash import FIRST_POINTS, POINTS, run_kills
from tests.endurance.hosts import run_hosts
from tests.endurance.replication import prepare as prepare_table
from tests.endurance.replication import run_table
from tests.endurance.streams import run_broker, run_stream, write_contract
from tests.endurance.testbed import CONTRACT, prepare
from tests.support.brokers import KafkaBroker, NatsServer
from tests.support.buckets import LOGIN, make_bucket
from tests.support.lab import Lab
from tests.support.source_server import run_source


@pytest.mark.slow
def test_loads_killed_at_every_step_lose_and_double_nothing(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(CONTRACT)
    prepare(lab)
    kills = run_kills(lab, 19, seed=1, first=FIRST_POINTS[0], say=lambda line: None)
    assert len(set(kills) & set(POINTS)) == 13, kills


@pytest.mark.slow
def test_what_one_host_was_killed_at_another_one_takes_up_without_its_disk(
    make_lab: Callable[..., Lab], bucket_server: str
) -> None:
    lab = make_lab(CONTRACT, store_url=make_bucket(bucket_server, "crash"))
    prepare(lab)
    kills = run_kills(lab, 8, seed=1, first=FIRST_POINTS[2], say=lambda line: None)
    assert len(set(kills) & set(POINTS)) > 4, kills


def test_a_stream_is_loaded_once_however_often_its_loaders_are_killed(
    make_lab: Callable[..., Lab], tmp_path: Path
) -> None:
    with run_broker(NatsServer(tmp_path / "nats")) as server:
        run_stream(make_lab(write_contract("nats", server.url)), server, 10, seed=1, say=lambda line: None)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [NatsServer, KafkaBroker])
def test_a_broker_that_goes_away_under_a_worker_loses_and_doubles_nothing(
    make_lab: Callable[..., Lab], tmp_path: Path, kind: type[NatsServer | KafkaBroker]
) -> None:
    with run_broker(kind(tmp_path / "broker")) as broker:
        lab = make_lab(outages.write_contract("nats" if kind is NatsServer else "kafka", broker.url))
        outages.run_outages(lab, broker, 2, 3, seed=1, say=lambda line: None)


@pytest.mark.slow
def test_the_last_revision_arrives_at_all_who_can_be_told_whatever_restarts(lab: Lab) -> None:
    news.run_news(lab, 8, seed=1, say=lambda line: None, hangs=0)


@pytest.mark.slow
def test_a_replicated_table_is_loaded_once_however_often_its_loaders_are_killed(
    make_lab: Callable[..., Lab], server: EmbeddedPostgres
) -> None:
    with run_source(server.binaries) as source:
        run_table(make_lab(prepare_table(source)), source, 12, seed=1, say=lambda line: None)


@pytest.mark.slow
def test_two_hosts_without_a_shared_disk_count_every_record_however_often_they_are_killed(
    make_lab: Callable[..., Lab], server: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in LOGIN.items():
        monkeypatch.setenv(name, value)
    kills = run_hosts(make_lab, server, tmp_path / "site", 20, seed=2, say=lambda line: None, pace=0.3, pauses=(1, 4))
    assert kills
