"""What a process knows of the heads is what the database has committed, however little of it is read anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import AsyncConnection

from api.database import published_heads
from api.database.connections import ReadConnections
from api.database.published_heads import DatasetKey, Head, Heads, listen, receive_notifications
from runtime.postgres.pools import make_read_pool
from tests.support.examples import examples
from tests.support.lab import Lab

DATASETS = 5
WRITERS = 3
MOVE = "UPDATE decant.datasets SET revision = revision + 1 WHERE id = %s RETURNING revision"


@pytest.fixture
def many(lab: Lab) -> list[int]:
    """The numbers of heads that are in the database, beside that of the lab's own dataset."""
    made = lab.rows(
        "INSERT INTO decant.datasets (product, major, dataset, contract_version, contract_sha256)"
        f" SELECT 'made', 1, 'd' || n, '1.0.0', '' FROM generate_series(1, {DATASETS}) AS n RETURNING id"
    )
    return [number for (number,) in made]


@asynccontextmanager
async def open_heads(
    lab: Lab, report: Callable[[Any], None] = lambda _: None
) -> AsyncIterator[tuple[Heads, AsyncConnection[Any]]]:
    """Heads that nobody keeps up to date, and a connection to read them over."""
    async with make_read_pool(lab.urls.read, lab.settings) as pool:
        heads = Heads(ReadConnections(pool, 2, 2.0), pool, lab.urls.read, report)
        async with await AsyncConnection.connect(lab.urls.read, autocommit=True) as connection:
            yield heads, connection
        await heads.read_connections.close()


def committed(lab: Lab) -> dict[DatasetKey, int]:
    """The revisions as they stand."""
    rows = lab.rows("SELECT product, major, dataset, revision FROM decant.datasets")
    return {(product, major, dataset): revision for product, major, dataset, revision in rows}


def revisions(heads: Heads) -> dict[DatasetKey, int]:
    """The revisions as they are known."""
    return {place: head.revision for place, head in heads.heads.items()}


