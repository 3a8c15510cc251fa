"""NDJSON and JSON documents -> records and malformed ones: alike in any pieces, every one accounted for."""

from __future__ import annotations

import json
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog.model.dataset import FileFormat
from catalog.types.json_path import RecordsPath, parse_records_path
from ingest.readers import json_lines as lines
from ingest.readers import json_scanner as scanner
from ingest.readers.json_object import MalformedJsonError, keep_digits, read_object, read_plain
from ingest.readers.record_writer import RECORD_LIMIT_BYTES
from tests.support.examples import examples
from tests.support.parse_json import parse

PROPERTY = settings(
    max_examples=examples(60, 25), deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


NDJSON = FileFormat(format="ndjson")


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b'{"a": 1', "is not JSON"),
        (b"{'a': 1}", "is not JSON"),
        (b"nonsense", "is not JSON"),
        (b'{"a": 1} {"a": 2}', "is not JSON"),
        (b'{"a": NaN}', "holds NaN"),
        (b'{"a": -Infinity}', "holds Infinity"),
        (b'{"a": "NaN", "b": 1e400}', "is not JSON"),
        (b'{"a": "\\ud800"}', "is not JSON"),
        (b'{"a": "\xff"}', "is not utf-8 (byte 8)"),
        (b'{"a": "\xed\xa0\x80"}', "is not utf-8"),
        (b'{"a": "\\u0000"}', "contains a NUL character"),
        (b'{"a": "\0"}', "contains a NUL character"),
        (b'{"a": "x\ty"}', "is not JSON"),
        (b"[1]", "is not a JSON object but an array"),
        (b'"a"', "is not a JSON object but a text"),
        (b"null", "is not a JSON object but null"),
        (b"true", "is not a JSON object but true or false"),
        (b"1.5", "is not a JSON object but a number"),
        (b'{"a": 1, "a": 1}', "has the duplicate key 'a'"),
        (b'{"a": {"b": 1, "c": 2, "b" : 1}}', "has the duplicate key 'b'"),
        (b'{"a":1,"\\u0061":2}', "has the duplicate key 'a'"),
        (b'{"a": ' + b"[" * 101 + b"]" * 101 + b"}", "is nested more than 100 levels deep"),
        (b'{"a": ' + b"[" * 5000 + b"]" * 5000 + b"}", "is nested more than 100 levels deep"),
        (b'{"a": "' + b"x" * RECORD_LIMIT_BYTES + b'"}', "is longer than 1,048,576 bytes"),
    ],
    ids=lambda value: str(value)[:25],
)
def test_what_is_no_record_is_rejected_alone_wherever_it_stands(raw: bytes, problem: str) -> None:
    with pytest.raises(MalformedJsonError) as caught:
        read_object(raw)
    assert problem in str(caught.value)
    good = [json.dumps({"n": n}).encode() for n in range(20)]
    for place in (0, 11, 20):
        texts = [*good[:place], raw, *good[place:]]
        assert read_plain(texts) is None
        records, malformed = parse(b"\n".join(texts), NDJSON)
        assert [json.loads(text) for _, text in records] == [{"n": n} for n in range(20)]
        assert [line for line, *_ in malformed] == [place + 1]


def test_neighbours_never_make_good_what_is_no_record_alone() -> None:
    for texts in (
        [b'{"a":[1', b"2]}"],
        [b'{"a":[{}', b"{}]}", b"{},{}"],
        [b'{"a":"x', b'y"}', b"{}],[{}"],
        [b"{}],[{}", b""],
        [b"{}", b"", b"{},{}"],
        [b"[{}", b"{}]"],
    ):
        assert read_plain(texts) is None


def test_blank_lines_line_ends_and_marks_are_no_records() -> None:
    records, malformed = parse(b'\xef\xbb\xbf{"a":1}\r\n\r\n  \n{"a":2}', NDJSON)
    assert ([(line, json.loads(text)) for line, text in records], malformed) == ([(1, {"a": 1}), (4, {"a": 2})], [])


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252"])
def test_other_encodings_are_read(encoding: str) -> None:
    content = '{"a":"é"}\n{"a":"ü\n{"a":"ß"}\n'.encode(encoding)
    for file_format in (FileFormat(format="ndjson", encoding=encoding.replace("latin-1", "iso8859-1")),):
        records, malformed = parse(content, file_format)
        assert [json.loads(text) for _, text in records] == [{"a": "é"}, {"a": "ß"}]
        assert [(line, raw) for line, raw, _ in malformed] == [(2, '{"a":"ü')]


@pytest.mark.parametrize(
    "number",
    ["1.10", "0.1234567890123456789", "12345678901234567890.123", "-5.00", "123456789012345678901234567890", "0.5"],
)
@pytest.mark.parametrize(
    "around", ['{{"a": {}}}', '{{"t": "x: 9.90, y", "a":{} , "b": 1.5}}', '{{"o": {{"x": [2.50]}}, "a": {}}}']
)
def test_numbers_keep_every_digit_on_their_way_through_the_engine(number: str, around: str) -> None:
    raw = around.format(number).encode()
    records, _ = parse(raw, NDJSON)
    (found,) = duckdb.execute("SELECT json_extract_string(?, '/a')", [records[0][1]]).fetchone() or ()
    assert found == number
    again = json.loads(records[0][1])
    assert again.get("t", "x: 9.90, y") == "x: 9.90, y"
    assert again.get("o", {"x": [2.5]}) == {"x": [2.5]}


