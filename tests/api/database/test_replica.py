"""Reads from a real streaming replica that lags behind, and never answers older than what a request names."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict

from api.auth.api_keys import create_key
from api.database.connections import ReadConnections
from api.database.published_heads import Heads
from runtime.postgres.database import READ_ROLE, make_engine
from runtime.postgres.embedded_postgres import EmbeddedPostgres, run_embedded
from runtime.postgres.embedded_site import find_site
from runtime.postgres.pools import make_read_pool
from runtime.settings.secret import read_secret
from tests.support.lab import PEOPLE, Lab, walk
from tests.support.waiting import wait_until

BASE = "/data/people/v1/people"
FIRST = "id,name,age,born\n1,Ann,30,1990-01-31\n2,Ben,,\n3,Cid,40,\n"
SECOND = "id,name,age,born\n1,Ann,31,1990-01-31\n2,Ben,,\n4,Dot,50,\n5,Eve,60,\n"
CLOSED = PEOPLE.replace(", customProperties: [{property: anonymous, value: true}]", "")


@dataclass(frozen=True)
class Replica:
    """A standby that follows the tests' server."""

    primary: EmbeddedPostgres
    standby: EmbeddedPostgres

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """What a query gives the owner on the standby, asked again where replay cancels it."""
        with psycopg.connect(self.standby.url(), autocommit=True) as connection:
            while True:
                with suppress(psycopg.errors.SerializationFailure):
                    return connection.execute(query.encode()).fetchall()

    def catch_up(self) -> None:
        """Nothing comes back; the standby has replayed whatever the primary had written by now."""
        with psycopg.connect(self.primary.url(), autocommit=True) as connection:
            # Commits of tests wait for no flush; this one does, and takes all before it along.
            connection.execute("SET synchronous_commit = on")
            connection.execute("SELECT pg_logical_emit_message(true, 'test', '')")
            ((wanted,),) = connection.execute("SELECT pg_current_wal_lsn()").fetchall()
        wait_until(lambda: self.ask(f"SELECT pg_last_wal_replay_lsn() >= '{wanted}'") == [(True,)])

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Holds replay, so that the standby stands where it stands."""
        self.catch_up()
        self.ask("SELECT pg_wal_replay_pause()")
        wait_until(lambda: self.ask("SELECT pg_get_wal_replay_pause_state()") == [("paused",)])
        try:
            yield
        finally:
            self.ask("SELECT pg_wal_replay_resume()")

    @contextmanager
    def holding(self, lab: Lab, table: str) -> Iterator[None]:
        """Has replay take the table away from whoever reads it, and keep it."""
        with psycopg.connect(lab.urls.owner) as holder:
            holder.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
            lab.rows("SELECT pg_switch_wal()")
            self.catch_up()
            yield
        self.catch_up()

    def in_front_of(self, lab: Lab, url: str | None = None) -> Lab:
        """The same product, read from the standby, or wherever `url` leads."""
        name = str(conninfo_to_dict(lab.urls.read)["dbname"])
        self.catch_up()
        return Lab(lab.settings, replace(lab.urls, read=url or self.standby.url(user=READ_ROLE, database=name)))


@pytest.fixture(scope="module")
def replica(server: EmbeddedPostgres) -> Iterator[Replica]:
    """A standby made by pg_basebackup, which gives way to replay at once."""
    folder = Path(tempfile.mkdtemp(prefix="decant-replica-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        copy_cluster(server, folder / "postgres")
        with run_embedded(folder / "postgres", share=False) as standby:
            yield Replica(server, standby)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def copy_cluster(server: EmbeddedPostgres, folder: Path) -> None:
    """Nothing comes back; the folder holds a cluster that follows the server once it is started."""
    folder.mkdir(mode=0o711)
    site = find_site(folder)
    source = ["-h", str(server.socket_folder), "-p", "5432", "-U", "decant"]
    subprocess.run(
        [server.binaries / "pg_basebackup", *source, "-D", site.data, "-R", "-X", "stream", "-c", "fast"],
        check=True,
        capture_output=True,
        timeout=120,
    )
    with (site.data / "postgresql.auto.conf").open("a") as file:
        file.write("max_standby_streaming_delay = 0\nwal_retrieve_retry_interval = 100\n")
    for path in (site.data, *site.data.rglob("*")):
        os.chown(path, site.user, site.group)


def refused(answer: httpx.Response) -> bool:
    """Whether the caller is told to try again."""
    return (answer.status_code, answer.headers.get("retry-after")) == (503, "1")


def publish(lab: Lab, content: str, revision: int) -> None:
    """Nothing comes back; the primary has this revision."""
    report = lab.ingest("people.people", content)
    assert (report.status, lab.rows("SELECT revision FROM decant.datasets")) == ("published", [(revision,)])


def test_pages_heads_and_exports_are_read_from_the_replica_only(replica: Replica, lab: Lab) -> None:
    publish(lab, FIRST, 1)
    with replica.in_front_of(lab).serve() as client:
        assert [record["id"] for record in walk(client, f"{BASE}/records?limit=2")] == [1, 2, 3]
        assert client.get(f"{BASE}/export?format=csv&at=1").text.count("\r\n") == 4
        readers = "SELECT DISTINCT application_name FROM pg_stat_activity WHERE usename = 'decant_read'"
        # An export's connection ends a little after its last byte.
        wait_until(lambda: set(replica.ask(readers)) == {("decant-read",), ("decant-heads",)})
        assert lab.rows(readers) == []
        publish(lab, SECOND, 2)
        wait_until(lambda: client.get(f"{BASE}/records").json()["revision"] == 2)


def name_second(client: httpx.Client) -> dict[str, tuple[str, dict[str, str]]]:
    """Requests of a caller who has seen revision 2: each names it, in its address or in its headers."""
    page = client.get(f"{BASE}/records?limit=2")
    assert page.json()["revision"] == 2
    filtered = f"{BASE}/export?format=csv&id[gt]=0"
    least = {"Decant-Min-Revision": "2"}
    tag = {"If-None-Match": page.headers["etag"]}
    # The tag of another coding: what is named is the revision, whatever the answer.
    other = {"If-None-Match": client.get(filtered).headers["etag"], "Accept-Encoding": "identity"}
    return {
        "least revision of a page": (f"{BASE}/records", least),
        "least revision of an export": (filtered, least),
        "cursor": (page.json()["next"], {}),
        "cursor of changes": (client.get(f"{BASE}/changes?since=1&limit=1").json()["next"], {}),
        "tag of a page": (f"{BASE}/records?limit=2", tag),
        "tag of another page": (f"{BASE}/records", tag),
        "tag of an export": (filtered, other),
        "at": (f"{BASE}/records?at=2", {}),
        "at of a record": (f"{BASE}/records/1?at=2", {}),
        "at of an export": (f"{BASE}/export?format=ndjson&at=2", {}),
        "at of a file": (f"{BASE}/export?format=parquet&at=2", {}),
        "since": (f"{BASE}/changes?since=2", {}),
    }


def ask(client: httpx.Client, requests: dict[str, tuple[str, dict[str, str]]]) -> dict[str, httpx.Response]:
    """The answer to each request."""
    return {name: client.get(url, headers=headers) for name, (url, headers) in requests.items()}


@pytest.mark.slow
def test_what_names_a_newer_revision_is_never_answered_with_an_older_one(replica: Replica, lab: Lab) -> None:
    publish(lab, FIRST, 1)
    with lab.serve() as leader, replica.in_front_of(lab).serve() as client:
        with replica.paused():
            publish(lab, SECOND, 2)
            wait_until(lambda: leader.get(f"{BASE}/records").json()["revision"] == 2)
            named = name_second(leader)
            for name, answer in ask(client, named).items():
                assert refused(answer), (name, answer.text)
            plain = client.get(f"{BASE}/records")
            assert (plain.json()["revision"], [r["id"] for r in plain.json()["data"]]) == (1, [1, 2, 3])
            nowhere = client.get(f"{BASE}/records?at=3")
            assert (nowhere.status_code, nowhere.json()["code"]) == (422, "invalid_value")
        replica.catch_up()
        for name, answer in ask(client, named).items():
            assert answer.status_code in {200, 304}, (name, answer.text)
            assert answer.headers["decant-revision"] == "2", name
        assert client.get(f"{BASE}/records").json()["revision"] == 2


@pytest.mark.slow
def test_a_new_key_works_at_once_and_a_revoked_one_no_longer_though_the_replica_lags(
    replica: Replica, make_lab: Callable[..., Lab]
) -> None:
    lab = make_lab(CLOSED)
    publish(lab, FIRST, 1)
    secret, owner = read_secret(lab.settings), make_engine(lab.urls.owner)
    with replica.in_front_of(lab).serve() as client, replica.paused():
        assert client.get(f"{BASE}/records").status_code == 401
        headers = {"X-API-Key": create_key(owner, secret, "partner", ["people:read"])}
        assert client.get(f"{BASE}/records", headers=headers).json()["revision"] == 1
        assert client.get(f"{BASE}/export?format=csv&at=1", headers=headers).status_code == 200
        lab.rows("UPDATE decant.api_keys SET revoked_at = now() RETURNING id")
        wait_until(lambda: client.get(f"{BASE}/records", headers=headers).status_code == 401)


@pytest.mark.slow
def test_an_address_of_primary_and_replica_never_goes_back_behind_what_is_named(replica: Replica, lab: Lab) -> None:
    publish(lab, FIRST, 1)
    name = str(conninfo_to_dict(lab.urls.read)["dbname"])
    hosts = f"host={replica.primary.socket_folder},{replica.standby.socket_folder}&port=5432"
    url = f"postgresql://{READ_ROLE}@/{name}?{hosts}&load_balance_hosts=random"
    # Nothing is kept, so that each answer is read.
    mixed = replica.in_front_of(Lab(lab.settings.model_copy(update={"cache_bytes": 0}), lab.urls), url)
    with lab.serve() as leader, replica.paused():
        publish(lab, SECOND, 2)
        wait_until(lambda: leader.get(f"{BASE}/records").json()["revision"] == 2)
        named = name_second(leader)
        wanted = ask(leader, named)
        seen: set[tuple[int, str | None]] = set()
        # Each lane leads to one of both; by chance all of them may lead to the same.
        for _ in range(20):
            if seen >= {(200, "1"), (200, "2"), (503, None)}:
                return
            with mixed.serve() as client, ThreadPoolExecutor(8) as threads:
                plain = list(threads.map(lambda _: client.get(f"{BASE}/records?limit=3"), range(24)))
                rounds = list(threads.map(lambda _: ask(client, named), range(8)))
            for name, answer in [pair for answers in rounds for pair in answers.items()]:
                if not refused(answer):
                    assert answer.headers["decant-revision"] == "2", name
                    assert (answer.status_code, answer.content) == (wanted[name].status_code, wanted[name].content)
            answers = [*plain, *(answer for answers in rounds for answer in answers.values())]
            seen |= {(answer.status_code, answer.headers.get("decant-revision")) for answer in answers}
    raise AssertionError(f"only one of both was read: {seen}")


class SlowHeads(Heads):
    """Heads that take their time between what Postgres said and the end of the reading."""

    async def read(self, connection: AsyncConnection[Any]) -> None:
        """Reads all heads, and waits."""
        await super().read(connection)
        self.has_read.set()
        await self.may_end.wait()


@pytest.mark.slow
def test_a_revision_is_found_though_the_heads_were_being_read_when_it_came(lab: Lab) -> None:
    publish(lab, FIRST, 1)

    async def find_second() -> int:
        async with make_read_pool(lab.urls.read, lab.settings) as pool:
            heads = SlowHeads(ReadConnections(pool, 2, 2.0), pool, lab.urls.read, lambda _: None)
            heads.has_read, heads.may_end = asyncio.Event(), asyncio.Event()
            early = asyncio.create_task(heads.of(lab.dataset("people.people")))
            await heads.has_read.wait()
            await asyncio.to_thread(publish, lab, SECOND, 2)
            found = asyncio.create_task(heads.at_least(lab.dataset("people.people"), 2))
            heads.may_end.set()
            assert (await early).revision == 1
            revision = (await found).revision
            await heads.read_connections.close()
            return revision

    assert asyncio.run(find_second()) == 2


@pytest.mark.slow
@pytest.mark.parametrize("cancellations", [1, 2])
def test_what_replay_cancels_is_read_once_more_and_then_refused_for_now(
    replica: Replica, lab: Lab, cancellations: int
) -> None:
    publish(lab, FIRST, 1)
    with replica.in_front_of(lab).serve() as client, ThreadPoolExecutor(1) as thread:
        assert client.get(f"{BASE}/records").status_code == 200
        with replica.holding(lab, "decant.datasets"):
            answer = thread.submit(client.get, f"{BASE}/records?limit=11")
            cancelled: set[Any] = set()
            for _ in range(cancellations):
                cancelled.add(wait_for_read(replica, cancelled))
                # The read holds the one table and waits for the other: replay takes the one away from it.
                with replica.holding(lab, "people_v1.people"):
                    pass
        assert len(cancelled) == cancellations
        assert refused(answer.result()) if cancellations > 1 else answer.result().status_code == 200
        assert client.get(f"{BASE}/records").status_code == 200


@pytest.mark.slow
def test_a_table_that_replay_holds_for_long_is_unavailable_and_nothing_is_broken(replica: Replica, lab: Lab) -> None:
    publish(lab, FIRST, 1)
    with replica.in_front_of(lab).serve() as client:
        with replica.holding(lab, "people_v1.people"):
            assert refused(client.get(f"{BASE}/records"))
        wait_until(lambda: client.get(f"{BASE}/records").status_code == 200)


def wait_for_read(replica: Replica, known: set[Any]) -> Any:
    """When the read began that waits for a lock now, and is none of the known ones."""
    condition = "application_name = 'decant-read' AND wait_event_type = 'Lock'"
    query = f"SELECT query_start FROM pg_stat_activity WHERE {condition} ORDER BY 1 DESC"
    wait_until(lambda: bool({row[0] for row in replica.ask(query)} - known))
    return replica.ask(query)[0][0]
