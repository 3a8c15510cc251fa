"""Where an input that is asked for news only goes on: the highest published value of a property.

What was withheld, failed or was rejected does not count, so it is asked for again; and neither does a moment that has
not come yet, for one wrong record would hide all that follow. Asked is from that value on, not behind it: others may
have the same one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from catalog.sources import Incremental
from catalog.types import InvalidValueError
from ingest.errors import SourceError
from ingest.inputs.batch import InputPlace


@dataclass(frozen=True)
class Mark:
    """Where to go on; `value` is None where everything is asked for."""

    incremental: Incremental
    highest: Any | None  # the highest published value
    value: Any | None  # that one with the lag taken off, or where the contract says to start

    @property
    def position(self) -> dict[str, Any]:
        """What the ledger keeps: used again where no record is left to ask."""
        kept = None if self.highest is None else write_value(self.highest)
        return {"property": self.incremental.property, "mark": kept}

    @property
    def text(self) -> str | None:
        """The value as the source wants it."""
        return None if self.value is None else write_value(self.value, self.incremental.format)


def find_mark(place: InputPlace) -> Mark | None:
    """Where the dataset's input goes on; None where it is not asked for news only."""
    incremental = place.source.incremental
    if incremental is None:
        return None
    prop = place.dataset.properties[incremental.property]
    column = place.tables.of(place.dataset).current.c[prop.column]
    query = sa.select(sa.func.max(column))
    if prop.logical_type == "timestamp":
        now = datetime.now(UTC)
        query = query.where(column <= (now if getattr(column.type, "timezone", False) else now.replace(tzinfo=None)))
    elif prop.logical_type == "date":
        query = query.where(column <= datetime.now(UTC).date())
    with place.engine.connect() as connection:
        highest = connection.execute(query).scalar_one()
    if highest is None and place.state.get("property") == incremental.property and place.state.get("mark"):
        highest = read_value(place, place.state["mark"])
    if highest is not None:
        return Mark(incremental, highest, step_back(highest, incremental.lag))
    start = incremental.start
    if start is None or incremental.format is not None or place.source.kind == "http":
        return Mark(incremental, None, start)  # as the source wants it
    return Mark(incremental, None, read_value(place, start))


def read_value(place: InputPlace, text: str) -> Any:
    """A text as a value of the property; SourceError where it is none."""
    name = place.source.incremental.property if place.source.incremental else ""
    try:
        return place.dataset.properties[name].type.parse(text)
    except InvalidValueError as error:
        raise SourceError(f"{text!r} is no {name} to start from: {error}.") from None


def step_back(value: Any, lag: float) -> Any:
    """The value with the lag taken off: seconds of a moment, a number of a number."""
    try:
        match value:
            case datetime():
                return value - timedelta(seconds=lag)
            case date():
                return (datetime.combine(value, time()) - timedelta(seconds=lag)).date()
            case bool() | str():
                return value
            case int():
                return value - math.ceil(lag)
            case Decimal():
                return value - Decimal(str(lag))
            case float():
                return value - lag
    except OverflowError:
        return value
    return value


def write_value(value: Any, written: str | None = None) -> str:
    """A value as text: moments in UTC, numbers with all their digits."""
    if isinstance(value, date) and written in {"epoch", "epochMillis"}:
        moment = value if isinstance(value, datetime) else datetime.combine(value, time())
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        unit = timedelta(seconds=1) if written == "epoch" else timedelta(milliseconds=1)
        return str((moment - datetime(1970, 1, 1, tzinfo=UTC)) // unit)
    if isinstance(value, datetime):
        plain = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
        if written == "date":
            return plain.date().isoformat()
        return plain.isoformat() + ("Z" if value.tzinfo else "")
    if isinstance(value, date):
        return value.isoformat()
    return f"{value:f}" if isinstance(value, Decimal) else str(value)
