"""Messages of pgoutput, byte by byte, and values as JSON; pure."""

from __future__ import annotations

import struct

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.inputs.replication.changes import RowWriter, read_lsn, write_lsn
from ingest.inputs.replication.pgoutput import (
    Begin,
    Change,
    Column,
    Commit,
    Other,
    PgOutputError,
    Relation,
    Truncate,
    Unsent,
    read_message,
)
from ingest.inputs.replication.values import Types, write_array, write_value

COLUMNS = (Column("id", 23, True), Column("note", 25, False))
RELATION = Relation(7, "public", "t", "d", COLUMNS)
BEGIN = b"B" + struct.pack(">QqI", 5, 0, 9)
COMMIT = b"C" + struct.pack(">BQQq", 0, 5, 6, 0)


def text(value: str) -> bytes:
    """A value as a message has it."""
    return b"t" + struct.pack(">I", len(value.encode())) + value.encode()


def row(*values: bytes) -> bytes:
    """A row as a message has it."""
    return struct.pack(">H", len(values)) + b"".join(values)


def describe(*columns: Column) -> bytes:
    """A message that describes the table `public.t`."""
    head = b"R" + struct.pack(">I", 7) + b"public\0t\0d" + struct.pack(">H", len(columns))
    parts = (
        bytes([column.is_key]) + column.name.encode() + b"\0" + struct.pack(">Ii", column.oid, -1)
        for column in columns
    )
    return head + b"".join(parts)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (BEGIN, Begin(5)),
        (COMMIT, Commit(5, 6)),
        (describe(*COLUMNS), RELATION),
        (b"I\0\0\0\7N" + row(text("1"), b"n"), Change(7, "insert", (b"1", None), None, False)),
        (b"U\0\0\0\7N" + row(text("1"), b"u"), Change(7, "update", (b"1", Unsent.UNCHANGED), None, False)),
        (b"U\0\0\0\7K" + row(text("1"), b"n") + b"N" + row(text("2"), text("é")),
         Change(7, "update", (b"2", "é".encode()), (b"1", None), False)),
        (b"D\0\0\0\7O" + row(text("1"), text("")), Change(7, "delete", None, (b"1", b""), True)),
        (b"T" + struct.pack(">IBII", 2, 0, 7, 8), Truncate((7, 8))),
        (b"Y\0\0\0\1public\0mood\0", Other("Y")),
        (b"O" + struct.pack(">Q", 5) + b"elsewhere\0", Other("O")),
        (b"M\0" + struct.pack(">Q", 5) + b"prefix\0\0\0\0\1x", Other("M")),
    ],
)  # fmt: skip
def test_each_message_is_read(data: bytes, message: object) -> None:
    assert read_message(data) == message


@pytest.mark.parametrize(
    "data",
    [
        b"", b"Z", BEGIN + b"x", b"S\0\0\0\1\1", b"D\0\0\0\7N" + row(text("1")), b"I\0\0\0\7K" + row(text("1")),
        b"I\0\0\0\7N" + row(b"b\0\0\0\1x"), b"I\0\0\0\7N" + row(b"t\0\0\0\5x"), b"I\0\0\0\7X" + row(),
    ],
)  # fmt: skip
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(PgOutputError):
        read_message(data)


@given(st.binary(max_size=60), st.sampled_from([BEGIN, COMMIT, describe(*COLUMNS), b"I\0\0\0\7N" + row(text("1"))]))
def test_no_bytes_are_more_than_refused(noise: bytes, whole: bytes) -> None:
    for data in (noise, whole[: len(noise)], whole[: len(noise)] + noise):
        try:
            read_message(data)
        except PgOutputError:
            continue


@given(st.integers(0, 2**64 - 1))
def test_places_of_the_log_are_written_as_postgres_does(lsn: int) -> None:
    assert read_lsn(write_lsn(lsn)) == lsn
    assert write_lsn(0x1_0000_00AB) == "1/AB"


