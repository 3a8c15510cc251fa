"""Through a real PgBouncer in transaction mode nobody gets another's answer, and nothing stays behind."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from psycopg.conninfo import conninfo_to_dict

from api.database.connections import ReadConnections
from api.database.statement import Statement
from ingest.worker.supervisor import keep_working
from runtime.errors import DatabaseError, PoolerError
from runtime.postgres.database import make_engine, make_read_engine
from runtime.postgres.embedded_postgres import EmbeddedPostgres
from runtime.postgres.pools import make_read_pool
from tests.support.keys import key_of, make_key
from tests.support.lab import PEOPLE, Lab
from tests.support.tools import Bouncer, free_database, run_pgbouncer

PRODUCTS = 5
REQUESTS = 10_000
THREADS = 4
EXPORT_EVERY = 100  # of the requests of a thread: an export takes as long as dozens of pages
# The answers' own facts, which differ from one to the next.
PASSING = ("trace_id", "instance", "next", "receipt")

Question = tuple[str, str]  # path, principal


def write_contract(number: int) -> str:
    """A product of its own, with one classified property."""
    closed = PEOPLE.replace(", customProperties: [{property: anonymous, value: true}]", "")
    closed = closed.replace("logicalType: date}", "logicalType: date, classification: confidential}")
    for word in ("id: people", "name: people", "path: people", 'role: "people'):
        closed = closed.replace(word, word.replace("people", f"people{number}"))
    return closed.replace("name: People\n", f"name: People {number}\n")


@pytest.fixture
def crowd(make_lab: Callable[..., Lab]) -> Lab:
    """Five products of the same form with other people in each."""
    lab = make_lab(*(write_contract(number) for number in range(PRODUCTS)), cache_bytes=0)
    for number in range(PRODUCTS):
        for revision in (1, 2):
            rows = [f"{i},p{number}-{i},{(i + revision) % 90},2000-01-{i:02}" for i in range(1, 21)]
            lab.ingest(
                f"people{number}.people{number}", "\n".join(["id,name,age,born", *rows]), f"people{number}.csv"
            )
    return lab


def through(bouncer: Bouncer, lab: Lab, *logins: str) -> Lab:
    """The same product, with these logins through the pooler."""
    urls = {login: bouncer.through(getattr(lab.urls, login)) for login in logins}
    return Lab(lab.settings, replace(lab.urls, **urls))


@pytest.fixture
def pooled(crowd: Lab, pgbouncer: Bouncer, server: EmbeddedPostgres) -> Iterator[Lab]:
    """The five products, read and written through the pooler."""
    yield through(pgbouncer, crowd, "read", "write")
    free_database(pgbouncer, server, name_of(crowd))


def make_keys(lab: Lab) -> dict[str, str]:
    """Two principals: one sees everything of the first three products, the other the open part of the last three."""
    wide = [f"people{n}:read{more}" for n in (0, 1, 2) for more in ("", ":confidential")]
    narrow = [f"people{n}:read" for n in (2, 3, 4)]
    return {name: make_key(lab, *scopes, name=name) for name, scopes in (("wide", wide), ("narrow", narrow))}


def paths_of(number: int) -> list[str]:
    """Questions of every kind; the export comes last."""
    base = f"/data/people{number}/v1/people{number}"
    return [
        f"{base}/records?limit=5",
        f"{base}/records?limit=7&sort=-age",
        f"{base}/records?age[gte]=10&properties=id,name",
        f"{base}/records?name=p{number}-7",
        f"{base}/records?at=1&limit=3",
        f"{base}/records/{number + 1}",
        f"{base}/aggregate?measure=count,avg:age,max:age",
        f"{base}/changes?since=1",
        f"{base}/export?format=csv&id[gt]=0",
    ]


def ask(connection: http.client.HTTPConnection, path: str, key: str) -> tuple[int, Any]:
    """The status and the lasting part of an answer."""
    connection.request("GET", path, headers={"X-API-Key": key})
    answer = connection.getresponse()
    body = answer.read()
    if "json" not in (answer.headers["content-type"] or ""):
        return answer.status, body
    facts = json.loads(body)
    return answer.status, {name: value for name, value in facts.items() if name not in PASSING}


def ask_all(port: int, questions: list[Question], keys: dict[str, str]) -> list[tuple[int, Any]]:
    """The answers to the questions, one after the other over one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        return [ask(connection, path, keys[principal]) for path, principal in questions]
    finally:
        connection.close()


