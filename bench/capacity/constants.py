"""The constants of the model, measured: CPU seconds, which a busy machine changes less than it does seconds."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator

import httpx
import psycopg

from api.app import Service
from bench.capacity.asking import ask
from bench.capacity.catalogue import MOVE, Deployment, deploy, run_loads, run_worker, wait_for_profiles
from bench.capacity.model import Constants
from bench.capacity.processes import count_used, find_postgres, own_seconds, tree_seconds
from bench.heads import Mover, keep_moving
from bench.serve import load_flights
from bench.services import LIMIT, run_decant
from bench.testbed import Testbed
from runtime.postgres.poolers import PoolableConnection
from runtime.settings.settings import Settings

PAGES = 50  # different ones
PAGE = "/data/nyc-flights/v1/flights/records?limit=100"
ASKED_AT_ONCE = 16
WARM_SECONDS = 1.0
MOVES = 10.0  # a second: each of them is read alone
POLLS = 20
FEW_DATASETS = 200
OWN_POOLS = {"DECANT_READ_POOL_SIZE": "8", "DECANT_RATE_LIMIT_DEFAULT": LIMIT}  # as a service has them by default
COUNT = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
Report = Callable[[str], None]


def measure_constants(testbed: Testbed, datasets: int, seconds: float, loads: int, report: Report) -> Constants:
    """Every constant; each is of a service, or a worker, of one process."""
    report("constants: flights, asked for")
    cached, page, page_database = measure_requests(testbed, seconds)
    report("constants: contracts")
    deployment = deploy(testbed, "few", min(datasets, FEW_DATASETS))
    report("constants: following heads")
    idle, notified, idle_database, notified_database = measure_following(deployment, seconds)
    report("constants: polling heads")
    head = measure_polls(deployment)
    report("constants: small loads")
    worker_idle, load, load_database, rate, connections = measure_loads(deployment, loads, seconds)
    return Constants(
        idle=idle,
        notified=notified,
        head=head,
        cached=cached,
        page=page,
        page_database=page_database,
        idle_database=idle_database,
        notified_database=notified_database,
        load=load,
        load_database=load_database,
        worker_idle=worker_idle,
        loads_per_second=rate,
        connections=most_connections(deployment.testbed.settings),
        worker_connections=connections,
    )


def most_connections(settings: Settings) -> int:
    """The database connections that an API process has at most: its pools, one that listens, and its exports.

    Without a bucket: with one, each export may need a second connection.
    """
    return settings.read_pool_size + settings.write_pool_size + 1 + settings.exports_at_once


def measure_requests(testbed: Testbed, seconds: float) -> tuple[float, float, float]:
    """Answers from the cache and pages in a CPU second of a process, and the seconds of Postgres for a page."""
    urls = load_flights(testbed)
    postgres = find_postgres(urls.owner)
    rates, database = [], 0.0
    for name, size in (("cached", str(64 * 2**20)), ("pages", "0")):
        with run_decant(testbed, urls, f"capacity-{name}", 1, {"DECANT_CACHE_BYTES": size}) as (address, process):
            paths = list(walk(address))
            ask(address, paths, WARM_SECONDS, ASKED_AT_ONCE)
            with count_used([process], postgres) as used:
                answered = ask(address, paths, seconds, ASKED_AT_ONCE)
        rates.append(answered / used.processes[0])
        database = used.database / answered
    return rates[0], rates[1], database


def walk(address: str) -> Iterator[str]:
    """The paths of some pages, one behind the other."""
    path = PAGE
    with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
        for _ in range(PAGES):
            yield path
            path = client.get(path).raise_for_status().json()["next"]


def measure_following(deployment: Deployment, seconds: float) -> tuple[float, float, float, float]:
    """The share of a core of a process that rests, and the seconds for a head that moves; the same of Postgres."""
    postgres = find_postgres(deployment.urls.owner)
    mover = Mover(deployment.urls.owner, deployment.numbers, MOVES, MOVE)
    with run_decant(deployment.testbed, deployment.urls, "capacity-follow", 1, OWN_POOLS) as (_, process):
        time.sleep(WARM_SECONDS)
        with count_used([process], postgres) as resting:
            time.sleep(seconds)
        with keep_moving(mover), count_used([process], postgres) as following:
            before = mover.moved
            time.sleep(seconds)
            rate = (mover.moved - before) / seconds
    # What the moves themselves cost Postgres is none of a process's: they are made again, with nobody there.
    alone = Mover(deployment.urls.owner, deployment.numbers, MOVES, MOVE)
    with keep_moving(alone), count_used([], postgres) as moving:
        time.sleep(seconds)
    with count_used([], postgres) as quiet:
        time.sleep(seconds)
    idle, idle_database = resting.shares()[0], resting.database_share() - quiet.database_share()
    more = following.database_share() - moving.database_share() - idle_database
    return idle, max(following.shares()[0] - idle, 0.0) / rate, max(idle_database, 0.0), max(more, 0.0) / rate


def measure_polls(deployment: Deployment) -> float:
    """The seconds of an API process for each head when it reads all of them."""
    return asyncio.run(poll_often(deployment)) / len(deployment.numbers)


async def poll_often(deployment: Deployment) -> float:
    """The CPU seconds of a poll of all heads, with what is noted of each afterwards."""
    own = deployment.testbed
    service = Service(own.settings, deployment.urls, own.catalog, None)
    connection = await PoolableConnection.connect(deployment.urls.read, autocommit=True)
    async with connection:
        await connection.configure({})
        used = math.inf
        for _ in range(POLLS):
            service.heads.since = None
            before = time.thread_time()
            await service.heads.read(connection)
            service.heads.report_heads()
            used = min(used, time.thread_time() - before)
    return used


def measure_loads(deployment: Deployment, loads: int, seconds: float) -> tuple[float, float, float, float, int]:
    """Of a worker: its share at rest, CPU seconds of a small load, Postgres' too, loads a second, connections."""
    postgres = find_postgres(deployment.urls.owner)
    number = min(loads, len(deployment.numbers))
    with run_worker(deployment) as worker:
        wait_for_profiles(deployment.urls.owner)
        time.sleep(WARM_SECONDS)
        before, began = own_seconds(worker.pid), time.perf_counter()
        time.sleep(seconds)
        idle = (own_seconds(worker.pid) - before) / (time.perf_counter() - began)
        run_loads(deployment, number, 1)  # first loads; those that are measured change records
        worked, database = tree_seconds(worker.pid), tree_seconds(postgres)
        taken = run_loads(deployment, number, 2)
        worked, database = tree_seconds(worker.pid) - worked, tree_seconds(postgres) - database
        with psycopg.connect(deployment.urls.owner) as connection:
            ((connections,),) = connection.execute(COUNT).fetchall()
    return idle, max(worked - idle * taken, 0.0) / number, database / number, number / taken, connections
