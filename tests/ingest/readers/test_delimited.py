"""CSV texts -> raw records and malformed ones, each at its line with its raw text; and back through DuckDB."""

from __future__ import annotations

import csv
import io
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog.model.dataset import FileFormat
from ingest.cleaning.statement import CleaningStatement
from ingest.errors import MissingColumnsError, SourceError
from ingest.landing.unpacking import UnpackLimit
from ingest.readers import delimited as reader
from ingest.readers.delimited import DelimitedReader
from ingest.readers.record_writer import RECORD_LIMIT_BYTES, ParsedBatch, require_columns
from runtime.postgres.embedded_postgres import EmbeddedPostgres
from tests.support.examples import examples
from tests.support.lab import land_bytes, parse_bytes

Row = tuple[Any, ...]
PROPERTY = settings(
    max_examples=examples(40, 20), deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
MALFORMED = {
    "nul": "the record contains a NUL character",
    "quotes": "the record has broken or unclosed quotes",
    "long": "the record is longer than 1,048,576 bytes",
}


@dataclass(frozen=True)
class Engines:
    """What takes the two files that a cut leaves: DuckDB the records, Postgres the malformed ones."""

    duckdb: duckdb.DuckDBPyConnection
    postgres: psycopg.Connection[Any]


@pytest.fixture(scope="module")
def engines(server: EmbeddedPostgres) -> Iterator[Engines]:
    with duckdb.connect() as engine, psycopg.connect(server.url(), autocommit=True) as database:
        columns = "line bigint, key text, raw text, reasons jsonb, candidate jsonb, order_value jsonb"
        database.execute(f"CREATE TEMPORARY TABLE rejects ({columns})".encode())
        yield Engines(engine, database)


class Reading:
    """What was cut of one content: the records as DuckDB reads them, and the malformed ones."""

    def __init__(self, engines: Engines, content: bytes, delimiter: str = ",", encoding: str = "utf-8") -> None:
        with tempfile.TemporaryDirectory() as folder:
            self.lines_told: list[int] = []
            file_format = FileFormat(delimiter=delimiter, encoding=encoding)
            self.batch = parse_bytes(Path(folder), content, file_format=file_format, advance=self.lines_told.append)
            self.records = read_records(engines, self.batch, delimiter)
            self.malformed = read_malformed(engines, self.batch)
        assert self.batch.malformed_count == len(self.malformed)
        assert self.batch.raw == len(self.records) + len(self.malformed)

    @property
    def outcome(self) -> tuple[tuple[str, ...], list[Row], list[Row]]:
        """Everything that must not depend on how the stream came in."""
        return self.batch.header, self.records, self.malformed

    @property
    def lines(self) -> list[int]:
        """The lines of all raw records."""
        return sorted(row[0] for row in (*self.records, *self.malformed))


def read_records(engines: Engines, batch: ParsedBatch, delimiter: str) -> list[Row]:
    """The records as the engine's read_csv sees them."""
    if not batch.header:
        assert [file.read_bytes() for file in batch.records] == [b""]
        return []
    statement = CleaningStatement(batch.header, False, delimiter, "SELECT * FROM ", " ORDER BY 1")
    return engines.duckdb.execute(statement.read_from(map(str, batch.records), null_mark=uuid.uuid4().hex)).fetchall()


def read_malformed(engines: Engines, batch: ParsedBatch) -> list[Row]:
    """The malformed records as COPY brings them into quarantine: line, raw text, message."""
    content = batch.malformed.read_bytes()
    if not content:
        return []
    engines.postgres.execute("TRUNCATE rejects")
    with engines.postgres.cursor().copy("COPY rejects FROM STDIN (FORMAT csv)") as copy:
        copy.write(content)
    query = "SELECT line, raw, reasons FROM rejects WHERE key IS NULL AND candidate IS NULL ORDER BY line"
    found = []
    for line, raw, reasons in engines.postgres.execute(query):
        assert [(reason["property"], reason["rule"], reason["value"]) for reason in reasons] == [
            (None, "malformed", None)
        ]
        found.append((line, raw, reasons[0]["message"]))
    return found


def pick(content: bytes, lines: list[int], delimiter: str = ",", encoding: str = "utf-8") -> list[tuple[int, str]]:
    """What pick_raw gives of a content for these lines."""
    with tempfile.TemporaryDirectory() as folder:
        reader = DelimitedReader(
            FileFormat(delimiter=delimiter, encoding=encoding), UnpackLimit(1 << 40), Path(folder)
        )
        return list(reader.pick(land_bytes(Path(folder), content), lines))


TEXTS: dict[str, tuple[bytes, list[Row], list[Row]]] = {
    "plain": (b"a,b\n1,2\n3,4\n", [(2, "1", "2"), (3, "3", "4")], []),
    "no newline at the end": (b"a,b\n1,2", [(2, "1", "2")], []),
    "CRLF": (b"a,b\r\n1,2\r\n3,\r\n", [(2, "1", "2"), (3, "3", "")], []),
    "CRLF without an end": (b"a,b\r\n1,2\r", [(2, "1", "2")], []),
    "a byte order mark": (b"\xef\xbb\xbfa,b\n1,2\n", [(2, "1", "2")], []),
    "header only": (b"a,b\n", [], []),
    "header only, no newline": (b"a,b", [], []),
    "a quoted header": (b'"a" , "b"\n1,2\n'.replace(b" ", b""), [(2, "1", "2")], []),
    "blank lines": (b"a,b\n\n1,2\n\r\n\n3,4\n\n", [(3, "1", "2"), (6, "3", "4")], []),
    "empty fields": (b'a,b\n,x\n"",\n', [(2, "", "x"), (3, "", "")], []),
    "rows of delimiters": (b"a,b\n,\n1,2\n,\r\n\n", [(3, "1", "2")], []),
    "spaces are kept": (b"a,b\n 1 , 2\n", [(2, " 1 ", " 2")], []),
    "quoted": (b'a,b\n"1","x,y"\n', [(2, "1", "x,y")], []),
    "doubled quotes": (b'a,b\n1,"say ""hi"""\n"""",""\n', [(2, "1", 'say "hi"'), (3, '"', "")], []),
    "a quoted newline": (b'a,b\n1,"x\ny"\n2,z\n', [(2, "1", "x\ny"), (4, "2", "z")], []),
    "a quoted CRLF": (b'a,b\r\n1,"x\r\ny"\r\n2,z\r\n', [(2, "1", "x\r\ny"), (4, "2", "z")], []),
    "quoted blank lines": (b'a,b\n1,"\n\n"\n2,z\n', [(2, "1", "\n\n"), (5, "2", "z")], []),
    "a quoted newline at the very end": (b'a,b\n1,"x\ny"', [(2, "1", "x\ny")], []),
    "what looks like a comment or null": (b"a,b\n#1,NULL\n\\N,NA\n", [(2, "#1", "NULL"), (3, "\\N", "NA")], []),
    "a backslash before a quote": (b'a,b\n"\\",2\n', [(2, "\\", "2")], []),
    "a lone CR in a field": (b"a,b\n1,x\ry\n", [(2, "1", "x\ry")], []),
    "a lone CR in quotes": (b'a,b\n1,"x\ry"\n', [(2, "1", "x\ry")], []),
    "a lone CR beside quotes": (b'a,b\n"1",x\ry\n', [(2, "1", "x\ry")], []),
    "too few columns": (
        b"a,b\n1\n2,3\n",
        [(3, "2", "3")],
        [(2, "1", "the record has 1 columns where the header has 2")],
    ),
    "too many columns": (
        b"a,b\n2,3\n1,2,3\n",
        [(2, "2", "3")],
        [(3, "1,2,3", "the record has 3 columns where the header has 2")],
    ),
    "too many quoted columns": (
        b'a,b\n"1","2","3"\n',
        [],
        [(2, '"1","2","3"', "the record has 3 columns where the header has 2")],
    ),
    "spaces only": (b"a,b\n  \n", [], [(2, "  ", "the record has 1 columns where the header has 2")]),
    "an unclosed quote": (b'a,b\n1,"x\n2,y\n', [(3, "2", "y")], [(2, '1,"x', MALFORMED["quotes"])]),
    "an unclosed quote at the end": (b'a,b\n2,y\n1,"x', [(2, "2", "y")], [(3, '1,"x', MALFORMED["quotes"])]),
    "an unclosed quote before a good multi-line record": (
        b'a,b\n1,"x\n2,"y\nz"\n3,w\n',
        [(3, "2", "y\nz"), (5, "3", "w")],
        [(2, '1,"x', MALFORMED["quotes"])],
    ),
    "two unclosed quotes": (
        b'a,b\n1,"x\n2,"y\n3,z\n',
        [(4, "3", "z")],
        [(2, '1,"x', MALFORMED["quotes"]), (3, '2,"y', MALFORMED["quotes"])],
    ),
    "text after a quote": (b'a,b\n1,"x"y\n2,z\n', [(3, "2", "z")], [(2, '1,"x"y', MALFORMED["quotes"])]),
    "a quote inside": (b'a,b\n1,5" pipe\n2,z\n', [(3, "2", "z")], [(2, '1,5" pipe', MALFORMED["quotes"])]),
    "quotes inside": (b'a,b\n1,a "b" c\n2,z\n', [(3, "2", "z")], [(2, '1,a "b" c', MALFORMED["quotes"])]),
    "NUL": (b"a,b\n1,x\0y\n2,z\n", [(3, "2", "z")], [(2, "1,x\ufffdy", MALFORMED["nul"])]),
    "NUL in quotes": (b'a,b\n1,"x\0\ny"\n2,z\n', [(4, "2", "z")], [(2, '1,"x\ufffd\ny"', MALFORMED["nul"])]),
    "not UTF-8": (
        b"a,b\n1,\xff\n2,\xc3\xa9\n",
        [(3, "2", "é")],
        [(2, "1,\ufffd", "the record is not utf-8 (byte 3)")],
    ),
    "a surrogate in UTF-8": (
        b"a,b\n1,\xed\xa0\x80\n",
        [],
        [(2, "1,\ufffd\ufffd\ufffd", "the record is not utf-8 (byte 3)")],
    ),
    "a lone CR in a malformed line": (
        b"a,b\nx\ry\n3,4\n",
        [(3, "3", "4")],
        [(2, "x\ry", "the record has 1 columns where the header has 2")],
    ),
    "a malformed CRLF line": (
        b"a,b\r\n1\r\n",
        [],
        [(2, "1", "the record has 1 columns where the header has 2")],
    ),
}


@pytest.mark.parametrize(("content", "records", "malformed"), TEXTS.values(), ids=TEXTS.keys())
def test_a_text_is_cut_into_records_and_malformed_ones_at_their_lines(
    engines: Engines, content: bytes, records: list[Row], malformed: list[Row]
) -> None:
    assert Reading(engines, content).outcome == (("a", "b"), records, malformed)


@pytest.mark.parametrize("block_bytes", [1, 3, 8])
@pytest.mark.parametrize("content", [row[0] for row in TEXTS.values()], ids=TEXTS.keys())
def test_where_blocks_begin_does_not_matter(
    engines: Engines, monkeypatch: pytest.MonkeyPatch, content: bytes, block_bytes: int
) -> None:
    whole = Reading(engines, content).outcome
    monkeypatch.setattr(reader, "BLOCK_BYTES", block_bytes)
    assert Reading(engines, content).outcome == whole


@pytest.mark.parametrize("content", [row[0] for row in TEXTS.values()], ids=TEXTS.keys())
def test_a_raw_text_is_picked_again_by_its_line(engines: Engines, content: bytes) -> None:
    reading = Reading(engines, content)
    picked = dict(pick(content, reading.lines))
    assert list(picked) == reading.lines
    assert {line: picked[line] for line, _, _ in reading.malformed} == {
        line: raw for line, raw, _ in reading.malformed
    }
    for line, *fields in reading.records:
        if "\r" not in picked[line].replace("\r\n", ""):  # csv.reader takes it for a line's end
            assert next(csv.reader(io.StringIO(picked[line], newline=""))) == fields


@pytest.mark.parametrize(
    ("content", "header"), [(b"", ()), (b"\xef\xbb\xbf", ()), (b"\xef\xbb\xbfa", ("a",)), (b" a , b ", ("a", "b"))]
)
def test_the_header_names_the_columns(engines: Engines, content: bytes, header: tuple[str, ...]) -> None:
    assert Reading(engines, content).outcome == (header, [], [])


@pytest.mark.parametrize("content", [b"\n1,2\n", b",\n1,2\n", b'"a,b\n1,2\n', b"\xff,b\n1,2\n", b"  \n"])
def test_a_first_line_that_is_no_header_is_refused(engines: Engines, content: bytes) -> None:
    with pytest.raises(SourceError, match=r"is not a header|header is not utf-8"):
        Reading(engines, content)


def test_a_file_of_one_column_has_a_record_in_each_line(engines: Engines) -> None:
    reading = Reading(engines, b'a\n1\n\n"x\ny"\n2,3\n""\n')
    assert reading.records == [(2, "1"), (3, ""), (4, "x\ny"), (7, "")]
    assert reading.malformed == [(6, "2,3", "the record has 2 columns where the header has 1")]


@pytest.mark.parametrize("delimiter", [";", "\t", "|", ".", "^", "\\", " ", "*"])
def test_another_delimiter_separates_and_commas_do_not(engines: Engines, delimiter: str) -> None:
    content = 'a;b\n1;2,3\n"4";"5;6"\n7\n'.replace(";", delimiter).encode()
    reading = Reading(engines, content, delimiter)
    assert reading.records == [(2, "1", "2,3"), (3, "4", f"5{delimiter}6")]
    assert [line for line, _, _ in reading.malformed] == [4]


def test_another_encoding_is_read_and_its_raw_text_is_kept_readable(engines: Engines) -> None:
    content = "naïve,b\n1,café\n2,é,x\n3,É\n".encode("latin-1")
    reading = Reading(engines, content, encoding="latin-1")
    assert reading.batch.header == ("naïve", "b")
    assert reading.records == [(2, "1", "café"), (4, "3", "É")]
    assert reading.malformed == [(3, "2,é,x", "the record has 3 columns where the header has 2")]
    assert pick(content, [2, 3], encoding="latin-1") == [(2, "1,café"), (3, "2,é,x")]


@pytest.mark.parametrize("encoding", ["UTF-8", "utf8", "ascii", "cp1252"])
def test_an_encoding_may_be_written_in_any_of_its_ways(engines: Engines, encoding: str) -> None:
    assert Reading(engines, b'a,b\n1,2\n3,"4\n5"\n', encoding=encoding).records == [(2, "1", "2"), (3, "3", "4\n5")]


def test_a_record_over_one_megabyte_is_malformed_and_one_of_a_megabyte_is_not(
    engines: Engines,
) -> None:
    most = RECORD_LIMIT_BYTES - 2
    content = b"a,b\n1," + b"x" * most + b"\n2," + b"y" * (most + 1) + b"\n3,z\n"
    reading = Reading(engines, content)
    assert [(line, first, len(second)) for line, first, second in reading.records] == [(2, "1", most), (4, "3", 1)]
    assert reading.malformed == [(3, "2," + "y" * 998, MALFORMED["long"])]


def test_a_record_of_a_megabyte_of_quotes_and_newlines_comes_through(engines: Engines) -> None:
    value = '"' * (RECORD_LIMIT_BYTES // 2 - 10) + "\n"
    content = f'a,b\n1,"{value.replace(chr(34), chr(34) * 2)}"\n2,z\n'.encode()
    assert Reading(engines, content).records == [(2, "1", value), (4, "2", "z")]


def test_a_megabyte_of_latin_1_becomes_two_of_utf_8_and_comes_through(engines: Engines) -> None:
    value = "é" * (RECORD_LIMIT_BYTES - 2)
    assert Reading(engines, f"a,b\n1,{value}\n".encode("latin-1"), encoding="latin-1").records == [(2, "1", value)]


def test_a_quote_that_does_not_close_within_a_megabyte_ends_at_its_own_line(
    engines: Engines,
) -> None:
    expander = (b"5," + b"6" * 97 + b"\n") * (RECORD_LIMIT_BYTES // 100 + 10)
    reading = Reading(engines, b'a,b\n1,"x\n' + expander + b'7,y"\n8,9\n')
    assert reading.records[0] == (3, "5", "6" * 97)
    assert len(reading.records) == RECORD_LIMIT_BYTES // 100 + 11
    assert [raw for _, raw, _ in reading.malformed] == ['1,"x', '7,y"']


def test_a_line_without_end_is_no_csv(engines: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "BLOCK_BYTES", 10)
    monkeypatch.setattr(reader, "LINE_LIMIT_BYTES", 100)
    with pytest.raises(SourceError, match="Line 2 is longer than 100 bytes"):
        Reading(engines, b"a,b\n" + b"x" * 200)


def test_progress_tells_every_line_but_the_header(engines: Engines) -> None:
    assert sum(Reading(engines, b'a,b\n1,2\n\n3,"4\n5"\nx\n').lines_told) == 5


# Fields as they come: with structure in them, and with what other dialects give a meaning.
FIELDS = st.one_of(
    st.sampled_from(
        ["", " ", '"', '""', ",", "\n", "\r", "\r\n", "\\", "\\N", "NULL", "a,b\nc,d\n", '"\n"', "#", "é", "🙂"]
    ),
    st.lists(st.sampled_from(["a", " ", '"', ",", ";", "\n", "\r", "\\", "'", "é"]), max_size=6).map("".join),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8),
)


@st.composite
def draw_file(draw: st.DrawFn) -> tuple[str, bytes, list[list[str]]]:
    """A delimiter, a file that csv.writer wrote in any of its ways, and its rows."""
    width = draw(st.integers(1, 4))
    rows = draw(st.lists(st.lists(FIELDS, min_size=width, max_size=width), max_size=12))
    delimiter = draw(st.sampled_from(",;\t|"))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    text = io.StringIO(newline="")
    names = [f"c{index}" for index in range(width)]
    for row in (names, *rows):
        quoting = draw(st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC]))
        if any("\r" in field for field in row):
            quoting = csv.QUOTE_ALL  # before Python 3.13, QUOTE_MINIMAL leaves it bare
        if not any(row):
            quoting = csv.QUOTE_ALL  # delimiters alone are no record
        csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=quoting).writerow(row)
    content = text.getvalue().encode()
    return delimiter, content.removesuffix(end.encode()) if draw(st.booleans()) else content, rows


