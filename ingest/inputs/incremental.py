"""Incremental inputs: the watermark from which the next load reads.

A watermark is the source's own value of the incremental column, as the source wrote it and in the source's own order
(`raw_marks`). With each batch the ledger keeps its highest watermarks; the next load starts at the highest one that
was published. Values of withheld, failed or rejected records do not count, so they are read again; and neither do
values in the future, for one wrong record would hide all that follow. The read includes the watermark itself: other
records may have the same value.

Without a kept watermark (of a source that is asked in another form than it answers, or of an older position), the
highest published value of the property is the start.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from ingest.inputs.raw_batch import InputContext
from ingest.inputs.raw_marks import WATERMARKS_KEPT, RawWatermark, is_plain, read_watermark
from ingest.ledger.landed_note import Position

# How far a moment's form in its source may be from ours: of any zone, or with its day alone.
UNKNOWN_OFFSET = timedelta(days=1)


@dataclass(frozen=True)
class Watermark:
    """The position from which an incremental input reads; `raw` and `value` are None for a full read."""

    incremental: Incremental
    source: str  # what it is a mark of
    highest: Any | None = None  # the highest published value
    value: Any | None = None  # that one with the lag taken off, or where the contract says to start
    raw: RawWatermark | None = None  # the source's own mark, where it is known: it comes before the value
    asked: RawWatermark | None = None  # that one with the lag taken off

    def position(self, found: Sequence[RawWatermark] = ()) -> Position:
        """What the ledger keeps behind a batch that held these marks, the greatest first."""
        watermarks = list(dict.fromkeys(found))[:WATERMARKS_KEPT]
        if self.raw is not None:
            # What is no greater than a published mark need not be remembered.
            watermarks = [
                *(watermarks[: watermarks.index(self.raw)] if self.raw in watermarks else watermarks),
                self.raw,
            ]
        notes = [
            watermark.note() | ({"published": True} if watermark == self.raw else {}) for watermark in watermarks
        ]
        facts: Position = {"property": self.incremental.property}
        if not watermarks:
            return facts | {"mark": None if self.highest is None else write_value(self.highest)}
        return facts | {"mark": watermarks[0].shown, "source": self.source, "marks": notes}

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


def find_watermark(context: InputContext) -> Watermark | None:
    """The watermark of the dataset's input; None if it is not incremental."""
    incremental = context.source.incremental
    if incremental is None:
        return None
    watermark = Watermark(incremental, name_source(context.source, incremental))
    highest = find_highest(context, incremental)
    state = context.state if context.state.get("property") == incremental.property else {}
    keeps = keeps_raw(context.dataset, context.source)
    if keeps and state.get("source") == watermark.source:
        raw = choose_watermark(context, incremental, state, highest)
        if raw is not None:
            timestamps = context.dataset.properties[incremental.property].logical_type in {"timestamp", "date"}
            return replace(
                watermark, highest=highest, raw=raw, asked=raw.less(incremental.lag, timestamps=timestamps)
            )
    if highest is None and state.get("mark") and "marks" not in state:
        highest = read_value(context, state["mark"])
    if highest is not None:
        value = step_back(highest, incremental.lag)
        if keeps and isinstance(value, date):
            value = step_back(value, UNKNOWN_OFFSET.total_seconds())
        return replace(watermark, highest=highest, value=value)
    start = incremental.start
    if start is None or incremental.format is not None or context.source.kind == "http":
        return replace(watermark, value=start)  # as the source wants it
    return replace(watermark, value=read_value(context, start))


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


def find_highest(context: InputContext, incremental: Incremental) -> object | None:
    """The highest published value that has come already."""
    prop = context.dataset.properties[incremental.property]
    column = context.tables.of(context.dataset).current.c[prop.column]
    # Not max(): older versions of Postgres have none of a UUID.
    query = sa.select(column).where(column.isnot(None)).order_by(column.desc()).limit(1)
    if prop.logical_type == "timestamp":
        now = datetime.now(UTC)
        query = query.where(column <= (now if getattr(column.type, "timezone", False) else now.replace(tzinfo=None)))
    elif prop.logical_type == "date":
        query = query.where(column <= datetime.now(UTC).date())
    with context.engine.connect() as connection:
        return connection.execute(query).scalar_one_or_none()


def choose_watermark(
    context: InputContext, incremental: Incremental, state: Position, highest: object | None
) -> RawWatermark | None:
    """The greatest of the marks that the ledger keeps which is no greater than what is published."""
    prop = context.dataset.properties[incremental.property]
    column = context.tables.of(context.dataset).current.c[prop.column]
    for note in state.get("marks") or ():
        watermark = read_watermark(note)
        if watermark is None:
            continue
        if highest is None or watermark.value is None:
            # Where no record is left to compare it with, only a mark counts that was published before.
            if highest is not None or note.get("published"):
                return watermark
            continue
        try:
            value = read_value(context, watermark.value)
        except SourceError:
            continue  # the property has another type now
        reached = sa.select(sa.literal(value, column.type) <= sa.literal(highest, column.type))
        with context.engine.connect() as connection:
            if connection.execute(reached).scalar_one():
                return watermark
    return None


def read_value(context: InputContext, text: str) -> object:
    """A text as a value of the property; SourceError where it is none."""
    name = context.source.incremental.property if context.source.incremental else ""
    try:
        return context.dataset.properties[name].type.parse(text)
    except InvalidValueError as error:
        raise SourceError(f"{text!r} is not a valid start of {name}: {error}.") from None


def in_zone(value: object, zone: str) -> object:
    """A moment on the clock of its source."""
    return value.astimezone(ZoneInfo(zone)) if isinstance(value, datetime) and value.tzinfo else value
