"""Where the bodies of pushes are parsed: short ones at once, large ones in a process of their own."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from api.http.body_memory import BodyMemory
from api.http.problems import Problem
from api.push.body_parser import PROCESS_FROM_BYTES, THREAD_FROM_BYTES, BodyParser, parse_body
from api.push.event_body import PushMediaType
from api.push.event_store import EventStore
from api.push.intake import Intake

MEDIA_TYPE = PushMediaType("application/json", {})
SIZES = (10, THREAD_FROM_BYTES, PROCESS_FROM_BYTES)


@asynccontextmanager
async def parsing() -> AsyncIterator[BodyParser]:
    parser = BodyParser()
    try:
        yield parser
    finally:
        await parser.close()


def body_of(size: int) -> bytes:
    return b'{"id":"%s"}' % (b"x" * size)


@pytest.mark.slow
def test_bodies_of_every_size_are_parsed_alike() -> None:
    async def run() -> None:
        async with parsing() as parser:
            for size in SIZES:
                assert await parser.parse(MEDIA_TYPE, body_of(size)) == parse_body(MEDIA_TYPE, body_of(size))

    asyncio.run(run())


@pytest.mark.sampled
@pytest.mark.parametrize("size", SIZES)
def test_a_body_that_cannot_be_taken_is_the_same_problem_wherever_it_is_parsed(size: int) -> None:
    async def run() -> Problem:
        async with parsing() as parser:
            with pytest.raises(Problem) as caught:
                await parser.parse(MEDIA_TYPE, b"[%s, 1]" % body_of(size))
            return caught.value

    problem = asyncio.run(run())
    assert (problem.code, problem.errors) == (
        "invalid_event",
        [{"pointer": "/1", "message": "a record must be a JSON object"}],
    )


def test_a_problem_comes_whole_from_another_process() -> None:
    problem = Problem("overloaded", "so", errors=[{"pointer": "/1"}], headers={"Connection": "close"}, reason="r")
    assert vars(pickle.loads(pickle.dumps(problem))) == vars(problem)


@pytest.mark.slow
def test_a_killed_process_costs_one_answer_and_is_followed_by_another() -> None:
    async def run() -> None:
        async with parsing() as parser:
            body = body_of(PROCESS_FROM_BYTES)
            await parser.parse(MEDIA_TYPE, body)
            assert parser.process is not None
            pids = list(parser.process._processes)
            assert pids
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
                with suppress(ChildProcessError):  # the pool has seen it end already
                    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            with pytest.raises(Problem, match="overloaded"):
                await parser.parse(MEDIA_TYPE, body)
            assert await parser.parse(MEDIA_TYPE, body) == parse_body(MEDIA_TYPE, body)

    asyncio.run(run())


def test_large_bodies_have_their_turns_and_short_ones_do_not_wait() -> None:
    async def run() -> tuple[int, int]:
        intake = Intake(EventStore(None), BodyMemory(0, 0), BodyParser())  # type: ignore[arg-type]
        inside = {True: 0, False: 0}
        most = {True: 0, False: 0}

        async def hold(size: int) -> None:
            large = size >= PROCESS_FROM_BYTES
            async with intake.turn(size):
                inside[large] += 1
                most[large] = max(most[large], inside[large])
                for _ in range(10):
                    await asyncio.sleep(0)
                inside[large] -= 1

        await asyncio.gather(*(hold(size) for size in (10, PROCESS_FROM_BYTES) for _ in range(5)))
        return most[True], most[False]

    assert asyncio.run(run()) == (1, 5)