def mix(thread: int, questions: list[Question], exports: list[Question]) -> list[Question]:
    """One thread's share of the requests, each thread's in an order of its own."""
    step = (7, 11, 13, 17)[thread]  # with no divisor in common with their number: all are met in turn
    turns = itertools.count(thread)
    chosen = []
    for place in range(REQUESTS // THREADS):
        group = exports if place % EXPORT_EVERY == EXPORT_EVERY - 1 else questions
        chosen.append(group[next(turns) * step % len(group)])
    return chosen


@pytest.mark.slow
def test_of_ten_thousand_requests_through_a_pooler_none_is_answered_wrongly(crowd: Lab, pooled: Lab) -> None:
    keys = make_keys(crowd)
    everything = [(path, who) for number in range(PRODUCTS) for path in paths_of(number) for who in keys]
    with crowd.serve() as client:
        expected = dict(zip(everything, ask_all(client.base_url.port or 0, everything, keys), strict=True))
    # What is expected is right itself: each dataset's people carry its number, and each principal its rights.
    for (path, who), (status, body) in expected.items():
        number = int(path[len("/data/people")])
        seen = number in ((0, 1, 2) if who == "wide" else (2, 3, 4))
        assert status == (200 if seen else 404), (path, who, body)
        text = body.decode() if isinstance(body, bytes) else json.dumps(body)
        assert all((f"p{n}-" in text) <= (n == number and seen) for n in range(PRODUCTS))
        assert ("2000-01-" in text) <= (who == "wide")
    exports = [question for question in everything if "/export" in question[0]]
    questions = [question for question in everything if "/export" not in question[0]]
    with pooled.serve() as client, ThreadPoolExecutor(THREADS) as threads:
        port = client.base_url.port or 0
        shares = [mix(thread, questions, exports) for thread in range(THREADS)]
        answers = list(threads.map(lambda share: ask_all(port, share, keys), shares))
    asked = 0
    for share, got in zip(shares, answers, strict=True):
        for question, answer in zip(share, got, strict=True):
            assert answer == expected[question], (question, answer[1])
            asked += 1
    assert asked == REQUESTS
    check_nothing_stayed(pooled)


def check_nothing_stayed(pooled: Lab) -> None:
    """The server connections that the pooler keeps are as they were: no settings, no statements of ours."""
    names = ("default_transaction_read_only", "statement_timeout", "lock_timeout", "plan_cache_mode", "jit")
    for url in (pooled.urls.read, pooled.urls.write):
        with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
            query = "SELECT name FROM pg_settings WHERE name = ANY(%s) AND setting IS DISTINCT FROM reset_val"
            assert connection.execute(query, (list(names),)).fetchall() == []
            assert connection.execute("SELECT name FROM pg_prepared_statements").fetchall() == []
            assert connection.execute("SELECT channel FROM pg_listening_channels() AS channel").fetchall() == []


def test_the_read_pool_settings_hold_through_a_pooler(pgbouncer: Bouncer, server: EmbeddedPostgres, lab: Lab) -> None:
    lab.ingest("people.people", "id,name,age,born\n1,Ann,30,1990-01-31\n")
    pooled = through(pgbouncer, lab, "read", "write")
    facts = asyncio.run(read_facts(pooled))
    assert facts["plain"] == facts["begun"] == facts["lane"] == ["on", "2s", "1s", "UTC", "off"]
    assert facts["error"] == "ReadOnlySqlTransaction"
    assert facts["after"] == facts["plain"]
    check_nothing_stayed(pooled)
    free_database(pgbouncer, server, name_of(lab))


async def read_facts(pooled: Lab) -> dict[str, Any]:
    """What the pool's connections and lanes say of their settings."""
    names = ("transaction_read_only", "statement_timeout", "lock_timeout", "TimeZone", "jit")
    query = "SELECT " + ", ".join(f"current_setting('{name}')" for name in names)
    facts: dict[str, Any] = {}

    async def read(connection: Any) -> list[str]:
        (row,) = await (await connection.execute(query)).fetchall()
        return [value.decode() for value in row]

    async with make_read_pool(pooled.urls.read, pooled.settings) as pool:
        read_connections = ReadConnections(pool, 2, 5)
        async with read_connections.connection() as connection:
            assert connection.pooled
            facts["plain"] = await read(connection)
            async with connection.transaction():
                facts["begun"] = await read(connection)
            try:
                await connection.execute("CREATE TABLE mine (id int)")
            except psycopg.Error as error:
                facts["error"] = type(error).__name__
            facts["after"] = await read(connection)
        row = await read_connections.fetch(Statement(query.encode(), (), keep_plan=True), {}) or []
        facts["lane"] = [(value or b"").decode() for value in row]
        # What Postgres refuses leaves the lane fit for the next.
        with pytest.raises(DatabaseError):
            await read_connections.fetch(Statement(b"SELECT 1 / ($1::int)", ("by",), keep_plan=False), {"by": 0})
        assert await read_connections.fetch(
            Statement(b"SELECT 4 / ($1::int)", ("by",), keep_plan=False), {"by": 2}
        ) == [b"2"]
        assert read_connections.open == 1
        await read_connections.close()
    return facts


def test_writes_and_new_revisions_come_through_a_pooler(
    pgbouncer: Bouncer, server: EmbeddedPostgres, make_lab: Callable[..., Lab]
) -> None:
    lab = make_lab(rate_limit_default="100000/minute")
    lab.ingest("people.people", "id,name,age,born\n1,Ann,30,1990-01-31\n")
    pooled = through(pgbouncer, lab, "read", "write")
    headers = key_of(lab, "keys:admin", "people:read")
    with pooled.serve() as client:
        # Transactions, repeated calls and what they keep: keys, their audit, a limit that is counted in the database.
        draft = {"name": "reader", "scopes": ["people:read"]}
        repeated = [client.post("/keys", json=draft, headers=headers | {"Idempotency-Key": "one"}) for _ in range(2)]
        assert [answer.status_code for answer in repeated] == [201, 201]
        assert repeated[0].json() == repeated[1].json()
        answer = client.get(
            "/data/people/v1/people/records", headers={"X-API-Key": repeated[0].json()["data"]["key"]}
        )
        assert (answer.status_code, answer.json()["revision"]) == (200, 1)
        assert int(answer.headers["ratelimit"].partition("r=")[2].partition(";")[0]) > 0
        # Nobody is notified behind a pooler: a new revision is found by looking.
        lab.ingest("people.people", "id,name,age,born\n1,Ann,31,1990-01-31\n")
        wait_until(lambda: client.get("/data/people/v1/people/records").json()["revision"] == 2)
        assert client.get("/readyz").status_code == 200
    free_database(pgbouncer, server, name_of(lab))


def test_addresses_that_need_a_session_are_refused_through_a_pooler(
    pgbouncer: Bouncer, server: EmbeddedPostgres, lab: Lab
) -> None:
    ignoring = "ignore_startup_parameters = options"
    with run_pgbouncer(server, settings=ignoring) as lenient, run_pgbouncer(server, pool_mode="session") as session:
        for bouncer in (pgbouncer, lenient, session):
            pooled = through(bouncer, lab, "owner", "ingest", "read")
            with pytest.raises(PoolerError, match="login decant leads through a connection pooler"):
                pooled.migrate()
            with pytest.raises(PoolerError, match="login decant_ingest leads through a connection pooler"):
                keep_working(pooled.settings, pooled.catalog, lambda _, urls=pooled.urls: nullcontext(urls))
            with pytest.raises(PoolerError, match="decant_ingest"), make_engine(pooled.urls.ingest).connect():
                pass
            # Commands that only read may come through it.
            with make_read_engine(pooled.urls.read).connect() as connection:
                shown = connection.exec_driver_sql("SELECT current_setting('TimeZone'), current_schemas(false)::text")
                assert tuple(shown.one()) == ("UTC", "{public}")
                with pytest.raises(sa.exc.DBAPIError, match="read-only"):
                    connection.exec_driver_sql("CREATE TABLE mine (id int)")
    free_database(pgbouncer, server, name_of(lab))


def name_of(lab: Lab) -> str:
    """The name of the product's database."""
    return str(conninfo_to_dict(lab.urls.read)["dbname"])


def wait_until(check: Callable[[], bool]) -> None:
    """Nothing comes back; the check is true by now."""
    deadline = time.monotonic() + 60
    while not check():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)
