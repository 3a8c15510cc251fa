"""JDK date patterns, such as `dd/MM/yyyy HH:mm[:ss]`, as DuckDB and Python read them: exactly that form, no other.

Java's own parser is followed in widths (`d` takes 5 and 05) and in English names (`MMM` is Jan, `a` is AM), but not
where it mends what it reads: the 31st of April is no date here. Two digits of a year (`yy`) mean 2000 to 2099. `T`
may stand without quotes, and `Z` also takes Z and +02:00, as the contract standard itself writes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from catalog.types.datetime_pattern_parts import (
    DAYS,
    ECHOED,
    FRACTION_DIGITS_MAXIMUM,
    MONTHS,
    Part,
    Parts,
    check_parts,
    expand,
    flatten,
    formats_of,
    has_offset,
    holds_offset,
    read_parts,
    regex_of,
)
from catalog.types.value_parsers import InvalidValueError


@dataclass(frozen=True)
class DatetimePattern:
    """One pattern for one kind of value: `kind` is date, time, timestamp or local timestamp."""

    text: str
    kind: str
    zone: str  # of a timestamp whose text names no offset
    parts: Parts

    @property
    def lexical(self) -> str:
        """DuckDB SQL over {text}: whether it has exactly this form, with the right weekday."""
        conditions = [f"regexp_full_match({{text}}, {quote(regex_of(self.parts))})", *self.echoes()]
        if any(part.field == "offset" for part in flatten(self.parts)):
            # Beside an offset, DuckDB takes the 30th of February for the 2nd of March.
            conditions.append(f"{self.local()} IS NOT NULL")
        return " AND ".join(conditions)

    @property
    def cast(self) -> str:
        """DuckDB SQL over {text}: the value, null where there is no such day or moment."""
        forms = list(expand(self.parts))
        local = self.strptime([form for form in forms if not has_offset(form)])
        if self.kind == "timestamp":
            timestamps = [self.strptime([form for form in forms if has_offset(form)]), zoned(local, self.zone)]
            chosen = [
                timestamp for timestamp, source in zip(timestamps, (timestamps[0], local), strict=True) if source
            ]
            return f"coalesce({', '.join(chosen)})" if chosen[1:] else chosen[0]
        return {"date": f"CAST({local} AS DATE)", "time": f"CAST({local} AS TIME)"}.get(self.kind, local)

    def local(self) -> str:
        """DuckDB SQL for the date and time in the text, whatever its offset."""
        forms = list(expand(tuple(part for part in self.parts if not holds_offset(part))))
        return self.strptime(forms, drops_offset=True)

    def strptime(self, forms: list[list[Part]], *, drops_offset: bool = False) -> str:
        """DuckDB SQL for the moment in one of these forms; none where there is no form."""
        formats = [text for form in forms for text in formats_of(form)]
        if not formats:
            return ""
        listed = ", ".join(quote(text) for text in formats)
        chosen = f"[{listed}]" if formats[1:] else listed
        return f"try_strptime({self.rewritten(drops_offset=drops_offset)}, {chosen})"

    def rewritten(self, *, drops_offset: bool = False) -> str:
        """DuckDB SQL for the text with years of four digits, and without its offset where that is asked."""
        pattern, replacement, groups, is_open, is_same = "^", "", 0, False, True
        for part in self.parts:
            drops = drops_offset and holds_offset(part)
            century = isinstance(part, Part) and part.field == "short year"
            is_same = is_same and not (drops or century)
            if is_open and (drops or century):
                pattern, is_open = pattern + ")", False
            if not drops and not is_open:
                pattern, is_open, groups = pattern + "(", True, groups + 1
                replacement += ("20" if century else "") + f"\\{groups}"
            pattern += regex_of((part,))
        if is_same:
            return "{text}"
        return f"regexp_replace({{text}}, {quote(pattern + (')$' if is_open else '$'))}, {quote(replacement)})"

    def echoes(self) -> Iterator[str]:
        """DuckDB SQL for each name or number in the text that must be the date's own."""
        for index, part in enumerate(self.parts):
            if isinstance(part, Part) and part.field in ECHOED:
                before, after = regex_of(self.parts[:index]), regex_of(self.parts[index + 1 :])
                said = f"regexp_extract({{text}}, {quote(f'^{before}({part.regex}){after}$')}, 1)"
                yield f"strftime({self.local()}, '{part.strptime}') = {said}"

    def parse(self, text: str) -> Any:
        """The value of a text: a date, a time, a moment in UTC or one without a zone."""
        found = re.fullmatch(regex_of(self.parts, named=True), text, re.ASCII)
        try:
            if found:
                return self.assemble({name: said for name, said in found.groupdict().items() if said})
        except (ValueError, OverflowError):
            pass
        raise InvalidValueError(f"expected a {self.kind} in the form {self.text}")

    def assemble(self, said: dict[str, str]) -> Any:
        """The value of what each part of a text says; ValueError where there is no such day or moment."""
        timestamp = datetime.combine(
            read_day(said) if "year" in said or "short_year" in said else date(1900, 1, 1), read_clock(said)
        )
        if self.kind in {"date", "time"}:
            return timestamp.date() if self.kind == "date" else timestamp.time()
        if self.kind == "local timestamp":
            return timestamp
        if "offset" not in said:
            return in_zone(timestamp, self.zone)
        return (timestamp - read_offset(said["offset"])).replace(tzinfo=UTC)


