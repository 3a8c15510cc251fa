"""Fair shares: of turns at what is scarce, and of the database's time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.auth.caller import CALLING, ITSELF, Caller
from api.database.answer_cache import Finished, PageCache
from api.database.turns import Turns
from runtime.errors import BusyError
from tests.support.examples import examples
from tests.support.lab import PEOPLE, Lab
from tests.support.pushing import make_key


@contextmanager
def calling(name: str) -> Iterator[None]:
    """Questions inside are this caller's."""
    token = CALLING.set(Caller(name) if name else ITSELF)
    try:
        yield
    finally:
        CALLING.reset(token)


async def hold(turns: Turns, name: str, until: asyncio.Event, seen: list[str], *, costly: bool = False) -> None:
    """Has a turn until it is told to end."""
    with calling(name):
        async with turns.turn(30, costly=costly):
            seen.append(name)
            await until.wait()


def test_one_caller_never_has_all_turns_and_waits_for_their_own() -> None:
    async def run() -> None:
        turns, until, seen = Turns(8, what="lanes"), asyncio.Event(), list[str]()
        greedy = [asyncio.create_task(hold(turns, "greedy", until, seen)) for _ in range(50)]
        await asyncio.sleep(0)
        assert seen == ["greedy"] * 6
        other = asyncio.create_task(hold(turns, "other", until, seen))
        await asyncio.sleep(0)
        assert seen[-1] == "other", "at once, before 44 who wait"
        with calling(""):
            async with turns.turn(0.01):
                pass  # Decant's own questions too
        until.set()
        await asyncio.gather(*greedy, other)
        assert (turns.free, turns.held, turns.waiting) == (8, {}, {})

    asyncio.run(run())


def test_those_who_wait_have_their_turns_one_caller_after_another() -> None:
    async def run() -> None:
        turns, seen = Turns(1, what="lanes"), list[str]()

        async def ask(name: str) -> None:
            with calling(name):
                async with turns.turn(30):
                    seen.append(name)
                    await asyncio.sleep(0)

        await asyncio.gather(*(ask(name) for name in ["a"] * 6 + ["b"] * 2 + ["c"] * 2))
        assert "".join(seen) in {"aabcabcaaa", "abcabcaaaa"}

    asyncio.run(run())


def test_costly_questions_wait_among_their_like() -> None:
    async def run() -> None:
        turns, until, seen = Turns(8, what="lanes"), asyncio.Event(), list[str]()
        tasks = [asyncio.create_task(hold(turns, name, until, seen, costly=True)) for name in "aaaabbbbccccddddeeee"]
        await asyncio.sleep(0)
        assert sorted(seen) == ["a", "b", "c", "d"], "one of each, four in all"
        cheap = [asyncio.create_task(hold(turns, name, until, seen)) for name in "acd"]
        await asyncio.sleep(0)
        assert seen[-3:] == ["a", "c", "d"]
        until.set()
        await asyncio.gather(*tasks, *cheap)
        assert (turns.free, turns.held, turns.held_costly) == (8, {}, {})

    asyncio.run(run())


def test_whoever_waits_in_vain_is_told_for_whom() -> None:
    async def run() -> None:
        turns, until, seen = Turns(2, what="exports", each=1), asyncio.Event(), list[str]()
        tasks = [asyncio.create_task(hold(turns, name, until, seen)) for name in "ab"]
        await asyncio.sleep(0)
        for name, words in (("a", "your own requests"), ("c", "others")):
            with calling(name), pytest.raises(BusyError, match=f"exports are in use by {words}"):
                async with turns.turn(0.01):
                    pass
        until.set()
        await asyncio.gather(*tasks)

    asyncio.run(run())


