"""Texts and values: DuckDB judges raw records, Python filters, Postgres stores; here they are held together."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import duckdb
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog.types.parametrized_types import numeric_type
from catalog.types.property_types import (
    ARRAY,
    BOOLEAN,
    DATE,
    LOCAL_TIMESTAMP,
    NUMBER,
    OBJECT,
    STRING,
    TIME,
    TIMESTAMP,
    UUID,
    PropertyType,
)
from catalog.types.type_choice import BIGINT_TYPE, INTEGER_TYPE, LOGICAL_TYPES, resolve_type
from catalog.types.value_parsers import (
    DATE_TEXT,
    INTEGER_TEXT,
    NUMBER_TEXT,
    TIME_TEXT,
    TIMESTAMP_TEXT,
    InvalidValueError,
)
from runtime.postgres.embedded_postgres import EmbeddedPostgres
from tests.support.examples import examples

SMALL = resolve_type("integer", "smallint", {})[0]
MIDDLE = resolve_type("integer", "integer", {})[0]
MONEY = numeric_type(5, 2)
WIDEST = numeric_type(38, 0)
ID = uuid.UUID("6f1e2d3c-0000-4000-8000-0000000000ff")


class Judges:
    """DuckDB, Python and Postgres, each asked for the value of a text."""

    def __init__(self, engine: duckdb.DuckDBPyConnection, database: psycopg.Connection[Any]) -> None:
        self.engine = engine
        self.database = database

    def by_duckdb(self, kind: PropertyType, text: str) -> str | None:
        """The value as DuckDB writes it for COPY, judged as ingest.cleaning.plan does; None where it is no value."""
        row = self.engine.execute(
            f"SELECT CAST({kind.convert('text', 'value')} AS VARCHAR)"
            f" FROM (SELECT text, {kind.cast_text('text')} AS value FROM (SELECT ?::VARCHAR AS text))",
            [text],
        ).fetchone()
        assert row is not None
        return row[0]

    def by_python(self, kind: PropertyType, text: str) -> Any:
        """The value that a filter would compare with; None where it is no value."""
        try:
            return kind.parse(text)
        except InvalidValueError:
            return None

    def by_postgres(self, kind: PropertyType, text: str) -> str:
        """What Postgres gives back of the text, once stored in the type's column."""
        row = self.database.execute(
            f"SELECT CAST(CAST(%s AS text) AS {kind.postgres})::text".encode(), [text]
        ).fetchone()
        assert row is not None
        return str(row[0])


@pytest.fixture(scope="module")
def judges(server: EmbeddedPostgres) -> Iterator[Judges]:
    with duckdb.connect() as engine, psycopg.connect(server.url(), autocommit=True) as database:
        engine.execute("SET TimeZone = 'UTC'")
        yield Judges(engine, database)


def in_zone(value: datetime, hours: float) -> datetime:
    return value.replace(tzinfo=timezone(timedelta(hours=hours)))


