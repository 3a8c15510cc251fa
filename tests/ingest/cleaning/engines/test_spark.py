"""A Spark cluster on this machine: the same rows, reasons and counts, also when an executor is killed."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from secrets import token_hex

import pytest

from commands.demo import copy_demo_data
from ingest.cleaning import parse_landed
from ingest.cleaning.engines import spark
from ingest.readers import record_writer
from runtime.settings.settings import PROJECT_ROOT
from tests.support.buckets import make_bucket
from tests.support.earthquakes import FEED, make_event
from tests.support.engines import TYPES, make_things, outcome_of
from tests.support.file_cases import CASES, merge_contracts
from tests.support.lab import Lab
from tests.support.remote_api import Reply, run_remote_api
from tests.support.spark_cluster import SparkCluster, run_cluster, run_connect

pytest.importorskip("pyspark", reason="the extra `spark` is not installed: `make spark`")
pytestmark = [
    pytest.mark.slow,
    # It says so of every pandas that is newer than its own release.
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas"),
]
THINGS = "kinds.things"


@pytest.fixture(scope="module")
def cluster(bucket_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkCluster]:
    """A cluster of two workers, whose environment opens buckets."""
    with run_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture(autouse=True)
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_writer, "SLICE_BYTES", 20_000)


def test_a_batch_comes_out_alike_here_on_a_cluster_and_by_way_of_a_bucket(
    make_lab: Callable[..., Lab], cluster: SparkCluster, bucket_server: str
) -> None:
    engine = {"engine": cluster.address, "engine_from_bytes": 0}
    labs = [
        make_lab(TYPES),
        make_lab(TYPES, **engine),
        make_lab(TYPES, **engine, store_url=make_bucket(bucket_server, token_hex(8))),
    ]
    for lab in labs:
        lab.write("things.csv", make_things(2_000, seed=3))
    expected, *others = [outcome_of(lab, THINGS) for lab in labs]
    assert expected["status"] == "published"
    for found in others:
        assert found == expected


@pytest.mark.parametrize("files", [1, 40])
def test_a_killed_executor_changes_nothing(make_lab: Callable[..., Lab], cluster: SparkCluster, files: int) -> None:
    contract = TYPES.replace("path: things.csv", "path: 'things-*'")
    here, spread = make_lab(contract), make_lab(contract, engine=cluster.address, engine_from_bytes=0)
    for lab in (here, spread):
        for number in range(files):
            lab.write(f"things-{number:02}", make_things(20_000 // files, seed=number))
    expected = outcome_of(here, THINGS)
    with spark.SESSIONS.lend(cluster.address) as session:
        session.range(1).count()  # its executors run
        killed = cluster.executors()
        assert killed
        timer = threading.Timer(1.0, os.kill, (killed[0], signal.SIGKILL))
        timer.start()
        try:
            assert outcome_of(spread, THINGS) == expected
        finally:
            timer.join()
        assert killed[0] not in cluster.executors()
    assert not spark.SESSIONS.open


def test_a_server_of_spark_connect_does_the_same(make_lab: Callable[..., Lab], tmp_path: Path) -> None:
    with run_connect(tmp_path) as server:
        # One file, which is judged in slices, and two, which are parsed there too.
        for path, files in (("things.csv", ["things.csv"]), ("'things-*'", ["things-1", "things-2"])):
            contract = TYPES.replace("path: things.csv", f"path: {path}")
            here, spread = make_lab(contract), make_lab(contract, engine=server.address, engine_from_bytes=0)
            for lab in (here, spread):
                for seed, name in enumerate(files):
                    lab.write(name, make_things(700, seed))
            expected = outcome_of(here, THINGS)
            assert expected["status"] == "published"
            assert outcome_of(spread, THINGS) == expected
    assert not spark.SESSIONS.open


@pytest.mark.parametrize("fewest", [2, 1])
def test_files_as_people_have_them_come_out_alike(
    make_lab: Callable[..., Lab], cluster: SparkCluster, monkeypatch: pytest.MonkeyPatch, fewest: int
) -> None:
    """Also where tasks parse each of them, which one small file is not worth."""
    monkeypatch.setattr(parse_landed, "FEWEST", fewest)
    engine = {"engine": cluster.address, "engine_from_bytes": 0}
    here, spread = (make_lab(merge_contracts(), data=CASES, **chosen) for chosen in ({}, engine))
    with spark.SESSIONS.lend(cluster.address):  # one for all loads
        for dataset in here.catalog.datasets():
            assert outcome_of(spread, dataset.address) == outcome_of(here, dataset.address), dataset.address


def test_the_contracts_that_ship_come_out_alike(
    make_lab: Callable[..., Lab], cluster: SparkCluster, tmp_path: Path
) -> None:
    data = tmp_path / "given"
    shutil.copytree(PROJECT_ROOT / "demo" / "data" / "airport-checkpoints" / "1", data / "airport-checkpoints")
    texts = [path.read_text("utf-8") for path in sorted((PROJECT_ROOT / "contracts").glob("*.odcs.yaml"))]
    engine = {"engine": cluster.address, "engine_from_bytes": 0}
    # Some have no magnitude, and some come twice.
    events = [make_event(f"ci{number % 40}", None if number % 9 == 8 else 1.5) for number in range(50)]
    with run_remote_api() as api, spark.SESSIONS.lend(cluster.address):  # one for all loads
        api.answer = lambda asked: Reply({"type": "FeatureCollection", "features": events})
        contracts = [text.replace(FEED, f"{api.url}/week") for text in texts]
        here, spread = (make_lab(*contracts, data=data, **chosen) for chosen in ({}, engine))
        copy_demo_data(here.settings)  # both read the same folder
        for dataset in here.catalog.datasets():
            expected = outcome_of(here, dataset.address)
            assert expected["status"] in {"published", "withheld"}, expected["error"]
            assert outcome_of(spread, dataset.address) == expected, dataset.address
