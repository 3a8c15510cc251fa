"""Inputs that are asked for news only, against a model: every row of the source arrives, whatever the batches.

A row that the source puts behind the greatest published mark at the time of a load may be left out afterwards: that
is what a lag is for. Everything else arrives: ties, marks of any digits and zones, rows without a mark, rows behind
one that was rejected, that is wrong or that lies in the future. And what has arrived is not read all over again.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import psycopg
import pymysql
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import make_url

from ingest.inputs import open_batch
from ingest.inputs.raw_batch import InputContext
from ingest.inputs.raw_marks import find_values
from tests.support.databases import Databases
from tests.support.examples import examples
from tests.support.lab import Lab
from tests.support.remote_api import Asked, RemoteApi, Reply, run_remote_api
from tests.support.tools import MariaDB

KINDS = {
    "moments": "logicalType: timestamp",
    "berlin": "logicalType: timestamp, logicalTypeOptions: {defaultTimezone: Europe/Berlin}",
    "newyork": "logicalType: timestamp, logicalTypeOptions: {defaultTimezone: America/New_York}",
    "clock": "logicalType: timestamp, logicalTypeOptions: {timezone: false}",
    "days": "logicalType: date",
    "whole": "logicalType: integer",
    "exact": 'logicalType: number, physicalType: "numeric(24,6)"',
    "words": "logicalType: string",
    "ids": "logicalType: string, physicalType: uuid",
    "lagged": "logicalType: timestamp",
}
HEAD = """
apiVersion: v3.1.0
kind: DataContract
id: inc
name: News
version: 1.0.0
status: active
servers:
  - {server: erp, type: custom, customProperties: [{property: url, value: "${ERP_URL}"}]}
  - {server: remote, type: api, location: "${API_URL}"}
schema:
"""
DATASET = """
  - name: {source}_{kind}
    customProperties:
      - property: input
        value: {{server: {server}, mode: upsert, {words}, incremental: {{{target}: mark, property: mark{lag}}}}}
    properties:
      - {{name: id, logicalType: integer, primaryKey: true}}
      - {{name: mark, {property}}}