NOON = datetime(2013, 1, 31, 12, 0, tzinfo=UTC)
FIRST = datetime(1, 1, 1, tzinfo=UTC)
LAST = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
VALUES: list[tuple[PropertyType, dict[str, Any]]] = [
    (INTEGER_TYPE, {"9007199254740991": 2**53 - 1, "-9007199254740991": 1 - 2**53, "-0": 0}),
    (
        BIGINT_TYPE,
        {
            "0": 0,
            "+1": 1,
            "-0": 0,
            "007": 7,
            "9223372036854775807": 2**63 - 1,
            "-9223372036854775808": -(2**63),
            "0000000000000000000000000000005": 5,
        },
    ),
    (SMALL, {"32767": 32767, "-32768": -32768}),
    (MIDDLE, {"2147483647": 2**31 - 1, "-2147483648": -(2**31)}),
    (
        NUMBER,
        {
            "1": 1.0,
            "+1.5": 1.5,
            "-.5": -0.5,
            "5.": 5.0,
            "1e5": 1e5,
            "1E+05": 1e5,
            "0.1": 0.1,
            "4.9e-324": 5e-324,
            "1.7976931348623157e308": 1.7976931348623157e308,
            "1e-400": 0.0,
            "9007199254740993": 9007199254740992.0,
            "0" * 400 + "1": 1.0,
            "0." + "0" * 30 + "1": 1e-31,
        },
    ),
    (BOOLEAN, {"true": True, "TRUE": True, "False": False, "1": True, "0": False}),
    (
        DATE,
        {
            "2013-01-31": date(2013, 1, 31),
            "2012-02-29": date(2012, 2, 29),
            "2000-02-29": date(2000, 2, 29),
            "0001-01-01": date(1, 1, 1),
            "9999-12-31": date(9999, 12, 31),
        },
    ),
    (
        TIME,
        {
            "17:30": time(17, 30),
            "00:00:00": time(0),
            "23:59:59.999999": time(23, 59, 59, 999999),
            "17:30:00.5": time(17, 30, 0, 500000),
        },
    ),
    (
        TIMESTAMP,
        {
            "2013-01-31T12:00:00Z": NOON,
            "2013-01-31 12:00:00": NOON,
            "2013-01-31T12:00": NOON,
            "2013-01-31T12:00Z": NOON,
            "2013-01-31T12:00:00+02": in_zone(NOON, 2),
            "2013-01-31T12:00+02:30": in_zone(NOON, 2.5),
            "2013-01-31T12:00:00-0230": in_zone(NOON, -2.5),
            "2013-01-31T12:00:00+15:59": in_zone(NOON, 15 + 59 / 60),
            "2013-01-31T12:00:00-00:00": NOON,
            "2013-01-31T12:00:00.000001Z": NOON.replace(microsecond=1),
            "2012-02-29T00:00:00Z": datetime(2012, 2, 29, tzinfo=UTC),
            "0001-01-01T00:00:00Z": FIRST,
            "9999-12-31T23:59:59.999999Z": LAST,
        },
    ),
    (
        LOCAL_TIMESTAMP,
        {
            "2013-01-31T12:00:00": NOON.replace(tzinfo=None),
            "2013-01-31 12:00": NOON.replace(tzinfo=None),
            "0001-01-01T00:00": FIRST.replace(tzinfo=None),
            "9999-12-31T23:59:59.999999": LAST.replace(tzinfo=None),
        },
    ),
    (UUID, {str(ID): ID, str(ID).upper(): ID}),
    (
        MONEY,
        {
            "1.25": Decimal("1.25"),
            "1.250000": Decimal("1.25"),
            "999.99": Decimal("999.99"),
            "-999.99": Decimal("-999.99"),
            "+.5": Decimal("0.5"),
            "5.": Decimal(5),
            "0000001": Decimal(1),
        },
    ),
    (WIDEST, {"9" * 38: Decimal("9" * 38), "-" + "9" * 38: Decimal("-" + "9" * 38)}),
    (STRING, {"": "", " a ": " a ", "٣": "٣", "🙂": "🙂", "\\N": "\\N", "\r\n\t": "\r\n\t", "NULL": "NULL"}),
]
NO_VALUES: list[tuple[PropertyType, list[str]]] = [
    (
        BIGINT_TYPE,
        [
            "",
            "+",
            "2.5",
            "1e3",
            "0x10",
            "1_000",
            "1,000",
            " 1",
            "1 ",
            "1\n",
            "--1",
            "٣",
            "３",
            "½",
            "one",
            "NULL",
            "true",
            "9223372036854775808",
            "-9223372036854775809",
            "9" * 5000,
        ],
    ),
    (SMALL, ["32768", "-32769"]),
    (MIDDLE, ["2147483648", "-2147483649"]),
    (
        NUMBER,
        [
            "",
            ".",
            "e5",
            "1e",
            "nan",
            "NaN",
            "inf",
            "infinity",
            "-Infinity",
            "0x10",
            "1_000",
            "1,5",
            " 1",
            "1 ",
            "1\n",
            "1e309",
            "-1e400",
            "1" * 400,
            "٣",
            "３.5",
            "1e5.5",
        ],
    ),
    (
        BOOLEAN,
        ["", "t", "f", "yes", "no", "on", "off", "y", "2", "01", " true", "true\n", "tru", "\uff11", "\uff54rue"],
    ),
    (
        DATE,
        [
            "",
            "2013-02-29",
            "1900-02-29",
            "2013-04-31",
            "2013-13-01",
            "2013-00-10",
            "2013-01-00",
            "0000-12-31",
            "10000-01-01",
            "-0001-01-01",
            "2013-1-1",
            "20130131",
            "2013/01/31",
            "31.01.2013",
            "2013-W05-4",
            "2013-031",
            "2013-01-31 ",
            " 2013-01-31",
            "2013-01-31\n",
            "2013-01-31T00:00:00",
            "infinity",
            "-infinity",
            "epoch",
            "today",
            "2013-01-31 (BC)",
            "٢٠١٣-٠١-٣١",
            "２０１３-01-31",
        ],
    ),
    (
        TIME,
        [
            "",
            "24:00",
            "24:00:00",
            "24:00:01",
            "25:00:00",
            "23:60",
            "23:59:60",
            "7:30",
            "17",
            "1730",
            "17:30:00Z",
            "17:30:00+02",
            "17:30:00.1234567",
            "17:30 ",
            "٢٣:00",
            "allballs",
            "5 PM",
        ],
    ),
    (
        TIMESTAMP,
        [
            "",
            "2013-01-31",
            "2013-01-31T24:00:00Z",
            "2013-01-31T23:59:60Z",
            "2013-01-31T25:00:00Z",
            "2013-02-29T12:00:00Z",
            "0000-12-31T23:59:59Z",
            "10000-01-01T00:00:00Z",
            "2013-01-31T12:00:00.1234567Z",
            "2013-01-31T12:00:00 Z",
            "2013-01-31  12:00:00",
            "2013-01-31T12:00:00+24:00",
            "2013-01-31T12:00:00+99",
            "2013-01-31T12:00:00+02:60",
            "2013-01-31T12:00:00 Europe/Berlin",
            "2013-01-31T12:00:00Z\n",
            "infinity",
            "now",
            "1359633600",
            "20130131T120000Z",
            # In UTC, these lie before year 1 and after year 9999.
            "0001-01-01T00:00:00+01:00",
            "9999-12-31T23:59:59-01:00",
        ],
    ),
    (
        LOCAL_TIMESTAMP,
        [
            "",
            "2013-01-31",
            "2013-01-31T12:00:00Z",
            "2013-01-31T12:00:00+02",
            "2013-01-31T12:00:00-02:00",
            "2013-01-31T24:00:00",
            "2013-01-31T23:59:60",
            "0000-01-01T00:00:00",
            "10000-01-01T00:00:00",
            "infinity",
        ],
    ),
    (
        UUID,
        [
            "",
            ID.hex,
            f"{{{ID}}}",
            f"urn:uuid:{ID}",
            str(ID)[:-1],
            str(ID) + "0",
            " " + str(ID),
            "0x" + str(ID)[2:],
            str(ID).replace("-", "_", 1),
            "٣" + str(ID)[1:],
            "g" + str(ID)[1:],
        ],
    ),
]
# Filters take exponents, which raw records may not write, but no number that the column cannot hold.
NO_COLUMN_VALUES: list[tuple[PropertyType, list[str]]] = [
    (MONEY, ["", "1.255", "999.991", "1000", "-1000", "1e2", "nan", "infinity", "1_0", "0x1", " 1", "1\n", ".", "٣"]),
    (WIDEST, ["1" + "0" * 38, "0.5"]),
]