def test_a_record_without_such_numbers_is_taken_as_it_came() -> None:
    raw = b'{"a": 1.5, "b": "1.10", "c": 0.30000000000000004, "d": [1.10], "e": "x: 1.10, y"}'
    assert json.loads(keep_digits(raw)) == json.loads(raw)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6)
    | st.sampled_from(['"', "\\", "{", "]", '":', ": 1.10,", "\n", "a\\"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["a", "b", ":", '"', "\\"]), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
RECORDS = st.lists(st.dictionaries(st.sampled_from(["id", "x", "y"]), VALUES, max_size=3), max_size=8)
BROKEN = st.sampled_from(["{", '{"a":}', "[1]", '{"a":1,"a":2}', "NaN", '{"a" 1}', "{'a':1}", '"x"'])


@pytest.mark.slow
@PROPERTY
@given(records=RECORDS, broken=st.lists(st.tuples(st.integers(0, 8), BROKEN), max_size=3), block=st.integers(1, 40))
def test_lines_come_back_whatever_the_blocks_and_the_broken_ones_between(
    records: list[dict[str, Any]], broken: list[tuple[int, str]], block: int
) -> None:
    texts = [(json.dumps(record, ensure_ascii=False), True) for record in records]
    for place, text in broken:
        texts.insert(min(place, len(texts)), (text, False))
    content = "\n".join(text for text, _ in texts).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "BLOCK_BYTES", block)
        found, malformed = parse(content, NDJSON)
    assert [json.loads(text) for _, text in found] == records
    assert [line for line, _ in found] == [line for line, (_, good) in enumerate(texts, 1) if good]
    assert [(line, raw) for line, raw, _ in malformed] == [
        (line, text) for line, (text, good) in enumerate(texts, 1) if not good
    ]


# Of a document only what keeps its brackets and quotes in order is rejected alone.
LAME = st.sampled_from(['{"a":}', "[1]", '{"a":1,"a":2}', "NaN", '{"a" 1}', "{'a':1}", '"x"', '{"a":1]', "nul"])


@pytest.mark.slow
@PROPERTY
@given(
    records=RECORDS,
    lame=st.lists(st.tuples(st.integers(0, 8), LAME), max_size=3),
    block=st.integers(1, 40),
    indent=st.sampled_from([None, 1]),
    path=st.sampled_from([None, "$[*]", "$.rows[*]", "$.a['b c'][*]"]),
)
def test_items_of_a_document_come_back_whatever_the_blocks_and_breaking_off_is_never_silent(
    records: list[dict[str, Any]], lame: list[tuple[int, str]], block: int, indent: int | None, path: str | None
) -> None:
    texts = [(json.dumps(record, indent=indent), True) for record in records]
    for place, text in lame:
        texts.insert(min(place, len(texts)), (text, False))
    content = "[" + ", ".join(text for text, _ in texts) + "]"
    if path and ".rows" in path:
        content = '{"meta": {"rows": [1, "]"]}, "rows": ' + content + ', "end": "}"}'
    elif path and ".a" in path:
        content = '{"a": {"x": [], "b c": ' + content + "}}"
    file_format = FileFormat(format="json", records=path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scanner, "BLOCK_BYTES", block)
        found, malformed = parse(content.encode(), file_format)
        with pytest.raises(Exception, match="JSON document"):
            parse(content.encode()[:-1], file_format)
    assert [line for line, _ in found] == [line for line, (_, good) in enumerate(texts, 1) if good]
    assert [(line, raw) for line, raw, _ in malformed] == [
        (line, text) for line, (text, good) in enumerate(texts, 1) if not good
    ]


def test_records_lie_where_the_path_says() -> None:
    def ids(content: str, records: str | None) -> list[int]:
        found, malformed = parse(content.encode(), FileFormat(format="json", records=records))
        assert not malformed
        return [json.loads(text)["id"] for _, text in found]

    assert ids('{"id": 1}', "$") == [1]
    assert ids('[{"id": 1}]', "$") == [1]
    assert ids('{"a": {"id": 1}}', "$.a") == [1]
    assert ids('{"a": {"x": {"id": 1}, "y": {"id": 2}}}', "$.a[*]") == [1, 2]
    assert ids('{"a": null}', "$.a[*]") == []
    assert ids("[]", None) == ids("", None) == ids(" \n", "$.a") == []


def test_a_path_is_understood_or_refused() -> None:
    assert parse_records_path("$.a.b[*]") == RecordsPath(("a", "b"), items=True)
    assert parse_records_path("$['a b'].c") == RecordsPath(("a b", "c"), items=False)
    assert parse_records_path("$") == RecordsPath((), items=False)
    for text in ("", "a", "$.", "$..a", "$.a[0]", "$.a[*].b", "$[*][*]", "a[*]", "$x"):
        with pytest.raises(ValueError, match="is not a path to records; supported are"):
            parse_records_path(text)


def test_a_part_of_a_document_that_is_not_read_takes_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanner, "BLOCK_BYTES", 1000)
    content = '{"other": [' + ",".join(['{"a": [1, "]"]}'] * 5000) + '], "rows": [{"id": 1}]}'
    found, _ = parse(content.encode(), FileFormat(format="json", records="$.rows[*]"))
    assert found == [(1, '{"id": 1}')]
