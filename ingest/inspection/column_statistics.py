"""Profiles: what a dataset's current revision holds, in figures, made after its publication.

One statement for each property groups its values and finds everything in the groups, exactly. It runs beside
readers and loads; a profile may therefore be of an older revision for a while, and says of which it is.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import aggregate_order_by

from catalog.model.dataset import Dataset, Property
from catalog.storage.dataset_tables import CatalogTables, DatasetTables
from catalog.storage.held_tables import hold_tables
from catalog.storage.ledger_tables import DatasetHead
from catalog.storage.profile_tables import PastProfile, Profile
from runtime.logs import log
from runtime.postgres.sql_types import SqlExpression, SqlQuery

LOGGER = logging.getLogger("decant.profiles")
MOST_FREQUENT = 10  # values shown of a property
BUCKETS = 20  # of a histogram
LONGEST_SHOWN = 200  # characters; of properties with longer texts no values are shown
FIRST_PAUSE = 10.0  # seconds before a profile that failed is tried again; twice as long after each failure
LONGEST_PAUSE = 3600.0
MOST_DOUBLINGS = 20
THRIFT = 20  # a profile is made anew after as many times as long as making it took
MEMORY = "64MB"  # for grouping; more goes to disk
STATEMENT_LIMIT = "10min"
PAST_PROFILES = 50  # revisions whose figures are kept
PAST_FIGURES = ("property", "nulls", "distinct", "minimum", "maximum", "mean")
NUMBERS = (sa.Integer, sa.Numeric, sa.Float)
TIMESTAMPS = (sa.Date, sa.TIMESTAMP)
WIDEST = 8e307  # half the distance of two floats whose difference still is a float, and a bit
UNRANKED = (sa.Boolean, sa.Uuid)  # have no minimum in Postgres, or only in its newest


@dataclass(frozen=True)
class Behind:
    """A dataset whose profile is of an older revision, or not there."""

    id: int
    dataset: Dataset
    revision: int  # the current one


@dataclass
class Failures:
    """How often in a row a dataset's profile could not be made by this process."""

    times: int = 0
    due: float = 0  # when it is tried again, by the clock that never goes back
    reported_revision: int | None = None  # the revision whose failure was logged

    def note(self, behind: Behind, error: Exception, seconds: float, now: float) -> None:
        """Puts the next attempt off, further each time, and says once for each revision what went wrong."""
        pause = min(FIRST_PAUSE * 2 ** min(self.times, MOST_DOUBLINGS), LONGEST_PAUSE)
        pause = max(pause, THRIFT * seconds)  # a costly failure is no more welcome than a costly profile
        self.times, self.due = self.times + 1, now + pause
        if self.reported_revision == behind.revision:
            return
        self.reported_revision = behind.revision
        facts = {"dataset": behind.dataset.address, "revision": behind.revision, "retried_in_seconds": round(pause)}
        cause = getattr(error, "orig", None) or error
        log(LOGGER, "profile_failed", logging.WARNING, error=type(cause).__name__, **facts)
        if not isinstance(error, sa.exc.DBAPIError):
            LOGGER.debug("profile_failed", exc_info=error)


# Of each engine by the dataset's id: repeated profiles use one engine.
FAILURES: WeakKeyDictionary[sa.Engine, dict[int, Failures]] = WeakKeyDictionary()