def spread(table: list[tuple[PropertyType, Any]]) -> list[Any]:
    """One test for each text of a table."""
    cases = []
    for kind, texts in table:
        for text in texts:
            case = (kind, text, texts[text]) if isinstance(texts, dict) else (kind, text)
            cases.append(pytest.param(*case, id=f"{kind.name} {text[:40]!r}"))
    return cases


@pytest.mark.parametrize(("kind", "text", "value"), spread(VALUES))
def test_a_value_is_the_same_to_duckdb_python_and_postgres(
    judges: Judges, kind: PropertyType, text: str, value: Any
) -> None:
    assert kind.parse(text) == value
    checked = judges.by_duckdb(kind, text)
    assert checked is not None
    assert kind.parse(checked) == value
    assert kind.parse(judges.by_postgres(kind, checked)) == value


@pytest.mark.parametrize(("kind", "text"), spread(NO_VALUES))
def test_what_is_no_value_is_none_to_duckdb_and_to_python(judges: Judges, kind: PropertyType, text: str) -> None:
    assert (judges.by_duckdb(kind, text), judges.by_python(kind, text)) == (None, None)


@pytest.mark.parametrize(("kind", "text"), spread(NO_COLUMN_VALUES))
def test_what_a_numeric_column_would_round_or_overflow_is_no_value(
    judges: Judges, kind: PropertyType, text: str
) -> None:
    assert judges.by_duckdb(kind, text) is None