"""
INPUTS = {
    "db": ("erp", "table: news", "column"),
    "api": ("remote", 'records: "$.rows[*]", pagination: {type: offset}', "param"),
}
BASE = datetime(2021, 10, 30, 22, 0, tzinfo=UTC)  # the hours before Berlin's clocks go back
FUTURE = datetime(2037, 1, 1, tzinfo=UTC)
LAG = timedelta(hours=1)
STEPS = (0, 1, 1_000, 500_000, 1_000_000, 3_600_000_000, 40_000_000_000)  # microseconds


@dataclass
class Row:
    """A row of the source: its mark as the source orders it, None where it has none."""

    id: int
    mark: Any
    bad: bool  # rejected, whatever its mark
    wrong: bool = False  # of a mark that is no value, or none yet


@dataclass(frozen=True)
class Form:
    """How a source holds marks: the dataset's kind, its column's type, and a moment as it is written there."""

    kind: str
    column: str
    write: Callable[[datetime], Any]
    garbage: Any = None  # a mark that is no value of the property

    def __str__(self) -> str:
        return f"{self.kind}-{self.column}"


def ticks(timestamp: datetime) -> int:
    return (timestamp - BASE) // timedelta(microseconds=1)


def clock(zone: str) -> Callable[[datetime], datetime]:
    return lambda timestamp: timestamp.astimezone(ZoneInfo(zone)).replace(tzinfo=None)


def spell(form: str, zone: str = "UTC") -> Callable[[datetime], str]:
    """Texts of moments: `fixed` and `plain` always have six digits and none, `short` only those that are needed."""

    def write(timestamp: datetime) -> str:
        local = timestamp.astimezone(ZoneInfo(zone))
        between = "T" if "T" in form else " "
        text = local.replace(tzinfo=None).isoformat(between, "microseconds")
        if "plain" in form:
            text = text[:19]
        if "short" in form:
            text = text.rstrip("0").rstrip(".") if not text.endswith("000000") else text[:19]
        return text + ("Z" if "Z" in form else "+05:30" if "offset" in form else "")

    return write


SHARED = [
    ("whole", "BIGINT", ticks),
    ("days", "DATE", lambda timestamp: timestamp.date()),
    ("words", "VARCHAR(40)", lambda timestamp: f"{ticks(timestamp):020d}"),
]
POSTGRES = [
    *(Form(*shared) for shared in SHARED),
    Form("moments", "timestamptz", lambda timestamp: timestamp),
    Form("moments", "timestamp", clock("UTC")),
    Form("berlin", "timestamp", clock("Europe/Berlin")),
    Form("newyork", "timestamp", clock("America/New_York")),
    Form("clock", "timestamp", clock("Asia/Tokyo")),
    Form("lagged", "timestamptz", lambda timestamp: timestamp),
    Form("exact", "numeric", lambda timestamp: Decimal(ticks(timestamp)) / 10**6),
    Form("ids", "uuid", lambda timestamp: UUID(int=ticks(timestamp) + 2**40)),
    Form("moments", "text", spell("T short"), "unknown"),
]
SQLITE = [
    Form("whole", "INTEGER", ticks, "unknown"),
    Form("moments", "TEXT", spell("plain"), "unknown"),
    Form("moments", "DATETIME", spell("short"), "unknown"),
    Form("moments", "VARCHAR", spell("T fixed Z"), "unknown"),
    Form("moments", "CHAR", spell("T short offset", "Asia/Kolkata"), "unknown"),
    Form("newyork", "TEXT", spell("fixed", "America/New_York"), "unknown"),
    Form("lagged", "TEXT", spell("T short"), None),
    Form("days", "TEXT", lambda timestamp: timestamp.date().isoformat(), "unknown"),
]
MARIADB = [
    *(Form(*shared) for shared in SHARED),
    Form("moments", "DATETIME(6)", clock("UTC")),
    Form("berlin", "DATETIME(6)", clock("Europe/Berlin")),
    Form("newyork", "DATETIME(6)", clock("America/New_York")),
    Form("moments", "TIMESTAMP(6) NULL", clock("UTC")),
    Form("clock", "DATETIME(6)", clock("Asia/Tokyo")),
    Form("exact", "DECIMAL(24,6)", lambda timestamp: Decimal(ticks(timestamp)) / 10**6),
]
API = [
    Form("whole", "number", ticks),
    Form("moments", "text", spell("T fixed Z")),
    Form("moments", "moment", spell("T short Z")),
    Form("berlin", "text", spell("short", "Europe/Berlin")),
    Form("days", "text", lambda timestamp: timestamp.date().isoformat()),
    Form("words", "text", lambda timestamp: f"{ticks(timestamp):020d}"),
    Form("lagged", "moment", spell("T short offset", "Asia/Kolkata")),
]

MARKS = st.one_of(st.sampled_from(STEPS), st.sampled_from(["none", "future", "garbage", "late"]))
BATCHES = st.lists(st.lists(st.tuples(MARKS, st.booleans()), max_size=4), min_size=2, max_size=4)
CHECKS = settings(
    max_examples=examples(5, 2),
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def new_data(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A product with a dataset for each kind of mark and of source."""
    parts = [
        DATASET.format(
            source=source,
            kind=kind,
            server=server,
            words=words,
            target=target,
            property=text,
            lag=", lag: 1h" if kind == "lagged" else "",
        )
        for source, (server, words, target) in INPUTS.items()
        for kind, text in KINDS.items()
    ]
    name = databases.create()
    folder = tmp_path_factory.mktemp("news")
    lab = Lab.build(folder, databases.urls(name), HEAD + "".join(parts), input_roots="*=/")
    lab.migrate()
    yield lab
    loader = lab.loader()
    loader.engine.dispose()
    databases.drop(name)


