"""Incidents in the ledger: begun when first found, ended when no longer found; by one process at a time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from catalog.model.catalog import Catalog
from catalog.model.notifications import Channel
from catalog.storage.incident_tables import INCIDENTS_LOCK, IncidentMessage, OpenIncident
from catalog.storage.installation_tables import NamedLock
from ingest.notifying.findings import Found, find_all, is_explained
from runtime.postgres.sql_types import SqlRow

STATEMENT_LIMIT = "10s"  # a look that takes longer is given up, and made again
KEPT = timedelta(days=90)  # after an incident's end


def channels_of(catalog: Catalog) -> dict[str, Channel]:
    """The channels that are told of something, by what distinguishes them."""
    return {
        channel.key: channel
        for product in catalog.products.values()
        if product.status != "retired"
        for channel in product.channels
        if channel.events
    }


def record_incidents(engine: sa.Engine, catalog: Catalog, now: datetime) -> bool:
    """Brings the ledger's incidents to what is found now; False where another process is at it."""
    channels = channels_of(catalog)
    with engine.begin() as connection:
        for limit in ("idle_in_transaction_session_timeout", "statement_timeout"):
            connection.exec_driver_sql(f"SET LOCAL {limit} = '{STATEMENT_LIMIT}'")
        mine = sa.select(NamedLock.name).where(NamedLock.name == INCIDENTS_LOCK).with_for_update(skip_locked=True)
        if connection.execute(mine).one_or_none() is None:
            return False
        found = {each.place: each for each in find_all(connection, catalog, now)}
        known = {place_of(row): row for row in read_open(connection) if concerns(row, catalog)}
        for place, row in known.items():
            if place in found:
                update_incident(connection, row, found[place])
            else:
                end_incident(connection, row, now, is_replaced=row.kind == "schema_changed" and has_kind(found, row))
        for place, new in found.items():  # in the order of the console, which is that of messages
            if place not in known:
                begin_incident(connection, new, now)
        address_channels(connection, channels, catalog)
    return True


def read_open(connection: sa.Connection) -> list[SqlRow]:
    """The incidents that are not over."""
    return list(connection.execute(sa.select(OpenIncident.__table__).where(OpenIncident.ended_at.is_(None))))


def place_of(row: SqlRow) -> tuple[object, ...]:
    """What makes it the same incident at the next look."""
    return (row.kind, row.product, row.major, row.dataset, row.subject)


def concerns(row: SqlRow, catalog: Catalog) -> bool:
    """Whether an incident is of this catalogue: another process may know other products."""
    return row.product is None or (row.product, row.major) in catalog.products


def has_kind(found: dict[tuple[object, ...], Found], row: SqlRow) -> bool:
    """Whether the same dataset has another incident of the kind: then nothing is right again."""
    return any(place[:4] == place_of(row)[:4] for place in found)


def begin_incident(connection: sa.Connection, found: Found, now: datetime) -> None:
    """A new one."""
    connection.execute(
        sa.insert(OpenIncident).values(
            kind=found.kind,
            product=found.product,
            major=found.major,
            dataset=found.dataset,
            subject=found.subject,
            since=min(found.since, now) if found.kind != "key_expiring" else now,
            found_at=now,
            load_id=found.load_id,
            message=found.message,
            next=found.next,
            path=found.path,
        )
    )


def update_incident(connection: sa.Connection, row: SqlRow, found: Found) -> None:
    """One that lasts, as it stands now; it began when it was first said to have."""
    facts = (found.load_id, found.message, found.next, found.path)
    if facts != (row.load_id, row.message, row.next, row.path):
        values = dict(zip(("load_id", "message", "next", "path"), facts, strict=True))
        connection.execute(sa.update(OpenIncident).where(OpenIncident.id == row.id).values(values))


def end_incident(connection: sa.Connection, row: SqlRow, now: datetime, *, is_replaced: bool) -> None:
    """One that is over. Whoever was told, or may have been by a process that was killed, is told of that, too."""
    connection.execute(sa.update(OpenIncident).where(OpenIncident.id == row.id).values(ended_at=now))
    untold = sa.and_(IncidentMessage.sent == 0, IncidentMessage.lease.is_(None))
    mine = sa.and_(IncidentMessage.incident_id == row.id, IncidentMessage.closed_at.is_(None))
    where = mine if is_replaced else sa.and_(mine, untold)
    connection.execute(sa.update(IncidentMessage).where(where).values(closed_at=now))


def address_channels(connection: sa.Connection, channels: dict[str, Channel], catalog: Catalog) -> None:
    """A row for each channel that is to be told of an open incident."""
    rows = [row for row in read_open(connection) if concerns(row, catalog)]
    places = [place_of(row) for row in rows]
    values = [
        {"incident_id": row.id, "channel": channel.key}
        for row in rows
        for channel in wanting(channels, row)
        if not is_explained(row, channel.events, places)
    ]
    if values:
        connection.execute(insert(IncidentMessage).on_conflict_do_nothing(), values)


def wanting(channels: dict[str, Channel], row: SqlRow) -> Iterator[Channel]:
    """The channels that are told of an incident."""
    for channel in channels.values():
        is_mine = row.product is None or (row.product, row.major) == (channel.product, channel.major)
        if is_mine and row.kind in channel.events:
            yield channel


def tidy_incidents(engine: sa.Engine, now: datetime) -> int:
    """How many incidents were forgotten: those that have been over for long."""
    with engine.begin() as connection:
        old = sa.delete(OpenIncident).where(OpenIncident.ended_at < now - KEPT)
        return connection.execute(old, execution_options={"synchronize_session": False}).rowcount