@pytest.mark.parametrize(
    "text",
    [
        *("", "nan", "infinity", "1_0", "0x1", " 1", "1e9999", "1e-9999", "1e999999999999999999999", "1" * 9000, "٣"),
        *(".", "1.255", "999.991", "1000", "-1000", "1e3", "12.5e-2", "0.001"),
    ],
)
def test_a_filter_on_a_numeric_property_takes_what_its_column_holds_and_no_more(text: str) -> None:
    with pytest.raises(InvalidValueError, match="5 digits, 2 of them decimals"):
        MONEY.parse(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e2", "100"),
        ("99999e-2", "999.99"),
        ("0.10" + "0" * 500, "0.1"),
        ("0" * 5000 + "7", "7"),
        ("-0", "0"),
        ("0e999999", "0"),
    ],
)
def test_a_number_that_the_column_holds_is_taken_however_it_is_written(text: str, value: str) -> None:
    assert MONEY.parse(text) == Decimal(value)


@pytest.mark.parametrize("text", ["9007199254740992", "-9007199254740992", "9223372036854775807"])
def test_a_plain_integer_is_stored_within_what_json_readers_keep_and_sought_beyond(judges: Judges, text: str) -> None:
    assert judges.by_duckdb(INTEGER_TYPE, text) is None
    assert INTEGER_TYPE.parse(text) == int(text)  # a table may hold it from before
    assert "physicalType: bigint" in INTEGER_TYPE.expected


def test_leading_zeros_are_no_digits_of_an_integer() -> None:
    assert SMALL.parse("0" * 5000 + "7") == 7
    assert SMALL.parse("-" + "0" * 5000 + "7") == -7
    with pytest.raises(InvalidValueError):
        SMALL.parse("0" * 5000 + "40000")


def test_text_with_nul_is_no_value() -> None:
    with pytest.raises(InvalidValueError):
        STRING.parse("a\0b")