@pytest.mark.slow
@PROPERTY
@given(file=draw_file(), block_bytes=st.integers(1, 64))
def test_every_field_comes_back_through_duckdb_exactly(
    engines: Engines, file: tuple[str, bytes, list[list[str]]], block_bytes: int
) -> None:
    delimiter, content, rows = file
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "BLOCK_BYTES", block_bytes)
        reading = Reading(engines, content, delimiter)
        picked = pick(content, reading.lines, delimiter)
    assert reading.malformed == []
    assert [list(record[1:]) for record in reading.records] == rows
    assert [line for line, _ in picked] == [record[0] for record in reading.records]
    reread = [next(csv.reader(io.StringIO(raw, newline=""), delimiter=delimiter), [""]) for _, raw in picked]
    assert [row or [""] for row in reread] == rows


MESS = st.lists(
    st.sampled_from(
        [
            b"a",
            b"1",
            b",",
            b",",
            b'"',
            b'"',
            b"\n",
            b"\n",
            b"\r\n",
            b"\r",
            b"\0",
            b"\xff",
            b"\xc3\xa9",
            b"\xef\xbb\xbf",
        ]
    ),
    max_size=30,
).map(b"".join)


@PROPERTY
@given(mess=MESS, columns=st.integers(1, 3), block_bytes=st.integers(1, 12))
def test_whatever_comes_is_cut_alike_in_any_blocks_and_every_raw_record_is_accounted_for(
    engines: Engines, mess: bytes, columns: int, block_bytes: int
) -> None:
    content = b",".join([b"c1", b"c2", b"c3"][:columns]) + b"\n" + mess
    whole = Reading(engines, content)
    lines = whole.lines
    assert len(set(lines)) == len(lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "BLOCK_BYTES", block_bytes)
        assert Reading(engines, content).outcome == whole.outcome
        in_blocks = dict(pick(content, lines))
    picked = dict(pick(content, lines))
    assert list(picked) == lines
    assert in_blocks == picked
    assert all(picked[line] == raw for line, raw, _ in whole.malformed)
    if content.isascii() and b"\0" not in content:
        # Together the raw texts are the file: nothing is lost between them but line ends, empty lines and rows of
        # delimiters alone.
        joined = "\n".join(picked.values())
        assert [part for part in joined.replace("\r", "").split("\n") if part.strip(",")] == [
            part for part in content.decode().replace("\r", "").split("\n")[1:] if part.strip(",")
        ]