def number(statement: bytes, ran: list[tuple[bytes, int]]) -> list[int]:
    """How many rows each run of a statement had."""
    return [count for text, count in ran if text == statement]


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("move"), st.integers(0, WRITERS - 1), st.integers(0, DATASETS - 1)),
            st.tuples(st.sampled_from(["commit", "roll back"]), st.integers(0, WRITERS - 1), st.just(0)),
            st.tuples(st.just("read"), st.just(0), st.just(0)),
        ),
        max_size=40,
    )
)
@settings(max_examples=examples(60, 15), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_transactions_end_in_any_order_and_none_is_missed(
    lab: Lab, many: list[int], steps: list[tuple[str, int, int]]
) -> None:
    async def follow() -> None:
        async with open_heads(lab) as (heads, connection):
            await heads.read(connection)
            writers = [await AsyncConnection.connect(lab.urls.ingest) for _ in range(WRITERS)]
            for writer in writers:
                await writer.execute("SET lock_timeout = '1ms'")
                await writer.commit()
            for step, who, which in steps:
                if step == "move":
                    await writers[who].execute("SELECT 1")  # so that the block is part of the transaction
                    with suppress(psycopg.errors.LockNotAvailable):
                        async with writers[who].transaction():
                            await writers[who].execute(MOVE, (many[which],))
                elif step == "commit":
                    await writers[who].commit()
                elif step == "roll back":
                    await writers[who].rollback()
                else:
                    await heads.read(connection)
                    assert revisions(heads) == committed(lab)
            for writer in writers:
                await writer.commit()
                await writer.close()
            await heads.read(connection)
            assert revisions(heads) == committed(lab)

    asyncio.run(follow())


def test_only_heads_that_moved_are_read_again(lab: Lab, many: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[bytes, int]] = []
    fetch = published_heads.fetch

    async def count(connection: AsyncConnection[Any], statement: bytes, values: tuple[Any, ...] = ()) -> list[Any]:
        rows = await fetch(connection, statement, values)
        ran.append((statement, sum(row[3] is not None for row in rows)))
        return rows

    monkeypatch.setattr(published_heads, "fetch", count)
    told: list[dict[DatasetKey, Head]] = []

    async def follow() -> None:
        async with open_heads(lab, lambda read: told.append(dict(read))) as (heads, connection):
            await heads.read(connection)
            heads.report_heads()
            await heads.read(connection)
            lab.rows("UPDATE decant.datasets SET revision = 7 WHERE id = ANY(%s) RETURNING id", many[:2])
            await heads.read(connection)
            heads.report_heads()
            lab.rows("UPDATE decant.datasets SET revision = 8 WHERE id = ANY(%s) RETURNING id", many[:3])
            await heads.read_named(connection, many[:1])
            heads.report_heads()
            assert [heads.heads["made", 1, f"d{n}"].revision for n in (1, 2, 3)] == [8, 7, 0]
            # What a named read leaves out, the next poll has.
            await heads.read(connection)
            assert [heads.heads["made", 1, f"d{n}"].revision for n in (1, 2, 3)] == [8, 8, 8]

    asyncio.run(follow())
    assert number(published_heads.ALL, ran) == [DATASETS + 1]
    assert number(published_heads.MOVED_SINCE, ran)[:2] == [0, 2]
    assert number(published_heads.NAMED, ran) == [1]
    assert [len(read) for read in told] == [DATASETS + 1, 2, 1]


def test_nothing_but_a_move_marks_a_head(lab: Lab, many: list[int]) -> None:
    mark = "SELECT moved_by FROM decant.datasets WHERE id = %s"
    before = lab.rows(mark, many[0])
    lab.rows("UPDATE decant.datasets SET fencing_token = 5, newest_at = now() WHERE id = %s RETURNING id", many[0])
    assert lab.rows(mark, many[0]) == before
    for change in (
        "revision = 1",
        "oldest_revision = 1",
        "record_count = 1",
        "published_at = now()",
        "dataset = 'x'",
    ):
        ((moved,),) = lab.rows(
            f"UPDATE decant.datasets SET {change} WHERE id = %s"
            " RETURNING moved_by = pg_current_xact_id()::text::bigint",
            many[0],
        )
        assert moved, change


def test_a_dataset_that_is_renamed_or_removed_is_known_no_longer(lab: Lab, many: list[int]) -> None:
    async def follow() -> None:
        async with open_heads(lab) as (heads, connection):
            await heads.read(connection)
            lab.rows("UPDATE decant.datasets SET dataset = 'renamed' WHERE id = %s RETURNING id", many[0])
            await heads.read(connection)
            assert ("made", 1, "d1") not in heads.heads
            assert ("made", 1, "renamed") in heads.heads
            lab.rows("DELETE FROM decant.datasets WHERE id = %s RETURNING id", many[1])
            heads.whole_at -= published_heads.WHOLE_SECONDS
            await heads.read(connection)
            assert ("made", 1, "d2") not in heads.heads

    asyncio.run(follow())


def test_a_new_epoch_begins_with_the_heads_as_they_are(lab: Lab, many: list[int]) -> None:
    async def follow(*, named: bool) -> None:
        lab.rows("UPDATE decant.datasets SET revision = 9 RETURNING id")
        async with open_heads(lab) as (heads, connection):
            await heads.read(connection)
            lab.rows("UPDATE decant.datasets SET revision = 4 RETURNING id")
            await heads.read(connection)
            assert set(revisions(heads).values()) == {9}, "within an epoch no head goes back"
            epoch = "0" * 7 + str(int(named))
            lab.rows("INSERT INTO decant.epochs (epoch, reason) VALUES (%s, 'a test') RETURNING id", epoch)
            await (heads.read_named(connection, many[:1]) if named else heads.read(connection))
            assert (heads.epoch, set(revisions(heads).values())) == (epoch, {4})

    for named in (False, True):
        asyncio.run(follow(named=named))


def test_what_was_read_earlier_does_not_take_back_what_was_read_later(lab: Lab, many: list[int]) -> None:
    async def follow() -> None:
        async with open_heads(lab) as (heads, connection):
            await heads.read(connection)
            lab.rows("UPDATE decant.datasets SET revision = 1 WHERE id = %s RETURNING id", many[0])
            early = await published_heads.fetch(connection, published_heads.NAMED, (many[:1],))
            lab.rows("UPDATE decant.datasets SET revision = 2 WHERE id = %s RETURNING id", many[0])
            await heads.read(connection)
            assert heads.take(early)
            assert heads.heads["made", 1, "d1"].revision == 2

    asyncio.run(follow())


@pytest.mark.parametrize(
    ("payloads", "heard"),
    [
        (["3:1", "4:9", "3:2"], [3, 4]),
        (["epoch"], None),
        (["3:1", "epoch"], None),
        (["²:1"], None),
        ([""], None),
    ],
)
def test_notifications_name_their_datasets(lab: Lab, payloads: list[str], heard: list[int] | None) -> None:
    async def follow() -> list[int] | None:
        async with await AsyncConnection.connect(lab.urls.read, autocommit=True) as connection:
            assert await listen(connection)
            with psycopg.connect(lab.urls.owner) as owner:  # in one transaction: they come together
                for payload in payloads:
                    owner.execute("SELECT pg_notify('decant_revisions', %s)", (payload,))
            return await receive_notifications(connection, 30)

    assert asyncio.run(follow()) == heard


def test_nothing_heard_means_that_a_poll_is_due(lab: Lab) -> None:
    async def follow() -> list[int] | None:
        async with await AsyncConnection.connect(lab.urls.read, autocommit=True) as connection:
            assert await listen(connection)
            return await receive_notifications(connection, 0.01)

    assert asyncio.run(follow()) is None


def test_a_connection_anew_believes_nothing_of_before(lab: Lab) -> None:
    """The database may have been put back to an earlier state, within the same epoch."""
    lab.ingest("people.people", "id,name,age,born\n1,Ann,30,\n")
    lab.ingest("people.people", "id,name,age,born\n1,Ann,31,\n")
    with lab.serve() as client:
        answer = client.get("/data/people/v1/people/records")
        assert answer.headers["decant-revision"] == "2"
        lab.rows("UPDATE decant.datasets SET revision = 1 RETURNING id")
        lab.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE '%%-heads'"
            " AND datname = current_database()"
        )
        seen = set()
        for _ in range(2000):
            answer = client.get("/data/people/v1/people/records?limit=3")
            seen.add(answer.headers.get("decant-revision"))
            if answer.headers.get("decant-revision") == "1":
                break
        assert "1" in seen


def test_a_name_that_passes_to_another_dataset_stands_where_that_one_does(lab: Lab, many: list[int]) -> None:
    """As where one migration renames `d2` to `d3` and `d1` to `d2`."""

    async def follow() -> None:
        async with open_heads(lab) as (heads, connection):
            lab.rows("UPDATE decant.datasets SET revision = 10 * id WHERE product = 'made' RETURNING id")
            await heads.read(connection)
            lab.rows("UPDATE decant.datasets SET dataset = 'd9' WHERE id = %s RETURNING id", many[2])
            for number, name in ((many[1], "d3"), (many[0], "d2")):
                lab.rows("UPDATE decant.datasets SET dataset = %s WHERE id = %s RETURNING id", name, number)
            for numbers in (many, many[::-1]):  # in whichever order the rows come
                rows = await published_heads.fetch(connection, published_heads.NAMED, (numbers,))
                assert heads.take(sorted(rows, key=lambda row: numbers.index(row[3])))
                assert revisions(heads) == committed(lab)

    asyncio.run(follow())
