"""Two hosts without a shared disk that are asked for one export: one builds it, and is replaced when it dies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from secrets import token_hex

import httpx
import psycopg
import pytest

from api.exports.build_locks import BuildLocks, lock_number
from api.exports.kept_files import ExportFiles
from catalog.storage.object_store import EXPORTS
from catalog.storage.store_place import open_store
from runtime.postgres.pools import make_lock_pool
from tests.support.buckets import make_bucket
from tests.support.lab import Lab
from tests.support.serve_process import serving
from tests.support.tools import Bouncer
from tests.support.waiting import wait_until

FILE = "/data/people/v1/people/export?at=1&format=parquet"
RECORDS = "id,name,age,born\n1,Ann,30,\n2,Ben,40,\n"
ASKED = 4  # requests at each host
HOLDERS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'decant-lock' AND state = 'idle in transaction'"


@pytest.fixture
def hosts(make_lab: Callable[..., Lab], bucket_server: str, tmp_path: Path) -> tuple[Lab, Lab]:
    """Two hosts with a bucket between them, and a revision that each of them knows."""
    first = make_lab(store_url=make_bucket(bucket_server, token_hex(8)), exports_at_once=2 * ASKED)
    second = Lab(first.settings.model_copy(update={"home": tmp_path / "another-host"}), first.urls)
    assert first.ingest("people.people", RECORDS).status == "published"
    return first, second


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files whose building has begun, on any host of this process."""
    paths: list[Path] = []
    build = ExportFiles.build

    async def note(files: ExportFiles, path: Path, how: object) -> None:
        paths.append(path)
        await build(files, path, how)  # type: ignore[arg-type]

    monkeypatch.setattr(ExportFiles, "build", note)
    return paths


@pytest.fixture
def turned_away(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The locks that somebody of this process has not got, once for each try."""
    numbers: list[int] = []
    take = BuildLocks.take

    async def note(locks: BuildLocks, number: int) -> AsyncExitStack | None:
        held = await take(locks, number)
        if held is None:
            numbers.append(number)
        return held

    monkeypatch.setattr(BuildLocks, "take", note)
    return numbers


@contextmanager
def halted(lab: Lab) -> Iterator[None]:
    """Has whoever builds wait for the records."""
    with psycopg.connect(lab.urls.owner) as owner:
        owner.execute("LOCK TABLE people_v1.people IN ACCESS EXCLUSIVE MODE")
        yield


def content_of(answers: list[Future[httpx.Response]]) -> bytes:
    """What all of them sent."""
    (content,) = {answer.result().raise_for_status().content for answer in answers}
    return content


@pytest.mark.slow
def test_of_many_who_ask_two_hosts_one_builds(
    hosts: tuple[Lab, Lab], built: list[Path], turned_away: list[int]
) -> None:
    with ThreadPoolExecutor(2 * ASKED) as threads, ExitStack() as stack:
        clients = [stack.enter_context(host.serve()) for host in hosts]
        for client in clients:
            client.get("/data/people/v1/people/records?at=1").raise_for_status()
        with halted(hosts[0]):
            answers = [threads.submit(client.get, FILE) for client in clients for _ in range(ASKED)]
            wait_until(lambda: bool(built and turned_away))
        assert content_of(answers)[:4] == b"PAR1"
        assert len(built) == 1
        # Neither is held for longer: the next file is built at once.
        clients[0].get(f"{FILE}&properties=id").raise_for_status()
    assert len(built) == 2
    assert len(list(open_store(hosts[0].settings).list(EXPORTS))) == 2


@pytest.mark.slow
def test_a_builder_that_lost_its_lock_is_replaced_and_both_send_the_same_file(
    hosts: tuple[Lab, Lab], built: list[Path], turned_away: list[int]
) -> None:
    with ThreadPoolExecutor(2) as threads, ExitStack() as stack:
        clients = [stack.enter_context(host.serve()) for host in hosts]
        for client in clients:
            client.get("/data/people/v1/people/records?at=1").raise_for_status()
        with halted(hosts[0]):
            answers = [threads.submit(clients[0].get, FILE)]
            wait_until(lambda: len(built) == 1)
            answers.append(threads.submit(clients[1].get, FILE))
            wait_until(lambda: bool(turned_away))
            ((pid,),) = hosts[0].rows(HOLDERS)
            hosts[0].rows("SELECT pg_terminate_backend(%s)", pid)
            wait_until(lambda: len(built) == 2)
        assert content_of(answers)[:4] == b"PAR1"


def test_a_host_builds_by_itself_where_another_holds_the_lock_for_too_long(
    hosts: tuple[Lab, Lab], built: list[Path]
) -> None:
    first, second = hosts
    # Somebody holds it for longer than an export may take.
    hasty = Lab(second.settings.model_copy(update={"export_timeout_seconds": 0.01}), second.urls)
    with ThreadPoolExecutor(1) as threads, first.serve() as client, halted(first):
        asked = threads.submit(client.get, FILE)
        wait_until(lambda: bool(first.rows(HOLDERS)))
        with hasty.serve() as other, ThreadPoolExecutor(1) as more:
            late = more.submit(other.get, FILE)
            wait_until(lambda: len(built) == 2)
            assert late.result().status_code == 504  # it built, and its statement took too long
        first.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'decant-export'")
        assert asked.result().status_code == 503


def test_a_host_builds_while_the_database_of_the_locks_is_away(hosts: tuple[Lab, Lab], built: list[Path]) -> None:
    first, _ = hosts
    # Records are read elsewhere, as on a replica.
    away = replace(first.urls, write="postgresql://decant_write@127.0.0.1:1/none")
    with Lab(first.settings, away).serve() as client:
        assert client.get(FILE).raise_for_status().content[:4] == b"PAR1"
    assert len(built) == 1


def test_locks_hold_through_a_pooler_and_end_with_their_holder(hosts: tuple[Lab, Lab], pgbouncer: Bouncer) -> None:
    lab, _ = hosts

    async def hold() -> None:
        urls = (lab.urls.write, pgbouncer.through(lab.urls.write))
        pools = [make_lock_pool(url, lab.settings) for url in urls]
        for pool in pools:
            await pool.open()
        direct, pooled = (BuildLocks(pool, wait_seconds=20) for pool in pools)
        try:
            for one, other in ((direct, pooled), (pooled, direct)):
                held = await one.take(1)
                assert held is not None
                assert await other.take(1) is None
                await held.aclose()
            async with pooled.hold("key"):
                assert await direct.take(lock_number("key")) is None
            async with direct.hold("key"):
                assert await pooled.take(lock_number("key")) is None
        finally:
            for pool in pools:
                await pool.close()

    asyncio.run(hold())


@pytest.mark.slow
def test_a_host_that_is_killed_while_it_builds_is_replaced(
    hosts: tuple[Lab, Lab], built: list[Path], turned_away: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = hosts
    with (
        ThreadPoolExecutor(2) as threads,
        serving(first) as (process, address),
        second.serve() as client,
    ):
        client.get("/data/people/v1/people/records?at=1").raise_for_status()
        with halted(first):
            killed = threads.submit(httpx.get, f"{address}{FILE}", timeout=60)
            wait_until(lambda: bool(first.rows(HOLDERS)))
            asked = threads.submit(client.get, FILE)
            wait_until(lambda: bool(turned_away))
            assert built == []
            process.kill()
            wait_until(lambda: len(built) == 1)
        assert asked.result().raise_for_status().content[:4] == b"PAR1"
        with pytest.raises(httpx.HTTPError):
            killed.result()
