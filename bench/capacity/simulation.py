"""Many datasets in several processes, whose heads move, with readers, loads and whatever else is asked meanwhile."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

import psycopg

from bench.capacity.catalogue import MOVE, Deployment, deploy, make_keys, run_loads, run_worker, wait_for_profiles
from bench.capacity.constants import OWN_POOLS
from bench.capacity.processes import count_used, find_postgres, find_workers, memory_mb, tree_seconds
from bench.capacity.simulated import Simulated, Size
from bench.errors import BenchError
from bench.heads import Mover, keep_moving
from bench.services import run_decant
from bench.testbed import Testbed
from bench.visibility import WAIT_SECONDS, Reader, open_readers

PUBLICATIONS = 100  # moves whose arrival is timed
PAUSE_SECONDS = 0.1  # between two of them
LOOK_SECONDS = 0.002
READS = 10  # a second, by readers with keys
LIVE_SECONDS = 0.02  # between two looks whether a process is alive
DOCUMENTS = {
    "GET /data": "/data",
    "GET /openapi.json": "/openapi.json",
    "GET /openapi of a product": "/openapi/region-000/v1.json",
}
TIMES = 3  # that each document is asked for
Report = Callable[[str], None]


def simulate(testbed: Testbed, size: Size, report: Report) -> Simulated:
    """What a deployment of this size was measured to do."""
    report(f"simulation: {size.datasets} datasets")
    deployment = deploy(testbed, "simulated", size.datasets)
    keys = make_keys(deployment, size.keys)
    again = deployment.command("migrate")
    found = Simulated(size, deployment.migrated.seconds, deployment.migrated.cpu_seconds, again.seconds)
    began = time.perf_counter()
    with run_decant(deployment.testbed, deployment.urls, "simulated", size.processes, OWN_POOLS) as (address, first):
        path = deployment.paths[deployment.numbers[0]]
        with open_readers(address, size.processes, path):
            found.start_seconds = time.perf_counter() - began
        processes = find_workers(first, size.processes)
        found.memory_mb = [memory_mb(process) for process in processes]
        follow(deployment, processes, found, report)
        with keep_moving(make_mover(deployment, size)):
            report("simulation: moves, looked for")
            found.seen = time_moves(deployment, address, size.processes)
            report("simulation: readers, documents")
            with keep_reading(address, keys, found.reads):
                ask_documents(deployment, address, found)
        report("simulation: loads")
        measure_worker(deployment, found)
        found.memory_after_mb = [memory_mb(process) for process in processes]
    return found


def make_mover(deployment: Deployment, size: Size) -> Mover:
    """What moves heads at the rate that is asked for."""
    return Mover(deployment.urls.owner, deployment.numbers, size.moves, MOVE)


def follow(deployment: Deployment, processes: list[int], found: Simulated, report: Report) -> None:
    """Nothing comes back; what the processes use while nobody asks, at rest and with moves, is in `found`."""
    postgres, seconds = find_postgres(deployment.urls.owner), found.size.seconds
    report("simulation: at rest")
    with count_used(processes, postgres) as used:
        time.sleep(seconds)
    found.resting, found.database_resting = used.shares(), used.database_share()
    report("simulation: heads move")
    mover = make_mover(deployment, found.size)
    with keep_moving(mover), count_used(processes, postgres) as used:
        before = mover.moved
        time.sleep(seconds)
        found.moved = (mover.moved - before) / seconds
    found.following, found.database_following = used.shares(), used.database_share()


def time_moves(deployment: Deployment, address: str, processes: int) -> list[float]:
    """The seconds from the commit of a move until every process has answered with it."""
    source, taken = random.Random(7), []
    path = deployment.paths[deployment.numbers[0]]
    with (
        open_readers(address, processes, path) as readers,
        ThreadPoolExecutor(processes) as threads,
        psycopg.connect(deployment.urls.owner, autocommit=True) as connection,
    ):
        for _ in range(PUBLICATIONS):
            number = source.choice(deployment.numbers)
            for reader in readers.values():
                reader.path = deployment.paths[number]
            ((revision, _),) = connection.execute(MOVE.encode(), (number,)).fetchall()
            began = time.perf_counter()
            seen = [threads.submit(see, reader, revision) for reader in readers.values()]
            taken.append(max(one.result() for one in seen) - began)
            time.sleep(PAUSE_SECONDS)
    return taken


def see(reader: Reader, revision: int) -> float:
    """When the process answered with the revision, or a later one, for the first time."""
    until = time.perf_counter() + WAIT_SECONDS
    while time.perf_counter() < until:
        if reader.look().revision >= revision:
            return time.perf_counter()
        time.sleep(LOOK_SECONDS)
    raise BenchError(f"Revision {revision} of {reader.path} was not seen for {WAIT_SECONDS:.0f} s.")


@contextmanager
def keep_reading(address: str, keys: list[tuple[str, str]], taken: list[float]) -> Iterator[None]:
    """Readers ask, each with a key of its own, for as long as the block lasts."""
    ended, failures = threading.Event(), []
    source = random.Random(3)

    def read() -> None:
        due = time.perf_counter()
        try:
            while not ended.wait(max(due - time.perf_counter(), 0)):
                key, path = source.choice(keys)
                # Anew each time, so that every process is asked.
                taken.append(get(address, path, {"X-API-Key": key})[0])
                due += 1 / READS
        except BenchError as error:
            failures.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    if failures:
        raise failures[0]


def get(address: str, path: str, headers: dict[str, str] | None = None) -> tuple[float, int]:
    """The seconds and the bytes of one answer over a connection of its own; BenchError where it is no success."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=WAIT_SECONDS)
    try:
        began = time.perf_counter()
        connection.request("GET", path, headers=headers or {})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != http.HTTPStatus.OK:
            raise BenchError(f"{path} was answered with {answer.status}: {body[:500]!r}")
        return time.perf_counter() - began, len(body)
    finally:
        connection.close()


