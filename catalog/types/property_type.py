"""Property types: storage, conversion, filtering and output of one kind of value. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from catalog.types.datetime_patterns import DatetimePattern

CANONICAL = "CAST({value} AS VARCHAR) = {text}"  # written just as DuckDB writes the value; nothing else is
# DuckDB wants seconds before an offset.
WITH_SECONDS = (
    "CASE WHEN length({text}) > 16 AND substr({text}, 17, 1) <> ':'"
    " THEN substr({text}, 1, 16) || ':00' || substr({text}, 17) ELSE {text} END"
)
WITH_OFFSET = f"TRY_CAST(upper({WITH_SECONDS}) AS TIMESTAMPTZ)"


Family = Literal["text", "number", "boolean", "date", "time", "moment", "identifier", "document"]
BUCKETS = ("year", "quarter", "month", "week", "day", "hour", "minute")
DATE_BUCKETS = BUCKETS[:5]


@dataclass(frozen=True)
class PropertyType:
    """How one kind of value is stored, converted, filtered and shown."""

    name: str
    family: Family
    postgres: str
    duckdb: str
    sqlalchemy: sa.types.TypeEngine[Any]
    json_schema: dict[str, Any]
    cast: str  # DuckDB SQL over {text}: what DuckDB makes of it, null where nothing; never fails
    conversion: str  # DuckDB SQL over {text} and {value}, the cast's result: the value, or null where it is none
    parse: Callable[[str], Any]
    expected: str  # what a reader of an error message should have sent
    guard: str = "TRUE"  # DuckDB SQL over {value}, of the right type: whether Postgres can hold it
    json_as_text: bool = False  # numbers that JSON readers would corrupt leave as strings
    ordered: bool = True  # whether records can be sorted by it, and two values compared
    ranged: bool = True  # whether its order means something: ranges, least and greatest values
    zoned: bool = False  # moments of all zones; their buckets begin in the zone that is asked for
    floating: bool = False  # sums depend on the order of the records
    decimal: bool = False  # exact decimals
    buckets: tuple[str, ...] = ()  # of time, that records can be grouped by
    plain: bool = True  # its text needs no quotes in CSV
    arrow: bool = True  # has an Arrow type that every reader knows; otherwise it leaves as text
    excel: str | None = None  # the number format of a cell
    item: PropertyType | None = None  # of a Postgres array
    pattern: DatetimePattern | None = None  # the only form that raw texts may have
    zone: str = "UTC"  # of moments whose text names no offset
    bounds: tuple[int, int] | None = None  # of integers whose column could hold more

    @property
    def is_number(self) -> bool:
        """Whether values can be summed."""
        return self.family == "number"

    @property
    def is_whole(self) -> bool:
        """Whether values are integers, of a column that holds no others."""
        return self.is_number and not self.floating and not self.decimal

    @property
    def is_dated(self) -> bool:
        """Whether values lie on days: dates and moments."""
        return self.family in {"date", "moment"}

    @property
    def is_time(self) -> bool:
        """Whether values are of the calendar or the clock."""
        return self.is_dated or self.family == "time"

    def cast_text(self, text: str) -> str:
        """DuckDB SQL: what DuckDB makes of the expression `text`; `convert` repeats it, so give it a column."""
        return self.cast.replace("{text}", text)

    def convert(self, text: str, value: str) -> str:
        """DuckDB SQL: the value of the expression `text`, null where it is none; `value` is what it was cast to."""
        # One pass, so that nothing in one of them is taken for the other.
        return re.sub(r"\{(text|value)\}", lambda found: text if found[1] == "text" else value, self.conversion)

    def value_of(self, text: str) -> str:
        """DuckDB SQL: the value of the expression `text`, null where it is none."""
        return self.convert(text, self.cast_text(text))


def convert_by(lexical: str, *, sure: str = "", guard: str = "", value: str = "{value}") -> str:
    """`judged` for texts that are values if they are `lexical` and in range.

    What is `sure` is lexical too, and found so sooner than by a regular expression.
    """
    accepted = f"({sure} OR {lexical})" if sure else lexical
    return f"CASE WHEN {accepted}{f' AND {guard}' if guard else ''} THEN {value} END"


def full_match(pattern: str) -> str:
    """DuckDB SQL: whether all of {text} matches."""
    return f"regexp_full_match({{text}}, '{pattern}')"


def in_years(kind: str) -> str:
    """DuckDB SQL: whether {value} lies in the years 1 to 9999."""
    midnight = " 00:00:00+00" if kind == "TIMESTAMPTZ" else ""
    return f"{{value}} >= {kind} '0001-01-01{midnight}' AND {{value}} < {kind} '10000-01-01{midnight}'"


def within_years(timestamp: str) -> str:
    """DuckDB SQL: the moment, null outside of the years 1 to 9999."""
    # A value well inside needs no second check: a calendar is slow.
    inside = "{value} >= TIMESTAMP '0001-01-03' AND {value} < TIMESTAMP '9999-12-30'"
    outside = in_years("TIMESTAMPTZ").replace("{value}", timestamp)
    return f"CASE WHEN {inside} THEN {timestamp} WHEN {outside} THEN {timestamp} END"
