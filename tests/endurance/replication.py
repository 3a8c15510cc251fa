"""Two processes load a replicated table while it is written, the first snapshot included; they are killed at random.

At the end the records are the rows of the table, and every change came in once.
"""

from __future__ import annotations

import multiprocessing
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg

from ingest.errors import DatasetBusyError
from ingest.inputs.replication.slots import create_slot
from tests.endurance.streams import BUSY_SECONDS, CHILD_SECONDS, LIVES, load_again_and_again
from tests.support.lab import Lab
from tests.support.source_server import SourceServer, write_contract

DATASET = "shop.orders"
FIRST_ROWS = 20_000
KEYS = 2_000  # that changes are spread over
MOST_CHANGES = 40  # of one transaction
PAUSE_SECONDS = 0.01  # between two transactions


def prepare(source: SourceServer) -> str:
    """The contract of a product that follows a table with many rows, which is made here."""
    with psycopg.connect(source.url(), autocommit=True) as connection:
        connection.execute("CREATE TABLE orders (id int PRIMARY KEY, amount int)")
        connection.execute("INSERT INTO orders SELECT n, -n FROM generate_series(1, %s) AS n", [FIRST_ROWS])
    return write_contract(source.url(), "decant_orders", batch={"records": 400})


class Writer:
    """Writes the table, and counts what must come of it."""

    def __init__(self, url: str, chance: random.Random) -> None:
        self.url = url
        self.chance = chance
        self.over = threading.Event()
        self.lines = 0  # a change is one; an update of a key is two
        self.number = 0
        self.failure: BaseException | None = None

    def write(self) -> None:
        """Writes until it is over."""
        try:
            with psycopg.connect(self.url, autocommit=True) as connection:
                while not self.over.wait(PAUSE_SECONDS):
                    with connection.transaction(force_rollback=self.chance.random() < 0.1) as transaction:
                        lines = sum(self.change(connection) for _ in range(self.chance.randrange(1, MOST_CHANGES)))
                    self.lines += 0 if transaction.force_rollback else lines
        except BaseException as error:
            self.failure = error

    def change(self, connection: psycopg.Connection[Any]) -> int:
        """Changes one row at random; how many lines come of it."""
        self.number += 1
        key, kind = self.chance.randrange(KEYS), self.chance.random()
        if kind < 0.2:
            return connection.execute("DELETE FROM orders WHERE id = %s", [key]).rowcount
        if kind < 0.3:
            # A key that was never there: numbers of changes begin behind all others.
            moved = "UPDATE orders SET id = %s WHERE id = %s"
            return 2 * connection.execute(moved, [10 * FIRST_ROWS + self.number, key]).rowcount
        upsert = "INSERT INTO orders VALUES (%s, %s) ON CONFLICT (id) DO UPDATE SET amount = EXCLUDED.amount"
        return connection.execute(upsert, [key, self.number]).rowcount


def run_table(lab: Lab, source: SourceServer, kills: int, seed: int, say: Callable[[str], None]) -> None:
    """Loads and kills; an AssertionError where something was lost or doubled."""
    loader, dataset = lab.loader(), lab.dataset(DATASET)
    create_slot(loader.settings, loader.tables, loader.engine, dataset, "test")
    chance = random.Random(seed)
    writer = Writer(source.url(), random.Random(seed + 1))
    thread = threading.Thread(target=writer.write, daemon=True)
    thread.start()
    kill(lab, chance, kills)
    writer.over.set()
    thread.join(CHILD_SECONDS)
    assert writer.failure is None, writer.failure
    finish(lab)
    check(lab, source, writer)
    say(f"{writer.lines:,} changes, {kills} loaders killed")


def kill(lab: Lab, chance: random.Random, kills: int) -> None:
    """Kills one of two processes that load, so many times."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["tests.endurance.replication"])
    facts = {
        "home": str(lab.settings.home),
        "contracts": str(lab.settings.contracts),
        "data": str(lab.settings.data_folder),
        "ingest": lab.urls.ingest,
        "dataset": DATASET,
    }

    def start() -> Any:
        child = processes.Process(target=load_again_and_again, args=(facts,), daemon=True)
        child.start()
        return child

    children = [start() for _ in range(2)]
    for number in range(kills):
        time.sleep(chance.uniform(*LIVES) / 2)
        place = chance.randrange(2)
        children[place].kill()
        children[place].join(CHILD_SECONDS)
        if number < kills - 1:
            children[place] = start()
    for child in children:
        child.kill()
        child.join(CHILD_SECONDS)


def finish(lab: Lab) -> None:
    """Loads what is left."""
    until = time.monotonic() + CHILD_SECONDS
    while time.monotonic() < until:
        try:
            report = lab.ingest(DATASET)
        except DatasetBusyError:
            time.sleep(BUSY_SECONDS)
            continue
        assert report.status in {"published", "unchanged"}, report.error
        if report.status == "unchanged" and not report.more:
            return
    raise AssertionError("the table was not read to its end")


def check(lab: Lab, source: SourceServer, writer: Writer) -> None:
    """The records are the rows, every change was counted once, and nothing is left about."""
    with psycopg.connect(source.url()) as connection:
        rows = connection.execute("SELECT id, amount FROM orders ORDER BY id").fetchall()
    assert lab.rows("SELECT id, amount FROM shop_v1.orders ORDER BY id") == rows
    sums = "id, raw, accepted + rejected + duplicates"
    ended = "status IN ('published', 'unchanged') AND raw > 0 ORDER BY id"
    loads = lab.rows(f"SELECT {sums} FROM decant.loads WHERE {ended}")
    assert all(raw == counted for _, raw, counted in loads)
    # The first one is the table as it was in one snapshot; what changed since the slot was made comes once each.
    assert sum(raw for _, raw, _ in loads[1:]) == writer.lines
    assert lab.rows("SELECT 1 FROM decant.loads WHERE status = 'running'") == []
    assert lab.rows("SELECT DISTINCT error FROM decant.loads WHERE status = 'failed'") == []
    assert lab.rows("SELECT 1 FROM pg_tables WHERE schemaname = 'decant_staging'") == []