@dataclass
class Story:
    """What has become of one source: what it holds, what is published, and where its input stands."""

    lab: Lab
    dataset: str
    form: Form
    rows: list[Row] = field(default_factory=list)
    published: dict[int, Any] = field(default_factory=dict)  # id -> mark in the source's order
    position: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.lab.rows(f"DELETE FROM inc_v1.{self.dataset} RETURNING 1")

    def reach(self) -> Any:
        """The greatest published mark that has come already."""
        wrong = {row.id for row in self.rows if row.wrong}
        return max((m for id, m in self.published.items() if m is not None and id not in wrong), default=None)

    def new_data(self, marks: list[tuple[Any, bool]], now: datetime) -> tuple[list[Row], datetime]:
        """The rows that come next, and when the last of them does."""
        found = []
        for step, bad in marks:
            wrong = False
            mark: Any = None
            if step == "late":
                mark = self.form.write(now - LAG / 2)
            elif step == "future":
                wrong = self.form.kind not in {"whole", "words", "exact", "ids"}
                mark = self.form.write(FUTURE) if wrong else None
            elif step == "garbage":
                mark, wrong = self.form.garbage, self.form.garbage is not None
            elif step != "none":
                now += timedelta(microseconds=step)
                mark = self.form.write(now)
            # Where clocks go back, a rejected mark cannot be told from published ones.
            rejected = bad and self.form.kind not in {"berlin", "newyork"}
            found.append(Row(len(self.rows) + len(found) + 1, mark, rejected, wrong))
        return found, now

    def load(self) -> tuple[list[int], bool]:
        """Reads the input and publishes what it brings: the ids that came, and whether everything was asked for."""
        loader = self.lab.loader()
        dataset = self.lab.dataset(f"inc.{self.dataset}")
        place = InputContext(dataset, self.lab.settings, loader.tables, loader.engine, 1, self.position)
        with open_batch(place) as batch:
            text = b"\n".join(b"".join(part.chunks) for part in batch.parts)
            self.position = json.loads(json.dumps(batch.position()))
        records: list[dict[str, Any]] = []
        for line in text.splitlines():
            read = json.loads(line, parse_float=str)
            records += read.get("rows", [read])
        good = [record for record in records if not self.rows[record["id"] - 1].bad]
        texts = ["" if record["mark"] is None else str(record["mark"]) for record in good]
        values = find_values(texts, dataset.properties["mark"], self.lab.settings, self.lab.settings.work_folder)
        with psycopg.connect(self.lab.urls.owner, autocommit=True) as connection, connection.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO inc_v1.{self.dataset} (id, mark, _revision, _load, _line) VALUES (%s, %s, 1, 1, 1)"
                " ON CONFLICT (id) DO UPDATE SET mark = excluded.mark",
                [
                    (record["id"], value)
                    for record, text, value in zip(good, texts, values, strict=True)
                    if value is not None or not text
                ],
            )
        for record, text, value in zip(good, texts, values, strict=True):
            if value is not None or not text:
                self.published[record["id"]] = self.rows[record["id"] - 1].mark
        return [record["id"] for record in records], self.position is None

    def play(self, batches: list[list[tuple[Any, bool]]], insert: Callable[[list[Row]], None]) -> None:
        """One load after each batch; what must have come then has come, and little else again."""
        now = BASE
        lag = LAG if self.form.kind == "lagged" else timedelta(0)
        for marks in batches:
            reach, before = self.reach(), len(self.rows)
            new, now = self.new_data(marks, now)
            self.rows += new
            insert(new)
            asked_all = reach is None
            bound = self.lower(reach, lag)
            came, _ = self.load()
            for row in new:
                without = row.mark is None and (asked_all or not self.dataset.startswith("api"))
                due = asked_all or without or (row.mark is not None and not row.wrong and row.mark >= bound)
                assert row.id in came or not due, (row, reach, came, self.position)
            for id in came:
                row = self.rows[id - 1]
                if id <= before and not asked_all and not row.wrong:
                    # A second stands for what texts lose where they are stepped back.
                    assert row.mark is None or row.mark >= self.lower(bound, timedelta(seconds=1)), (row, reach)

    def lower(self, mark: Any, lag: timedelta) -> Any:
        """The mark with a span taken off, as the source orders it."""
        if not lag or self.form.kind not in {"lagged", "moments"} or mark is None:
            return mark
        if isinstance(mark, datetime):
            return mark - lag
        offset = mark[19:].lstrip(".0123456789")
        timestamp = datetime.fromisoformat(mark.removesuffix(offset) if offset else mark) - lag
        return timestamp.isoformat(mark[10], "microseconds")


def show(form: Form) -> str:
    return str(form)


