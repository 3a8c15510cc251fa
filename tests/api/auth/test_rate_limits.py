"""Rate limits, over processes and over every window; whom they count."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from itertools import count
from typing import Any

import httpx
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg_pool import AsyncConnectionPool

from api.auth.rate_limits import Limiter, rate_headers
from api.http.client_address import client_address
from runtime.postgres.pools import make_write_pool
from runtime.settings.rate import Rate, parse_rate
from runtime.settings.settings import load_settings
from tests.support import keys
from tests.support.lab import PEOPLE, Lab

PATH = "/data/people/v1/people/records?limit=1"


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("600/minute", Rate(600, 60)),
        (" 1 / second ", Rate(1, 1)),
        ("5/hour", Rate(5, 3600)),
        ("7/day", Rate(7, 86400)),
    ],
)
def test_a_rate_is_read(text: str, rate: Rate) -> None:
    assert parse_rate(text) == rate


@pytest.mark.sampled
@pytest.mark.parametrize(
    "text", ["", "0/minute", "-1/minute", "600", "600/week", "1e3/minute", "99999999999/day", "٣/day"]
)
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a rate"):
        parse_rate(text)


def most_in_a_window(timestamps: list[float], seconds: float) -> int:
    """The most that any window of this length holds, wherever it begins."""
    most = first = 0
    for place, timestamp in enumerate(timestamps):
        while timestamps[first] <= timestamp - seconds:
            first += 1
        most = max(most, place - first + 1)
    return most


async def hammer(limiters: list[Limiter], rate: Rate, seconds: float) -> tuple[list[float], int]:
    """The moments at which requests of one caller passed, and how many were refused, while it asks all it can."""
    passed: list[float] = []
    refused = 0
    end = time.monotonic() + seconds

    async def ask(limiter: Limiter) -> None:
        nonlocal refused
        while time.monotonic() < end:
            decision = await limiter.take("caller", rate)
            if decision.allowed:
                passed.append(time.monotonic())
            else:
                refused += 1
            await asyncio.sleep(0.002)

    await asyncio.gather(*(ask(limiter) for limiter in limiters for _ in range(4)))
    return sorted(passed), refused


class CountingPool:
    """A pool that counts how often a connection is asked for."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self.pool = pool
        self.asked = 0

    def connection(self) -> Any:
        self.asked += 1
        return self.pool.connection()


async def with_limiters(lab: Lab, number: int, use: Callable[[list[Any]], Any]) -> Any:
    """What `use` makes of several limiters, each with a pool of its own, as processes have."""
    pools = [make_write_pool(lab.urls.write, lab.settings) for _ in range(number)]
    try:
        for pool in pools:
            await pool.open(wait=True)
        return await use([CountingPool(pool) for pool in pools])
    finally:
        for pool in pools:
            await pool.close()


@pytest.mark.slow
def test_no_window_holds_more_than_the_limit_while_processes_ask_all_they_can(lab: Lab) -> None:
    rate = Rate(200, 1)

    async def use(pools: list[Any]) -> tuple[list[float], int]:
        return await hammer([Limiter(pool) for pool in pools], rate, 3.0)

    passed, refused = asyncio.run(with_limiters(lab, 3, use))
    assert refused
    # Moments are taken a little after the grant: a window of them is as much shorter.
    assert most_in_a_window(passed, rate.window_seconds * 0.98) <= rate.quota


class Clock:
    """A time that moves when it is told to, for limiters and for the function in the database that they ask."""

    def __init__(self, owner: psycopg.Connection[Any]) -> None:
        self.now = 0.0
        self.owner = owner
        function = "decant.lease_requests"
        (text,) = owner.execute(f"SELECT pg_get_functiondef('{function}'::regproc)").fetchone() or ("",)
        assert text.count("clock_timestamp()") == 1
        owner.execute("CREATE TABLE public.moment AS SELECT to_timestamp(0) AS now")
        owner.execute("GRANT SELECT ON public.moment TO PUBLIC")
        owner.execute(text.replace("clock_timestamp()", "(SELECT now FROM public.moment)").encode())

    def __call__(self) -> float:
        return self.now

    def move(self, seconds: float) -> None:
        """Moves on."""
        self.now += seconds
        self.owner.execute("UPDATE public.moment SET now = to_timestamp(%s)", (self.now,))