@pytest.mark.parametrize(
    ("value", "oid", "shown"),
    [
        ("-5", 23, -5), ("1e3", 701, 1000.0), ("NaN", 1700, "NaN"), ("Infinity", 701, "Infinity"), ("t", 16, True),
        ("f", 16, False), ("007", 25, "007"), ('a"\n\\', 25, 'a"\n\\'), ('{"a":\n1}', 114, {"a": 1}),
        ("2026-01-31 10:00:00.5+00", 1184, "2026-01-31T10:00:00.5+00:00"),
        ("2026-01-31 10:00:00", 1114, "2026-01-31T10:00:00"), ("infinity", 1114, "infinity"),
        ("0044-03-15 00:00:00 BC", 1114, "0044-03-15 00:00:00 BC"), ("ab  ", 1042, "ab"), ("\\x00", 17, "\\x00"),
        ("{1,NULL,3}", 1007, [1, None, 3]), ("{}", 1007, []), ("[2:3]={1,2}", 1007, [1, 2]),
        ('{{"a,b","c\\"d"},{"NULL",""}}', 1009, [["a,b", 'c"d'], ["NULL", ""]]), ("{t,f}", 1000, [True, False]),
        ("{1", 1007, "{1"), ("5", 90_000, 5), ("{5}", 90_001, [5]),
    ],
)  # fmt: skip
def test_values_are_written_as_json(value: str, oid: int, shown: object) -> None:
    types = Types(bases={90_000: 23}, elements={90_001: 23})
    assert orjson.loads(write_value(value.encode(), oid, None, types)) == shown


def test_bits_are_the_number_that_their_property_means() -> None:
    assert write_value(b"101", 1560, "integer", Types()) == b'"5"'
    assert write_value(b"101", 1560, "text", Types()) == b'"101"'


def test_bytes_that_are_no_utf8_stay_what_they_are() -> None:
    assert write_value(b"a\xff", 25, None, Types()) == b'"a\xff"'


@given(st.lists(st.one_of(st.none(), st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))))
def test_arrays_of_texts_come_back(values: list[str | None]) -> None:
    quoted = ["NULL" if v is None else '"' + v.replace("\\", "\\\\").replace('"', '\\"') + '"' for v in values]
    assert orjson.loads(write_array("{" + ",".join(quoted) + "}", 25, Types())) == values


def lines(change: Change, identity: bytes = b"id") -> list[object]:
    """What a change becomes."""
    writer = RowWriter(frozenset({identity.decode()}), {})
    return [orjson.loads(line) for line in writer.write_change(change, RELATION)]


def test_changes_become_lines() -> None:
    insert = Change(7, "insert", (b"1", b"x"), None, False)
    assert lines(insert) == [{"id": 1, "note": "x"}]
    assert lines(Change(7, "delete", None, (b"1", None), False)) == [{"_deleted": True, "id": 1}]
    moved = Change(7, "update", (b"2", b"x"), (b"1", None), False)
    assert lines(moved) == [{"_deleted": True, "id": 1}, {"id": 2, "note": "x"}]
    assert lines(Change(7, "update", (b"1", b"y"), (b"1", b"x"), True)) == [{"id": 1, "note": "y"}]


def test_an_unchanged_large_value_comes_from_the_old_row_or_the_record_is_none() -> None:
    assert lines(Change(7, "update", (b"1", Unsent.UNCHANGED), (b"1", b"x"), True)) == [{"id": 1, "note": "x"}]
    (line,) = lines(Change(7, "update", (b"1", Unsent.UNCHANGED), None, False))
    assert isinstance(line, str)
    assert "did not change: note" in line


def test_a_column_called_like_the_mark_deletes_nothing() -> None:
    relation = Relation(7, "public", "t", "d", (COLUMNS[0], Column("_deleted", 16, False)))
    (line,) = RowWriter(frozenset({"id"}), {}).write_change(Change(7, "insert", (b"1", b"t"), None, False), relation)
    assert line == b'{"id":1}'