JSON_VALUES = [
    (
        OBJECT,
        [
            "{}",
            '{"a": [1, {"b": null}]}',
            '{"é": "🙂 \\ud83d\\ude42 \\n"}',
            '{"a": 1e22, "b": 123456789012345678901}',
        ],
    ),
    (OBJECT, [' {"a": true} ', '{"a": "back\\\\u0000slash"}', '{"a": ' * 400 + "1" + "}" * 400]),
    (ARRAY, ["[]", '[1, "2", null, [], {}]', "[" * 400 + "]" * 400]),
]
NO_JSON_VALUES = [
    (
        OBJECT,
        [
            "",
            "nope",
            "[]",
            "1",
            "null",
            '"{}"',
            "{a: 1}",
            "{'a': 1}",
            '{"a": 1',
            '{"a": 01}',
            '{"a": .5}',
            '{"a": 0x1}',
            '{"a": 1,}',
            '{"a": NaN}',
            '{"a": Infinity}',
            '{"a": -inf}',
            '{"a": 1} // note',
            '{"a": "\\x"}',
            '{"a": "\t"}',
            '{"a": "\\u0000"}',
            '{"a\\u0000": 1}',
            '{"a": "\\ud800"}',
            '{"a": 1e200000}',
            '{"a": 1e-200000}',
            "\ufeff{}",
            '{"a": ' * 100000 + "1" + "}" * 100000,
        ],
    ),
    (
        ARRAY,
        [
            "",
            "{}",
            "nope",
            "[1,]",
            "[NaN]",
            "[nan]",
            "[-Infinity]",
            "[1 2]",
            "[1e200000]",
            "[" * 20_000 + "]" * 20_000,
        ],
    ),
]


@pytest.mark.parametrize(("kind", "text"), spread(JSON_VALUES))
def test_json_is_the_same_to_duckdb_and_postgres(judges: Judges, kind: PropertyType, text: str) -> None:
    checked = judges.by_duckdb(kind, text)
    assert checked is not None
    assert json.loads(judges.by_postgres(kind, checked)) == json.loads(text)


@pytest.mark.parametrize(("kind", "text"), spread(NO_JSON_VALUES))
def test_what_postgres_would_not_store_as_json_is_no_value(judges: Judges, kind: PropertyType, text: str) -> None:
    # One such value in a batch would make the whole COPY fail.
    assert judges.by_duckdb(kind, text) is None


def near(pattern: Any, *, characters: str) -> st.SearchStrategy[str]:
    """Texts that match the pattern, texts that nearly do, and any text."""
    matching = st.from_regex(pattern, fullmatch=True)
    changed = st.builds(
        lambda text, at, new: text[: at % (len(text) + 1)] + new + text[at % (len(text) + 1) + 1 :],
        matching,
        st.integers(0, 40),
        st.text(st.sampled_from(characters), max_size=2),
    )
    return st.one_of(matching, changed, st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))


def digits(count: int) -> Callable[[int], str]:
    return lambda number: f"{number:0{count}d}"


