"""Where an input that is asked for news only goes on.

A mark is the source's own value of the column that marks news, as the source wrote it and in the source's own order
(`raw_marks`). Behind a batch stand the greatest ones that it held: the first of them that is published is where the
next load goes on. What was withheld, failed or was rejected does not count, so it is asked for again; and neither
does a moment that has not come yet, for one wrong record would hide all that follow. Asked is from that mark on, not
behind it: others may have the same one.

Where no such mark is known, of a source that is asked in another form than it answers or of a position from before
marks were kept so, the highest published value of the property says where to go on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from catalog.model.dataset import Dataset, Input
from catalog.model.sources import DatabaseSource, HttpSource, Incremental
from catalog.types.property_types import InvalidValueError
from ingest.errors import SourceError
from ingest.inputs.mark_values import step_back, write_value
from ingest.inputs.raw_batch import InputPlace
from ingest.inputs.raw_marks import MARKS_KEPT, RawMark, is_plain, read_mark

# How far a moment's form in its source may be from ours: of any zone, or with its day alone.
UNKNOWN_FORM = timedelta(days=1)


@dataclass(frozen=True)
class Mark:
    """Where to go on; `raw` and `value` are None where everything is asked for."""

    incremental: Incremental
    source: str  # what it is a mark of
    highest: Any | None = None  # the highest published value
    value: Any | None = None  # that one with the lag taken off, or where the contract says to start
    raw: RawMark | None = None  # the source's own mark, where it is known: it comes before the value
    asked: RawMark | None = None  # that one with the lag taken off

    def position(self, found: Sequence[RawMark] = ()) -> dict[str, Any]:
        """What the ledger keeps behind a batch that held these marks, the greatest first."""
        marks = list(dict.fromkeys(found))[:MARKS_KEPT]
        if self.raw is not None:
            # What is no greater than a published mark need not be remembered.
            marks = [*(marks[: marks.index(self.raw)] if self.raw in marks else marks), self.raw]
        notes = [mark.note() | ({"published": True} if mark == self.raw else {}) for mark in marks]
        facts: dict[str, Any] = {"property": self.incremental.property}
        if not marks:
            return facts | {"mark": None if self.highest is None else write_value(self.highest)}
        return facts | {"mark": marks[0].shown, "source": self.source, "marks": notes}

    @property
    def is_start(self) -> bool:
        """Whether nothing has been loaded yet that a next load goes on from."""
        return self.highest is None and self.raw is None

    @property
    def text(self) -> str | None:
        """The mark as an API wants it."""
        if self.asked is not None:
            return str(self.asked.raw)
        return None if self.value is None else write_value(self.value, self.incremental.format)


def find_mark(place: InputPlace) -> Mark | None:
    """Where the dataset's input goes on; None where it is not asked for news only."""
    incremental = place.source.incremental
    if incremental is None:
        return None
    mark = Mark(incremental, name_source(place.source, incremental))
    highest = find_highest(place, incremental)
    state = place.state if place.state.get("property") == incremental.property else {}
    keeps = keeps_raw(place.dataset, place.source)
    if keeps and state.get("source") == mark.source:
        raw = choose_mark(place, incremental, state, highest)
        if raw is not None:
            moments = place.dataset.properties[incremental.property].logical_type in {"timestamp", "date"}
            return replace(mark, highest=highest, raw=raw, asked=raw.less(incremental.lag, moments=moments))
    if highest is None and state.get("mark") and "marks" not in state:
        highest = read_value(place, state["mark"])
    if highest is not None:
        value = step_back(highest, incremental.lag)
        if keeps and isinstance(value, date):
            value = step_back(value, UNKNOWN_FORM.total_seconds())
        return replace(mark, highest=highest, value=value)
    start = incremental.start
    if start is None or incremental.format is not None or place.source.kind == "http":
        return replace(mark, value=start)  # as the source wants it
    return replace(mark, value=read_value(place, start))


def keeps_raw(dataset: Dataset, source: Input) -> bool:
    """Whether the source is asked with its own marks: a database is, and an API where they are read as they are."""
    incremental = source.incremental
    if incremental is None or source.kind == "database":
        return incremental is not None
    return incremental.format is None and is_plain(dataset, incremental.property)


def name_source(source: Input, incremental: Incremental) -> str:
    """What the marks are of: those of another table or address mean nothing here."""
    address = source.source.address if isinstance(source.source, HttpSource | DatabaseSource) else source.kind
    return f"{incremental.target} of {address}"


def find_highest(place: InputPlace, incremental: Incremental) -> Any | None:
    """The highest published value that has come already."""
    prop = place.dataset.properties[incremental.property]
    column = place.tables.of(place.dataset).current.c[prop.column]
    # Not max(): older versions of Postgres have none of a UUID.
    query = sa.select(column).where(column.isnot(None)).order_by(column.desc()).limit(1)
    if prop.logical_type == "timestamp":
        now = datetime.now(UTC)
        query = query.where(column <= (now if getattr(column.type, "timezone", False) else now.replace(tzinfo=None)))
    elif prop.logical_type == "date":
        query = query.where(column <= datetime.now(UTC).date())
    with place.engine.connect() as connection:
        return connection.execute(query).scalar_one_or_none()


def choose_mark(
    place: InputPlace, incremental: Incremental, state: Mapping[str, Any], highest: Any | None
) -> RawMark | None:
    """The greatest of the marks that the ledger keeps which is no greater than what is published."""
    prop = place.dataset.properties[incremental.property]
    column = place.tables.of(place.dataset).current.c[prop.column]
    for note in state.get("marks") or ():
        mark = read_mark(note)
        if mark is None:
            continue
        if highest is None or mark.value is None:
            # Where no record is left to compare it with, only a mark counts that was published before.
            if highest is not None or note.get("published"):
                return mark
            continue
        try:
            value = read_value(place, mark.value)
        except SourceError:
            continue  # the property has another type now
        reached = sa.select(sa.literal(value, column.type) <= sa.literal(highest, column.type))
        with place.engine.connect() as connection:
            if connection.execute(reached).scalar_one():
                return mark
    return None


def read_value(place: InputPlace, text: str) -> Any:
    """A text as a value of the property; SourceError where it is none."""
    name = place.source.incremental.property if place.source.incremental else ""
    try:
        return place.dataset.properties[name].type.parse(text)
    except InvalidValueError as error:
        raise SourceError(f"{text!r} is no {name} to start from: {error}.") from None


def in_zone(value: Any, zone: str) -> Any:
    """A moment on the clock of its source."""
    return value.astimezone(ZoneInfo(zone)) if isinstance(value, datetime) and value.tzinfo else value