def ask_documents(deployment: Deployment, address: str, found: Simulated) -> None:
    """Nothing comes back; documents of the whole catalogue are asked for, and each process whether it is alive."""
    path = deployment.paths[deployment.numbers[0]]
    with ExitStack() as stack:
        readers = stack.enter_context(open_readers(address, found.size.processes, path))
        stack.enter_context(keep_looking(list(readers.values()), found.live))
        for name, asked in DOCUMENTS.items():
            looked = len(found.live)
            (first, size), *others = [get(address, asked) for _ in range(TIMES)]
            found.documents[name] = first * 1000, size
            found.later[name] = min(seconds for seconds, _ in others) * 1000
            found.live_most[name] = max(found.live[looked:], default=0.0) * 1000
        status = deployment.command("status")
    found.status_seconds, found.status_cpu = status.seconds, status.cpu_seconds


@contextmanager
def keep_looking(readers: list[Reader], taken: list[float]) -> Iterator[None]:
    """Each process is asked whether it is alive, again and again, for as long as the block lasts."""
    ended = threading.Event()

    def look(reader: Reader) -> None:
        while not ended.wait(LIVE_SECONDS):
            began = time.perf_counter()
            reader.connection.request("GET", "/livez")
            answer = reader.connection.getresponse()
            answer.read()
            taken.append(time.perf_counter() - began)

    with ThreadPoolExecutor(len(readers)) as threads:
        looking = [threads.submit(look, reader) for reader in readers]
        try:
            yield
        finally:
            ended.set()
    for one in looking:
        one.result()


def measure_worker(deployment: Deployment, found: Simulated) -> None:
    """Nothing comes back; what a worker takes at rest and for small loads is in `found`."""
    number = min(found.size.loads, len(deployment.numbers))
    postgres = find_postgres(deployment.urls.owner)
    with run_worker(deployment) as worker:
        before = tree_seconds(worker.pid)
        found.profile_seconds = wait_for_profiles(deployment.urls.owner)
        found.profile_cpu = (tree_seconds(worker.pid) - before) / len(deployment.numbers)
        with count_used([worker.pid], postgres) as used:
            time.sleep(found.size.seconds)
        found.worker_idle = used.shares()[0]
        run_loads(deployment, number, 1)
        used_before = tree_seconds(worker.pid), tree_seconds(postgres)
        seconds = run_loads(deployment, number, 2)
        found.loads_per_second = number / seconds
        found.load_cpu = (tree_seconds(worker.pid) - used_before[0]) / number
        found.load_database = (tree_seconds(postgres) - used_before[1]) / number
        found.worker_mb = memory_mb(worker.pid)