# Fields just inside and just outside of their range, which a pattern alone would hardly ever draw.
YEARS = st.one_of(st.integers(0, 10000), st.sampled_from([0, 1, 1582, 1900, 2000, 9999, 10000])).map(digits(4))
DAYS = st.builds("{}-{}-{}".format, YEARS, st.integers(0, 13).map(digits(2)), st.integers(0, 32).map(digits(2)))
PARTS = st.integers(0, 61).map(digits(2))
FRACTIONS = st.one_of(st.just(""), st.integers(0, 9_999_999).map(lambda number: f".{number}"))
TIMES = st.one_of(
    st.builds("{}:{}".format, st.integers(0, 25).map(digits(2)), PARTS),
    st.builds("{}:{}:{}{}".format, st.integers(0, 25).map(digits(2)), PARTS, PARTS, FRACTIONS),
)
OFFSETS = st.one_of(
    st.sampled_from(["", "Z", "z", " Z"]),
    st.builds(
        "{}{}{}".format,
        st.sampled_from("+-"),
        st.integers(0, 30).map(digits(2)),
        st.one_of(st.just(""), PARTS, PARTS.map(lambda part: ":" + part)),
    ),
)
UUID_TEXT = r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
INTEGERS = st.one_of(
    st.integers(-(2**64), 2**64).map(str),
    st.sampled_from([2**15, 2**31, 2**63]).flatmap(
        lambda edge: st.integers(-1, 1).map(lambda step: str(edge + step))
    ),
    near(INTEGER_TEXT, characters="0123456789+-_ .ex٣\uff13\n"),
)
NUMBERS = st.one_of(
    st.floats().map(repr),
    st.builds("{}e{}".format, st.integers(), st.integers(-400, 400)),
    near(NUMBER_TEXT, characters="0123456789+-_ .eExinfa٣\n"),
)
STAMPS = st.one_of(
    st.builds("{}{}{}{}".format, DAYS, st.sampled_from("T ") | st.just("t"), TIMES, OFFSETS),
    near(TIMESTAMP_TEXT, characters="0123456789+-:. TZz٣\n"),
)
TEXTS = [
    (BIGINT_TYPE, INTEGERS),
    (SMALL, INTEGERS),
    (MIDDLE, INTEGERS),
    (NUMBER, NUMBERS),
    (
        BOOLEAN,
        st.one_of(
            st.sampled_from(["true", "FALSE", "1", "0", "t", "on", "yes "]),
            near("(?i:true|false|1|0)", characters="tTrueſ 10"),
        ),
    ),
    (DATE, st.one_of(DAYS, near(DATE_TEXT, characters="0123456789-٣ T\n"))),
    (TIME, st.one_of(TIMES, near(TIME_TEXT, characters="0123456789:.٣ Z\n"))),
    (TIMESTAMP, STAMPS),
    (LOCAL_TIMESTAMP, STAMPS),
    (
        UUID,
        st.one_of(
            st.uuids().map(str), st.uuids().map(lambda value: value.hex), near(UUID_TEXT, characters="0aF-_{}xg٣ ")
        ),
    ),
]