@pytest.fixture(scope="module")
def shop(databases: Databases) -> Iterator[str]:
    """Another database of Postgres."""
    name = databases.create()
    yield databases.urls(name).owner
    databases.drop(name)


@pytest.mark.sampled
@pytest.mark.parametrize("form", POSTGRES, ids=show)
@CHECKS
@given(batches=BATCHES)
def test_every_row_of_postgres_arrives(
    new_data: Lab, shop: str, form: Form, batches: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ERP_URL", shop)
    with psycopg.connect(shop, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS news")
        connection.execute(f"CREATE TABLE news (id bigint, mark {form.column})".encode())

        def insert(rows: list[Row]) -> None:
            with connection.cursor() as cursor:
                cursor.executemany("INSERT INTO news VALUES (%s, %s)", [(row.id, row.mark) for row in rows])

        Story(new_data, f"db_{form.kind}", form).play(batches, insert)


@pytest.mark.sampled
@pytest.mark.parametrize("form", SQLITE, ids=show)
@CHECKS
@given(batches=BATCHES)
def test_every_row_of_sqlite_arrives(
    new_data: Lab, form: Form, batches: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "news.db"
    path.unlink(missing_ok=True)
    monkeypatch.setenv("ERP_URL", f"sqlite:///{path}")
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute(f"CREATE TABLE news (id INTEGER, mark {form.column})")
        Story(new_data, f"db_{form.kind}", form).play(
            batches,
            lambda rows: connection.executemany(
                "INSERT INTO news VALUES (?, ?)", [(row.id, row.mark) for row in rows]
            ),
        )
    finally:
        connection.close()


@pytest.mark.sampled
@pytest.mark.parametrize("form", MARIADB, ids=show)
@CHECKS
@given(batches=BATCHES)
def test_every_row_of_mariadb_arrives(
    new_data: Lab, mariadb: MariaDB, form: Form, batches: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ERP_URL", mariadb.url())
    url = make_url(mariadb.url())
    connection = pymysql.connect(
        host=url.host, port=url.port or 0, user=url.username, password=url.password or "", database="test",
        autocommit=True,
    )  # fmt: skip
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET time_zone = '+00:00'")
            cursor.execute("DROP TABLE IF EXISTS news")
            cursor.execute(f"CREATE TABLE news (id BIGINT, mark {form.column})")
            Story(new_data, f"db_{form.kind}", form).play(
                batches,
                lambda rows: cursor.executemany(
                    "INSERT INTO news VALUES (%s, %s)", [(row.id, row.mark) for row in rows]
                ),
            )
    finally:
        connection.close()


@pytest.fixture(scope="module")
def api() -> Iterator[RemoteApi]:
    """An API that hands out pages of two rows."""
    with run_remote_api() as running:
        yield running


@pytest.mark.sampled
@pytest.mark.parametrize("form", API, ids=show)
@CHECKS
@given(batches=BATCHES)
def test_every_row_of_an_api_arrives(
    new_data: Lab, api: RemoteApi, form: Form, batches: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_URL", api.url)
    held: list[Row] = []

    def order(mark: Any) -> Any:
        """How the API compares: texts as they are, or the moments that they stand for."""
        if form.column == "number":
            return int(mark)
        return datetime.fromisoformat(mark) if form.column == "moment" else mark

    def answer(asked: Asked) -> Reply:
        since = asked.params.get("mark")
        rows = [row for row in held if since is None or (row.mark is not None and order(row.mark) >= order(since))]
        rows.sort(key=lambda row: (row.mark is not None, row.mark and order(row.mark), row.id))
        start = int(asked.params["offset"])
        return Reply({"rows": [{"id": row.id, "mark": row.mark} for row in rows[start : start + 2]]})

    api.answer = answer
    story = Story(new_data, f"api_{form.kind}", form)
    if form.column == "moment":
        story.form = Form(form.kind, form.column, lambda timestamp: timestamp)
    story.play(batches, lambda rows: held.extend(spelled(row, form) for row in rows))


def spelled(row: Row, form: Form) -> Row:
    """The row as the API shows it."""
    mark = form.write(row.mark) if form.column == "moment" and row.mark is not None else row.mark
    return Row(row.id, mark, row.bad, row.wrong)