def refresh_profiles(
    engine: sa.Engine,
    tables: CatalogTables,
    datasets: Iterable[Dataset],
    *,
    thrifty: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> list[str]:
    """The addresses of the datasets that got a new profile, since theirs was of an older revision.

    `thrifty` leaves those for later whose profile is costly and still young, and those that failed a short while
    ago. One that cannot be made is logged, and the others are made all the same.
    """
    made = []
    failures = FAILURES.setdefault(engine, {})
    for behind in find_behind(engine, datasets, thrifty=thrifty):
        failed = failures.get(behind.id, Failures())
        started = clock()
        if thrifty and started < failed.due:
            continue
        try:
            if make_profile(engine, tables.of(behind.dataset), behind.id):
                made.append(behind.dataset.address)
            failures.pop(behind.id, None)
        except Exception as error:  # whatever it is, it would be the same two seconds later
            failures[behind.id] = failed
            failed.note(behind, error, clock() - started, clock())
    return made


def find_behind(engine: sa.Engine, datasets: Iterable[Dataset], *, thrifty: bool) -> list[Behind]:
    """The datasets whose profile is behind their head."""
    wanted = {(dataset.product, dataset.major, dataset.name): dataset for dataset in datasets}
    age = sa.extract("epoch", sa.func.clock_timestamp() - Profile.made_at)
    statement = (
        sa.select(DatasetHead.id, DatasetHead.product, DatasetHead.major, DatasetHead.dataset, DatasetHead.revision)
        .outerjoin(Profile, Profile.dataset_id == DatasetHead.id)
        .where(DatasetHead.revision > sa.func.coalesce(Profile.revision, 0))
        .order_by(DatasetHead.id)
    )
    if thrifty:
        statement = statement.where(sa.or_(Profile.dataset_id.is_(None), age >= THRIFT * Profile.seconds))
    with engine.connect() as connection:
        rows = connection.execute(statement).all()
    places = [((row.product, row.major, row.dataset), row) for row in rows]
    return [Behind(row.id, wanted[index], row.revision) for index, row in places if index in wanted]


def make_profile(engine: sa.Engine, tables: DatasetTables, dataset_id: int) -> bool:
    """Whether a profile of the current revision was made and kept."""
    started = time.monotonic()
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection, connection.begin():
        hold_tables(connection, [tables.current])
        for setting, value in (("work_mem", MEMORY), ("statement_timeout", STATEMENT_LIMIT), ("TimeZone", "UTC")):
            connection.execute(sa.func.set_config(setting, value, True).select())
        head = connection.execute(
            sa.select(DatasetHead.revision, DatasetHead.record_count).where(DatasetHead.id == dataset_id)
        ).one()
        found = [
            {"property": prop.name, **connection.execute(compile_profile(tables.current, prop)).scalar_one()}
            for prop in tables.dataset.properties.values()
        ]
    facts = {"revision": head.revision, "record_count": head.record_count, "properties": found}
    return keep_profile(engine, dataset_id, facts | {"seconds": time.monotonic() - started})


def keep_profile(engine: sa.Engine, dataset_id: int, facts: dict[str, Any]) -> bool:
    """Whether the profile was kept: not where an erasure has ended its revision, or a newer one is there."""
    with engine.begin() as connection:
        oldest = connection.execute(
            sa.select(DatasetHead.oldest_revision).where(DatasetHead.id == dataset_id).with_for_update(read=True)
        ).scalar_one()
        if facts["revision"] < oldest:
            return False
        values = facts | {"made_at": sa.func.clock_timestamp()}
        statement = postgresql.insert(Profile).values(dataset_id=dataset_id, **values)
        newer = Profile.revision <= facts["revision"]
        statement = statement.on_conflict_do_update(index_elements=[Profile.dataset_id], set_=values, where=newer)
        kept = connection.execute(statement.returning(Profile.dataset_id)).first() is not None
        if kept:
            keep_past(connection, dataset_id, values, oldest)
        return kept


def keep_past(connection: sa.Connection, dataset_id: int, facts: dict[str, Any], oldest: int) -> None:
    """Keeps the figures of a profile beside those of earlier revisions, as far as these can still be read."""
    shown = [{name: each[name] for name in PAST_FIGURES if name in each} for each in facts["properties"]]
    values = {"record_count": facts["record_count"], "properties": shown, "made_at": facts["made_at"]}
    statement = postgresql.insert(PastProfile).values(dataset_id=dataset_id, revision=facts["revision"], **values)
    key = [PastProfile.dataset_id, PastProfile.revision]
    connection.execute(statement.on_conflict_do_update(index_elements=key, set_=values))
    of_dataset = PastProfile.dataset_id == dataset_id
    newest = sa.select(PastProfile.revision).where(of_dataset).order_by(PastProfile.revision.desc())
    gone = sa.or_(PastProfile.revision < oldest, PastProfile.revision.not_in(newest.limit(PAST_PROFILES)))
    connection.execute(sa.delete(PastProfile).where(of_dataset, gone))


def compile_profile(table: sa.Table, prop: Property) -> SqlQuery:
    """The statement of one JSON object: what a property holds in all records of the table."""
    column = table.c[prop.column]
    counted = sa.select(column.label("value"), sa.func.count().label("records")).group_by(column).cte("counted")
    value, records = counted.c.value, counted.c.records
    there = value.is_not(None)
    nulls = sa.func.coalesce(sa.func.sum(records).filter(~there), 0)
    members: list[SqlExpression | str] = [
        "nulls",
        pick(sa.cast(nulls, sa.BigInteger)),
        "distinct",
        pick(sa.func.count().filter(there)),
    ]
    if not isinstance(prop.type.sqlalchemy, (postgresql.JSONB, sa.ARRAY)):
        showable: sa.ColumnElement[bool] = sa.true()
        if isinstance(prop.type.sqlalchemy, sa.Text):
            showable = pick(sa.func.coalesce(sa.func.max(sa.func.length(value)), 0)) <= LONGEST_SHOWN
        if not isinstance(prop.type.sqlalchemy, UNRANKED):
            for name, bound in (("minimum", sa.func.min(value)), ("maximum", sa.func.max(value))):
                members += [name, sa.case((showable, sa.func.to_jsonb(show(prop, pick(bound)))))]
        members += ["most_frequent", sa.case((showable, most_frequent(counted, prop)))]
        if isinstance(prop.type.sqlalchemy, NUMBERS):
            # Added up as exact numbers: a sum of floats may be none.
            total = sa.func.sum(sa.cast(value, sa.Numeric) * records) / sa.func.sum(records).filter(there)
            members += ["mean", pick(sa.cast(total, sa.Double))]
        if isinstance(prop.type.sqlalchemy, NUMBERS + TIMESTAMPS):
            members += ["histogram", histogram(counted, prop)]
    return sa.select(sa.func.jsonb_build_object(*members))


def pick(expression: SqlExpression) -> SqlExpression:
    """One figure of all groups."""
    return sa.select(expression).scalar_subquery()


def show(prop: Property, value: object) -> object:
    """A value as records show it: text where JSON readers would lose digits."""
    return sa.cast(value, sa.Text) if prop.type.json_as_text else value


def most_frequent(counted: sa.FromClause, prop: Property) -> SqlExpression:
    """The values that most records have, with how many; empty where no value comes twice."""
    top = (
        sa.select(counted.c.value, counted.c.records)
        .where(counted.c.value.is_not(None), counted.c.records > 1)
        .order_by(counted.c.records.desc(), counted.c.value)
        .limit(MOST_FREQUENT)
        .subquery("top")
    )
    entry = sa.func.jsonb_build_object("value", show(prop, top.c.value), "records", top.c.records)
    ordered: SqlExpression = aggregate_order_by(entry, top.c.records.desc(), top.c.value)
    found: SqlExpression = pick(sa.func.coalesce(sa.func.jsonb_agg(ordered), sa.literal_column("'[]'::jsonb")))
    return found


def histogram(counted: sa.FromClause, prop: Property) -> SqlExpression:
    """Buckets of equal width from the minimum to the maximum, empty ones too; null where there is one value or none.

    Bounds are numbers, or moments for dates and timestamps; each bucket holds its lower bound, the last both.
    """
    timestamp = isinstance(prop.type.sqlalchemy, TIMESTAMPS)
    value = (
        sa.extract("epoch", sa.cast(counted.c.value, sa.TIMESTAMP(timezone=True))) if timestamp else counted.c.value
    )
    number: SqlExpression = sa.cast(value, sa.Double)
    placed = sa.select(number.label("value"), counted.c.records).where(counted.c.value.is_not(None)).cte("placed")
    span = sa.select(sa.func.min(placed.c.value).label("low"), sa.func.max(placed.c.value).label("high")).cte("span")
    # Two floats may be too far apart to have a difference.
    is_span = sa.and_(span.c.low < span.c.high, span.c.high / 2 - span.c.low / 2 < WIDEST)
    index = sa.func.least(sa.func.width_bucket(placed.c.value, span.c.low, span.c.high, BUCKETS), BUCKETS)
    filled = (
        sa.select(index.label("place"), sa.cast(sa.func.sum(placed.c.records), sa.BigInteger).label("records"))
        .select_from(placed.join(span, is_span))
        .group_by(sa.literal_column("1"))
        .subquery("filled")
    )
    places = sa.func.generate_series(1, BUCKETS).table_valued("place", name="places").render_derived()

    def bound(number: SqlExpression) -> SqlExpression:
        edge = span.c.low + number * ((span.c.high - span.c.low) / BUCKETS)
        return sa.func.to_timestamp(edge) if timestamp else edge

    last = sa.func.to_timestamp(span.c.high) if timestamp else span.c.high
    upper = sa.case((places.c.place == BUCKETS, last), else_=bound(places.c.place))
    entry = sa.func.jsonb_build_object(
        "from", bound(places.c.place - 1), "to", upper, "records", sa.func.coalesce(filled.c.records, 0)
    )
    ordered: SqlExpression = aggregate_order_by(entry, places.c.place)
    rows = span.join(places, is_span).outerjoin(filled, filled.c.place == places.c.place)
    return sa.select(sa.func.jsonb_agg(ordered)).select_from(rows).scalar_subquery()