@pytest.mark.parametrize(("kind", "texts"), [pytest.param(*row, id=row[0].name) for row in TEXTS])
def test_whatever_the_text_duckdb_python_and_postgres_agree(
    judges: Judges, kind: PropertyType, texts: st.SearchStrategy[str]
) -> None:
    @settings(max_examples=examples(60, 30), deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(texts)
    def agree(text: str) -> None:
        checked, value = judges.by_duckdb(kind, text), judges.by_python(kind, text)
        assert (checked is None) == (value is None), f"{text!r} is {checked!r} to DuckDB and {value!r} to Python"
        if checked is not None:
            assert kind.parse(checked) == value
            assert kind.parse(judges.by_postgres(kind, checked)) == value

    agree()


@settings(max_examples=examples(60, 30), deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(precision=st.integers(1, 38), share=st.integers(0, 38), text=NUMBERS)
def test_a_numeric_value_is_never_rounded_on_its_way(judges: Judges, precision: int, share: int, text: str) -> None:
    kind = numeric_type(precision, min(share, precision))
    checked = judges.by_duckdb(kind, text)
    if checked is not None:
        assert Decimal(checked) == Decimal(text)
        assert Decimal(judges.by_postgres(kind, checked)) == Decimal(text)


JSON_PIECES = st.lists(
    st.sampled_from(
        ["{", "}", "[", "]", ",", ":", '"a"', '"\\u0000"', '"\\ud800"', '"\\ud83d\\ude00"', '"é"', "1", "-", "1e5"]
    )
    | st.sampled_from(["1e140000", "0.1", "NaN", "null", "true", " ", "\t", "\\", "//", "'", "Infinity"]),
    max_size=8,
).map("".join)
JSON_TEXTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
).map(json.dumps)


@pytest.mark.sampled
@pytest.mark.parametrize("kind", [OBJECT, ARRAY], ids=lambda kind: kind.name)
def test_whatever_json_duckdb_accepts_postgres_stores(judges: Judges, kind: PropertyType) -> None:
    braces = "{}" if kind is OBJECT else "[]"

    @settings(max_examples=examples(60, 30), deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.one_of(JSON_TEXTS, JSON_PIECES, JSON_PIECES.map(lambda inner: braces[0] + inner + braces[1])))
    def store(text: str) -> None:
        checked = judges.by_duckdb(kind, text)
        if checked is not None:
            assert isinstance(json.loads(judges.by_postgres(kind, checked)), dict if kind is OBJECT else list)

    store()


@pytest.mark.parametrize(
    ("logical", "physical", "options", "postgres", "understood"),
    [
        ("string", None, {}, "text", True),
        ("integer", None, {}, "bigint", True),
        ("number", None, {}, "double precision", True),
        ("boolean", None, {}, "boolean", True),
        ("date", None, {}, "date", True),
        ("time", None, {}, "time", True),
        ("timestamp", None, {}, "timestamptz", True),
        ("timestamp", None, {"timezone": True}, "timestamptz", True),
        ("timestamp", None, {"timezone": False}, "timestamp", True),
        ("object", None, {}, "jsonb", True),
        ("array", None, {}, "jsonb", True),
        ("integer", "smallint", {}, "smallint", True),
        ("integer", "INT", {}, "integer", True),
        ("integer", "bigint", {}, "bigint", True),
        ("integer", "numeric(20)", {}, "numeric(20,0)", True),
        ("number", "numeric(12,2)", {}, "numeric(12,2)", True),
        ("number", " Decimal( 12 , 2 ) ", {}, "numeric(12,2)", True),
        ("number", "numeric(38,38)", {}, "numeric(38,38)", True),
        ("number", "numeric(39,2)", {}, "double precision", False),
        ("number", "numeric(2,3)", {}, "double precision", False),
        ("number", "numeric(0)", {}, "double precision", False),
        ("string", "uuid", {}, "uuid", True),
        ("string", "varchar2(20 byte)", {}, "text", False),
        ("string", "bigint", {}, "text", False),
        ("timestamp", "timestamp", {}, "timestamp", True),
        ("timestamp", "datetime2", {}, "timestamptz", False),
        ("object", "STRUCT<a INT>", {}, "jsonb", False),
    ],
)
def test_a_logical_and_a_physical_type_give_the_postgres_type(
    logical: str, physical: str | None, options: dict[str, Any], postgres: str, understood: bool
) -> None:
    kind, known = resolve_type(logical, physical, options)
    assert (kind.postgres, known) == (postgres, understood)


@pytest.mark.parametrize(
    ("logical", "physical", "options", "json_type"),
    [
        ("integer", None, {}, "integer"),
        ("integer", "integer", {}, "integer"),
        ("integer", "bigint", {}, "string"),
        ("integer", "bigint", {"minimum": 0}, "string"),
        ("integer", "bigint", {"minimum": 0, "maximum": 2**53 - 1}, "integer"),
        ("integer", "bigint", {"minimum": 0, "maximum": 2**53}, "string"),
        ("number", None, {}, "number"),
        ("number", "numeric(12,2)", {}, "string"),
    ],
)
def test_numbers_that_json_readers_would_corrupt_are_strings(
    logical: str, physical: str | None, options: dict[str, Any], json_type: str
) -> None:
    kind, _ = resolve_type(logical, physical, options)
    assert kind.json_schema["type"] == json_type
    assert kind.json_as_text == (json_type == "string")


@pytest.mark.parametrize("logical", LOGICAL_TYPES)
def test_postgres_has_every_type_that_its_column_gets(judges: Judges, logical: str) -> None:
    kind = LOGICAL_TYPES[logical]
    row = judges.database.execute(f"SELECT CAST(NULL AS {kind.postgres})".encode()).fetchone()
    assert row == (None,)


def test_a_number_is_finite_however_it_is_written() -> None:
    assert math.isfinite(NUMBER.parse("1.7976931348623157e308"))
    with pytest.raises(InvalidValueError, match="finite"):
        NUMBER.parse("1.8e308")