def test_a_share_that_is_used_up_is_nobody_else_s_refusal() -> None:
    async def run() -> None:
        cache, until = PageCache(1_000_000), asyncio.Event()
        page = Finished("tag", (), b"page", 1)

        async def refuse() -> Finished:
            await until.wait()
            raise BusyError("All that there are are busy with your own requests.")

        async def answer() -> Finished:
            return page

        greedy = asyncio.create_task(cache.make("tag", refuse))
        await asyncio.sleep(0)
        other = asyncio.create_task(cache.make("tag", answer))
        await asyncio.sleep(0)
        until.set()
        with pytest.raises(BusyError):
            await greedy
        assert await other is page

    asyncio.run(run())


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.integers(0, 3), st.booleans()), max_size=30))
def test_no_turn_is_lost_and_none_is_given_twice(asked: list[tuple[str, bool, int, bool]]) -> None:
    async def run() -> None:
        turns = Turns(3, what="lanes", each=2, costly=2)
        now: list[tuple[str, bool]] = []

        async def ask(name: str, costly: bool, steps: int) -> None:
            with calling(name):
                async with turns.turn(30, costly=costly):
                    now.append((name, costly))
                    try:
                        assert len(now) <= 3
                        assert sum(other == name for other, _ in now) <= 2
                        assert sum(other for _, other in now) <= 2
                        for _ in range(steps):
                            await asyncio.sleep(0)
                    finally:
                        now.remove((name, costly))

        tasks = [asyncio.create_task(ask(name, costly, steps)) for name, costly, steps, _ in asked]
        await asyncio.sleep(0)
        for task, (*_, leaves) in zip(tasks, asked, strict=True):
            if leaves:
                task.cancel()  # before, while or after it has its turn
                await asyncio.sleep(0)
        for task in await asyncio.gather(*tasks, return_exceptions=True):
            assert task is None or isinstance(task, asyncio.CancelledError)
        assert (turns.free, turns.held, turns.held_costly, turns.waiting) == (3, {}, {}, {})

    asyncio.run(run())


@pytest.mark.slow
def test_a_caller_whose_questions_hang_keeps_nobody_else_waiting(make_lab: Callable[..., Lab]) -> None:
    two = PEOPLE.replace(
        "roles:",
        "  - name: pets\n    customProperties: [{property: input, value: {server: here, path: pets.csv}}]\n"
        "    properties: [{name: id, logicalType: integer, primaryKey: true}]\nroles:",
    )
    lab = make_lab(two, read_pool_size=4, query_timeout_ms=20_000, cache_bytes=0)
    lab.ingest("people.people", "id,name,age,born\n1,Ann,30,1990-01-31\n")
    lab.ingest("people.pets", "id\n1\n", name="pets.csv")
    greedy, good = (make_key(lab, "people:read") for _ in range(2))
    with lab.serve() as client, ThreadPoolExecutor(12) as pool, psycopg.connect(lab.urls.owner) as owner:
        assert client.get("/data/people/v1/pets/records", headers=good).status_code == 200
        # Every question about people hangs until the lock goes, and longer than one waits for a lane.
        owner.execute("LOCK TABLE people_v1.people IN ACCESS EXCLUSIVE MODE")
        hanging = [
            pool.submit(client.get, f"/data/people/v1/people/records?limit={n}", headers=greedy) for n in range(1, 11)
        ]
        answers = [client.get(f"/data/people/v1/pets/records?limit={n}", headers=good) for n in range(1, 21)]
        assert {answer.status_code for answer in answers} == {200}
        owner.rollback()
        assert {asked.result().status_code for asked in hanging} <= {200, 503}


def test_the_time_of_the_database_is_charged_to_the_limit(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(PEOPLE, rate_limit_default="200/hour", cache_bytes=0)
    lab.ingest("people.people", "id,name,age,born\n1,Ann,30,1990-01-31\n")
    key = make_key(lab, "people:read")
    with lab.serve() as client:
        client.get("/data/people/v1/people/records", headers=key)
        with psycopg.connect(lab.urls.owner) as owner, ThreadPoolExecutor(1) as pool:
            owner.execute("LOCK TABLE people_v1.people IN ACCESS EXCLUSIVE MODE")
            asked = pool.submit(client.get, "/data/people/v1/people/records?limit=7", headers=key)
            while not lab.rows("SELECT 1 FROM pg_locks WHERE NOT granted"):
                pass
            owner.execute("SELECT pg_sleep(0.5)")  # what the question takes at least
            owner.rollback()
            assert asked.result().status_code in {200, 503}
        left = [client.get("/data/people/v1/people/records", headers=key).headers["ratelimit"] for _ in range(3)][-1]
    assert int(left.split("r=")[1].split(";")[0]) < 200 - 5 - 40, "half a second is worth 48 requests"
