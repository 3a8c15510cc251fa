"""Raw watermarks as the source writes them: stored in the ledger, moved back by a lag, and validated.

A mark is compared by its source, in the source's own way: as a text, without a zone, with its own digits. So it is
kept as it came, and the property's value beside it is only there to be shown, and to tell what has been published.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb

from catalog.model.dataset import Dataset, Property, keeps_blanks
from ingest.cleaning.engine import open_engine
from ingest.errors import SourceError
from ingest.inputs.mark_values import step_back, write_value
from runtime.postgres.driver_messages import describe_duckdb
from runtime.settings.settings import Settings

TIMESTAMP = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)(?:(?P<between>[T ])(?P<clock>\d\d:\d\d(?::\d\d)?)(?P<digits>[.,]\d+)?(?P<rest>.*))?",
    re.DOTALL,
)
FURTHEST_AHEAD = timedelta(hours=14)  # a clock on the wall is never further before UTC
WATERMARKS_KEPT = 20
BLANKS = " \t"


@dataclass(frozen=True)
class RawWatermark:
    """A value of the watermark column."""

    raw: Any  # as the source gives it, and takes it back
    value: str | None = None  # the property's value; None where the property is not that column as it is

    @property
    def shown(self) -> str:
        """The mark for a person."""
        return self.value if self.value is not None else str(self.raw)

    def note(self) -> dict[str, object]:
        """The mark as the ledger keeps it."""
        kind, text = write_raw(self.raw)
        return {"type": kind, "raw": text, "value": self.value}

    def less(self, lag: float, *, timestamps: bool) -> RawWatermark:
        """The mark with the lag taken off, written as it was; SourceError where that cannot be done."""
        if not lag:
            return self
        if isinstance(self.raw, str):
            return RawWatermark(step_back_text(self.raw, lag, timestamps=timestamps))
        if isinstance(self.raw, bytes | UUID | time | timedelta):
            raise no_lag(str(self.raw))
        return RawWatermark(step_back(self.raw, lag))


def write_raw(raw: object) -> tuple[str, str]:
    """The name of a value's type, and the value as text."""
    match raw:
        case datetime():
            return "datetime", raw.isoformat()
        case date():
            return "date", raw.isoformat()
        case time():
            return "time", raw.isoformat()
        case timedelta():
            return "span", str(raw // timedelta(microseconds=1))
        case int():
            return "integer", str(int(raw))
        case float():
            return "float", repr(raw)
        case Decimal():
            return "decimal", f"{raw:f}"
        case bytes():
            return "bytes", base64.b64encode(raw).decode()
        case UUID():
            return "uuid", str(raw)
    return "text", str(raw)


READ: dict[str, Callable[[str], Any]] = {
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "span": lambda text: timedelta(microseconds=int(text)),
    "integer": int,
    "float": float,
    "decimal": Decimal,
    "bytes": base64.b64decode,
    "uuid": UUID,
    "text": str,
}


def read_watermark(note: Any) -> RawWatermark | None:
    """A mark from what the ledger keeps of it; None where that is none."""
    try:
        return RawWatermark(READ[note["type"]](note["raw"]), note["value"])
    except (KeyError, TypeError, ValueError, InvalidOperation):
        return None


def step_back_text(text: str, lag: float, *, timestamps: bool) -> str:
    """A text with the lag taken off: a moment in its own form, rounded down to its digits, or a number."""
    try:
        if not timestamps:
            number = Decimal(text) - Decimal(str(lag))
            return f"{number:f}" if "." in text else str(math.floor(number))
        match = TIMESTAMP.fullmatch(text)
        if match is None:
            raise no_lag(text)
        day = date.fromisoformat(match["day"])
        if match["clock"] is None:
            return step_back(day, lag).isoformat()  # type: ignore[no-any-return]
        digits = (match["digits"] or "")[1:]
        clock = time.fromisoformat(f"{match['clock']}{':00' if len(match['clock']) == 5 else ''}.{digits[:6]:0<6}")
        timestamp = datetime.combine(day, clock) - timedelta(seconds=lag)
        written = timestamp.isoformat(match["between"], "microseconds")
        places = 16 if len(match["clock"]) == 5 else 19
        fraction = (match["digits"] or "")[:1] + f"{written[20:]:0<{len(digits)}}"[: len(digits)] if digits else ""
        return written[:places] + fraction + match["rest"]
    except (ValueError, ArithmeticError):
        raise no_lag(text) from None


def no_lag(text: str) -> SourceError:
    """The error of a mark that no lag can be taken off."""
    return SourceError(f"A lag cannot be subtracted from {text[:100]!r}: leave out input.incremental.lag.")


def is_plain(dataset: Dataset, name: str, column: str | None = None) -> bool:
    """Whether the property is read from one raw column as it is, and from this one where one is named."""
    prop = dataset.properties[name]
    return prop.transform is None and (column is None or prop.raw_columns == (column,))


def filter_watermarks(
    watermarks: Iterable[tuple[object, str]],
    dataset: Dataset,
    name: str,
    settings: Settings,
    folder: Path,
    *,
    plain: bool,
) -> list[tuple[RawWatermark, object]]:
    """Those of the marks that are values of the property and have come already, in the order in which they are given.

    Each is given with the text that its records have of it, and comes with the property's value where it is `plain`:
    read from that column as it is. One wrong record must not hide all that follow it.
    """
    given = [(raw, text) for raw, text in watermarks if can_be_kept(text)]
    if not plain:
        return [(RawWatermark(raw), None) for raw, text in given if not is_ahead_text(text)]
    nulls = dataset.input.null_values if dataset.input else ("",)
    prop = dataset.properties[name]
    texts = [text if keeps_blanks(dataset, prop) else text.strip(BLANKS) for _, text in given]
    values = find_values(texts, prop, settings, folder)
    return [
        (RawWatermark(raw, write_value(value)), value)
        for (raw, _), text, value in zip(given, texts, values, strict=True)
        if value is not None and text not in nulls and not is_ahead(value)
    ]


def find_values(texts: Sequence[str], prop: Property, settings: Settings, folder: Path) -> list[object]:
    """What the cleaning makes of these texts: the property's values, None where a text is none."""
    if not texts:
        return []
    kind = prop.type
    zoned = kind.duckdb == "TIMESTAMPTZ"
    value = f"({kind.convert('text', 'made')})" + (" AT TIME ZONE 'UTC'" if zoned else "")
    query = (
        f"SELECT {value} FROM (SELECT place, text, {kind.cast_text('text')} AS made FROM"
        " (SELECT unnest($1::VARCHAR[]) AS text, unnest(range(len($1))) AS place)) ORDER BY place"
    )
    try:
        with open_engine(settings, folder) as engine:
            found = [row[0] for row in engine.execute(query, [list(texts)]).fetchall()]
            return [value.replace(tzinfo=UTC) if zoned and value else value for value in found]
    except duckdb.Error as error:
        raise SourceError(f"The watermarks of {prop.name} cannot be read: {describe_duckdb(error)}") from None


def can_be_kept(text: str) -> bool:
    """Whether the ledger can hold a text."""
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def is_ahead(value: object) -> bool:
    """Whether a value is a moment that has not come yet."""
    now = datetime.now(UTC)
    if isinstance(value, datetime):
        return value > now if value.tzinfo else value > now.replace(tzinfo=None) + FURTHEST_AHEAD
    return isinstance(value, date) and value > (now + FURTHEST_AHEAD).date()


def is_ahead_text(text: str) -> bool:
    """Whether a text looks like a moment that has not come yet, wherever its clock is."""
    try:
        timestamp = datetime.fromisoformat(text)
    except ValueError:
        return False
    return is_ahead(timestamp)