@pytest.mark.slow
@pytest.mark.parametrize("most_at_once", [1, 3, 400])
def test_windows_hold_at_most_the_limit_and_little_is_lost(lab: Lab, most_at_once: int) -> None:
    rate, seconds, chance = Rate(200, 1), 5.0, random.Random(most_at_once)

    async def use(pools: list[Any]) -> list[float]:
        passed = []
        with psycopg.connect(lab.urls.owner, autocommit=True) as owner:
            clock = Clock(owner)
            limiters = [Limiter(pool, clock) for pool in pools]
            while clock.now < seconds:
                for limiter in chance.sample(limiters, k=3):
                    for _ in range(most_at_once):
                        if not (await limiter.take("caller", rate)).allowed:
                            break
                        passed.append(clock.now)
                # On average 300 to 120,000 requests are wanted each second.
                clock.move(chance.uniform(0.0, 0.02))
        return passed

    passed = asyncio.run(with_limiters(lab, 3, use))
    assert most_in_a_window(passed, rate.window_seconds) <= rate.quota
    assert len(passed) >= 0.95 * rate.quota * seconds


def test_a_lease_serves_many_requests_without_a_statement(lab: Lab) -> None:
    async def use(pools: list[Any]) -> tuple[int, int]:
        limiter = Limiter(pools[0])
        allowed = [(await limiter.take("caller", Rate(100_000, 60))).allowed for _ in range(5_000)]
        return sum(allowed), pools[0].asked

    assert asyncio.run(with_limiters(lab, 1, use)) == (5_000, pytest.approx(6, abs=4))


def test_the_whole_quota_is_granted_over_processes_and_no_more(lab: Lab) -> None:
    rate = Rate(100, 3600)

    async def use(pools: list[Any]) -> list[bool]:
        limiters = [Limiter(pool) for pool in pools]
        return [(await limiters[n % len(limiters)].take("caller", rate)).allowed for n in range(150)]

    allowed = asyncio.run(with_limiters(lab, 3, use))
    assert sum(allowed) == 100
    assert not any(allowed[110:])


def test_a_flood_of_refused_requests_costs_no_statement(lab: Lab) -> None:
    async def use(pools: list[Any]) -> tuple[int, int]:
        limiter = Limiter(pools[0])
        decisions = [await limiter.take("caller", Rate(5, 3600)) for _ in range(2_000)]
        return sum(decision.allowed for decision in decisions), pools[0].asked

    allowed, asked = asyncio.run(with_limiters(lab, 1, use))
    assert allowed == 5
    assert asked < 15


def test_callers_do_not_share_and_a_new_limit_begins_anew(lab: Lab) -> None:
    async def use(pools: list[Any]) -> list[bool]:
        limiter = Limiter(pools[0])
        rate = Rate(1, 3600)
        asked = [("a", rate), ("a", rate), ("b", rate), ("a", Rate(2, 3600))]
        return [(await limiter.take(caller, wanted)).allowed for caller, wanted in asked]

    assert asyncio.run(with_limiters(lab, 1, use)) == [True, False, True, True]


def test_without_the_database_a_part_of_the_limit_is_left(lab: Lab) -> None:
    async def use(_: list[Any]) -> int:
        pool = make_write_pool("postgresql://nobody@127.0.0.1:1/none", load_settings(pool_timeout_ms=50))
        await pool.open(wait=False)
        try:
            ticks = count()
            limiter = Limiter(pool, clock=lambda: next(ticks) * 1e-6)
            return sum([(await limiter.take("caller", Rate(6_000, 60))).allowed for _ in range(50)])
        finally:
            await pool.close()

    assert asyncio.run(with_limiters(lab, 0, use)) == 10


