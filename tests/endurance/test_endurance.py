"""A small share of what `python -m tests.endurance` does at length."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from runtime.postgres.embedded_postgres import EmbeddedPostgres
from tests.endurance.crash import FIRST_POINTS, POINTS, run_kills
from tests.endurance.replication import prepare as prepare_table
from tests.endurance.replication import run_table
from tests.endurance.streams import TOPIC, run_stream, write_contract
from tests.endurance.testbed import CONTRACT, prepare
from tests.support.brokers import NatsServer
from tests.support.buckets import make_bucket
from tests.support.lab import Lab
from tests.support.source_server import run_source


def test_loads_killed_at_every_step_lose_and_double_nothing(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(CONTRACT)
    prepare(lab)
    kills = run_kills(lab, 19, seed=1, first=FIRST_POINTS[0], say=lambda line: None)
    assert len(set(kills) & set(POINTS)) == 13, kills


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
    server = NatsServer(tmp_path / "nats")
    try:
        server.add_stream(TOPIC, ["*"])
        lab = make_lab(write_contract("nats", server.url))
        run_stream(lab, server, 10, seed=1, say=lambda line: None)
    finally:
        server.stop()


def test_a_replicated_table_is_loaded_once_however_often_its_loaders_are_killed(
    make_lab: Callable[..., Lab], server: EmbeddedPostgres
) -> None:
    with run_source(server.binaries) as source:
        run_table(make_lab(prepare_table(source)), source, 12, seed=1, say=lambda line: None)
