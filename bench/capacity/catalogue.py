"""A deployment of many datasets: contracts, a migrated database, its ledger as publications leave it, keys, loads."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import Popen

import psycopg
import sqlalchemy as sa

from api.auth.api_keys import KeyDraft, draft_row, read_peppers
from bench.capacity.processes import Finished, run_well
from bench.errors import BenchError
from bench.many_datasets import publish_all, write_contracts
from bench.services import make_environment, run_process
from bench.testbed import Testbed
from catalog.contract.load import load_catalog
from catalog.storage.access_tables import ApiKey
from runtime.postgres.database import DatabaseUrls, make_engine

DECANT = str(Path(sys.executable).with_name("decant"))
INPUT = "measures.csv"  # that every dataset reads
RECORDS = 10  # of a small load
LOAD_SECONDS = 600.0  # for loads that never end
POLL_SECONDS = 0.1
# What a publication leaves of a head: the row, its revision, an event for others, and a notification.
MOVE = """
WITH moved AS (
  UPDATE decant.datasets SET revision = revision + 1, record_count = record_count + 1, published_at = now()
  WHERE id = %s RETURNING id, product, major, dataset, revision, record_count
), noted AS (
  INSERT INTO decant.revisions (dataset_id, revision, load_id, record_count, inserted, updated, deleted)
  SELECT id, revision, (SELECT load_id FROM decant.revisions AS r WHERE r.dataset_id = moved.id LIMIT 1),
    record_count, 1, 0, 0 FROM moved
), told AS (
  INSERT INTO decant.outbox (kind, facts, product, major, dataset)
  SELECT 'revision.published', jsonb_build_object('revision', revision), product, major, dataset FROM moved
)
SELECT revision, pg_notify('decant_revisions', id || ':' || revision) FROM moved
"""
# A head whose revision was published at another moment is that of another database, restored from a backup.
SAME_MOMENT = """
UPDATE decant.datasets AS d SET published_at = r.published_at
FROM decant.revisions AS r WHERE (r.dataset_id, r.revision) = (d.id, d.revision)
"""
QUEUE = """
WITH queued AS (
  INSERT INTO decant.loads (dataset_id, kind, requested_by)
  SELECT id, 'ingest', 'bench' FROM decant.datasets ORDER BY id LIMIT %s RETURNING id
) SELECT pg_notify('decant_loads', '') FROM (SELECT count(*) FROM queued) AS _all
"""
ENDED = """
SELECT status, count(*) FROM decant.loads WHERE requested_by = 'bench' AND id > %s GROUP BY status
"""
BEHIND = """
SELECT count(*) FROM decant.datasets AS d LEFT JOIN decant.profiles AS p ON p.dataset_id = d.id
WHERE d.revision > coalesce(p.revision, 0)
"""
NEWEST_LOAD = "SELECT coalesce(max(id), 0) FROM decant.loads"


@dataclass(frozen=True)
class Deployment:
    """Contracts and a database of so many datasets."""

    testbed: Testbed
    urls: DatabaseUrls
    migrated: Finished
    numbers: list[int]  # of the datasets, as the ledger has them
    paths: dict[int, str]  # of each one's records

    def environment(self) -> dict[str, str]:
        """The settings of its processes."""
        return make_environment(self.testbed, self.urls) | {"DECANT_INGEST_DATABASE_URL": self.urls.ingest}

    def command(self, *arguments: str) -> Finished:
        """What `decant` with these arguments took; BenchError where it failed."""
        return run_well([DECANT, *arguments], self.environment())


def deploy(testbed: Testbed, name: str, datasets: int) -> Deployment:
    """A deployment in a folder and a database of its own; each dataset was published some times."""
    folder = testbed.settings.home.parent / name
    settings = testbed.settings.model_copy(
        update={"contracts": folder / "contracts", "data": folder / "data", "home": folder / "home"}
    )
    for each in (folder / "contracts", folder / "data"):
        each.mkdir(parents=True)
    for number, text in enumerate(write_contracts(datasets)):
        (folder / "contracts" / f"region-{number:03}.odcs.yaml").write_text(text)
    own = replace(testbed, settings=settings, catalog=load_catalog(settings))
    urls = own.create_database(f"bench_{name}", "template0")
    migrated = run_well([DECANT, "migrate"], make_environment(own, urls))
    publish_all(urls.owner)
    with psycopg.connect(urls.owner) as connection:
        connection.execute(SAME_MOMENT)
        rows = connection.execute("SELECT id, product, major, dataset FROM decant.datasets ORDER BY id").fetchall()
    paths = {
        number: f"/data/{product}/v{major}/{dataset}/records?limit=10" for number, product, major, dataset in rows
    }
    return Deployment(own, urls, migrated, list(paths), paths)


def make_keys(deployment: Deployment, number: int) -> list[tuple[str, str]]:
    """So many new keys, each with the path of a dataset that it may read."""
    peppers = read_peppers(deployment.testbed.settings)
    source, made, rows = random.Random(5), [], []
    for index in range(number):
        path = deployment.paths[source.choice(deployment.numbers)]
        text, row = draft_row(KeyDraft(f"reader {index}", (f"{path.split('/')[2]}:read",)), peppers)
        made.append((text, path))
        rows.append(row)
    with make_engine(deployment.urls.write).begin() as connection:
        connection.execute(sa.insert(ApiKey), rows)
    return made


@contextmanager
def run_worker(deployment: Deployment) -> Iterator[Popen[str]]:
    """`decant worker`, on its default settings, once it is there."""
    environment = deployment.environment()
    with run_process(deployment.testbed, "worker", [DECANT, "worker"], environment) as process:
        wait_until_present(deployment.urls.owner, process)
        yield process


def wait_until_present(url: str, process: Popen[str]) -> None:
    """Nothing comes back; the worker is on record from now on."""
    until = time.monotonic() + LOAD_SECONDS
    with psycopg.connect(url, autocommit=True) as connection:
        while process.poll() is None and time.monotonic() < until:
            row = connection.execute("SELECT count(*) FROM decant.workers WHERE ended_at IS NULL").fetchone()
            if row and row[0]:
                return
            time.sleep(POLL_SECONDS)
    raise BenchError("The worker did not start.")


def run_loads(deployment: Deployment, number: int, level: int) -> float:
    """The seconds in which a running worker ends so many small loads; BenchError where one is not published."""
    lines = [f"{index},{level}.5,2026-01-01T00:00:{index:02}Z" for index in range(RECORDS)]
    file = deployment.testbed.settings.data_folder / INPUT
    file.write_text("\n".join(["id,level,taken_at", *lines]) + "\n")
    until = time.monotonic() + LOAD_SECONDS
    ended: dict[str, int] = {}
    with psycopg.connect(deployment.urls.owner, autocommit=True) as connection:
        ((newest,),) = connection.execute(NEWEST_LOAD).fetchall()
        began = time.perf_counter()
        connection.execute(QUEUE, (number,))
        while time.monotonic() < until:
            ended = dict(connection.execute(ENDED, (newest,)).fetchall())
            if ended.get("published", 0) == number:
                return time.perf_counter() - began
            if set(ended) - {"queued", "running", "published"}:
                raise BenchError(f"Loads ended as {ended}.")
            time.sleep(POLL_SECONDS)
    raise BenchError(f"Loads did not end: {ended}.")


def wait_for_profiles(url: str) -> float:
    """The seconds until a running worker has made the profile of every dataset; BenchError where it does not."""
    began = time.perf_counter()
    with psycopg.connect(url, autocommit=True) as connection:
        while time.perf_counter() < began + LOAD_SECONDS:
            ((behind,),) = connection.execute(BEHIND).fetchall()
            if not behind:
                return time.perf_counter() - began
            time.sleep(POLL_SECONDS)
    raise BenchError(f"{behind} datasets have no profile of their revision.")