def compile_pattern(text: str, kind: str, zone: str = "UTC") -> DatetimePattern:
    """The pattern; DatetimePatternError where it cannot be read or does not make a value of the kind."""
    parts = read_parts(text)
    check_parts(parts, kind)
    return DatetimePattern(text, kind, zone, parts)


def zoned(local: str, zone: str) -> str:
    """DuckDB SQL for the moment that a local one is in a zone.

    What the clocks skip in spring is read as if they had not been set yet; what they show twice in autumn is the
    later one. Postgres does the same.
    """
    if zone == "UTC":
        return f"make_timestamptz(epoch_us({local}))"  # the same, without asking a calendar
    return f"timezone({quote(zone)}, {local})"


def quote(text: str) -> str:
    """A DuckDB string literal."""
    return "'" + text.replace("'", "''") + "'"


def read_day(said: dict[str, str]) -> date:
    """The day of the parts of a text; ValueError where there is none."""
    year = int(said["year"]) if "year" in said else 2000 + int(said["short_year"])
    if "day_of_year" in said:
        day = date(year, 1, 1) + timedelta(days=int(said["day_of_year"]) - 1)
        if day.year != year:
            raise ValueError(said["day_of_year"])
    else:
        names = [name[:3] for name in MONTHS]
        month = int(said["month"]) if "month" in said else names.index(said["month_name"][:3]) + 1
        day = date(year, month, int(said["day"]))
    if not said.get("weekday", DAYS[day.weekday()]).startswith(DAYS[day.weekday()][:3]):
        raise ValueError(said["weekday"])
    return day


def read_clock(said: dict[str, str]) -> time:
    """The time of day of the parts of a text."""
    hour = int(said.get("hour", 0))
    if "half_hour" in said:
        hour = int(said["half_hour"]) % 12 + (12 if said["half"] == "PM" else 0)
    microsecond = int(said.get("fraction", "0").ljust(FRACTION_DIGITS_MAXIMUM, "0"))
    return time(hour, int(said.get("minute", 0)), int(said.get("second", 0)), microsecond)


def read_offset(text: str) -> timedelta:
    """How far a text says to be ahead of UTC."""
    if text == "Z":
        return timedelta()
    minutes = int(text[1:3]) * 60 + int(text[3:].removeprefix(":") or 0)
    return timedelta(minutes=-minutes if text[0] == "-" else minutes)


def in_zone(timestamp: datetime, zone: str) -> datetime:
    """A local moment of a zone, in UTC: see `zoned` for those that are skipped or shown twice."""
    if zone == "UTC":
        return timestamp.replace(tzinfo=UTC)
    place = ZoneInfo(zone)
    return max(timestamp.replace(tzinfo=place, fold=fold).astimezone(UTC) for fold in (0, 1))
