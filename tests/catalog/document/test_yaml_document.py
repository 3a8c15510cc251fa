"""YAML read with caution: what is refused, what stays text, and the line of every part."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from catalog.document.yaml_document import DOCUMENT_LIMIT_BYTES, NESTING_LIMIT, Document, read_document, show_trail
from tests.support.examples import examples


def read(folder: Path, content: str | bytes) -> tuple[Document | None, list[tuple[int, str, str]]]:
    """The document of some content, and its findings as (line, path, message)."""
    file = folder / "contract.yaml"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    document, findings = read_document(file)
    assert all(finding.file == file for finding in findings)
    return document, [(finding.line, finding.path, finding.message) for finding in findings]


def read_well(folder: Path, content: str | bytes) -> Document:
    document, findings = read(folder, content)
    assert findings == []
    assert document is not None
    return document


@pytest.mark.parametrize(
    ("content", "line", "path", "message"),
    [
        pytest.param("a: &x 1\nb: 2\n", 1, "", "anchors and aliases", id="an anchor"),
        pytest.param("a: 1\nb: *x\n", 2, "", "anchors and aliases", id="an alias"),
        pytest.param("a: 1\nb: 2\na: 3\n", 3, "a", "duplicate key", id="a key twice"),
        pytest.param("a:\n  - b: 1\n    c: 2\n    b: 3\n", 4, "a[0].b", "duplicate key", id="a nested key twice"),
        pytest.param('1: a\n"1": b\n', 2, "1", "duplicate key", id="a number and its text"),
        pytest.param("a: 1\nb: [1, 2\n", 3, "", "is not YAML", id="an open bracket"),
        pytest.param("a: 1\n\tb: 2\n", 2, "", "is not YAML", id="a tab"),
        pytest.param("a: 1\n---\nb: 2\n", 2, "", "is not YAML", id="two documents"),
        pytest.param("a: 1\n? [b]\n: 2\n", 2, "", "is not YAML", id="a list as a key"),
        pytest.param("a: !!python/object:os.system x\n", 1, "", "is not YAML", id="a Python object"),
        pytest.param("a: 1\nb: !!int x\n", 2, "b", "is not YAML", id="a tag that its text does not fit"),
        pytest.param("a: 1\nb: !!bool maybe\n", 2, "b", "is not YAML", id="a Boolean that is none"),
        pytest.param("a: 1\nb: !!timestamp noon\n", 2, "b", "is not YAML", id="a time that is none"),
        pytest.param("a: 1\nb: " + "9" * 5000 + "\n", 2, "b", "is not YAML", id="a number of 5,000 digits"),
        pytest.param("a: \x01\n", 1, "", "is not YAML", id="a control character"),
        pytest.param(b"a: caf\xe9\n", 1, "", "is not UTF-8 (byte 6)", id="Latin-1"),
        pytest.param("", 1, "", "is empty", id="nothing"),
        pytest.param("# a comment\n", 1, "", "is empty", id="only a comment"),
    ],
)
def test_what_is_no_safe_yaml_is_refused_with_its_line(
    tmp_path: Path, content: str | bytes, line: int, path: str, message: str
) -> None:
    document, findings = read(tmp_path, content)
    assert document is None
    assert [(found[0], found[1]) for found in findings] == [(line, path)]
    assert message in findings[0][2]


def test_every_duplicate_key_is_reported_at_once(tmp_path: Path) -> None:
    _, findings = read(tmp_path, "a: 1\na: 2\nb:\n  c: 1\n  c: 2\n")
    assert [found[:2] for found in findings] == [(2, "a"), (5, "b.c")]


def test_a_file_over_one_megabyte_is_refused_and_one_of_a_megabyte_is_read(tmp_path: Path) -> None:
    start = b"a: 1\n#"
    assert read_well(tmp_path, start + b"x" * (DOCUMENT_LIMIT_BYTES - len(start))).data == {"a": 1}
    document, findings = read(tmp_path, start + b"x" * (DOCUMENT_LIMIT_BYTES - len(start) + 1))
    assert document is None
    assert "larger than 1,000,000 bytes" in findings[0][2]


@pytest.mark.parametrize("brackets", ["[]", "{}"])
def test_nesting_over_fifty_is_refused_and_fifty_is_read(tmp_path: Path, brackets: str) -> None:
    opening = "[" if brackets == "[]" else "{a: "
    closing = brackets[1]
    assert read_well(tmp_path, opening * NESTING_LIMIT + closing * NESTING_LIMIT)
    document, findings = read(tmp_path, "\n" + opening * (NESTING_LIMIT + 1) + closing * (NESTING_LIMIT + 1))
    assert document is None
    assert findings == [(2, "", "is nested deeper than 50 levels")]


def test_nesting_of_a_whole_megabyte_is_refused_as_well(tmp_path: Path) -> None:
    _, findings = read(tmp_path, "[" * 900_000)
    assert findings == [(1, "", "is nested deeper than 50 levels")]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("off", "off"),
        ("NO", "NO"),
        ("y", "y"),
        ("2013-01-31", "2013-01-31"),
        ("2013-01-31T17:30:00Z", "2013-01-31T17:30:00Z"),
        ("17:30", "17:30"),
        ("12:30:45", "12:30:45"),
        ("1_000", "1_000"),
        ("010", 10),
        ("0b1", "0b1"),
        ("0x1F", 31),
        ("1.0.0", "1.0.0"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-1.5", -1.5),
        ("1e3", 1000.0),
        ('"12"', "12"),
        ("'true'", "true"),
        ("=", "="),
    ],
)
def test_values_are_those_of_yaml_1_2(tmp_path: Path, text: str, value: object) -> None:
    found = read_well(tmp_path, f"a: {text}\n").data["a"]
    assert (found, type(found)) == (value, type(value))


def test_a_byte_order_mark_is_no_part_of_the_document(tmp_path: Path) -> None:
    assert read_well(tmp_path, b"\xef\xbb\xbfa: 1\n").data == {"a": 1}


def test_a_file_that_is_not_there_or_is_a_folder_is_a_finding(tmp_path: Path) -> None:
    for file in (tmp_path / "missing.yaml", tmp_path):
        document, findings = read_document(file)
        assert document is None
        assert "cannot be read" in findings[0].message


CONTRACT = """\
# a comment
id: x
schema:
  - name: a
    properties:
      - {name: p, logicalType: string}
      -
        name: q

  - name: b
