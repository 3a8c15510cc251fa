"""JDK date patterns: DuckDB reads raw records by them, Python what contracts write; here they are held together."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog.types.datetime_pattern_parts import DatetimePatternError, regex_of
from catalog.types.datetime_patterns import DatetimePattern, compile_pattern
from catalog.types.parametrized_types import refine_type
from catalog.types.property_types import DATE, LOCAL_TIMESTAMP, TIME, TIMESTAMP, PropertyType
from catalog.types.value_parsers import InvalidValueError
from tests.support.examples import examples

KINDS = {"date": DATE, "time": TIME, "timestamp": TIMESTAMP, "local timestamp": LOCAL_TIMESTAMP}


@pytest.fixture(scope="module")
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def type_of(pattern: str, kind: str, zone: str = "UTC") -> PropertyType:
    return refine_type(KINDS[kind], {"format": pattern, "defaultTimezone": zone})


def by_duckdb(engine: duckdb.DuckDBPyConnection, kind: PropertyType, text: str) -> str | None:
    row = engine.execute(
        f"SELECT CAST({kind.value_of('t')} AS VARCHAR) FROM (SELECT ?::VARCHAR AS t)", [text]
    ).fetchone()
    assert row is not None
    return None if row[0] is None else str(row[0])


def by_python(pattern: DatetimePattern, text: str) -> Any:
    try:
        return pattern.parse(text)
    except InvalidValueError:
        return None


def write(value: Any) -> str | None:
    """A value as DuckDB writes it."""
    if value is None:
        return None
    if not isinstance(value, datetime | time):
        return str(value)
    text = value.isoformat() if isinstance(value, time) else value.replace(tzinfo=None).isoformat(sep=" ")
    text = text.rstrip("0") if "." in text else text
    return text + ("+00" if isinstance(value, datetime) and value.tzinfo else "")


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]


def at(*parts: int) -> datetime:
    return utc(*parts).replace(tzinfo=None)


READ: list[tuple[str, str, str, Any]] = [
    ("dd/MM/yyyy", "date", "31/12/2013", date(2013, 12, 31)),
    ("d/M/yyyy", "date", "1/2/2013", date(2013, 2, 1)),
    ("d/M/yyyy", "date", "01/02/2013", date(2013, 2, 1)),
    ("yyyyMMdd", "date", "20130131", date(2013, 1, 31)),
    ("MMM dd yyyy", "date", "Jun 12 1998", date(1998, 6, 12)),
    ("MMMM d, yyyy", "date", "September 1, 1998", date(1998, 9, 1)),
    ("EEE MMM dd HH:mm:ss Z yyyy", "timestamp", "Wed Oct 10 20:19:24 +0000 2018", utc(2018, 10, 10, 20, 19, 24)),
    ("EEE d MMM uuuu", "date", "Thu 31 Jan 2013", date(2013, 1, 31)),
    ("EEEE, dd.MM.yy", "date", "Thursday, 31.01.13", date(2013, 1, 31)),
    ("yy-MM-dd", "date", "99-12-31", date(2099, 12, 31)),
    ("yyyyDDD", "date", "2012366", date(2012, 12, 31)),
    ("yyyy年M月d日", "date", "2013年1月31日", date(2013, 1, 31)),
    ("yyyy-MM-dd HH:mm:ss", "date", "2013-01-31 17:30:00", date(2013, 1, 31)),
    ("HH:mm", "time", "00:00", time(0)),
    ("H:m:s", "time", "7:5:9", time(7, 5, 9)),
    ("h:mm a", "time", "12:05 AM", time(0, 5)),
    ("h:mm a", "time", "12:05 PM", time(12, 5)),
    ("hh.mm.ssa", "time", "01.02.03PM", time(13, 2, 3)),
    ("HHmmss.SSS", "time", "173005.120", time(17, 30, 5, 120000)),
    ("HH:mm:ss.S", "time", "17:30:05.1", time(17, 30, 5, 100000)),
    ("dd/MM/yyyy HH:mm", "local timestamp", "31/01/2013 17:30", at(2013, 1, 31, 17, 30)),
    ("yyyyMMddHHmmssSSS", "local timestamp", "20130131173005123", at(2013, 1, 31, 17, 30, 5, 123000)),
    ("dd.MM.yyyy 'um' HH 'o''clock' 100%", "local timestamp", "01.02.2013 um 10 o'clock 100%", at(2013, 2, 1, 10)),
    ("yyyy-MM-dd'T'HH:mm:ss'Z'", "timestamp", "2013-01-31T12:00:00Z", utc(2013, 1, 31, 12)),
    # The standard's own examples leave out the quotes, and write Z for the offset.
    ("yyyy-MM-ddTHH:mm:ssZ", "timestamp", "2013-01-31T12:00:00Z", utc(2013, 1, 31, 12)),
    ("yyyy-MM-ddTHH:mm:ssZ", "timestamp", "2013-01-31T12:00:00+10:00", utc(2013, 1, 31, 2)),
    ("EEE, dd MMM yyyy HH:mm:ss Z", "timestamp", "Sun, 06 Nov 1994 00:49:37 +0200", utc(1994, 11, 5, 22, 49, 37)),
    ("yyyy-MM-dd HH:mmX", "timestamp", "2013-01-31 12:00-02", utc(2013, 1, 31, 14)),
    ("yyyy-MM-dd HH:mmxx", "timestamp", "2013-01-31 12:00+0530", utc(2013, 1, 31, 6, 30)),
    ("yyyy-MM-dd", "timestamp", "2013-01-31", utc(2013, 1, 31)),
    ("yyyy-MM-dd HH:mm[:ss[.SSS]][XXX]", "timestamp", "2013-01-31 12:00", utc(2013, 1, 31, 12)),
    ("yyyy-MM-dd HH:mm[:ss[.SSS]][XXX]", "timestamp", "2013-01-31 12:00:05.500", utc(2013, 1, 31, 12, 0, 5, 500000)),
    ("yyyy-MM-dd HH:mm[:ss[.SSS]][XXX]", "timestamp", "2013-01-31 12:00:05-01:00", utc(2013, 1, 31, 13, 0, 5)),
]
NOT_READ = [
    (
        "dd/MM/yyyy",
        "date",
        [
            "",
            "31/12/13",
            "1/2/2013",
            "31-12-2013",
            "2013-12-31",
            " 31/12/2013",
            "31/12/2013 ",
            "31/12/2013\n",
            "30/02/2013",
            "29/02/2013",
            "00/01/2013",
            "31/13/2013",
            "01/01/0000",
            "٣١/12/2013",
            "31/12/20133",
        ],
    ),
    ("d/M/yyyy", "date", ["001/2/2013", "32/1/2013", "0/1/2013", "1/13/2013"]),
    (
        "MMM dd yyyy",
        "date",
        ["jun 12 1998", "JUN 12 1998", "June 12 1998", "Jun 1 1998", "Juni 12 1998", "06 12 1998"],
    ),
    ("EEE d MMM uuuu", "date", ["Fri 31 Jan 2013", "thu 31 Jan 2013", "Thursday 31 Jan 2013"]),
    ("yyyyDDD", "date", ["2013366", "2013000", "2012367", "201301"]),
    ("h:mm a", "time", ["0:05 AM", "13:05 PM", "1:05 pm", "1:05", "1:60 AM"]),
    ("HH:mm", "time", ["24:00", "7:30", "23:60", "23:59:00"]),
    ("HH:mm:ss.SSS", "time", ["17:30:05.12", "17:30:05.1234", "17:30:60.000"]),
    (
        "yyyy-MM-dd HH:mmXXX",
        "timestamp",
        [
            "2013-01-31 12:00",
            "2013-01-31 12:00+02",
            "2013-01-31 12:00+16:00",
            "2013-02-30 12:00+02:00",
            "0001-01-01 00:00+01:00",
            "9999-12-31 23:59-01:00",
        ],
    ),
    (
        "yyyy-MM-dd'T'HH:mm:ss'Z'",
        "timestamp",
        ["2013-01-31T12:00:00", "2013-01-31T12:00:00z", "2013-01-31T12:00:00+00:00"],
    ),
]


@pytest.mark.parametrize(("pattern", "kind", "text", "value"), READ)
def test_a_text_of_the_form_is_the_same_value_to_duckdb_and_python(
    engine: duckdb.DuckDBPyConnection, pattern: str, kind: str, text: str, value: Any
) -> None:
    chosen = type_of(pattern, kind)
    assert chosen.pattern is not None
    assert chosen.pattern.parse(text) == value
    assert by_duckdb(engine, chosen, text) == write(value)


@pytest.mark.parametrize(("pattern", "kind", "texts"), NOT_READ, ids=[row[0] for row in NOT_READ])
def test_any_other_form_and_any_day_that_is_none_is_no_value(
    engine: duckdb.DuckDBPyConnection, pattern: str, kind: str, texts: list[str]
) -> None:
    chosen = type_of(pattern, kind)
    assert chosen.pattern is not None
    for text in texts:
        assert (by_duckdb(engine, chosen, text), by_python(chosen.pattern, text)) == (None, None), text


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("pattern", "kind"), list(dict.fromkeys((row[0], row[1]) for row in READ)), ids=lambda value: str(value)
)
def test_whatever_the_text_duckdb_and_python_agree(
    engine: duckdb.DuckDBPyConnection, pattern: str, kind: str
) -> None:
    chosen = type_of(pattern, kind, "America/New_York")
    known = chosen.pattern
    assert known is not None
    matching = st.from_regex(regex_of(known.parts), fullmatch=True)
    changed = st.builds(
        lambda text, at, new: text[: at % (len(text) + 1)] + new + text[at % (len(text) + 1) + 1 :],
        matching,
        st.integers(0, 40),
        st.text(st.sampled_from("0123456789 -/:.APMZ+٣\n"), max_size=2),
    )

    @settings(max_examples=examples(25, 15), deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.one_of(matching, changed))
    def agree(text: str) -> None:
        value = by_python(known, text)
        assert by_duckdb(engine, chosen, text) == write(value), text

    agree()


@pytest.mark.parametrize(
    ("pattern", "kind", "reason"),
    [
        ("YYYY-MM-dd", "date", "YYYY is the year of a week; yyyy is the year"),
        ("yyyy-MM-DD", "date", "DD is the day of the year; dd is the day of the month"),
        ("yyyy-MM-dd HH:mm:ss.SSSSSSSSS", "timestamp", "at most 6 digits"),
        ("qq yyyy", "date", "qq cannot be read"),
        ("yyyy-MM-dd zzz", "timestamp", "zzz cannot be read"),
        ("yyyy-MM-dd VV", "timestamp", "VV cannot be read"),
        ("GGGG yyyy-MM-dd", "date", "GGGG cannot be read"),
        ("yyyyy-MM-dd", "date", "supported are yyyy, yy, y"),
        ("dd/MM", "date", "the year is missing"),
        ("yyyy-MM[-dd]", "date", "the day is missing or optional"),
        ("yyyy-MM-dd", "time", "the hour is missing"),
        ("yyyy-MM-dd :ss", "timestamp", "the hour is missing"),
        ("yyyy-MM-dd hh:mm", "timestamp", "h and a are needed together"),
        ("yyyy-MM-dd HH:mmXXX", "local timestamp", "has no offset from UTC; use timestamp without timezone: false"),
        ("HH:mmXXX", "time", "has no offset from UTC; use timestamp without timezone: false"),
        ("dMyyyy", "date", "the end of the day and the start of the month are ambiguous"),
        ("dd/MM/yyyy dd", "date", "is repeated"),
        ("yyyy-MM-dd[", "date", r"'\[' is not closed"),
        ("yyyy-MM-dd]", "date", "is unbalanced or unknown: put it in quotes"),
        ("yyyy-MM-dd'", "date", "is unbalanced or unknown: put it in quotes"),
        ("yyyy-MM-dd '{text}'", "date", "braces"),
        ("[a][b]yyyy-MM-dd", "date", "b cannot be read"),
        ("yy[-MM]-dd", "date", "optional sections are not supported with yy, E or DDD"),
        ("yyyy-MM-dd HH:mm[:ssXXX]", "timestamp", "brackets of its own"),
    ],
)
def test_a_pattern_that_cannot_be_read_is_refused_with_the_letter(pattern: str, kind: str, reason: str) -> None:
    with pytest.raises(DatetimePatternError, match=reason):
        compile_pattern(pattern, kind)


@pytest.mark.parametrize("pattern", [None, "yyyy-MM-dd HH:mm:ss"])
@pytest.mark.parametrize(
    ("zone", "text", "moment"),
    [
        ("Europe/Berlin", "2013-07-01 12:00:00", "2013-07-01 10:00:00+00"),
        ("Europe/Berlin", "2013-01-01 12:00:00", "2013-01-01 11:00:00+00"),
        # Skipped when the clocks are set forward: read as if they had not been set yet.
        ("America/New_York", "2013-03-10 02:30:00", "2013-03-10 07:30:00+00"),
        ("Europe/Berlin", "2013-03-31 02:30:00", "2013-03-31 01:30:00+00"),
        # Shown twice when they are set back: the later one.
        ("America/New_York", "2013-11-03 01:30:00", "2013-11-03 06:30:00+00"),
        ("Europe/Berlin", "2013-10-27 02:30:00", "2013-10-27 01:30:00+00"),
        ("Europe/Berlin", "0001-01-01 00:00:00", None),
        ("America/New_York", "9999-12-31 23:59:59", None),
        ("Asia/Tokyo", "9999-12-31 23:59:59", "9999-12-31 14:59:59+00"),
    ],
)
def test_a_timestamp_without_an_offset_is_in_the_contracts_zone(
    engine: duckdb.DuckDBPyConnection, pattern: str | None, zone: str, text: str, moment: str | None
) -> None:
    chosen = refine_type(TIMESTAMP, {"defaultTimezone": zone} | ({"format": pattern} if pattern else {}))
    assert by_duckdb(engine, chosen, text) == moment
    if chosen.pattern:
        assert write(by_python(chosen.pattern, text)) == moment


def test_an_offset_in_the_text_goes_before_the_contracts_zone(engine: duckdb.DuckDBPyConnection) -> None:
    chosen = refine_type(TIMESTAMP, {"defaultTimezone": "Europe/Berlin"})
    assert by_duckdb(engine, chosen, "2013-07-01T12:00:00Z") == "2013-07-01 12:00:00+00"
    assert by_duckdb(engine, chosen, "2013-07-01T12:00-02:00") == "2013-07-01 14:00:00+00"
    assert by_duckdb(engine, chosen, "2013-07-01") is None