BROKEN = [b'x,"unclosed', b'x,5" pipe', b'x,"a"b', b"only one", b"1,2,3", b"\xff,1", b"\0,1", b'"', b'x,"', b'","']


@st.composite
def draw_broken(draw: st.DrawFn) -> tuple[list[bytes], int, bytes]:
    """Good records (each field starts with a letter), a place among them, and a line that is no record."""
    inner = st.lists(st.sampled_from(["b", '"', ",", "\n", "\r\n", " "]), max_size=5).map(
        lambda parts: "a" + "".join(parts)
    )
    good = []
    for row in draw(st.lists(st.tuples(inner, inner), max_size=6)):
        text = io.StringIO(newline="")
        csv.writer(
            text, lineterminator="\n", quoting=draw(st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]))
        ).writerow(row)
        good.append(text.getvalue().encode())
    return good, draw(st.integers(0, len(good))), draw(st.sampled_from(BROKEN))


@PROPERTY
@given(case=draw_broken(), block_bytes=st.integers(1, 40))
def test_one_broken_line_never_changes_what_becomes_of_the_others(
    engines: Engines, case: tuple[list[bytes], int, bytes], block_bytes: int
) -> None:
    good, place, broken = case
    alone = Reading(engines, b"a,b\n" + b"".join(good))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "BLOCK_BYTES", block_bytes)
        mixed = Reading(engines, b"a,b\n" + b"".join([*good[:place], broken + b"\n", *good[place:]]))
    assert [record[1:] for record in mixed.records] == [record[1:] for record in alone.records]
    assert len(mixed.malformed) == 1
    first_line = 2 + sum(part.count(b"\n") for part in good[:place])
    assert mixed.malformed[0][0] == first_line


def test_picking_takes_only_the_lines_asked_for() -> None:
    content = b'a,b\n1,2\n3,4\n\n5,"6\n7"\n8,9\n'
    assert pick(content, []) == []
    assert pick(content, [3]) == [(3, "3,4")]
    assert pick(content, [2, 5, 7]) == [(2, "1,2"), (5, '5,"6\n7"'), (7, "8,9")]


def test_columns_that_the_contract_needs_must_be_there_once() -> None:
    require_columns(("a", "b", "c", "c"), ["a", "b", "a"])
    with pytest.raises(MissingColumnsError, match="lacks the columns x, y; it has a, B"):
        require_columns(("a", "B"), ["a", "x", "y", "x"])
    with pytest.raises(MissingColumnsError, match="the columns a more than once"):
        require_columns(("a", "b", "a"), ["a"])
    with pytest.raises(MissingColumnsError, match="it has none"):
        require_columns((), ["a"])