def test_the_headers_are_those_of_the_draft() -> None:
    from api.auth.rate_limits import RateDecision

    assert rate_headers(Rate(100, 60), RateDecision(True, 50, 30)) == [
        (b"ratelimit-policy", b'"default";q=100;w=60'),
        (b"ratelimit", b'"default";r=50;t=30'),
    ]


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("9.9.9.9", ["1.1.1.1"], "9.9.9.9"),  # no trusted proxy: what it says counts for nothing
        ("10.0.0.1", ["1.1.1.1"], "1.1.1.1"),
        ("10.0.0.1", ["6.6.6.6, 1.1.1.1"], "1.1.1.1"),
        ("10.0.0.1", ["6.6.6.6, 1.1.1.1, 10.0.0.7"], "1.1.1.1"),
        ("10.0.0.1", ["6.6.6.6", "1.1.1.1"], "1.1.1.1"),
        ("10.0.0.1", ["1.1.1.1, garbage"], "10.0.0.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["10.0.0.3"], "10.0.0.3"),
        ("2001:db8:1:2:3:4:5:6", [], "2001:db8:1:2::/64"),
        ("::ffff:10.0.0.1", ["1.1.1.1"], "1.1.1.1"),
        ("", ["1.1.1.1"], "unknown"),
    ],
)
def test_a_caller_is_known_by_what_trusted_proxies_say_alone(peer: str, forwarded: list[str], address: str) -> None:
    from ipaddress import ip_network

    headers = [(b"x-forwarded-for", text.encode()) for text in forwarded]
    scope = {"client": (peer, 1), "headers": headers}
    assert client_address(scope, [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]) == address


@given(st.lists(st.text(max_size=30), max_size=4))
def test_no_forged_header_changes_an_untrusted_peer(texts: list[str]) -> None:
    headers = [(b"x-forwarded-for", text.encode("utf-8", "replace")) for text in texts]
    assert client_address({"client": ("9.9.9.9", 1), "headers": headers}, []) == "9.9.9.9"


def make_key(lab: Lab, rate: str | None = None) -> dict[str, str]:
    """The header of a new key, with a limit of its own."""
    key = keys.make_key(lab, "people:read")
    if rate:
        lab.rows("UPDATE decant.api_keys SET rate_limit = %s WHERE id = %s RETURNING id", rate, key.split("_")[1])
    return {"X-API-Key": key}


def test_who_asks_too_often_is_told_when_to_come_again(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(PEOPLE, rate_limit_anonymous="3/minute", rate_limit_default="5/minute")
    lab.ingest("people.people", "id,name,age,born\n1,Ann,30,1990-01-31\n")
    limited = make_key(lab, "2/minute")
    with lab.serve() as client:

        def ask(times: int, headers: dict[str, str] | None = None) -> list[httpx.Response]:
            return [client.get(PATH, headers=headers) for _ in range(times)]

        anonymous = ask(4)
        assert [answer.status_code for answer in anonymous] == [200, 200, 200, 429]
        assert anonymous[0].headers["ratelimit-policy"] == '"default";q=3;w=60'
        assert anonymous[0].headers["ratelimit"].startswith('"default";r=2;t=')
        refused = anonymous[3]
        assert refused.json()["code"] == "rate_limited"
        reset = int(refused.headers["ratelimit"].rpartition("t=")[2])
        assert 0 < reset <= int(refused.headers["retry-after"]) <= 62
        # Forging an address does not help.
        assert client.get(PATH, headers={"X-Forwarded-For": "1.2.3.4"}).status_code == 429
        assert [a.status_code for a in ask(6, make_key(lab))] == [200] * 5 + [429]
        assert [a.status_code for a in ask(3, limited)] == [200, 200, 429]
        # Whoever tries keys is counted by address, whose requests are used up.
        assert client.get(PATH, headers={"X-API-Key": "dcnt_wrong"}).status_code == 429
        assert client.get("/livez").status_code == 200


def test_a_role_s_limit_is_that_of_its_product(make_lab: Callable[..., Lab]) -> None:
    role = '{role: "people:read", access: read, customProperties: [{property: rateLimit, value: 2/minute}]}'
    lab = make_lab(PEOPLE.partition("roles:")[0] + f"roles:\n  - {role}\n", rate_limit_default="4/minute")
    lab.ingest("people.people", "id,name,age,born\n1,Ann,30,1990-01-31\n")
    key = make_key(lab)
    with lab.serve() as client:
        assert [client.get(PATH, headers=key).status_code for _ in range(3)] == [200, 200, 429]
        assert [client.get("/data", headers=key).status_code for _ in range(5)] == [200] * 4 + [429]