"""


@pytest.mark.parametrize(
    ("trail", "line"),
    [
        ((), 2),
        (("id",), 2),
        (("schema",), 3),
        (("schema", 0), 4),
        (("schema", 0, "name"), 4),
        (("schema", 0, "properties", 0, "logicalType"), 6),
        (("schema", 0, "properties", 1), 8),
        (("schema", 0, "properties", 1, "name"), 8),
        (("schema", 1), 10),
        (("schema", 1, "properties", 7, "name"), 10),
        (("nowhere",), 2),
    ],
)
def test_each_part_knows_its_line_and_a_missing_one_that_of_what_is_around_it(
    tmp_path: Path, trail: tuple[str | int, ...], line: int
) -> None:
    assert read_well(tmp_path, CONTRACT).line_of(trail) == line


@pytest.mark.parametrize(
    ("trail", "shown"),
    [((), ""), (("schema", 0, "name"), "schema[0].name"), (("a", "b"), "a.b"), ((0, 1), "[0][1]")],
)
def test_a_trail_is_shown_as_people_write_it(trail: tuple[str | int, ...], shown: str) -> None:
    assert show_trail(trail) == shown


PIECES = st.sampled_from(
    [
        "a",
        "b",
        ":",
        " ",
        "\n",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ",",
        '"',
        "'",
        "&x ",
        "*x",
        "!!int ",
        "!!set ",
        "!!omap ",
        "!!binary ",
        "!!float ",
        "<<",
        "?",
        "|",
        ">",
        "%",
        "1",
        "0o8",
        "-",
        "#",
        "\t",
        "\\",
        "\x85",
        "\ud7ff",
        "~",
        "!!timestamp ",
        "!!pairs ",
        "---",
        "...",
        "=",
        '"\\ud800"',
        "2001-02-30",
    ]
)


@settings(
    max_examples=examples(150),
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(PIECES, max_size=12).map("".join))
@example("!!float :")  # PyYAML's constructor looks at the first character of an empty text
def test_whatever_the_file_holds_there_is_a_document_or_a_finding(tmp_path: Path, content: str) -> None:
    document, findings = read(tmp_path, content)
    assert (document is None) == bool(findings)
